r"""Reads the chat form of ms-swift, in which Toucan and others are published: roles `tool_call` and `tool_response`.

    {"tools": "[{\"type\": \"function\", \"function\": {\"name\": \"roll\", ...}}]",
     "messages": [{"role": "user", "content": "Roll a d6"},
                  {"role": "tool_call", "content": "{\"name\": \"roll\", \"arguments\": {\"sides\": 6}}"},
                  {"role": "tool_response", "content": "4"}, {"role": "assistant", "content": "A four."}]}

The content of a `tool_call` is the JSON of one call or of a list of calls, with `arguments` an object or its JSON text
(in Toucan it is no JSON: see `toucan.py`). Calls in a row are answered in order by as many responses; `tool` is another
name of `tool_response`. Source of the form: the agent page of the documentation of modelscope/ms-swift.
"""

from collections.abc import Iterator
from typing import Any

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import RowError, short
from gemma_tool_use.data.sources import turns
from gemma_tool_use.data.sources.source import Source
from gemma_tool_use.data.sources.turns import Row, Turn

NAME = "ms-swift"
_ROLES = {
    "system": turns.system,
    "user": turns.user,
    "assistant": turns.assistant,
    "tool_response": turns.result,
    "tool": turns.result,
}
_CALL = "tool_call"


@turns.reader
def read_row(row: Row, where: str) -> Conversation:
    """The turns as messages; calls in a row become one message."""
    items = turns.read_list(row.get("messages"), "messages", rejects.BROKEN_MESSAGES)
    tools = turns.read_tools(row.get("tools"))
    return Conversation(id=turns.row_id(row, where), source=NAME, tools=tools, messages=turns.pair(_turns(items)))


def _turns(items: list[Any]) -> Iterator[Turn]:
    for i, item in enumerate(items):
        where = f"messages[{i}]"
        item = item if isinstance(item, dict) else {}
        role, content = item.get("role"), item.get("content")
        if role == _CALL:
            yield from turns.read_calls(content, f"{where}.content")
        elif isinstance(role, str) and role in _ROLES:
            yield _ROLES[role](turns.read_text(content, f"{where}.content"))
        else:
            raise RowError(rejects.UNREADABLE_MESSAGE, f"{where}.role is {short(role)}")


def _recognises(row: Row) -> bool:
    messages = row.get("messages")
    roles = [item.get("role") for item in messages if isinstance(item, dict)] if isinstance(messages, list) else []
    return "tools" in row and ("tool_call" in roles or "tool_response" in roles)


SOURCE = Source(
    name=NAME,
    help="the chat form of ms-swift: messages with roles tool_call and tool_response, and tools",
    licence=None,
    columns=("messages", "tools"),
    optional=("id",),
    read_row=read_row,
    recognises=_recognises,
)
