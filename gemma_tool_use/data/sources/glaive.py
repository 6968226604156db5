"""Reads Glaive's function calling v2 (https://huggingface.co/datasets/glaiveai/glaive-function-calling-v2, Apache-2.0).

112,960 rows of two texts. `system` holds the functions, one JSON object after the other and no list:

    SYSTEM: You are a helpful assistant with access to the following functions. Use them if required -
    {"name": "roll", "description": "Rolls a die", "parameters": {"type": "object", "properties": {...}}}
    {"name": "flip", ...}

or says that there are none. `chat` is a transcript in which the arguments of a call are JSON inside single quotes, so
that the call is not JSON (an apostrophe in the arguments is mostly not escaped):

    USER: Roll a d6

    ASSISTANT: <functioncall> {"name": "roll", "arguments": '{"sides": 6}'} <|endoftext|>

    FUNCTION RESPONSE: {"rolled": 4}

    ASSISTANT: It's a four. <|endoftext|>

Rows without functions, and rows whose functions do not fit the request, are conversations without a call.
"""

import json
from collections.abc import Iterator
from typing import Any

from gemma_tool_use.conversation import Conversation, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import RowError, short
from gemma_tool_use.data.sources import turns
from gemma_tool_use.data.sources.source import Licence, Source
from gemma_tool_use.data.sources.turns import Row, Turn
from gemma_tool_use.formats.json_value import unique_keys

NAME = "glaive"
WITH_TOOLS = "You are a helpful assistant with access to the following functions"
WITHOUT_TOOLS = "You are a helpful assistant, with no access to external functions"
CALL = "<functioncall>"
END = "<|endoftext|>"
_SPEAKERS = ("USER:", "ASSISTANT:", "FUNCTION RESPONSE:")
_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


@turns.reader
def read_row(row: Row, where: str) -> Conversation:
    """The functions as tools, the transcript as messages; a system text of the author's own stays a message."""
    text, tools = read_system(turns.read_text(row.get("system"), "system"))
    chat = read_chat(turns.read_text(row.get("chat"), "chat"))
    messages = turns.pair([*([turns.system(text)] if text else []), *chat])
    return Conversation(id=turns.row_id(row, where), source=NAME, tools=tools, messages=messages)


def read_system(text: str) -> tuple[str, tuple[ToolSpec, ...]]:
    """What is left of the system text without the two fixed wordings and the functions, and the functions.

    Raises:
      RowError: text between or behind the functions, or a function that cannot be read.
    """
    text = text.strip().removeprefix("SYSTEM:").strip()
    if text.startswith(WITH_TOOLS):
        start = text.find("{")
        return "", () if start < 0 else tuple(map(turns.read_tool, _objects(text, start)))
    return ("" if text.startswith(WITHOUT_TOOLS) else text), ()


def read_chat(text: str) -> Iterator[Turn]:
    """The turns of a transcript. A speaker is named at the start of a line.

    Raises:
      RowError: text before the first speaker, or an unreadable call.
    """
    speaker, lines = "", []
    for line in [*text.split("\n"), "USER:"]:  # the last one closes the turn before it
        named = next((name for name in _SPEAKERS if line.startswith(name)), None)
        if named is None:
            lines.append(line)
            continue
        yield from _turn(speaker, "\n".join(lines).strip())
        speaker, lines = named, [line.removeprefix(named)]


def read_call(text: str) -> ToolCall:
    """`{"name": "roll", "arguments": '{"sides": 6}'}` gives `ToolCall(name="roll", arguments={"sides": 6})`.

    Arguments that are an object, or JSON inside double quotes, are read as well.

    Raises:
      RowError: anything else.
    """
    text = text.strip()
    name, rest = _string_value(text, _after(text, 0, "{"), "name")
    position = _key(text, _after(text, rest, ","), "arguments")
    end = text.rfind("}")
    value = text[position:end].strip()
    if end < 0 or text[end + 1 :].strip():
        raise _unreadable("text behind the call", text)
    if not (len(value) > 1 and value[0] == value[-1] == "'"):
        return turns.read_call_object(text, "call")
    value = value[1:-1]
    try:
        return turns.read_call(name, value)
    except RowError:
        if "\\'" not in value:
            raise
        return turns.read_call(name, value.replace("\\'", "'"))  # JSON knows no such escape


def _turn(speaker: str, text: str) -> Iterator[Turn]:
    if speaker == "ASSISTANT:":
        for part in text.split(END):
            said, *calls = part.split(CALL)
            if said := said.strip().removeprefix("ASSISTANT:").removesuffix("ASSISTANT:").strip():
                yield turns.assistant(said)
            yield from (turns.called(read_call(call)) for call in calls)
    elif speaker == "USER:":
        if text:
            yield turns.user(text)
    elif speaker:
        yield turns.result(text.removesuffix(END).strip())
    elif text:
        raise RowError(rejects.UNREADABLE_MESSAGE, f"text before the first speaker: {short(text)}")


def _objects(text: str, position: int) -> Iterator[Any]:
    """The JSON objects that follow each other from `position` to the end."""
    while position < len(text):
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise RowError(rejects.BROKEN_TOOLS, f"{error}: {short(text[position : position + 200])}") from None
        yield turns.read_value(value, "function", rejects.BROKEN_TOOLS)
        while position < len(text) and text[position].isspace():
            position += 1


def _string_value(text: str, position: int, key: str) -> tuple[str, int]:
    """The JSON string that is the value of `key`, and the position behind it."""
    position = _key(text, position, key)
    try:
        value, position = _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError):
        raise _unreadable(f"no {key}", text) from None
    if not isinstance(value, str):
        raise _unreadable(f"{key} is not text", text)
    return value, position


def _key(text: str, position: int, key: str) -> int:
    """The position of the value behind `"key":`."""
    position = _after(text, _after(text, position, f'"{key}"'), ":")
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _after(text: str, position: int, expected: str) -> int:
    """The position behind `expected`, which comes next but for white space."""
    while position < len(text) and text[position].isspace():
        position += 1
    if not text.startswith(expected, position):
        raise _unreadable(f"expected {expected} at character {position}", text)
    return position + len(expected)


def _unreadable(problem: str, text: str) -> RowError:
    return RowError(rejects.UNREADABLE_CALL, f"{problem}: {short(text)}")


SOURCE = Source(
    name=NAME,
    help="Glaive function calling v2: a system text with functions and a transcript",
    licence=Licence(name="Apache-2.0", url="https://huggingface.co/datasets/glaiveai/glaive-function-calling-v2"),
    columns=("system", "chat"),
    optional=("id",),
    read_row=read_row,
    recognises=lambda row: {"system", "chat"} <= row.keys(),
    hub_id="glaiveai/glaive-function-calling-v2",
    hub_files=("glaive-function-calling-v2.json",),
)
