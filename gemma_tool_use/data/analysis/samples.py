"""A few rows of each subset, chosen by hash and written so that a person can read them.

samples = Samples(seed=0)
samples.offer("irrelevant", "train.parquet row 3", conversation)
samples.chosen("irrelevant")[0].parts[0]      # Part(label="tools", text="now()\\nadd(a: integer, b: integer)", cut=0)
"""

import bisect
import dataclasses
import hashlib
import json
from typing import Any

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec

PER_SUBSET = 3
LONGEST_TEXT = 600
MOST_PARTS = 12
MOST_TOOLS = 12


@dataclasses.dataclass(frozen=True)
class Part:
    """One piece of a sample row. `label` says what it is; `cut` how many characters of `text` were left out."""

    label: str
    text: str
    cut: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One row: where it stands, its id, its parts, and how many further messages are not shown."""

    where: str
    id: str
    parts: tuple[Part, ...]
    hidden: int = 0


@dataclasses.dataclass
class Samples:
    """The rows of each subset whose hash of seed and place is smallest: the same rows in any order of reading."""

    seed: int = 0
    held: dict[str, list[tuple[bytes, Sample]]] = dataclasses.field(default_factory=dict)

    def offer(self, subset: str, where: str, conversation: Conversation) -> None:
        key = hashlib.blake2b(f"{self.seed}:{where}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        held = self.held.setdefault(subset, [])
        if len(held) < PER_SUBSET or key < held[-1][0]:
            self._insert(held, key, sample(where, conversation))

    def take(self, subset: str, held: list[tuple[bytes, Sample]]) -> None:
        """Offers rows that another process held."""
        for key, row in held:
            self._insert(self.held.setdefault(subset, []), key, row)

    def chosen(self, subset: str) -> list[Sample]:
        return [row for _, row in self.held.get(subset, [])]

    @staticmethod
    def _insert(held: list[tuple[bytes, Sample]], key: bytes, row: Sample) -> None:
        bisect.insort(held, (key, row), key=lambda item: item[0])
        del held[PER_SUBSET:]


def sample(where: str, conversation: Conversation) -> Sample:
    """The row as it is shown: tools as signatures, calls as `name {arguments}`, long texts cut."""
    parts = [Part("tools", *_signatures(conversation.tools))] if conversation.tools else []
    shown = conversation.messages[:MOST_PARTS]
    for message in shown:
        parts += _parts(message)
    hidden = len(conversation.messages) - len(shown)
    return Sample(where=where[:200], id=conversation.id[:200], parts=tuple(parts), hidden=hidden)


def signature(tool: ToolSpec) -> str:
    """`add(a: integer, b?: integer)`; the question mark says that the parameter may be left out."""
    properties, required = tool.parameters.get("properties"), tool.parameters.get("required")
    required = required if isinstance(required, list) else []
    if not isinstance(properties, dict):
        return f"{tool.name}()"
    words = [f"{name}{'' if name in required else '?'}: {_type(schema)}" for name, schema in properties.items()]
    return f"{tool.name}({', '.join(words)})"


def _type(schema: Any) -> str:
    kind = schema.get("type") if isinstance(schema, dict) else None
    return kind if isinstance(kind, str) else "any"


def _signatures(tools: tuple[ToolSpec, ...]) -> tuple[str, int]:
    lines = [signature(tool) for tool in tools]
    shown = [line if len(line) <= LONGEST_TEXT // 4 else line[: LONGEST_TEXT // 4] + "…" for line in lines[:MOST_TOOLS]]
    if len(lines) > MOST_TOOLS:
        shown.append(f"… and {len(lines) - MOST_TOOLS} more tools")
    return "\n".join(shown), 0


def _parts(message: Message) -> list[Part]:
    label = f"tool {message.name}" if message.name else message.role
    parts = [Part("reasoning", *_cut(message.reasoning))] if message.reasoning else []
    if message.content or not message.calls:
        parts.append(Part(label, *_cut(message.content)))
    return parts + [Part("call", *_cut(_call(call))) for call in message.calls]


def _call(call: ToolCall) -> str:
    return f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}"


def _cut(text: str) -> tuple[str, int]:
    return text[:LONGEST_TEXT], max(0, len(text) - LONGEST_TEXT)
