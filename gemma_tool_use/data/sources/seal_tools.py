r"""Reads Seal-Tools (https://github.com/fairyshine/Seal-Tools, Apache-2.0): one request, five candidate functions.

The files of `dataset_for_finetune`, and their copy casey-martin/Seal-Tools on the hub, hold everything in two texts;
the functions and the calls are the Python repr of lists, read as literals and never evaluated:

    {"id": "dev-easy-0", "conversations": [
       {"from": "human", "value": "Please chooose ...\napi_list = [{'api_name': 'ping', 'api_description': '...',
        'parameters': {'host': {'type': 'str', 'description': '...'}}, 'required': ['host'], 'responses': {...}}]\n
        task_instruction = \"Ping example.org\"\nOutput:\n"},
       {"from": "gpt", "value": "[{'api': 'ping', 'parameters': {'host': 'example.org'}, 'responses': [...]}]"}]}

The files beside that folder hold `{"id", "query", "calling"}`, with the functions in a file of their own
(`tool.jsonl`). They are read when each row has been given its candidates as `api_list`.

A value `API_call_0` stands for the result of another call of the same answer, which a model cannot know when it writes
the call: such rows (1 in 20) are left out by name. Some requests have lost the quotation mark at their end. The rows
whose ids begin with `test` are the benchmark of the paper, and a source of their own.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from gemma_tool_use.conversation import Conversation, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import RowError, short
from gemma_tool_use.data.sources import turns
from gemma_tool_use.data.sources.source import Licence, Source
from gemma_tool_use.data.sources.turns import Row
from gemma_tool_use.formats.python_call import read_literal

NAME = "seal-tools"
TEST_NAME = "seal-tools-test"
NESTED = "an argument is the result of another call"
APIS, TASK, OUTPUT = "api_list = ", 'task_instruction = "', '"\nOutput:'
RESULT = "API_call_"


@turns.reader
def read_row(row: Row, where: str) -> Conversation:
    """A row whose id does not begin with `test`."""
    return _read(row, where, NAME, test=False)


@turns.reader
def read_test_row(row: Row, where: str) -> Conversation:
    """A row whose id begins with `test`."""
    return _read(row, where, TEST_NAME, test=True)


def _read(row: Row, where: str, source: str, *, test: bool) -> Conversation:
    row_id = turns.row_id(row, where)
    if row_id.startswith("test") is not test:
        raise RowError(turns.OTHER_SPLIT, f"{short(row_id)}: the ids of the benchmark's rows begin with 'test'")
    query, apis, calling = _parts(row)
    calls = [_call(item) for item in _dicts(calling, "calls", rejects.UNREADABLE_CALL)]
    if not calls:
        raise RowError(rejects.UNREADABLE_CALL, "no calls")
    tools = tuple(_tool(item) for item in _dicts(apis, "api_list", rejects.BROKEN_TOOLS))
    messages = turns.pair([turns.user(query), *map(turns.called, calls)])
    return Conversation(id=row_id, source=source, tools=tools, messages=messages)


def _parts(row: Row) -> tuple[str, Any, Any]:
    """The request, the functions and the calls of either form."""
    if row.get("conversations") is None:
        query = turns.read_text(row.get("query"), "query")
        if row.get("api_list") is None:
            detail = "the row has no api_list: add its functions from tool.jsonl, or take dataset_for_finetune"
            raise RowError(rejects.BROKEN_TOOLS, detail)
        return query, row["api_list"], row.get("calling")
    items = turns.read_list(row["conversations"], "conversations", rejects.BROKEN_MESSAGES)
    said = [(item.get("from"), item.get("value")) if isinstance(item, dict) else (None, None) for item in items]
    if [speaker for speaker, _ in said] != ["human", "gpt"]:
        raise RowError(rejects.UNREADABLE_MESSAGE, f"expected a turn of human and one of gpt: {short(items)}")
    query, apis = _prompt(turns.read_text(said[0][1], "human"))
    return query, apis, turns.read_text(said[1][1], "gpt")


def _prompt(text: str) -> tuple[str, Any]:
    """The request and the functions inside a prompt."""
    _, marker, rest = text.partition(APIS)
    if not marker:
        raise RowError(rejects.BROKEN_TOOLS, f"no {APIS!r} in the prompt: {short(text)}")
    apis, end = _literal(rest, "api_list", rejects.BROKEN_TOOLS)
    task = rest[end:].strip()
    closing = task.rfind(OUTPUT)
    if not task.startswith(TASK) or closing < len(TASK):
        raise RowError(rejects.UNREADABLE_MESSAGE, f"no {TASK!r} behind the functions: {short(task)}")
    return task[len(TASK) : closing], apis


def _literal(text: str, what: str, reason: str) -> tuple[Any, int]:
    try:
        return read_literal(text, 0)
    except ValueError as error:
        raise RowError(reason, f"{what}: {error}: {short(text)}") from None


def _dicts(value: Any, what: str, reason: str) -> Iterator[dict[str, Any]]:
    """The objects of a list, which may be given as the text of a Python literal or of JSON."""
    if isinstance(value, str):
        literal, end = _literal(value, what, reason)
        if value[end:].strip():
            raise RowError(reason, f"{what}: text behind the list: {short(value[end:])}")
        value = literal
    for item in turns.read_list(value, what, reason):
        if not isinstance(item, dict):
            raise RowError(reason, f"{what} holds something else than objects: {short(item)}")
        yield item


def _tool(api: Mapping[str, Any]) -> ToolSpec:
    parameters, required = api.get("parameters"), api.get("required")
    return turns.read_tool(
        {
            "name": api.get("api_name"),
            "description": api.get("api_description"),
            "parameters": parameters,
            "required": [] if required is None else required,
        }
    )


def _call(item: Mapping[str, Any]) -> ToolCall:
    call = turns.read_call(item.get("api"), item.get("parameters"))
    if any(_is_result(value) for value in call.arguments.values()):
        raise RowError(NESTED, f"{call.name}: {short(call.arguments)}")
    return call


def _is_result(value: Any) -> bool:
    """Whether `API_call_` and a number is the value, or stands anywhere inside it."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and value.startswith(RESULT) and value[len(RESULT) :].isdigit():
            return True
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return False


def _recognises(row: Row) -> bool:
    turns = row.get("conversations")
    value = turns[0].get("value") if isinstance(turns, list) and turns and isinstance(turns[0], dict) else None
    return {"query", "calling"} <= row.keys() or (isinstance(value, str) and APIS in value)


SOURCE = Source(
    name=NAME,
    help="Seal-Tools, training and development rows: one request, five functions, often several calls",
    licence=Licence(name="Apache-2.0", url="https://github.com/fairyshine/Seal-Tools"),
    columns=("id",),
    optional=("conversations", "query", "calling", "api_list"),
    read_row=read_row,
    recognises=_recognises,
    hub_id="casey-martin/Seal-Tools",
    hub_files=("*.json", "*.jsonl", "*.parquet"),
)
TEST_SOURCE = dataclasses.replace(
    SOURCE,
    name=TEST_NAME,
    help="Seal-Tools, the test rows of its paper",
    read_row=read_test_row,
    recognises=lambda row: False,
)
