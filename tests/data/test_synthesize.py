"""The `synthesize` command: what it writes, prints and refuses."""

import json

import pytest
from teacher_server import TOOLS, TeacherServer

from gemma_tool_use.conversation import conversation_from_dict
from gemma_tool_use.data.synthesize import main, write_jsonl
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


def test_a_bad_tools_file_is_one_clear_error(tmp_path):
    path = tmp_path / "tools.json"
    path.write_text('[{"description": "x"}]')
    with pytest.raises(DataError, match="a tool needs a name"):
        main(["--tools", str(path), "--output", str(tmp_path / "rows.jsonl")])
    with pytest.raises(FileError, match="cannot read"):
        main(["--tools", str(tmp_path / "gone.json"), "--output", str(tmp_path / "rows.jsonl")])


def test_flags_of_the_teacher_need_a_teacher_and_those_of_templates_need_none(tmp_path):
    with pytest.raises(ConfigError, match="max_cost needs --teacher"):
        main(["--max-cost", "1", "--output", str(tmp_path / "rows.jsonl")])
    with pytest.raises(ConfigError, match="split belongs to the templates"):
        main(["--teacher", "http://x", "--split", "heldout", "--output", str(tmp_path / "rows.jsonl")])


def test_a_teacher_writes_rows_about_all_tools_files(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TEACHER_API_KEY", "tk-PLANTED-0123456789")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-PLANTED-0123456789")
    files = []
    for tool in TOOLS:
        files.append(tmp_path / f"{tool['name']}.json")
        files[-1].write_text(json.dumps(tool))
    output = tmp_path / "rows.jsonl"
    with TeacherServer() as server:
        flags = ["--teacher", server.url, "--teacher-model", "teacher-1", "--count", "12", "--price-in", "1"]
        flags += ["--price-out", "2", "--output", str(output), "--tools", *map(str, files)]
        assert main(flags) == 0
        assert {headers["authorization"] for headers in server.headers} == {"Bearer tk-PLANTED-0123456789"}
    rows = [conversation_from_dict(json.loads(line)) for line in output.read_text().splitlines()]
    assert len(rows) == 12 and {tool.name for row in rows for tool in row.tools} == {tool["name"] for tool in TOOLS}
    printed = capsys.readouterr().out
    n = len(server.bodies)
    assert f"{n} answers" in printed and f"cost {n * 140 / 1e6:.4f}" in printed and "Licence" in printed
    manifest = json.loads((tmp_path / "rows.teacher" / "manifest.json").read_text())
    assert [file["file"] for file in manifest["tools_files"]] == list(map(str, files))
    assert manifest["settings"]["endpoint"] in server.url and "PLANTED" not in json.dumps(manifest) + printed


def test_a_run_that_reaches_its_ceiling_says_how_to_go_on(tmp_path, capsys):
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    with TeacherServer() as server:
        flags = ["--teacher", server.url, "--teacher-model", "teacher-1", "--output", str(tmp_path / "rows.jsonl")]
        flags += ["--tools", str(tmp_path / "tools.json")]
        assert main([*flags, "--price-in", "1000", "--max-cost", "3"]) == 1
    assert "a higher --max-cost continues" in " ".join(capsys.readouterr().out.split())
