r"""Reads the training files of When2Call (https://huggingface.co/datasets/nvidia/When2Call, CC-BY-4.0).

When to call, to ask back, or to say that it cannot be done. `train_sft` has 15,000 rows, none of them with a call;
`train_pref` has 9,000, of which 3,000 call, with the better answer beside the messages:

    {"tools": ["{\"name\": \"stock\", \"parameters\": {\"type\": \"dict\", \"properties\": {\"t\":
               {\"type\": \"str\"}}}, \"required\": [\"t\"]}"],
     "messages": [{"role": "user", "content": "Price of NVDA?"}],
     "chosen_response": {"role": "assistant", "content":
                         "<TOOLCALL>[{\"name\": \"stock\", \"arguments\": {\"t\": \"NVDA\"}}]</TOOLCALL>"},
     "rejected_response": {"role": "assistant", "content": "NVDA is at 120 dollars."}}

A tool is the JSON text of an object, or the object; `required` stands beside its parameters and types are Python's.
The chosen answer ends the conversation, the rejected one is not used. The test files are a benchmark of another shape
and are not read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import RowError, short
from gemma_tool_use.data.sources import turns
from gemma_tool_use.data.sources.source import Licence, Source
from gemma_tool_use.data.sources.turns import Row, Turn

NAME = "when2call"
OPEN, CLOSE = "<TOOLCALL>", "</TOOLCALL>"


@turns.reader
def read_row(row: Row, where: str) -> Conversation:
    """The messages, and the chosen answer when there is one; the source is `when2call/sft` or `when2call/pref`."""
    items = turns.read_list(row.get("messages"), "messages", rejects.BROKEN_MESSAGES)
    tools = turns.read_tools(row.get("tools"))
    chosen = turns.read_value(row.get("chosen_response"), "chosen_response", rejects.BROKEN_MESSAGES)
    return Conversation(
        id=turns.row_id(row, where),
        source=f"{NAME}/{_subset(row)}",
        tools=tools,
        messages=turns.pair(_turns([*items, *([] if chosen is None else [chosen])])),
    )


def _subset(row: Mapping[str, Any]) -> str:
    return "sft" if row.get("chosen_response") is None else "pref"


def _turns(items: list[Any]) -> Iterator[Turn]:
    for i, item in enumerate(items):
        item = item if isinstance(item, dict) else {}
        role, text = item.get("role"), turns.read_text(item.get("content"), f"messages[{i}].content")
        if role == "system":
            yield turns.system(text)
        elif role == "user":
            yield turns.user(text)
        elif role == "assistant":
            yield from _answer(text)
        else:
            raise RowError(rejects.UNREADABLE_MESSAGE, f"messages[{i}].role is {short(role)}")


def _answer(text: str) -> Iterator[Turn]:
    """An answer in words, or the calls between the tags with the words before them."""
    said, tag, rest = text.partition(OPEN)
    if said.strip() or not tag:
        yield turns.assistant(said.strip())
    if tag:
        calls, closing, behind = rest.partition(CLOSE)
        if not closing or behind.strip():
            raise RowError(rejects.UNREADABLE_CALL, f"expected the text to end in {CLOSE}: {short(text)}")
        yield from turns.read_calls(calls, "call")


def _recognises(row: Row) -> bool:
    """The preferences by their columns; the others by `required` beside the parameters of a bare tool."""
    tools = row.get("tools")
    if not isinstance(tools, list) or not isinstance(row.get("messages"), list):
        return False
    if "chosen_response" in row:
        return True
    first = tools[0] if tools else None
    return isinstance(first, str) or (isinstance(first, dict) and {"name", "parameters", "required"} <= first.keys())


SOURCE = Source(
    name=NAME,
    help="When2Call, both training files: when to call, to ask back or to decline",
    licence=Licence(name="CC-BY-4.0", url="https://huggingface.co/datasets/nvidia/When2Call"),
    columns=("tools", "messages"),
    optional=("id", "chosen_response"),
    read_row=read_row,
    recognises=_recognises,
    hub_id="nvidia/When2Call",
    hub_files=("train/when2call_train_sft.jsonl", "train/when2call_train_pref.jsonl"),
    subset=_subset,
)
