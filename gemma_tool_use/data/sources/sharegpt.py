r"""Reads the ShareGPT form with tools, in which LLaMA-Factory trains and many data sets are published.

    {"system": "Be brief.", "tools": "[{\"name\": \"roll\", \"parameters\": {...}}]",
     "conversations": [{"from": "human", "value": "Roll a d6"},
                       {"from": "function_call", "value": "{\"name\": \"roll\", \"arguments\": {...}}"},
                       {"from": "observation", "value": "4"}, {"from": "gpt", "value": "A four."}]}

`system` may be absent, or the first turn; `tools` is a list or its JSON text, and may be empty. The value of a
`function_call` is one call or a list of calls, with `arguments` an object or its JSON text. Several turns with a call
are followed by as many observations. Source of the form: the data README of hiyouga/LLaMA-Factory.
"""

from collections.abc import Iterator
from typing import Any

from gemma_tool_use.conversation import Conversation, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import RowError, short
from gemma_tool_use.data.sources import turns
from gemma_tool_use.data.sources.source import Source
from gemma_tool_use.data.sources.turns import Row, Turn

NAME = "sharegpt"
_SPEAKERS = {
    "system": turns.system,
    "human": turns.user,
    "user": turns.user,
    "gpt": turns.assistant,
    "assistant": turns.assistant,
    "observation": turns.result,
    "tool": turns.result,
}
_CALL = "function_call"


@turns.reader
def read_row(row: Row, where: str) -> Conversation:
    """The turns as messages; calls in a row become one message."""
    tools, said = read_parts(row)
    return Conversation(id=turns.row_id(row, where), source=NAME, tools=tools, messages=turns.pair(said))


def read_parts(row: Row) -> tuple[tuple[ToolSpec, ...], Iterator[Turn]]:
    """The tools and the turns of a row.

    Raises:
      RowError: what cannot be read, also while the turns are taken.
    """
    items = turns.read_list(row.get("conversations"), "conversations", rejects.BROKEN_MESSAGES)
    return turns.read_tools(row.get("tools")), _turns(row.get("system"), items)


def _turns(system: Any, items: list[Any]) -> Iterator[Turn]:
    if system is not None and turns.read_text(system, "system").strip():
        yield turns.system(system)
    for i, item in enumerate(items):
        where = f"conversations[{i}]"
        item = item if isinstance(item, dict) else {}
        speaker, value = item.get("from"), item.get("value")
        if speaker == _CALL:
            yield from turns.read_calls(value, f"{where}.value")
        elif isinstance(speaker, str) and speaker in _SPEAKERS:
            yield _SPEAKERS[speaker](turns.read_text(value, f"{where}.value"))
        else:
            raise RowError(rejects.UNREADABLE_MESSAGE, f"{where} is from {short(speaker)}")


def _recognises(row: Row) -> bool:
    turn = row["conversations"][0] if isinstance(row.get("conversations"), list) and row["conversations"] else None
    return "tools" in row and isinstance(turn, dict) and {"from", "value"} <= turn.keys()


SOURCE = Source(
    name=NAME,
    help="the ShareGPT form of LLaMA-Factory: conversations with from/value, function_call and observation, and tools",
    licence=None,
    columns=("conversations", "tools"),
    optional=("id", "system"),
    read_row=read_row,
    recognises=_recognises,
)
