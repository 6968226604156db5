"""The `synthesize` command: what it writes, prints and refuses."""

import json

import pytest

from gemma_tool_use.conversation import conversation_from_dict
from gemma_tool_use.data.synthesize import main, read_tools, write_jsonl
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.errors import ConfigError, DataError, FileError

MCP_TOOL = {
    "name": "create_issue",
    "description": "Create an issue",
    "inputSchema": {
        "type": "object",
        "properties": {"title": {"type": "string"}, "fields": {"type": "object"}},
        "required": ["title"],
    },
}


def test_the_file_holds_the_generated_rows_in_stored_form(tmp_path, capsys):
    output = tmp_path / "rows.jsonl"
    assert main(["--count", "40", "--seed", "3", "--split", "heldout", "--output", str(output)]) == 0
    written = [conversation_from_dict(json.loads(line)) for line in output.read_text(encoding="utf-8").splitlines()]
    assert written == generate(count=40, seed=3, split="heldout")
    printed = capsys.readouterr().out
    assert "one_call" in printed and written[0].id in printed and written[1].id in printed
    assert list(tmp_path.iterdir()) == [output]


def test_rows_about_own_tools_name_what_was_left_out(tmp_path, capsys):
    tools, output = tmp_path / "tools.json", tmp_path / "rows.jsonl"
    tools.write_text(json.dumps({"tools": [MCP_TOOL]}))
    assert main(["--count", "20", "--tools", str(tools), "--output", str(output)]) == 0
    assert "left out: optional parameter 'fields' of create_issue" in " ".join(capsys.readouterr().out.split())
    assert '"create_issue"' in output.read_text()


def test_an_existing_file_is_refused_and_kept(tmp_path):
    output = tmp_path / "rows.jsonl"
    output.write_text("mine")
    with pytest.raises(FileError, match="exists already"):
        main(["--output", str(output)])
    assert output.read_text() == "mine"


def test_a_missing_folder_is_one_clear_error(tmp_path):
    with pytest.raises(FileError, match=r"cannot write .*No such file"):
        main(["--count", "1", "--output", str(tmp_path / "gone" / "rows.jsonl")])


def test_nothing_is_left_behind_when_writing_stops_half_way(tmp_path):
    def rows():
        yield from generate(count=1, seed=0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(tmp_path / "rows.jsonl", rows())
    assert not list(tmp_path.iterdir())


def test_a_count_of_zero_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="count is 0, expected at least 1"):
        main(["--count", "0", "--output", str(tmp_path / "rows.jsonl")])


@pytest.mark.parametrize(
    "content",
    [
        [MCP_TOOL],
        {"tools": [MCP_TOOL]},
        MCP_TOOL,
        [{"type": "function", "function": {"name": "create_issue", "parameters": MCP_TOOL["inputSchema"],
                                           "description": "Create an issue"}}],
    ],
)  # fmt: skip
def test_openai_and_mcp_files_give_the_same_tool(tmp_path, content):
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(content))
    (tool,) = read_tools(path)
    assert (tool.name, tool.description, tool.parameters) == (
        "create_issue",
        "Create an issue",
        MCP_TOOL["inputSchema"],
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not valid JSON"),
        ("[]", "holds no tools"),
        ('{"tools": {}}', "holds no tools"),
        ('[{"description": "x"}]', "tool 0: a tool needs a name"),
        ('[{"name": "x", "inputSchema": [1]}]', "tool 0: .*parameters must be a JSON object"),
    ],
)
def test_a_bad_tools_file_is_one_clear_error(tmp_path, content, message):
    path = tmp_path / "tools.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_tools(path)
    with pytest.raises(FileError, match="cannot read"):
        read_tools(tmp_path / "gone.json")
