"""The check command: every fault with its line and remedy, a summary, an exit code, and no file that stops it."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_tokenizer import write_tiny_tokenizer

from gemma_tool_use.conversation import conversation_from_dict
from gemma_tool_use.data import check
from gemma_tool_use.data.analysis import faults as kinds
from gemma_tool_use.data.analysis.checking import CheckSettings, check_files, openai_rows
from gemma_tool_use.errors import ConfigError, FileError
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.formats.encode import encode
from gemma_tool_use.formats.tokenizer import load_tokenizer

TOOL = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


def row(question="Weather in Oslo?", name="get_weather", after=True, **changes):
    call = {"function": {"name": name, "arguments": {"city": "Oslo"}}}
    messages = [{"role": "user", "content": question}, {"role": "assistant", "tool_calls": [call]}]
    if after:
        messages += [{"role": "tool", "content": "3 degrees"}, {"role": "assistant", "content": "3 degrees in Oslo."}]
    return {"tools": [TOOL], "messages": messages, **changes}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tiny_tokenizer(folder)
    return folder


@pytest.fixture
def run_check(tokenizer, tmp_path, capsys):
    def run_it(rows, *flags, name="rows.jsonl"):
        path = tmp_path / name
        if isinstance(rows, list):
            rows = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in rows).encode()
        path.write_bytes(rows)
        code = check.main([str(path), "--model", str(tokenizer), "--max-length", "3000", *flags])
        return code, capsys.readouterr().out

    return run_it


def found(output):
    """`[("call of an undeclared tool", "rows.jsonl:3", path)]` of `--json`."""
    return [
        (fault["kind"], shown["where"], shown["path"])
        for fault in json.loads(output)["faults"]
        for shown in fault["shown"]
    ]


def test_a_clean_file_is_exit_code_0_and_its_tokens_are_counted(run_check, tokenizer):
    rows = [row(), row("And in Rome?"), row("And in Bonn?", after=False)]
    code, output = run_check(rows, "--json")
    assert code == 0
    result = json.loads(output)
    encoded = []
    for each in rows:
        cut = each | {"messages": each["messages"][:2]}
        segments = get_dialect("gemma_json").segments(conversation_from_dict(cut))
        encoded.append(encode(segments, load_tokenizer(tokenizer)))
    assert (result["clean"], result["rows"], result["usable"], result["faults"]) == (True, 3, 3, [])
    assert result["tokens"] == sum(len(each.tokens) for each in encoded)
    assert result["trained_tokens"] == sum(int(each.loss_mask.sum()) for each in encoded)
    assert result["longest"]["tokens"] == max(len(each.tokens) for each in encoded)
    longest = max(range(3), key=lambda i: len(encoded[i].tokens))
    assert result["longest"]["where"] == f"rows.jsonl:{longest + 1}"


def test_a_fault_is_printed_with_line_path_found_and_remedy(run_check):
    code, output = run_check([row(), row("Rome?", name="get_wether"), row("Bonn?")])
    assert code == 2
    lines = output.splitlines()
    assert lines[0] == "call of an undeclared tool: 1 in 1 row. Declare the tool in tools, or correct the name"
    assert lines[1] == (
        "  rows.jsonl:2 messages[1].tool_calls[0].function.name: got 'get_wether', expected one of 1 declared; did you "
        "mean 'get_weather'?"
    )
    assert lines[-1].startswith("3 rows, 2 usable: ")
    assert "Longest: " in lines[-1]


def test_faults_of_all_kinds_are_found_in_one_file(run_check):
    bfcl = "Find the area of a triangle with a base of 10 units and height of 5 units."
    rows = [
        row(),
        "{broken",
        row(),
        row("A?", name="get_wether"),
        "",
        row("B?", messages=[{"role": "user", "content": "Hi"}]),
        row(bfcl),
        row("C?", messages=[{"role": "user", "content": "x" * 9000}, {"role": "assistant", "content": "y"}]),
        row("D?", messages=[{"role": "human"}]),
        {"messages": [{"role": "user", "content": "1"}, {"role": "tool", "content": "2"}]},
        '{"messages": [{"role": "user", "content": "\\ud83d"}, {"role": "assistant", "content": "x"}]}',
    ]
    code, output = run_check(rows, "--json")
    assert code == 2
    assert [(kind, where) for kind, where, _ in found(output)] == [
        (kinds.BROKEN_JSON, "rows.jsonl:2"),
        (kinds.WRONG_ROLE, "rows.jsonl:9"),
        (kinds.NOT_UNICODE, "rows.jsonl:11"),
        (kinds.UNDECLARED_TOOL, "rows.jsonl:4"),
        (kinds.STRAY_RESULT, "rows.jsonl:10"),
        (kinds.NO_ANSWER, "rows.jsonl:6"),
        (kinds.NO_ANSWER, "rows.jsonl:10"),
        (kinds.NOT_WRITABLE, "rows.jsonl:10"),
        (kinds.NOT_WRITABLE, "rows.jsonl:11"),
        (kinds.TOO_LONG, "rows.jsonl:8"),
        (kinds.DUPLICATE_ROW, "rows.jsonl:3"),
        (kinds.BENCHMARK_QUESTION, "rows.jsonl:7"),
    ]
    assert json.loads(output)["usable"] == 1
    assert "as rows.jsonl:1" in output
    assert "column 2" in output


def test_lengths_are_those_of_the_rows_as_train_cuts_them(run_check):
    long_after = row()
    long_after["messages"][2]["content"] = "word " * 3000
    assert run_check([long_after])[0] == 0
    code, output = run_check([long_after], "--no-first-call-only")
    assert code == 2
    assert "tokens in gemma_json; expected at most 3000" in output
    assert run_check([long_after], "--no-first-call-only", "--max-length", "none")[0] == 0


def test_a_row_of_which_nothing_is_trained_is_a_fault(tmp_path, tokenizer):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row()))

    class Shows(type(get_dialect("hermes"))):
        """A dialect whose replies are never trained, as when a mask is inverted."""

        def render_body(self, reply):
            return []

    settings = CheckSettings(dialect=Shows(), tokenizer=load_tokenizer(tokenizer), max_length=None)
    checked = check_files([openai_rows(path)], settings)
    assert [*checked.faults] == [kinds.NOTHING_TRAINED]


def test_output_is_bounded_and_the_rest_is_counted(run_check):
    rows = [row(f"{i}?", name="get_wether") for i in range(50)]
    _, output = run_check(rows, "--show", "2")
    assert output.count("did you mean") == 2
    assert "call of an undeclared tool: 50 in 50 rows." in output
    assert "  ... and 48 more" in output


def test_a_row_can_not_write_to_the_terminal(run_check):
    _, output = run_check([row(name="\x1b[2J\u202e")])
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert "\\x1b[2J" in output


def test_a_question_of_ones_own_benchmark_is_found(run_check, tmp_path):
    (tmp_path / "mine.txt").write_text("Which platform does the night train to Bergen leave from?\n")
    question = row("which platform does the night train to bergen leave from")
    assert run_check([question])[0] == 0
    code, output = run_check([question], "--keep-out", str(tmp_path / "mine.txt"))
    assert code == 2
    assert "question of a benchmark" in output
    assert "mine.txt" in output


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.jsonl.gz", gzip.compress(b'{"messages": []}\n' * 9999)[:-20]),
        ("not.jsonl.gz", b"hello"),
        ("cut.parquet", b"PAR1\x00\x00\x00"),
        ("array.json", b'[{"messages": []}, {'),
        ("rows.txt", b"hello"),
    ],
)
def test_a_damaged_file_is_a_fault_that_names_it(run_check, name, content):
    code, output = run_check(content, name=name)
    assert code == 2
    assert kinds.UNREADABLE_FILE in output
    assert name in output


def test_binary_lines_are_faults_of_their_lines(run_check):
    code, output = run_check(b"\x00\xff\xfe\n" + json.dumps(row()).encode() + b"\n[1,2", "--json")
    assert code == 2
    assert [(kind, where) for kind, where, _ in found(output)] == [
        (kinds.BROKEN_JSON, "rows.jsonl:1"),
        (kinds.BROKEN_JSON, "rows.jsonl:3"),
    ]
    assert json.loads(output)["usable"] == 1


def test_parquet_and_json_arrays_are_checked_as_well(run_check, tmp_path, tokenizer, capsys):
    rows = [row(), row("B?", name="get_wether")]
    _, output = run_check(json.dumps(rows).encode(), "--json", name="rows.json")
    assert found(output) == [(kinds.UNDECLARED_TOOL, "rows.json row 1", "messages[1].tool_calls[0].function.name")]
    texts = [{"tools": json.dumps(each["tools"]), "messages": json.dumps(each["messages"])} for each in rows]
    pq.write_table(pa.Table.from_pylist(texts), tmp_path / "rows.parquet")
    assert check.main([str(tmp_path / "rows.parquet"), "--model", str(tokenizer), "--json"]) == 2
    assert found(capsys.readouterr().out)[0][:2] == (kinds.UNDECLARED_TOOL, "rows.parquet row 1")


def test_rows_of_another_source_are_checked_after_reading(tmp_path, tokenizer, capsys):
    rows = [
        {
            "uuid": f"u{i}",
            "subset_name": "irrelevant",
            "question": "q",
            "target_tools": "",
            "tools": json.dumps([{"type": "function", "function": TOOL}]),
            "messages": json.dumps(
                [
                    {"role": "user", "content": f"Weather {i}?"},
                    {"role": "tool_call", "content": str({"name": name, "arguments": arguments})},
                ]
            ),
        }
        for i, (name, arguments) in enumerate([("get_weather", "{}"), ("other", "{}"), ("get_weather", "{")])
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "toucan.parquet")
    words = [str(tmp_path / "toucan.parquet"), "--source", "toucan-sft", "--model", str(tokenizer), "--json"]
    assert check.main(words) == 2
    output = capsys.readouterr().out
    assert [(kind, where) for kind, where, _ in found(output)] == [
        (kinds.UNREADABLE_ROW, "toucan.parquet row 2"),
        (kinds.UNDECLARED_TOOL, "toucan.parquet row 1"),
    ]
    assert "call arguments are not valid JSON" in output


def test_mistakes_are_named(tmp_path: Path, tokenizer):
    with pytest.raises(FileError, match="absent"):
        check.main([str(tmp_path / "absent.jsonl"), "--model", str(tokenizer)])
    with pytest.raises(ConfigError, match="show must be 1 or more"):
        check.main(["x.jsonl", "--show", "0"])
    with pytest.raises(ConfigError, match="Did you mean 'hermes'"):
        check.main(["x.jsonl", "--dialect", "hermez"])
