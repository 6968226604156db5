"""Tools without conversations: every form in which they are passed around, and what no server may make us do."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gemma_tool_use.conversation import ToolSpec
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.sources.mcp import iterate_tools, read_tool, read_tools, tools_of
from gemma_tool_use.errors import DataError, FileError

SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
MCP = {
    "name": "web_search",
    "title": "Search",
    "description": "Search the web",
    "inputSchema": SCHEMA,
    "annotations": {},
}
SEARCH = ToolSpec(name="web_search", description="Search the web", parameters=SCHEMA)
BARE = {"name": "web_search", "description": "Search the web", "parameters": SCHEMA}
NOW = {"name": "now"}
FORMS = {
    "an answer": {"jsonrpc": "2.0", "id": 1, "result": {"tools": [MCP], "nextCursor": "x"}},
    "a result": {"tools": [MCP]},
    "a list": [MCP],
    "a tool": MCP,
    "snake case": {"name": "web_search", "description": "Search the web", "input_schema": SCHEMA},
    "OpenAI": {"type": "function", "function": BARE},
    "OpenAI request": {"model": "m", "tools": [{"type": "function", "function": BARE}]},
    "a function": BARE,
    "text in a column": {"server": "s", "tools": json.dumps([MCP])},
    "Python types": {**BARE, "parameters": {"query": {"type": "str"}}},
    "required beside": {**BARE, "parameters": {"properties": {"query": {"type": "STRING"}}}, "required": ["query"]},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_tool(tmp_path, form):
    (tmp_path / "tools.json").write_text(json.dumps(form, indent=2))
    assert read_tools(tmp_path / "tools.json") == [SEARCH]
    line = json.dumps(form).encode()
    if isinstance(form, dict):
        (tmp_path / "tools.jsonl.gz").write_bytes(gzip.compress(line + b"\n" + json.dumps(NOW).encode()))
        assert read_tools(tmp_path / "tools.jsonl.gz") == [SEARCH, ToolSpec(name="now")]


def test_a_parquet_file_of_servers(tmp_path):
    pq.write_table(
        pa.table({"server": ["a", "b"], "tools": [json.dumps([MCP]), json.dumps([MCP, NOW])]}), tmp_path / "t.parquet"
    )
    assert read_tools(tmp_path / "t.parquet") == [SEARCH, ToolSpec(name="now")]


def test_lines_in_a_json_file(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(MCP) + "\n" + json.dumps(NOW))
    assert [tool.name for tool in read_tools(tmp_path / "t.json")] == ["web_search", "now"]


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"$schema": "http://json-schema.org/draft-07/schema#"}])
def test_a_tool_may_take_no_arguments(schema):
    assert read_tool({"name": "now", "inputSchema": schema}).parameters["properties"] == {}


def nested(levels):
    schema: dict = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ({}, "a tool needs a name"),
        ({"name": 3}, "a tool needs a name"),
        ({"name": " "}, "a tool needs a name"),
        ("now", "tools: "),
        (3, "a tool needs a name"),
        ({"name": "now", "description": 3}, "now: description is not text"),
        ({"name": "now", "inputSchema": None}, "now: inputSchema is null"),
        ({"name": "now", "inputSchema": {"$schema": "https://example.com/mine"}}, "now: inputSchema is of an unknown"),
        ({"name": "now", "inputSchema": {"$schema": 3}}, "now: inputSchema is of an unknown"),
        ({"name": "now", "inputSchema": {"type": "array"}}, "now: parameters.type: expected object"),
        ({"name": "now", "inputSchema": {"$ref": "https://example.com/s.json"}}, "now: parameters.$ref: only"),
        ({"name": "now", "inputSchema": {"properties": {"a": {"$ref": "file:///a"}}}}, "now: parameters.properties.a"),
        ({"name": "now", "inputSchema": nested(40)}, "tools: a value is nested deeper"),
        ({"jsonrpc": "2.0", "error": {"message": "no such method"}}, "the server answered with an error"),
        ({"tools": {"now": {}}}, "tools is not a list"),
        ({"tools": "[broken"}, "tools: "),
        ([NOW, {"name": "now", "description": "other"}], "'now' is defined twice, differently"),
    ],
)  # fmt: skip
def test_what_is_no_usable_tool_says_why(value, detail):
    outcome = list(tools_of(value, "t.jsonl:1"))[-1]
    assert isinstance(outcome, Reject)
    assert outcome.detail.startswith(detail), outcome.detail
    assert outcome.where.startswith("t.jsonl:1")


def test_all_unusable_tools_are_named_at_once_or_passed_on(tmp_path):
    path = tmp_path / "tools.json"
    path.write_text(json.dumps({"tools": [MCP, {"name": "a", "inputSchema": None}, {"description": "b"}]}))
    with pytest.raises(
        DataError, match=r"2 of 3 tools cannot be used: tools\.json tools\[1\]: a: .*; tools\.json tools\[2\]"
    ):
        read_tools(path)
    assert [isinstance(each, Reject) for each in iterate_tools(path)] == [False, True, True]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[]", "holds no tools"),
        ('{\n"tools": [', "not valid JSON"),
        ("[{", "not a whole JSON array"),
        ("x", "cannot be used"),
    ],
)
def test_a_file_without_tools_is_an_error(tmp_path, content, problem):
    (tmp_path / "tools.json").write_text(content)
    with pytest.raises(DataError, match=problem):
        read_tools(tmp_path / "tools.json")


def test_a_file_that_is_not_there_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="cannot read"):
        read_tools(tmp_path / "gone.json")
