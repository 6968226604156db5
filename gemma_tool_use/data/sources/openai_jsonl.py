"""Reads rows in the OpenAI `messages` + `tools` form: JSONL, gzipped JSONL, and the folders `prepare` writes.

One line of JSONL (the stored form of `gemma_tool_use/conversation.py`; `arguments` may be an object or a JSON string):

    {"tools": [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}],
     "messages": [{"role": "user", "content": "What time is it?"},
                  {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "now"}}]}]}

A parquet file holds the same with `tools` and `messages` as JSON text, and optionally `id` and `source`. A row without
an id gets `FILE:LINE`. Unlike Toucan's, these rows state their calls, so nothing is merged or paired.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gemma_tool_use.conversation import Conversation, conversation_from_dict
from gemma_tool_use.data import rejects
from gemma_tool_use.data.files import jsonl_lines, parquet_columns, parquet_rows, strict_json
from gemma_tool_use.data.rejects import Reject, RowError, short
from gemma_tool_use.errors import DataError

NAME = "openai-jsonl"
PREPARED_FILE = "conversations.parquet"
REQUIRED_COLUMNS = ("tools", "messages")
OPTIONAL_COLUMNS = ("id", "source")


def read(path: Path) -> Iterator[tuple[str, Conversation | Reject]]:
    """The place (`rows.jsonl:3`, or `rows.parquet row 2` counted from 0) and the outcome of each row of a file."""
    if path.suffix == ".parquet":
        optional = [name for name in OPTIONAL_COLUMNS if name in parquet_columns(path)]
        for number, row in parquet_rows(path, [*REQUIRED_COLUMNS, *optional]):
            where = f"{path.name} row {number}"
            yield where, read_row(row, where)
        return
    for number, line in jsonl_lines(path):
        where = f"{path.name}:{number}"
        yield where, read_line(line, where)


def read_line(line: bytes, where: str) -> Conversation | Reject:
    """One line of JSONL as a conversation, or why it cannot be read."""
    try:
        row = strict_json(line)
    except ValueError as error:
        return Reject(reason=rejects.BROKEN_LINE, detail=f"{error}: {short(line)}")
    if not isinstance(row, dict):
        return Reject(reason=rejects.BROKEN_LINE, detail=f"expected a JSON object: {short(line)}")
    return read_row(row, where)


def read_row(row: Mapping[str, Any], where: str) -> Conversation | Reject:
    """One row, its `tools` and `messages` lists or JSON text, as a conversation, or why it cannot be read."""
    row_id = str(row.get("id") or where)
    try:
        tools = _list(row.get("tools"), rejects.BROKEN_TOOLS)
        messages = _list(row.get("messages"), rejects.BROKEN_MESSAGES)
        if not messages:
            raise RowError(rejects.NO_MESSAGES, "messages is missing or empty")
        source = str(row.get("source") or NAME)
        return conversation_from_dict({"id": row_id, "source": source, "tools": tools, "messages": messages})
    except RowError as error:
        return Reject(id=row_id, reason=error.reason, detail=error.detail)
    except DataError as error:
        return Reject(id=row_id, reason=_reason(str(error)), detail=str(error))


def _list(value: Any, reason: str) -> list[Any]:
    try:
        value = strict_json(value) if isinstance(value, str) else value
    except ValueError as error:
        raise RowError(reason, f"{error}: {short(value)}") from None
    if value is not None and not isinstance(value, list):
        raise RowError(reason, f"expected a list: {short(value)}")
    return value or []


def _reason(error: str) -> str:
    """Sorts the errors of `conversation_from_dict`, which name the path first, into the reasons that are counted."""
    if ".arguments is not valid JSON" in error:
        return rejects.BROKEN_ARGUMENTS
    if ".arguments must be an object" in error:
        return rejects.ARGUMENTS_NOT_OBJECT
    if ".tool_calls" in error:
        return rejects.UNREADABLE_CALL
    return rejects.UNREADABLE_MESSAGE if error.startswith("messages") else rejects.UNREADABLE_TOOL
