"""The prepare command: a whole folder or none, counts that add up, and rows that read back."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gemma_tool_use.data import prepare as command
from gemma_tool_use.data.prepare import PrepareConfig, main, prepare
from gemma_tool_use.data.rules import Rule
from gemma_tool_use.data.sources.load import load
from gemma_tool_use.errors import ConfigError, DataError, FileError


def toucan_row(i, *, name="now", subset="single-turn-original", broken=False):
    tools = [{"type": "function", "function": {"name": name}}]
    call = {"role": "tool_call", "content": str({"name": name, "arguments": "{" if broken else '{"a": "é"}'})}
    messages = [{"role": "user", "content": f"Time {i}?"}, call, {"role": "tool_response", "content": "12:00"}]
    texts = {"question": "q", "target_tools": name, "tools": json.dumps(tools), "messages": json.dumps(messages)}
    return {"uuid": f"u{i}", "subset_name": subset, **texts}


@pytest.fixture
def toucan_file(tmp_path: Path) -> Path:
    rows = [toucan_row(i) for i in range(20)]
    rows += [toucan_row(20, broken=True), toucan_row(21, subset="irrelevant"), toucan_row(22, name="my tool/now")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    return tmp_path / "train.parquet"


def test_the_folder_holds_conversations_rejects_and_a_manifest(toucan_file, tmp_path, capsys):
    output = tmp_path / "prepared" / "toucan"
    assert main(["--source", "toucan-sft", "--input", str(toucan_file), "--output", str(output)]) == 0

    assert sorted(path.name for path in output.iterdir()) == ["conversations.parquet", "manifest.json", "rejects.jsonl"]
    assert list(output.parent.iterdir()) == [output]
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["counts"] == {"kept": 21, "call arguments are not valid JSON": 1, "subset not asked for": 1}
    assert manifest["rows_read"] == 23 == sum(manifest["counts"].values())
    assert manifest["shortened"] == 21
    assert manifest["unusual_names"] == 1
    assert manifest["rule"]["max_tools_offered"] == 3
    digest = hashlib.sha256(toucan_file.read_bytes()).hexdigest()
    assert manifest["files"] == [{"file": str(toucan_file), "bytes": toucan_file.stat().st_size, "sha256": digest}]

    rejects = [json.loads(line) for line in (output / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(r["id"], r["reason"], r["where"]) for r in rejects] == [
        ("u20", "call arguments are not valid JSON", "train.parquet row 20"),
        ("u21", "subset not asked for", "train.parquet row 21"),
    ]

    table = pq.read_table(output / "conversations.parquet")
    assert table.column_names == ["id", "source", "tools", "messages"]
    first = table.slice(0, 1).to_pylist()[0]
    assert (first["id"], first["source"]) == ("u0", "toucan-sft/single-turn-original")
    assert '"arguments": {"a": "é"}' in first["messages"]

    printed = [line.split("│")[1:3] for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [[cell.strip() for cell in line] for line in printed] == [
        ["21", "kept"],
        ["1", "call arguments are not valid JSON"],
        ["1", "subset not asked for"],
        ["23", "rows read"],
    ]


def test_a_prepared_folder_reads_back_as_it_was_loaded(toucan_file, tmp_path):
    prepare(PrepareConfig(input=str(toucan_file), output=tmp_path / "out"))
    again = load("auto", str(tmp_path / "out"), rule=Rule())
    assert again.fingerprint == load("toucan-sft", str(toucan_file), rule=Rule()).fingerprint
    assert again.counts == {"kept": 21}
    assert not load("auto", str(tmp_path / "out"), rule=Rule(max_tools_used=1)).rejects


def test_more_rows_than_one_write_keep_their_order(toucan_file, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "WRITE_ROWS", 4)
    prepare(PrepareConfig(input=str(toucan_file), output=tmp_path / "out"))
    ids = pq.read_table(tmp_path / "out" / "conversations.parquet")["id"].to_pylist()
    assert ids == [f"u{i}" for i in (*range(20), 22)]


def test_an_existing_folder_with_content_is_refused_and_an_empty_one_used(toucan_file, tmp_path):
    used = tmp_path / "used"
    used.mkdir()
    config = PrepareConfig(input=str(toucan_file), output=used)
    prepare(config)
    with pytest.raises(FileError, match="exists already"):
        prepare(config)
    with pytest.raises(FileError, match="exists already"):
        prepare(PrepareConfig(input=str(toucan_file), output=toucan_file))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_is_left_behind_when_the_rows_are_refused(toucan_file, tmp_path, share):
    subsets = Rule.subsets if share == 0 else ("multi-turn",)
    with pytest.raises(DataError, match="cannot be read" if share == 0 else "none of 23 rows is kept"):
        prepare(PrepareConfig(input=str(toucan_file), output=tmp_path / "out", subsets=subsets, max_bad_share=share))
    assert list(tmp_path.iterdir()) == [toucan_file]


def test_a_folder_that_cannot_be_made_is_a_file_error(toucan_file):
    with pytest.raises(FileError, match="cannot write"):
        prepare(PrepareConfig(input=str(toucan_file), output=toucan_file / "below" / "a" / "file"))


def test_flags_reach_the_rule_and_problems_are_all_named(toucan_file, tmp_path):
    flags = ["--input", str(toucan_file), "--output", str(tmp_path / "o"), "--max-tools-used", "none", "--limit", "3"]
    assert main([*flags, "--no-first-call-only", "--subsets", "irrelevant", "single-turn-original"]) == 0
    manifest = json.loads((tmp_path / "o" / "manifest.json").read_text(encoding="utf-8"))
    assert (
        manifest["rule"]
        | {
            "subsets": ["irrelevant", "single-turn-original"],
            "single_turn": True,
            "max_tools_used": None,
            "max_tools_offered": 3,
            "first_call_only": False,
        }
        == manifest["rule"]
    )
    assert manifest["counts"] == {"kept": 3}
    with pytest.raises(ConfigError, match=r"max_bad_share.*limit.*max_tools_used"):
        PrepareConfig(input="x", output=tmp_path, max_bad_share=2, limit=0, max_tools_used=-1)
    with pytest.raises(ConfigError, match="--max-tools-offered"):
        main(["--input", "x", "--output", "y", "--max-tools-ofered", "3"])


def test_the_flags_default_to_the_rule():
    assert PrepareConfig(input="x", output=Path("y")).rule == Rule()
