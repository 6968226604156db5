r"""Reads tools without conversations: what an MCP server answers to `tools/list`, and lists of tools in other forms.

    read_tools(Path("tools.json"))     # [ToolSpec(name="web_search", ...), ...]

A file holds one of these, an array of them, or one on each line; parquet files have them as text in a column `tools`:

    {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "now", "inputSchema": {"type": "object"}}]}}
    {"tools": [...], "nextCursor": "..."}                                 the result alone
    {"name": "now", "description": "...", "inputSchema": {...}}           an MCP tool; also `input_schema`
    {"type": "function", "function": {"name": "now", "parameters": {}}}   a tool of OpenAI's API
    {"name": "now", "parameters": {...}}                                  a bare function

Parameters become JSON Schema (`schema.py`), without references that leave the schema: none is ever fetched. A server
that gives no schema takes no arguments; one that gives null is refused, as MCP does. Source of the form: the
specification of the Model Context Protocol, revision 2026-07-28, "Tools".
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gemma_tool_use.conversation import ToolSpec
from gemma_tool_use.data.files import read_rows, strict_json
from gemma_tool_use.data.limits import MAX_ROW_BYTES, cannot_read
from gemma_tool_use.data.rejects import BROKEN_TOOLS, UNREADABLE_TOOL, Reject, RowError, short
from gemma_tool_use.data.sources import turns
from gemma_tool_use.data.sources.schema import normalise_parameters
from gemma_tool_use.errors import DataError

_SCHEMA_KEYS = ("inputSchema", "input_schema", "parameters")
_DRAFTS = ("draft-04", "draft-06", "draft-07", "draft/2019-09", "draft/2020-12")
_SHOWN = 5


def read_tools(path: Path) -> list[ToolSpec]:
    """The tools of a file in its order, each once. Two servers may use one name; within a list it stands for one tool.

    Raises:
      FileError: the file cannot be opened.
      DataError: it cannot be read, holds no tool, or one that is not usable; names the first five of these.
    """
    found = list(iterate_tools(path))
    bad = [one for one in found if isinstance(one, Reject)]
    if bad:
        listed = "; ".join(f"{one.where}: {one.detail}" for one in bad[:_SHOWN])
        raise DataError(f"{path}: {len(bad)} of {len(found)} tools cannot be used: {listed}")
    if not found:
        raise DataError(f"{path} holds no tools")
    tools: list[ToolSpec] = []
    for tool in found:
        if isinstance(tool, ToolSpec) and tool not in tools:
            tools.append(tool)
    return tools


def iterate_tools(path: Path) -> Iterator[ToolSpec | Reject]:
    """Every tool of a file, or why it cannot be used.

    Raises:
      FileError, DataError: the file cannot be read.
    """
    if path.suffix == ".json" and (document := _document(path)) is not None:
        yield from tools_of(document, path.name)
        return
    for where, row in read_rows(path, ("tools",)):
        if isinstance(row, Reject):
            yield row
        else:
            yield from tools_of(row, where)


def tools_of(value: Any, where: str) -> Iterator[ToolSpec | Reject]:
    """Every tool of one answer, list or tool, or why it cannot be used. Pure and total."""
    try:
        items = _items(value)
    except RowError as error:
        yield Reject(reason=error.reason, detail=error.detail, where=where)
        return
    seen: dict[str, ToolSpec] = {}
    for i, item in enumerate(items):
        place = where if len(items) == 1 else f"{where} tools[{i}]"
        try:
            tool = read_tool(item)
            if seen.setdefault(tool.name, tool) != tool:
                raise RowError(UNREADABLE_TOOL, f"{tool.name!r} is defined twice, differently")
        except RowError as error:
            yield Reject(reason=error.reason, detail=error.detail, where=place)
        else:
            yield tool


def read_tool(value: Any) -> ToolSpec:
    """One tool, in any of the forms of the module docstring.

    `{"name": "now", "inputSchema": {"type": "object"}}` gives `ToolSpec(name="now")`.

    Raises:
      RowError: no object, no name, a null schema, one of an unknown draft, or one that `normalise_parameters` refuses.
    """
    function = value.get("function", value) if isinstance(value, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name.strip():
        raise RowError(UNREADABLE_TOOL, f"a tool needs a name: {short(value)}")
    description = function.get("description")
    if description is not None and not isinstance(description, str):
        raise RowError(UNREADABLE_TOOL, f"{name}: description is not text: {short(description)}")
    key = next((key for key in _SCHEMA_KEYS if key in function), None)
    schema = function[key] if key else {}
    if schema is None and key != "parameters":
        raise RowError(UNREADABLE_TOOL, f"{name}: {key} is null; leave it out for a tool without arguments")
    draft = schema.get("$schema", _DRAFTS[-1]) if isinstance(schema, dict) else _DRAFTS[-1]
    if not isinstance(draft, str) or not draft.strip("#/").removesuffix("/schema").endswith(_DRAFTS):
        raise RowError(UNREADABLE_TOOL, f"{name}: {key} is of an unknown dialect of JSON Schema: {short(draft)}")
    try:
        parameters = normalise_parameters(schema, required=function.get("required"))
    except RowError as error:
        raise RowError(error.reason, f"{name}: {error.detail}") from None
    return ToolSpec(name=name, description=description or "", parameters=parameters)


def _document(path: Path) -> Any:
    """The one JSON value that a file holds; None when it is too long for one, or has a value on each line."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_ROW_BYTES + 1)
    except OSError as error:
        cannot_read(path, error)
    if len(text) > MAX_ROW_BYTES:
        return None
    try:
        return strict_json(text.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        if text.lstrip().partition(b"\n")[0].rstrip() == b"{":
            raise DataError(f"{path} is not valid JSON: {error}") from None
        return None


def _items(value: Any) -> list[Any]:
    """The tools of an answer, a list of tools (also as text), or one tool."""
    value = turns.read_value(value, "tools", BROKEN_TOOLS)
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        raise RowError(BROKEN_TOOLS, f"the server answered with an error: {short(value['error'])}")
    if isinstance(value, dict) and isinstance(value.get("result"), dict):
        value = value["result"]
    if isinstance(value, dict) and "tools" in value and "name" not in value:
        value = turns.read_value(value["tools"], "tools", BROKEN_TOOLS)
        if not isinstance(value, list):
            raise RowError(BROKEN_TOOLS, f"tools is not a list: {short(value)}")
    return value if isinstance(value, list) else [value]
