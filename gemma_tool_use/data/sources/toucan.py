"""Reads the SFT configuration of Toucan-1.5M (https://huggingface.co/datasets/Agent-Ark/Toucan-1.5M, Apache-2.0).

Six text columns: uuid, subset_name, question, target_tools, tools, messages. `tools` is a JSON list in OpenAI form and
`messages` a JSON list with the roles of ms-swift (`data/ms_swift_format_converter.ipynb` in TheAgentArk/Toucan):

    [{"role": "user", "content": "What is 3 km in miles?"},
     {"role": "tool_call", "content": "{'name': 'unit-convert', 'arguments': '{\\"value\\": 3, \\"to\\": \\"mi\\"}'}"},
     {"role": "tool_response", "content": "1.86"},
     {"role": "assistant", "content": "About 1.86 miles."}]

The content of a `tool_call` is the Python repr of a dict whose `arguments` is a JSON string; apostrophes in it flip the
quoting, so it is neither JSON nor fit for a replacement of quotes. Text that precedes a call is an `assistant` message
of its own. Parallel calls are K `tool_call` messages, then K `tool_response` messages in the same order, without ids.
"""

import ast
import itertools
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec, tool_from_dict
from gemma_tool_use.data import rejects, rules
from gemma_tool_use.data.files import parquet_rows, strict_json
from gemma_tool_use.data.rejects import Reject, RowError, short
from gemma_tool_use.errors import DataError

NAME = rules.TOUCAN_SFT
HUB_ID = "Agent-Ark/Toucan-1.5M"
HUB_FOLDER = "SFT"
COLUMNS = ("uuid", "subset_name", "tools", "messages")
ROLES = ("system", "user", "assistant", "tool_call", "tool_response")
# `ast` needs several hundred bytes per element; a call of this many characters (some 60,000 tokens) trains nothing.
MAX_CALL_CHARS = 262_144


def read(path: Path) -> Iterator[tuple[str, Conversation | Reject]]:
    """The place (`train.parquet row 7`, counted from 0) and the outcome of each row of a parquet file."""
    for number, row in parquet_rows(path, COLUMNS):
        yield f"{path.name} row {number}", read_row(row)


def read_row(row: Mapping[str, Any]) -> Conversation | Reject:
    """One row as a conversation, or why it cannot be read.

    The messages of the module docstring become `user`, `assistant` with one call, `tool` named `unit-convert`, and
    `assistant`. An assistant text directly before calls becomes the content of the message that carries them, and
    assistant texts in a row are joined by an empty line. The source of the conversation is `toucan-sft/SUBSET`.
    """
    row_id = str(row.get("uuid") or "")
    try:
        items = _json_list(row.get("messages"), rejects.BROKEN_MESSAGES)
        if not items:
            raise RowError(rejects.NO_MESSAGES, "the list of messages is empty")
        tools = tuple(_tool(tool) for tool in _json_list(row.get("tools"), rejects.BROKEN_TOOLS))
        messages = tuple(_messages(items))
    except RowError as error:
        return Reject(id=row_id, reason=error.reason, detail=error.detail)
    return Conversation(id=row_id, source=f"{NAME}/{row.get('subset_name') or ''}", tools=tools, messages=messages)


def read_call(content: str) -> ToolCall:
    """`"{'name': 'f', 'arguments': '{\\"a\\": 1}'}"` gives `ToolCall(name="f", arguments={"a": 1})`.

    Raises:
      RowError: anything else, with the reason that is counted.
    """
    if len(content) > MAX_CALL_CHARS:
        raise RowError(rejects.UNREADABLE_CALL, f"{len(content)} characters, more than {MAX_CALL_CHARS}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # an unknown escape such as \d in hand-made rows
            call = ast.literal_eval(content)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise RowError(rejects.UNREADABLE_CALL, f"{type(error).__name__}: {short(content)}") from None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        raise RowError(rejects.UNREADABLE_CALL, f"expected a dict with a name: {short(content)}")
    text = call.get("arguments")
    if not isinstance(text, str):
        raise RowError(rejects.UNREADABLE_CALL, f"expected arguments as a JSON string: {short(content)}")
    try:
        arguments = strict_json(text)
    except ValueError as error:
        raise RowError(rejects.BROKEN_ARGUMENTS, f"{call['name']}: {error}: {short(text)}") from None
    if not isinstance(arguments, dict):
        raise RowError(rejects.ARGUMENTS_NOT_OBJECT, f"{call['name']}: {short(text)}")
    return ToolCall(name=call["name"], arguments=arguments)


def _messages(items: list[Any]) -> Iterator[Message]:
    pairs = [_role_and_content(item, i) for i, item in enumerate(items)]
    groups = [(role, [text for _, text in group]) for role, group in itertools.groupby(pairs, key=lambda pair: pair[0])]
    nothing: tuple[str, list[str]] = ("", [])
    calls: tuple[ToolCall, ...] = ()
    for before, (role, texts), after in zip([nothing, *groups], groups, [*groups[1:], nothing], strict=False):
        if role == "tool_call":
            calls = tuple(read_call(text) for text in texts)
            if after is not nothing and (after[0] != "tool_response" or len(after[1]) != len(calls)):
                raise RowError(rejects.UNPAIRED, f"{len(calls)} calls, then {len(after[1])} {after[0]} messages")
            text = "\n\n".join(before[1]) if before[0] == "assistant" else ""
            yield Message(role="assistant", content=text, calls=calls)
        elif role == "tool_response":
            if before[0] != "tool_call":
                raise RowError(rejects.UNPAIRED, f"a tool_response after {before[0] or 'nothing'}")
            for text, call in zip(texts, calls, strict=True):
                yield Message(role="tool", content=text, name=call.name)
        elif role == "assistant":
            if after[0] != "tool_call":
                yield Message(role="assistant", content="\n\n".join(texts))
        else:
            yield from (Message(role="user" if role == "user" else "system", content=text) for text in texts)


def _role_and_content(item: Any, i: int) -> tuple[str, str]:
    if not isinstance(item, dict):
        raise RowError(rejects.UNREADABLE_MESSAGE, f"messages[{i}] is not an object: {short(item)}")
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        raise RowError(rejects.UNREADABLE_MESSAGE, f"messages[{i}].role is {short(role)}, expected one of {ROLES}")
    if not isinstance(content, str):
        raise RowError(rejects.UNREADABLE_MESSAGE, f"messages[{i}].content is not text: {short(content)}")
    return role, content


def _tool(value: Any) -> ToolSpec:
    try:
        return tool_from_dict(value)
    except DataError as error:
        raise RowError(rejects.UNREADABLE_TOOL, str(error)) from None


def _json_list(text: Any, reason: str) -> list[Any]:
    try:
        value = strict_json(text) if isinstance(text, str) else None
    except ValueError as error:
        raise RowError(reason, f"{error}: {short(text)}") from None
    if not isinstance(value, list):
        raise RowError(reason, f"expected a JSON list: {short(text)}")
    return value
