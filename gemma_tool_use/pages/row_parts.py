"""Tools, messages and calls of a conversation as labelled texts that a person can read, cut where they are long.

signature(tool)                   # "add(a: integer, b?: integer)"
message_parts(message)            # [Part("assistant", "Let me see."), Part("call", 'add {"a": 1}')]
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from gemma_tool_use.conversation import Message, ToolCall, ToolSpec

LONGEST_TEXT = 600
MOST_TOOLS = 12


@dataclasses.dataclass(frozen=True)
class Part:
    """One piece of a row. `label` says what it is; `cut` how many characters of `text` were left out."""

    label: str
    text: str
    cut: int = 0


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


def tools_part(tools: Sequence[ToolSpec]) -> Part:
    """All tools as signatures, one a line."""
    lines = [signature(tool) for tool in tools]
    shown = [line if len(line) <= LONGEST_TEXT // 4 else line[: LONGEST_TEXT // 4] + "…" for line in lines[:MOST_TOOLS]]
    if len(lines) > MOST_TOOLS:
        shown.append(f"… and {len(lines) - MOST_TOOLS} more tools")
    return Part("tools", "\n".join(shown))


def message_parts(message: Message) -> list[Part]:
    """What a message says: reasoning, text, calls."""
    label = f"tool {message.name}" if message.name else message.role
    parts = [text_part("reasoning", message.reasoning)] if message.reasoning else []
    if message.content or not message.calls:
        parts.append(text_part(label, message.content))
    return parts + [text_part("call", call_text(call)) for call in message.calls]


def text_part(label: str, text: str) -> Part:
    """A text, cut when it is long."""
    return Part(label, text[:LONGEST_TEXT], max(0, len(text) - LONGEST_TEXT))


def call_text(call: ToolCall) -> str:
    """`roll {"sides": 6}`."""
    return f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}"
