"""What the generator asks of a tool: a request, a clause, a missing argument, a result. One class per kind of tool.

`BuiltinSkill` (synthetic/tools.py) speaks hand-written wordings about six well-known tools; `SchemaSkill`
(synthetic/schema.py) makes plain wordings for any tool from its JSON Schema.
"""

import abc
import dataclasses
import random
from collections.abc import Sequence
from typing import TypeVar

from gemma_tool_use.conversation import ToolCall, ToolSpec
from gemma_tool_use.data.synthetic.values import Split

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A user's text and the calls it asks for.

    Attributes:
      text: what the user says; every argument value of `calls` stands in it verbatim.
      calls: in the order asked for.
      wording: which wording was used, e.g. `get_weather.12`; the split is not part of it.
      truth: what a perfect tool would answer, where that depends on the argument (else empty).
    """

    text: str
    calls: tuple[ToolCall, ...]
    wording: str
    truth: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Incomplete:
    """A request that lacks a required argument, and the question that asks for it."""

    text: str
    question: str
    wording: str


class Skill(abc.ABC):
    """One tool and everything that can be said with it. Drawing is deterministic in the state of `rng`."""

    spec: ToolSpec

    @property
    @abc.abstractmethod
    def can_miss(self) -> bool:
        """Whether a request can lack a required argument."""

    @property
    @abc.abstractmethod
    def varied(self) -> bool:
        """Whether two calls of this tool can differ."""

    @abc.abstractmethod
    def confusable(self, other: ToolSpec) -> bool:
        """Whether `other` could serve this tool's requests too, so that refusing beside it would be wrong."""

    @abc.abstractmethod
    def request(self, rng: random.Random, split: Split) -> Request:
        """A whole message that asks for one call."""

    @abc.abstractmethod
    def clause(self, rng: random.Random, split: Split) -> Request:
        """A lower-case imperative without an end mark, to be joined with another."""

    @abc.abstractmethod
    def pair(self, rng: random.Random, split: Split) -> Request | None:
        """A message that asks for two different calls of this tool; None where the tool has no such wording."""

    @abc.abstractmethod
    def incomplete(self, rng: random.Random, split: Split) -> Incomplete:
        """A request without a required argument; only where `can_miss`."""

    @abc.abstractmethod
    def answer(self, rng: random.Random, request: Request) -> tuple[str, str]:
        """The tool's result for the only call of `request`, as JSON text, and the reply that uses it."""

    @abc.abstractmethod
    def refusal(self, rng: random.Random) -> str:
        """What to say when this tool is needed and not offered."""


def pick(rng: random.Random, items: Sequence[T]) -> tuple[int, T]:
    """One item and its index."""
    index = rng.randrange(len(items))
    return index, items[index]
