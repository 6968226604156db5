r"""Reads Hermes function calling v1 (https://huggingface.co/datasets/NousResearch/hermes-function-calling-v1).

    {"id": "x", "category": "IoT", "subcategory": "Locks", "task": "Lock doors",
     "tools": "[{\"type\": \"function\", ...}]",
     "conversations": [
       {"from": "system", "value": "You are a function calling AI model. ... <tools>\n[...]\n</tools> ..."},
       {"from": "human", "value": "Lock it"},
       {"from": "gpt", "value": "<tool_call>\n{\"arguments\": {\"door\": 1}, \"name\": \"lock\"}\n</tool_call>"},
       {"from": "tool", "value": "<tool_response>\n{\"name\": \"lock\", \"content\": \"ok\"}\n</tool_response>"},
       {"from": "gpt", "value": "Locked."}]}

A system turn with `<tools>` is the prompt of Hermes and nothing else, so it is left out: a dialect has its own. Where
the column `tools` is empty (some Glaive rows), the tools are those of that turn. Some calls are Python dicts in single
quotes. The rows of the two JSON modes have a `schema` that the system turn repeats, no tools, and JSON as the answer.

Of the five files `func-calling-singleturn.json` is left out by default: it is the beginnings of `func-calling.json`.
"""

import ast
import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from gemma_tool_use.conversation import Conversation, Message, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import RowError, short
from gemma_tool_use.data.sources import turns
from gemma_tool_use.data.sources.source import Licence, Source
from gemma_tool_use.data.sources.turns import Row, Turn
from gemma_tool_use.formats.json_value import read_json

NAME = "hermes"
MAX_CALL_CHARS = 65_536
CALL, RESPONSE, TOOLS = "tool_call", "tool_response", "tools"
_META = ("category", "subcategory", "task")


@turns.reader
def read_row(row: Row, where: str) -> Conversation:
    """The turns as messages; `meta` has the row's category, subcategory and task."""
    items = turns.read_list(row.get("conversations"), "conversations", rejects.BROKEN_MESSAGES)
    said: list[Turn] = []
    answering: list[str | None] = []  # the name that each result gives
    for i, item in enumerate(items):
        for turn, name in _turns(item, f"conversations[{i}]"):
            said.append(turn)
            answering += [name] if turn.kind == "result" else []
    return Conversation(
        id=turns.row_id(row, where),
        source=f"{NAME}/{subset(row)}",
        tools=_tools(row, items),
        messages=_checked(turns.pair(said), answering),
        meta={key: row[key] for key in _META if isinstance(row.get(key), str)},
    )


def subset(row: Mapping[str, Any]) -> str:
    """`json-mode` for a row with a schema to answer in, else `function-calling`."""
    return "json-mode" if row.get("schema") else "function-calling"


def blocks(text: str, tag: str) -> Iterator[tuple[str, str | None]]:
    """The text before each `<tag>` and what stands in it; last the text behind all of them, with None.

    `"Sure. <t>1</t>"` gives `("Sure. ", "1")` and `("", None)`.

    Raises:
      RowError: a tag that is not closed.
    """
    position = 0
    while (start := text.find(f"<{tag}>", position)) >= 0:
        end = text.find(f"</{tag}>", start)
        if end < 0:
            raise RowError(rejects.UNREADABLE_CALL, f"<{tag}> without an end: {short(text[start:])}")
        yield text[position:start], text[start + len(tag) + 2 : end]
        position = end + len(tag) + 3
    yield text[position:], None


def read_call(text: str) -> Turn:
    """A call as JSON, or as a Python dict.

    `"{'name': 'lock', 'arguments': {'door': 'front'}}"` gives a call of `lock`.

    Raises:
      RowError: neither, or over `MAX_CALL_CHARS`; or no name, or arguments that are no object.
    """
    text = text.strip()
    if len(text) > MAX_CALL_CHARS:
        raise RowError(rejects.UNREADABLE_CALL, f"{len(text)} characters, more than {MAX_CALL_CHARS}")
    try:
        value = read_json(text)
    except ValueError as error:
        value = _literal(text, str(error))
    return turns.called(turns.read_call_object(value, "call"))


def _literal(text: str, problem: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # an escape that Python does not know
            return ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise RowError(rejects.UNREADABLE_CALL, f"{problem}: {short(text)}") from None


def _turns(item: Any, where: str) -> Iterator[tuple[Turn, str | None]]:
    """The turns of one message, and with a result the name of the function that answers."""
    speaker, value = (item.get("from"), item.get("value")) if isinstance(item, dict) else (None, None)
    text = turns.read_text(value, f"{where}.value")
    if speaker == "system":
        if _listed(text) is None:
            yield turns.system(text), None
    elif speaker == "human":
        yield turns.user(text), None
    elif speaker == "gpt":
        for said, call in blocks(text, CALL):
            if said.strip():
                yield turns.assistant(said.strip()), None
            if call is not None:
                yield read_call(call), None
    elif speaker == "tool":
        responses = [response for _, response in blocks(text, RESPONSE) if response is not None]
        yield from (_result(response) for response in (responses or [text]))
    else:
        raise RowError(rejects.UNREADABLE_MESSAGE, f"{where} is from {short(speaker)}")


def _result(text: str) -> tuple[Turn, str | None]:
    """`{"name": "lock", "content": "ok"}` gives `ok` of `lock`; whatever else is the result as it stands."""
    text = text.strip()
    try:
        value = read_json(text)
    except ValueError:
        return turns.result(text), None
    if not isinstance(value, dict) or value.keys() != {"name", "content"} or not isinstance(value["name"], str):
        return turns.result(text), None
    content = value["content"]
    return turns.result(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)), value["name"]


def _checked(messages: tuple[Message, ...], answering: list[str | None]) -> tuple[Message, ...]:
    """The messages, once each result is known to come from the function that was called."""
    results = [message for message in messages if message.role == "tool"]
    for message, name in zip(results, answering, strict=True):
        if name not in (None, message.name):
            raise RowError(rejects.UNPAIRED, f"{message.name} called, {name} answers")
    return messages


def _tools(row: Row, items: list[Any]) -> tuple[ToolSpec, ...]:
    if tools := turns.read_tools(_given(row.get(TOOLS))):
        return tools
    texts = (item.get("value") for item in items if isinstance(item, dict) and item.get("from") == "system")
    listed = next((found for text in texts if isinstance(text, str) and (found := _listed(text)) is not None), None)
    return turns.read_tools(_given(listed))


def _given(tools: Any) -> Any:
    """The tools, None when they are written as nothing in JSON's or Python's way."""
    return None if tools in ("", "null", "None") else tools


def _listed(text: str) -> str | None:
    """What the last `<tools>` of a system text holds (the sentence before it mentions an empty one); None without."""
    start = text.rfind(f"<{TOOLS}>")
    end = text.find(f"</{TOOLS}>", start)
    return text[start + len(TOOLS) + 2 : end].strip() if 0 <= start < end else None


def _recognises(row: Mapping[str, Any]) -> bool:
    items = row.get("conversations")
    first = items[0] if isinstance(items, list) and items else None
    return isinstance(first, dict) and {"category", "task"} <= row.keys() and {"from", "value"} <= first.keys()


SOURCE = Source(
    name=NAME,
    help="Hermes function calling v1: single and several turns, parallel calls, and JSON answers to a schema",
    licence=Licence(name="Apache-2.0", url="https://huggingface.co/datasets/NousResearch/hermes-function-calling-v1"),
    columns=("conversations",),
    optional=("id", "tools", "schema", *_META),
    read_row=read_row,
    recognises=_recognises,
    hub_id="NousResearch/hermes-function-calling-v1",
    hub_files=(
        "func-calling.json",
        "glaive-function-calling-5k.json",
        "json-mode-agentic.json",
        "json-mode-singleturn.json",
    ),
    subset=subset,
)
