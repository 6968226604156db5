"""The one pure function per row: a row of a file in, a conversation to train on or the reason against it out.

    task = RowTask(source="toucan-sft", rules=RuleSettings())
    task({"uuid": "u1", "subset_name": "irrelevant", ...}, "train.parquet row 7")
    # Reject(id="u1", reason="subset not asked for", detail="'irrelevant'; asked for: ...", where="train.parquet row 7")

The process pool, Apache Beam and `sources.load` all call it, so they cannot disagree. It is picklable and has no state
that a row could change, so rows may be mapped in any order and any number of times.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.augment.stages import OTHER_STAGE, stage_of
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import Problem, RuleSettings, apply_rules_to_all, subset
from gemma_tool_use.data.sources.registry import SOURCES
from gemma_tool_use.data.sources.source import Source

# A hostile file may have as many subsets as rows.
_MOST_SUBSETS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowTask:
    """What happens to a row of one source.

    Attributes:
      source: a name of `SOURCES`.
      rules: which conversations are kept, and how much of each.
      stages: the rules for the rows of each stage of a curriculum; None without one. Of `rules` then only the subsets
        count, before a row is read.
    """

    source: str
    rules: RuleSettings
    stages: Mapping[int, RuleSettings] | None = None

    @property
    def definition(self) -> Source:
        """The source itself; by name, so that the task stays small when it is sent to a process."""
        return SOURCES[self.source]

    def __call__(self, row: Mapping[str, Any], where: str) -> Conversation | Reject:
        outcome = self.read(row, where)
        return outcome if isinstance(outcome, Reject) else self.decide(outcome, where)

    def read(self, row: Mapping[str, Any], where: str) -> Conversation | Reject:
        """The conversation that the source makes of the row, with names a model can write, or why it cannot be read.

        A row of a subset that is not wanted is left out before its JSON is parsed; two thirds of Toucan are.
        """
        source = self.definition
        if source.subset is not None:
            problem = self._objection_to(source.subset(row))
            if problem is not None:
                return Reject(id=_row_id(row, where), reason=problem[0], detail=problem[1], where=where)
        return source.read(row, where)

    def decide(self, conversation: Conversation, where: str) -> Conversation | Reject:
        """The conversation as the rules leave it, or the first of them against it."""
        return self.decide_all([(where, conversation)])[0]

    def decide_all(self, conversations: Sequence[tuple[str, Conversation]]) -> list[Conversation | Reject]:
        """What `decide` says of each place and conversation, in half of the time for a hundred."""
        rows = [conversation for _, conversation in conversations]
        outcomes = apply_rules_to_all(rows, self.rules) if self.stages is None else self._by_stage(rows, self.stages)
        return [
            dataclasses.replace(outcome, where=where) if isinstance(outcome, Reject) else outcome
            for (where, _), outcome in zip(conversations, outcomes, strict=True)
        ]

    def _by_stage(
        self, rows: Sequence[Conversation], stages: Mapping[int, RuleSettings]
    ) -> list[Conversation | Reject]:
        """Every row by the rules of its stage."""
        stage = [stage_of(row) for row in rows]
        result: list[Conversation | Reject] = [
            Reject(id=row.id, reason=OTHER_STAGE, detail=f"stage {n}") for row, n in zip(rows, stage, strict=True)
        ]
        for wanted, rules in stages.items():
            numbers = [number for number, n in enumerate(stage) if n == wanted]
            decided = apply_rules_to_all([rows[number] for number in numbers], rules)
            for number, outcome in zip(numbers, decided, strict=True):
                result[number] = outcome
        return result

    @functools.cached_property
    def _objections(self) -> dict[str, Problem | None]:
        return {}

    def _objection_to(self, name: str) -> Problem | None:
        """The rule on subsets, asked once of each: a file has a handful of them."""
        if name in self._objections:
            return self._objections[name]
        problem = subset(f"{self.source}/{name}", self.rules)
        if len(self._objections) < _MOST_SUBSETS:
            self._objections[name] = problem
        return problem


def _row_id(row: Mapping[str, Any], where: str) -> str:
    for name in ("uuid", "id"):
        value = row.get(name)
        if isinstance(value, str) and value:
            return value
    return where
