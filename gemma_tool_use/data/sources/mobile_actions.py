r"""Reads google/mobile-actions (https://huggingface.co/datasets/google/mobile-actions, CC-BY-4.0): 7 tools of a phone.

8,693 rows to train on and 961 to score by, told apart by `metadata`; the scores published with FunctionGemma are over
the 961, so there are two sources and neither reads the rows of the other:

    {"metadata": "train",
     "tools": [{"function": {"name": "show_map", "parameters": {"type": "OBJECT", "properties": {"query":
                {"type": "STRING"}}, "required": ["query"]}}}],
     "messages": [{"role": "developer", "content": "Current date and time given in ...: 2026-01-02T03:04:05\n..."},
                  {"role": "user", "content": "Map of Lyon"},
                  {"role": "assistant", "tool_calls": [{"function": {"name": "show_map",
                   "arguments": {"query": "Lyon"}}}]}]}

Types are in capitals; arguments are an object in the published file and JSON text in its description, and both are
read. The developer's turn stays as the system text, for its date is what "tomorrow" means; its last sentence, by which
FunctionGemma's template announces the functions, is left to the dialect.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import RowError, short
from gemma_tool_use.data.sources import turns
from gemma_tool_use.data.sources.source import Licence, Source
from gemma_tool_use.data.sources.turns import Row, Turn

NAME = "mobile-actions"
EVAL_NAME = "mobile-actions-eval"
ANNOUNCEMENT = "You are a model that can do function calling with the following functions"


@turns.reader
def read_row(row: Row, where: str) -> Conversation:
    """A row of the training split."""
    return _read(row, where, NAME, "train")


@turns.reader
def read_eval_row(row: Row, where: str) -> Conversation:
    """A row of the split that published scores are over."""
    return _read(row, where, EVAL_NAME, "eval")


def _read(row: Row, where: str, source: str, split: str) -> Conversation:
    if row.get("metadata") != split:
        raise RowError(turns.OTHER_SPLIT, f"metadata is {short(row.get('metadata'))}, this source reads {split!r}")
    items = turns.read_list(row.get("messages"), "messages", rejects.BROKEN_MESSAGES)
    tools = turns.read_tools(row.get("tools"))
    return Conversation(id=turns.row_id(row, where), source=source, tools=tools, messages=turns.pair(_turns(items)))


def _turns(items: list[Any]) -> Iterator[Turn]:
    for i, item in enumerate(items):
        where = f"messages[{i}]"
        item = item if isinstance(item, dict) else {}
        role, content = item.get("role"), item.get("content")
        text = "" if content is None else turns.read_text(content, f"{where}.content")
        if role in ("developer", "system"):
            if text := "\n".join(line for line in text.split("\n") if not line.startswith(ANNOUNCEMENT)).strip():
                yield turns.system(text)
        elif role == "user":
            yield turns.user(text)
        elif role == "tool":
            yield turns.result(text)
        elif role == "assistant":
            calls = item.get("tool_calls")
            if text or not calls:
                yield turns.assistant(text)
            if calls:
                yield from turns.read_calls(calls, f"{where}.tool_calls")
        else:
            raise RowError(rejects.UNREADABLE_MESSAGE, f"{where}.role is {short(role)}")


def _recognises(row: Row) -> bool:
    return {"metadata", "tools", "messages"} <= row.keys() and row["metadata"] in ("train", "eval")


SOURCE = Source(
    name=NAME,
    help="google/mobile-actions, the training rows: seven tools of a phone",
    licence=Licence(name="CC-BY-4.0", url="https://huggingface.co/datasets/google/mobile-actions"),
    columns=("metadata", "tools", "messages"),
    optional=("id",),
    read_row=read_row,
    recognises=_recognises,
    hub_id="google/mobile-actions",
    hub_files=("dataset.jsonl",),
)
EVAL_SOURCE = dataclasses.replace(
    SOURCE,
    name=EVAL_NAME,
    help="google/mobile-actions, the 961 rows that published scores are over",
    read_row=read_eval_row,
    recognises=lambda row: False,
)
