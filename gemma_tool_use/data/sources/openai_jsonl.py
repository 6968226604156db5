"""Reads rows in the OpenAI `messages` + `tools` form: anybody's JSONL, and the folders `prepare` writes.

One line of JSONL (the stored form of `gemma_tool_use/conversation.py`; `arguments` may be an object or a JSON string):

    {"tools": [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}],
     "messages": [{"role": "user", "content": "What time is it?"},
                  {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "now"}}]}]}

A parquet file holds the same with `tools` and `messages` as JSON text, and optionally `id`, `source` and `meta`. A row
without an id gets its place (`rows.jsonl:3`). Unlike Toucan's, these rows state their calls, so nothing is merged. Rows
converted from other sets often keep their types (`float`, `dict`): parameters become JSON Schema (`schema.py`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gemma_tool_use.conversation import Conversation, ToolSpec, conversation_from_dict
from gemma_tool_use.data import rejects
from gemma_tool_use.data.files import strict_json
from gemma_tool_use.data.rejects import Reject, RowError, short
from gemma_tool_use.data.sources.names import NAMES
from gemma_tool_use.data.sources.schema import normalise_parameters
from gemma_tool_use.data.sources.source import Source
from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.json_value import check_value

NAME = "openai-jsonl"


def read_row(row: Mapping[str, Any], where: str) -> Conversation | Reject:
    """One row, its `tools` and `messages` lists or JSON text, as a conversation, or why it cannot be read."""
    row_id = _text(row.get("id")) or where
    try:
        tools = _list(row.get("tools"), rejects.BROKEN_TOOLS)
        messages = _list(row.get("messages"), rejects.BROKEN_MESSAGES)
        if not messages:
            raise RowError(rejects.NO_MESSAGES, "messages is missing or empty")
        meta = _meta(row.get("meta"))
        source = _text(row.get("source")) or NAME
        conversation = conversation_from_dict(
            {"id": row_id, "source": source, "tools": tools, "messages": messages, "meta": meta}
        )
        _check_values(conversation)
        return dataclasses.replace(conversation, tools=tuple(map(_normalised, conversation.tools, tools)))
    except RowError as error:
        return Reject(id=row_id, reason=error.reason, detail=error.detail, where=where)
    except DataError as error:
        return Reject(id=row_id, reason=_reason(str(error)), detail=str(error), where=where)


def _normalised(tool: ToolSpec, value: Any) -> ToolSpec:
    """The tool with parameters in JSON Schema, where `value` has Python types, no wrapper, or `required` beside them.

    Parameters that cannot be made JSON Schema stay as they are: the rules name the rows that call such a tool.
    """
    function = value.get("function", value)
    try:
        parameters = normalise_parameters(tool.parameters, required=function.get("required"))
    except RowError:
        return tool
    return dataclasses.replace(tool, parameters=parameters)


def _text(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() <= 64:  # Python writes no integer of over 4,300 digits
        value = str(value)
    return value if isinstance(value, str) else ""


def _list(value: Any, reason: str) -> list[Any]:
    value = _json(value, reason)
    if value is not None and not isinstance(value, list):
        raise RowError(reason, f"expected a list: {short(value)}")
    return value or []


def _meta(value: Any) -> dict[str, Any]:
    """What else is known of the row; `names` is the map of `names.py`, and nothing else may go by that name."""
    value = {} if value in (None, "") else _json(value, rejects.UNREADABLE_MESSAGE)
    if not isinstance(value, dict):
        raise RowError(rejects.UNREADABLE_MESSAGE, f"meta is not an object: {short(value)}")
    names = value.get(NAMES, {})
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise RowError(rejects.UNREADABLE_MESSAGE, f"meta.{NAMES} is no map of names to names: {short(names)}")
    return value


def _json(value: Any, reason: str) -> Any:
    try:
        return strict_json(value) if isinstance(value, str) else value
    except ValueError as error:
        raise RowError(reason, f"{error}: {short(value)}") from None


def _check_values(conversation: Conversation) -> None:
    """Refuses what is no JSON, or nested too deeply to be stored, wherever a row may hold any value."""
    values = [
        (rejects.UNREADABLE_MESSAGE, "meta", conversation.meta),
        *((rejects.UNREADABLE_TOOL, tool.name, tool.parameters) for tool in conversation.tools),
        *((rejects.BROKEN_ARGUMENTS, c.name, c.arguments) for message in conversation.messages for c in message.calls),
    ]
    for reason, name, value in values:
        try:
            check_value(value)
        except DataError as error:
            raise RowError(reason, f"{name}: {error}") from None


def _reason(error: str) -> str:
    """Sorts the errors of `conversation_from_dict`, which name the path first, into the reasons that are counted."""
    if ".arguments is not valid JSON" in error:
        return rejects.BROKEN_ARGUMENTS
    if ".arguments must be an object" in error:
        return rejects.ARGUMENTS_NOT_OBJECT
    if ".tool_calls" in error:
        return rejects.UNREADABLE_CALL
    return rejects.UNREADABLE_MESSAGE if error.startswith("messages") else rejects.UNREADABLE_TOOL


SOURCE = Source(
    name=NAME,
    help="OpenAI messages + tools, JSONL or parquet with JSON text; also the folders that prepare writes",
    licence=None,
    columns=("tools", "messages"),
    optional=("id", "source", "meta"),
    read_row=read_row,
    recognises=lambda row: "messages" in row,
)
