"""What a set of conversations holds, counted in one pass and in bounded memory; parts add up to the whole.

    statistics = Statistics()
    statistics.add(conversation, where="rows.jsonl:3")
    statistics.add_reject(reject)
    statistics.merge(those_of_another_process)

Nothing here reads files, and no method looks at the order of the rows, except that of the first example of each reason.
"""

import array
import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gemma_tool_use.conversation import Conversation, conversation_to_dict
from gemma_tool_use.data.analysis.counting import BoundedCounter, Histogram
from gemma_tool_use.data.analysis.lengths import RowLength
from gemma_tool_use.data.analysis.samples import Samples
from gemma_tool_use.data.keys import hash_parts, hash_text, question_key, tool_id
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules.shape import target_tools

MOST_SUBSETS = 60
OTHER_SUBSETS = "(further subsets)"
MOST_COUNTED = 100
"""Turns and tools of a row are counted exactly up to this many; more count as this many."""

DUPLICATE_KINDS: Mapping[str, str] = {
    "row": "same tools and messages",
    "question and tools": "same questions and tools",
    "question": "same questions",
}


class Shape(NamedTuple):
    """What rules and tables ask of a row; each number at most `MOST_COUNTED`.

    `turns`: user messages. `used`: different tools its calls name. `offered`: tools it declares. `annotated`: tools its
    annotation column names, None without one. `calls`: calls in all. `parallel`: most calls in one message.
    """

    turns: int
    used: int
    offered: int
    annotated: int | None
    calls: int
    parallel: int


@dataclasses.dataclass
class Lengths:
    """Token lengths in one dialect.

    Attributes:
      whole: of whole conversations.
      first_call: of conversations cut after their first call.
      trained: trained tokens of whole conversations, summed.
      not_writable: rows the dialect cannot write; in neither histogram.
    """

    whole: Histogram = dataclasses.field(default_factory=Histogram)
    first_call: Histogram = dataclasses.field(default_factory=Histogram)
    trained: int = 0
    not_writable: int = 0

    def add(self, length: RowLength | None) -> None:
        if length is None:
            self.not_writable += 1
            return
        self.whole.add(length.tokens)
        self.first_call.add(length.first_call)
        self.trained += length.trained

    def merge(self, other: "Lengths") -> None:
        self.whole.merge(other.whole)
        self.first_call.merge(other.first_call)
        self.trained += other.trained
        self.not_writable += other.not_writable


class Duplicates(NamedTuple):
    """`different` values; `repeated` of them occur more than once, which makes `extra` rows one could leave out."""

    different: int
    repeated: int
    extra: int


@dataclasses.dataclass
class Statistics:
    """The accumulator.

    Attributes:
      shapes: subset to shape to number of rows; every table of turns and tools derives from it.
      rejects: reason to number of rows that could not be read or were left out.
      first_reject: reason to the first place and detail.
      roles: role to number of messages.
      called: tool to number of calls.
      offered: tool to number of rows that offer it.
      argument_types: JSON type to number of argument values in calls.
      parameter_types: schema type to number of parameters of offered tools, counted in each row.
      languages: language of the first question to number of rows; "" where there is none.
      faults: kind of fault to number of rows that have it.
      lengths: dialect to token lengths of the rows measured.
      measured: rows whose lengths were measured.
      hashes: kind of duplicate to a 64-bit hash of each row.
      samples: a few rows of each subset, chosen by hash.
    """

    shapes: dict[str, collections.Counter[Shape]] = dataclasses.field(default_factory=dict)
    rejects: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    first_reject: dict[str, str] = dataclasses.field(default_factory=dict)
    roles: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    called: BoundedCounter = dataclasses.field(default_factory=BoundedCounter)
    offered: BoundedCounter = dataclasses.field(default_factory=BoundedCounter)
    argument_types: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    parameter_types: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    languages: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    faults: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    lengths: dict[str, Lengths] = dataclasses.field(default_factory=dict)
    measured: int = 0
    hashes: dict[str, "array.array[int]"] = dataclasses.field(
        default_factory=lambda: {kind: array.array("Q") for kind in DUPLICATE_KINDS}
    )
    samples: Samples = dataclasses.field(default_factory=Samples)

    @property
    def rows(self) -> int:
        """Conversations counted."""
        return sum(shapes.total() for shapes in self.shapes.values())

    @property
    def rows_read(self) -> int:
        """Conversations and rejects."""
        return self.rows + self.rejects.total()

    def add(
        self,
        conversation: Conversation,
        *,
        where: str = "",
        language: str = "",
        faults: Iterable[str] = (),
        lengths: Mapping[str, RowLength | None] | None = None,
    ) -> None:
        """Counts a conversation.

        Args:
          conversation: the row.
          where: its place, which also decides whether it is shown as a sample.
          language: of its first question.
          faults: the kinds of faults it has.
          lengths: its token lengths by dialect; None when the row is not among those measured.
        """
        subset = self._subset(subset_of(conversation))
        self.shapes[subset][shape_of(conversation)] += 1
        self.roles.update(message.role for message in conversation.messages)
        for message in conversation.messages:
            for call in message.calls:
                self.called.add(call.name)
                self.argument_types.update(json_type(value) for value in call.arguments.values())
        for name in {tool.name for tool in conversation.tools}:
            self.offered.add(name)
        for tool in conversation.tools:
            self.parameter_types.update(parameter_types(tool.parameters))
        self.languages[language] += 1
        self.faults.update(set(faults))
        for kind, value in hashes_of(conversation).items():
            self.hashes[kind].append(value)
        if lengths is not None:
            self.measured += 1
            for dialect, length in lengths.items():
                self.lengths.setdefault(dialect, Lengths()).add(length)
        self.samples.offer(subset, where or conversation.id, conversation)

    def add_reject(self, reject: Reject) -> None:
        """Counts a row that could not be read or that was left out."""
        self.rejects[reject.reason] += 1
        self.first_reject.setdefault(reject.reason, f"{reject.where}: {reject.detail}")

    def merge(self, other: "Statistics") -> None:
        """Adds what another accumulator counted, as if its rows had followed those of this one."""
        for name, shapes in other.shapes.items():
            self.shapes[self._subset(name)].update(shapes)
        for reason, n in other.rejects.items():
            self.rejects[reason] += n
            self.first_reject.setdefault(reason, other.first_reject[reason])
        for field in ("roles", "argument_types", "parameter_types", "languages", "faults"):
            getattr(self, field).update(getattr(other, field))
        self.called.merge(other.called)
        self.offered.merge(other.offered)
        self.measured += other.measured
        for dialect, lengths in other.lengths.items():
            self.lengths.setdefault(dialect, Lengths()).merge(lengths)
        for kind, values in other.hashes.items():
            self.hashes[kind].extend(values)
        for name, held in other.samples.held.items():
            self.samples.take(self._subset(name), held)

    def duplicates(self, kind: str) -> Duplicates:
        """Of one of `DUPLICATE_KINDS`."""
        _, counts = np.unique(np.frombuffer(self.hashes[kind], np.uint64), return_counts=True)
        return Duplicates(len(counts), int((counts > 1).sum()), int(counts.sum()) - len(counts))

    def shapes_of(self, subset: str | None) -> collections.Counter[Shape]:
        """Of one subset, or of all for None."""
        if subset is not None:
            return self.shapes[subset]
        return sum(self.shapes.values(), collections.Counter[Shape]())

    def _subset(self, name: str) -> str:
        if name not in self.shapes:
            name = name if len(self.shapes) < MOST_SUBSETS else OTHER_SUBSETS
            self.shapes.setdefault(name, collections.Counter())
        return name


def subset_of(conversation: Conversation) -> str:
    """`"single-turn-original"` of the source `"toucan-sft/single-turn-original"`; a source without subsets is one."""
    source, _, subset = conversation.source.partition("/")
    return (subset or source)[:80] or "(no source)"


def shape_of(conversation: Conversation) -> Shape:
    """Turns, tools and calls of a row."""
    calls = [message.calls for message in conversation.messages if message.calls]
    annotated = target_tools(conversation)
    return Shape(
        turns=_counted(sum(message.role == "user" for message in conversation.messages)),
        used=_counted(len({call.name for group in calls for call in group})),
        offered=_counted(len(conversation.tools)),
        annotated=None if annotated is None else _counted(len(annotated)),
        calls=_counted(sum(map(len, calls))),
        parallel=_counted(max(map(len, calls), default=0)),
    )


def hashes_of(conversation: Conversation) -> dict[str, int]:
    """A 64-bit hash for each of `DUPLICATE_KINDS`."""
    stored = conversation_to_dict(conversation)
    asked, tools = question_key(conversation), sorted({tool_id(tool) for tool in conversation.tools})
    return {
        "row": hash_text(json.dumps([stored["tools"], stored["messages"]], sort_keys=True)),
        "question and tools": hash_parts([asked, *map(str, tools)]),
        "question": hash_text(asked),
    }


_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def json_type(value: Any) -> str:
    """The JSON Schema name of a value's type; `1.0` is a number, `1` an integer."""
    return _JSON_TYPES.get(type(value), "null")


def parameter_types(parameters: Mapping[str, Any]) -> list[str]:
    """The type of each property of a tool's schema: `{"properties": {"a": {"type": "string"}}}` gives `["string"]`."""
    properties = parameters.get("properties")
    if not isinstance(properties, dict):
        return []
    return [_declared_type(schema) for schema in properties.values()]


def _declared_type(schema: Any) -> str:
    kind = schema.get("type") if isinstance(schema, dict) else None
    if isinstance(kind, str):
        return kind.lower()[:30]
    if isinstance(kind, list):
        return " or ".join(sorted(str(part).lower()[:10] for part in kind[:4]))
    if isinstance(schema, dict) and ("anyOf" in schema or "oneOf" in schema):
        return "any of several"
    return "not stated"


def _counted(n: int) -> int:
    return min(n, MOST_COUNTED)
