"""Checks the rows of files one by one and keeps an account of their faults that stays small.

checked = check_files([openai_rows(path)], CheckSettings(dialect=get_dialect("hermes"), tokenizer=tokenizer))
checked.usable, checked.faults["call of an undeclared tool"].shown[0].where      # 41, "rows.jsonl:3"
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gemma_tool_use.conversation import Conversation, conversation_from_dict
from gemma_tool_use.data.analysis import faults as kinds
from gemma_tool_use.data.analysis.faults import REMEDIES, Fault
from gemma_tool_use.data.analysis.layout_faults import read_line, row_faults
from gemma_tool_use.data.analysis.lengths import row_length
from gemma_tool_use.data.analysis.row_faults import conversation_faults
from gemma_tool_use.data.analysis.statistics import hashes_of
from gemma_tool_use.data.files import jsonl_lines, read_rows
from gemma_tool_use.data.files import kind_of as file_kind
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules.benchmark import benchmark_question
from gemma_tool_use.data.rules.settings import RuleSettings
from gemma_tool_use.data.sources import openai_jsonl
from gemma_tool_use.data.sources.source import Source
from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.tokenizer import Tokenizer

Place = str
Looked = tuple[Place, Conversation | None, list[Fault]]
"""A row's place, what could be read of it, and the faults of its layout."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """What rows are checked against.

    Attributes:
      dialect, tokenizer: how rows are written and counted.
      max_length: most tokens of a row; None for no limit.
      first_call_only: count a row up to and including its first assistant message with calls, as `train` cuts it.
      rules: its benchmarks are those whose questions are faults.
      shown: how many faults of each kind are kept with their place; the rest is counted.
    """

    dialect: Dialect
    tokenizer: Tokenizer
    max_length: int | None = 512
    first_call_only: bool = True
    rules: RuleSettings = dataclasses.field(default_factory=RuleSettings)
    shown: int = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placed:
    """A fault and where its row stands."""

    where: Place
    id: str
    fault: Fault


@dataclasses.dataclass
class Kind:
    """All faults of one kind: how many, in how many rows, and the first of them."""

    count: int = 0
    rows: int = 0
    shown: list[Placed] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Checked:
    """The account.

    Attributes:
      rows: rows looked at.
      usable: rows without any fault.
      tokens, trained: tokens of the usable rows, and those that contribute to the loss.
      longest: tokens and place of the longest row that could be written, usable or not.
      faults: kind to faults, in the order of `REMEDIES`.
    """

    rows: int = 0
    usable: int = 0
    tokens: int = 0
    trained: int = 0
    longest: tuple[int, Place] = (0, "")
    faults: dict[str, Kind] = dataclasses.field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return not self.faults

    def add(self, where: Place, row_id: str, found: Iterable[Fault], most_shown: int) -> None:
        """Counts the faults of one row, or of the file itself."""
        counts: collections.Counter[str] = collections.Counter()
        for fault in found:
            kind = self.faults.setdefault(fault.kind, Kind())
            counts[fault.kind] += 1
            if len(kind.shown) < most_shown:
                kind.shown.append(Placed(where=where, id=row_id[:100], fault=fault))
        for name, n in counts.items():
            self.faults[name].count += n
            self.faults[name].rows += 1

    def to_dict(self) -> dict[str, Any]:
        """JSON values, for machines."""
        return {
            "clean": self.clean,
            "rows": self.rows,
            "usable": self.usable,
            "tokens": self.tokens,
            "trained_tokens": self.trained,
            "longest": {"tokens": self.longest[0], "where": self.longest[1]},
            "faults": [
                {
                    "kind": name,
                    "remedy": REMEDIES[name],
                    "count": kind.count,
                    "rows": kind.rows,
                    "shown": [
                        {"where": one.where, "id": one.id, "path": one.fault.path, "found": one.fault.found}
                        for one in kind.shown
                    ],
                }
                for name, kind in self.ordered().items()
            ],
        }

    def ordered(self) -> Mapping[str, Kind]:
        return {name: self.faults[name] for name in REMEDIES if name in self.faults}


def check_files(files: Iterable[Iterable[Looked]], settings: CheckSettings) -> Checked:
    """Checks every row of every file; a file that cannot be read further is a fault like the others."""
    checked, first_places = Checked(), dict[int, Place]()
    for rows in files:
        try:
            for where, conversation, found in rows:
                checked.rows += 1
                if conversation is not None:
                    found = [*found, *_judged(conversation, where, found, settings, first_places, checked)]
                checked.add(where, conversation.id if conversation else "", found, settings.shown)
        except DataError as error:
            checked.add("", "", [Fault(kind=kinds.UNREADABLE_FILE, found=str(error))], settings.shown)
    return checked


def openai_rows(path: Path) -> Iterator[Looked]:
    """Every row of a file in OpenAI form. Lines of JSONL are looked at as text, so that nothing is lost in reading.

    Raises:
      DataError, FileError: as `read_rows`.
    """
    if file_kind(path) == "lines":
        for number, line in jsonl_lines(path):
            where = f"{path.name}:{number}"
            if isinstance(line, Reject):
                yield where, None, [_of_reject(line)]
                continue
            row, found = read_line(line)
            yield where, None if row is None else _conversation(row, where, found), found
        return
    for where, row in read_rows(path, openai_jsonl.SOURCE.columns, openai_jsonl.SOURCE.optional):
        if isinstance(row, Reject):
            yield where, None, [_of_reject(row)]
            continue
        row = dict(row)
        found = list(row_faults(row))
        yield where, _conversation(row, where, found), found


def source_rows(source: Source, path: Path) -> Iterator[Looked]:
    """Every row of a file of another source; what its reader refuses is a fault.

    Raises:
      DataError, FileError: as `read_rows`.
    """
    for where, row in read_rows(path, source.columns, source.optional):
        outcome = row if isinstance(row, Reject) else source.read(row, where)
        if isinstance(outcome, Reject):
            yield where, None, [_of_reject(outcome)]
        else:
            yield where, outcome, []


def _conversation(row: dict[str, Any], where: Place, found: list[Fault]) -> Conversation | None:
    """The conversation of the row; None when it cannot be read, which is a fault if none of `found` says why."""
    try:
        return conversation_from_dict({**row, "id": str(row.get("id") or where)})
    except DataError as error:
        if not found:
            found.append(Fault(kind=kinds.UNREADABLE_ROW, found=str(error)))
        return None


def _of_reject(reject: Reject) -> Fault:
    return Fault(
        kind=kinds.UNREADABLE_ROW, found=f"{reject.reason}: {reject.detail}" if reject.detail else reject.reason
    )


def _judged(
    conversation: Conversation,
    where: Place,
    of_layout: list[Fault],
    settings: CheckSettings,
    first_places: dict[int, Place],
    checked: Checked,
) -> list[Fault]:
    """The faults of what a row says, those of its tokens included; counts the tokens of a row without any fault."""
    found = list(conversation_faults(conversation))
    first = first_places.setdefault(hashes_of(conversation)["row"], where)
    if first != where:
        found.append(Fault(kind=kinds.DUPLICATE_ROW, found=f"the same tools and messages as {first}"))
    if problem := benchmark_question(conversation, settings.rules):
        found.append(Fault(kind=kinds.BENCHMARK_QUESTION, path="messages", found=problem[1]))
    name = settings.dialect.name
    try:
        length = row_length(conversation, settings.dialect, settings.tokenizer)
    except DataError as error:
        return [*found, Fault(kind=kinds.NOT_WRITABLE, found=f"{name}: {error}")]
    cut = settings.first_call_only
    tokens, trained = (length.first_call, length.first_call_trained) if cut else (length.tokens, length.trained)
    if not trained and all(fault.kind != kinds.NO_ANSWER for fault in found):
        found.append(Fault(kind=kinds.NOTHING_TRAINED, found=f"0 of {tokens} tokens in {name}"))
    if settings.max_length is not None and tokens > settings.max_length:
        what = " up to the first call" if tokens < length.tokens else ""
        text = f"got {tokens} tokens in {name}{what}; expected at most {settings.max_length}"
        found.append(Fault(kind=kinds.TOO_LONG, found=text))
    checked.longest = max(checked.longest, (tokens, where), key=lambda item: item[0])
    if not found and not of_layout:
        checked.usable += 1
        checked.tokens += tokens
        checked.trained += trained
    return found
