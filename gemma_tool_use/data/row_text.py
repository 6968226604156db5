"""The JSON texts of a row, as prepared files store them. Rows with the same tool share its text.

tools_text(conversation.tools)           # '[{"type":"function","function":{"name":"now",...}}]'
messages_text(conversation.messages)     # '[{"role":"user","content":"What time is it?"},...]'
"""

import json
from collections.abc import Sequence
from typing import Any

import orjson

from gemma_tool_use.conversation import Message, ToolSpec, message_to_dict, tool_to_dict
from gemma_tool_use.data.by_object import CACHED_CHARACTERS, ByObject

_TOOLS: ByObject[str] = ByObject()


def tools_text(tools: Sequence[ToolSpec]) -> str:
    """Raises as `json_text`."""
    texts = [tool_text(tool) for tool in tools]
    # One that orjson cannot write decides how the numbers of all are written.
    return json_text([tool_to_dict(tool) for tool in tools]) if None in texts else f"[{','.join(texts)}]"  # pyright: ignore[reportCallIssue, reportArgumentType]


def tool_text(tool: ToolSpec) -> str | None:
    """The stored form of a tool; None for one that orjson has no form for."""
    text = _TOOLS.get(tool)
    if text is None:
        try:
            text = orjson.dumps(tool_to_dict(tool)).decode()
        except orjson.JSONEncodeError:
            return None
        if len(text) <= CACHED_CHARACTERS:
            _TOOLS.put(tool, text)
    return text


def messages_text(messages: Sequence[Message]) -> str:
    """Raises as `json_text`."""
    return json_text([message_to_dict(message) for message in messages])


def json_text(value: Any) -> str:
    """JSON as `json.dumps(value, ensure_ascii=False)` writes it, but without blanks and faster.

    Raises:
      UnicodeEncodeError: a lone surrogate in it.
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # a surrogate, a whole number of more than 64 bits, or nested very deeply
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        text.encode()
        return text
