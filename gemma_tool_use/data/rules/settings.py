"""Which rows are kept, as one frozen dataclass whose fields are flags of `gemma-tool-use prepare`.

RuleSettings()                       # the project's filter: simple single-turn rows of Toucan
RuleSettings(subsets=(), max_tools_offered=None, max_tokens=512, tokenizer=Path("tokenizer.model"))
EVERYTHING                           # every consistent conversation, whole
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from gemma_tool_use.errors import ConfigError, suggest
from gemma_tool_use.formats.dialects import DIALECTS

PAPER_GATE: Mapping[str, float] = MappingProxyType(
    {
        "question_quality": 5.0,
        "scenario_realism": 5.0,
        "completeness": 4.0,
        "conciseness": 4.0,
        "desired_tools_used_percentage": 1.0,
    }
)
"""Least scores of the rows Toucan's authors fine-tuned on (https://arxiv.org/abs/2510.01179)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuleSettings:
    """Which conversations are kept, and how much of each. Turns and tools are counted on the whole row, before any cut.

    The rules that apply them, in order, with their reasons: `gemma-tool-use prepare --list-rules`.
    """

    subsets: tuple[str, ...] = ("single-turn-original", "single-turn-diversify")
    """Toucan subsets to keep; the others are irrelevant and multi-turn. Nothing after the flag keeps all."""
    single_turn: bool = True
    """Keep only rows with exactly one user message."""
    min_turns: int = 1
    """Fewest user messages; 2 keeps conversations of several turns (with --no-single-turn)."""
    max_turns: int | None = None
    """Most user messages; none for no limit."""
    tools_used_by: Literal["calls", "annotation"] = "calls"
    """Where the number of tools used comes from: the row's calls, or Toucan's column target_tools, with which published
    counts were made."""
    min_tools_used: int = 0
    """Fewest tools a row may use."""
    max_tools_used: int | None = 2
    """Most different tools a row may call (annotation: tools it names); none for no limit."""
    min_tools_offered: int = 0
    """Fewest tools a row may declare."""
    max_tools_offered: int | None = 3
    """Most tools a row may declare; none for no limit."""
    calls: Literal["any", "some", "none"] = "any"
    """Keep all rows, only rows with calls, or only rows without."""
    quality_gate: bool = False
    """Keep only rows whose teacher scores reach the least values below; needs scores in the rows, or --quality."""
    quality: Path | None = None
    """Parquet file or folder of a Toucan teacher configuration, joined on uuid for its scores; switches the gate on."""
    min_question_quality: float = PAPER_GATE["question_quality"]
    """Least question quality, 1 to 5."""
    min_scenario_realism: float = PAPER_GATE["scenario_realism"]
    """Least realism of the scenario, 1 to 5."""
    min_completeness: float = PAPER_GATE["completeness"]
    """Least completeness of the answer, 1 to 5; not asked of irrelevant rows."""
    min_conciseness: float = PAPER_GATE["conciseness"]
    """Least conciseness of the answer, 1 to 5; not asked of irrelevant rows."""
    min_desired_tools_used: float = PAPER_GATE["desired_tools_used_percentage"]
    """Least share of the target tools that the answer uses, 0 to 1; not asked of irrelevant rows."""
    first_call_only: bool = True
    """End each conversation after its first calls. Without tool outputs most rows fit 512 tokens."""
    null_arguments: Literal["drop", "keep", "reject"] = "drop"
    """Null arguments that the schema does not allow: drop them where optional and reject the row otherwise, keep them,
    or reject every row that has one."""
    valid_arguments: bool = True
    """Reject rows whose arguments do not fit the JSON schema of the called tool."""
    relative_dates: bool = True
    """Keep rows that ask for "tomorrow" while no date is known and the call states one."""
    keep_out_bfcl: bool = True
    """Reject questions of the Berkeley Function-Calling Leaderboard v4, the same or nearly the same."""
    keep_out: tuple[Path, ...] = ()
    """Further files of benchmark questions to keep out: JSONL with `question` or `messages`, or a question a line."""
    benchmark_similarity: float = 0.6
    """Share of common 5-character pieces from which a question counts as a benchmark's."""
    languages: tuple[str, ...] = ()
    """Languages of the first question to keep, as in `en de zh`; nothing keeps all."""
    min_language_probability: float = 0.5
    """Reject rows whose language is less certain than this; only with --languages. Of 3,000 spoken English commands
    85 % are as certain as 0.5 and 75 % as 0.7, of longer requests nearly all."""
    max_characters: int | None = None
    """Most characters of tools and messages, written as JSON; none for no limit."""
    max_tokens: int | None = None
    """Most tokens of what is kept, in --dialect; none for no limit. Needs --tokenizer."""
    dialect: str = "gemma_json"
    """How the row is written when its tokens are counted."""
    tokenizer: Path | None = None
    """tokenizer.model, tokenizer.json, a folder with one of them, or a GGUF file."""

    def __post_init__(self) -> None:
        if problems := self.problems():
            raise ConfigError("; ".join(problems))

    def problems(self) -> list[str]:
        """Every setting that makes no sense, one sentence each."""
        found = [
            f"{name} must be {least} or more, got {value}"
            for name, least in _LEAST.items()
            if (value := getattr(self, name)) is not None and value < least
        ]
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                found.append(f"{name} is a share from 0 to 1, got {getattr(self, name)}")
        for low, high in _PAIRS:
            most = getattr(self, high)
            if most is not None and getattr(self, low) > most:
                found.append(f"{low} {getattr(self, low)} is more than {high} {most}")
        if self.single_turn and (self.min_turns > 1 or self.max_turns == 0):
            found.append(f"single_turn keeps rows with one user message, min_turns {self.min_turns} others")
        if self.max_tokens is not None and self.tokenizer is None:
            found.append("max_tokens needs a tokenizer to count with: give --tokenizer a file or folder")
        if self.max_tokens is not None and self.dialect not in DIALECTS:
            found.append(f"there is no dialect {self.dialect!r}. {suggest(self.dialect, DIALECTS)}")
        return found

    def files(self) -> tuple[Path, ...]:
        """The files that the rules read besides the rows, for the manifest to identify."""
        return (
            *((self.quality,) if self.quality else ()),
            *self.keep_out,
            *((self.tokenizer,) if self.tokenizer else ()),
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values, for a manifest."""
        values = dataclasses.asdict(self)
        return values | {
            "quality": None if self.quality is None else str(self.quality),
            "keep_out": [str(path) for path in self.keep_out],
            "tokenizer": None if self.tokenizer is None else str(self.tokenizer),
        }


_LEAST = {
    "min_turns": 1,
    "max_turns": 1,
    "min_tools_used": 0,
    "max_tools_used": 0,
    "min_tools_offered": 0,
    "max_tools_offered": 0,
    "max_characters": 1,
    "max_tokens": 2,
}
_SHARES = ("min_desired_tools_used", "benchmark_similarity", "min_language_probability")
_PAIRS = (("min_turns", "max_turns"), ("min_tools_used", "max_tools_used"), ("min_tools_offered", "max_tools_offered"))

EVERYTHING = RuleSettings(
    subsets=(),
    single_turn=False,
    max_tools_used=None,
    max_tools_offered=None,
    first_call_only=False,
    null_arguments="keep",
    valid_arguments=False,
    keep_out_bfcl=False,
)
"""Keeps every consistent conversation, whole."""
