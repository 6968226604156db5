"""The prepare command: a whole folder or none, counts that add up, and rows that read back."""

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import toucan_rows

from gemma_tool_use.data.prepare import PrepareConfig, main, prepare
from gemma_tool_use.data.rules import EVERYTHING, RuleSettings
from gemma_tool_use.data.sources.load import load
from gemma_tool_use.errors import ConfigError, DataError, FileError

QUESTIONS = [toucan_rows.question(toucan_rows.random.Random(n)) for n in range(40)]
HERE = ["--workers", "0"]


def some_rows():
    rows = [toucan_rows.row(i, question=QUESTIONS[i]) for i in range(20)]
    return [
        *rows,
        toucan_rows.row(20, question=QUESTIONS[20], arguments="{"),
        toucan_rows.row(21, question=QUESTIONS[21], subset="irrelevant"),
        toucan_rows.row(22, question=QUESTIONS[22], tools=("my tool/now",)),
        toucan_rows.row(23, question=QUESTIONS[5]),
    ]


@pytest.fixture
def toucan_file(tmp_path: Path) -> Path:
    return toucan_rows.write(tmp_path / "train.parquet", some_rows())


def config(path, output, **settings):
    return PrepareConfig(**{"input": (str(path),), "output": output, "workers": 0} | settings)


def contents(folder):
    """Name and bytes of every file that two equal runs share."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "run.json"}


def rejects_of(folder):
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text(encoding="ascii").splitlines()]


def test_the_folder_holds_conversations_rejects_and_a_manifest(toucan_file, tmp_path, capsys):
    output = tmp_path / "prepared" / "toucan"
    assert main(["--source", "toucan-sft", "--input", str(toucan_file), "--output", str(output), *HERE]) == 0

    names = ["funnel.svg", "manifest.json", "rejects.jsonl", "run.json", "train-00000-of-00001.parquet"]
    assert sorted(path.name for path in output.iterdir()) == names
    assert list(output.parent.iterdir()) == [output]
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["counts"] == {
        "kept": 21,
        "call arguments are not valid JSON": 1,
        "subset not asked for": 1,
        "exact duplicate": 1,
    }
    assert manifest["rows_read"] == 24 == sum(manifest["counts"].values())
    assert (manifest["train"], manifest["eval"], manifest["shortened"]) == (21, 0, 21)
    assert manifest["rules"]["max_tools_offered"] == 3
    assert [(row["id"], row["reason"], row["where"]) for row in rejects_of(output)] == [
        ("u20", "call arguments are not valid JSON", "train.parquet row 20"),
        ("u21", "subset not asked for", "train.parquet row 21"),
        ("u23", "exact duplicate", "train.parquet row 23"),
    ]
    assert "'u5' (train.parquet row 5)" in rejects_of(output)[2]["detail"]

    printed = [line.split("│")[1:4] for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [[cell.strip() for cell in line] for line in printed] == [
        ["24", "rows read", "24"],
        ["-1", "call arguments are not valid JSON", "23"],
        ["-1", "subset not asked for", "22"],
        ["-1", "exact duplicate", "21"],
        ["21", "kept", "21"],
    ]


def test_the_rows_are_text_columns_with_licence_and_names_as_the_source_wrote_them(toucan_file, tmp_path):
    prepare(config(toucan_file, tmp_path / "out", source=("toucan-sft",)))
    table = pq.read_table(tmp_path / "out" / "train-00000-of-00001.parquet")
    assert [(field.name, str(field.type)) for field in table.schema] == [
        (name, "string") for name in ("id", "source", "license", "tools", "messages", "meta")
    ]
    first, last = table.to_pylist()[0], table.to_pylist()[-1]
    assert (first["id"], first["source"], first["license"]) == ("u0", "toucan-sft/single-turn-original", "Apache-2.0")
    assert '"arguments":{"query":"é"}' in first["messages"]
    assert json.loads(last["meta"])["names"] == {"my_tool_now": "my tool/now"}


def test_names_sizes_and_hashes_of_inputs_and_outputs_are_in_the_manifest(toucan_file, tmp_path):
    manifest = prepare(config(toucan_file, tmp_path / "out", eval_share=0.3))
    (given,) = manifest["inputs"][0]["files"]
    digest = hashlib.sha256(toucan_file.read_bytes()).hexdigest()
    assert given == {"file": "train.parquet", "bytes": toucan_file.stat().st_size, "sha256": digest}
    written = {each["file"]: each for each in [*manifest["conversations"], *manifest["others"]]}
    there = contents(tmp_path / "out")
    assert written.keys() == there.keys() - {"manifest.json"}
    for name, each in written.items():
        assert (each["bytes"], each["sha256"]) == (len(there[name]), hashlib.sha256(there[name]).hexdigest())
    text = (tmp_path / "out" / "manifest.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text


def test_a_prepared_folder_reads_back_as_it_was_loaded(tmp_path):
    path = toucan_rows.write(tmp_path / "train.parquet", some_rows()[:-1])  # loading removes no duplicates
    prepare(config(path, tmp_path / "out"))
    again = load("auto", str(tmp_path / "out"), rule=RuleSettings())
    assert again.fingerprint == load("toucan-sft", str(path), rule=RuleSettings()).fingerprint
    assert again.counts == {"kept": 21}


def test_only_the_train_side_is_loaded_for_training(tmp_path):
    rows = [toucan_rows.row(i, question=QUESTIONS[i], tools=(f"tool_{i}",)) for i in range(40)]
    manifest = prepare(config(toucan_rows.write(tmp_path / "a.parquet", rows), tmp_path / "out", eval_share=0.25))
    assert (manifest["train"], manifest["eval"], manifest["split"]["reached"]) == (30, 10, 0.25)
    train = {each.id for each in load("auto", str(tmp_path / "out"), rule=EVERYTHING).conversations}
    held_out = {each["id"] for each in pq.read_table(tmp_path / "out" / "eval-00000-of-00001.parquet").to_pylist()}
    assert len(train) == 30
    assert train | held_out == {f"u{i}" for i in range(40)}


@pytest.mark.parametrize("workers", [0, 2])
def test_the_bytes_depend_neither_on_the_folder_nor_on_the_workers(tmp_path, workers):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        for i in range(3):
            toucan_rows.write(tmp_path / name / f"{i}.parquet", toucan_rows.rows(60, seed=i, start=60 * i))
    settings = {"source": ("toucan-sft",), "eval_share": 0.2, "shard_rows": 40}
    prepare(config(tmp_path / "one", tmp_path / "a" / "out", **settings, workers=0))
    shutil.copytree(tmp_path / "other", tmp_path / "elsewhere" / "one")
    prepare(config(tmp_path / "elsewhere" / "one", tmp_path / "b", **settings, workers=workers))
    assert contents(tmp_path / "a" / "out") == contents(tmp_path / "b")
    assert (tmp_path / "b" / "train-00002-of-00003.parquet").exists()


def test_rows_keep_their_order_over_shards(toucan_file, tmp_path):
    prepare(config(toucan_file, tmp_path / "out", shard_rows=8))
    shards = sorted((tmp_path / "out").glob("train-*.parquet"))
    assert [pq.read_metadata(path).num_rows for path in shards] == [8, 8, 5]
    ids = [each for path in shards for each in pq.read_table(path)["id"].to_pylist()]
    assert ids == [f"u{i}" for i in (*range(20), 22)]


def test_a_near_duplicate_is_named_and_may_be_kept(tmp_path):
    text = "please find the copper lantern near the old orchard and tell me how much the silver kettle costs today"
    rows = [
        toucan_rows.row(0, question=text),
        toucan_rows.row(1, question=text.replace("tell", "say")),
        toucan_rows.row(2, question=text, tools=("other", "find")),
    ]
    path = toucan_rows.write(tmp_path / "a.parquet", rows)
    manifest = prepare(config(path, tmp_path / "out"))
    assert manifest["counts"] == {"kept": 2, "near duplicate": 1}
    (left_out,) = rejects_of(tmp_path / "out")
    assert left_out["id"] == "u1"
    assert left_out["detail"].startswith("of 'u0' (a.parquet row 0): the same calls, question similarity 0.")
    assert prepare(config(path, tmp_path / "all", near_duplicates=False))["counts"] == {"kept": 3}


def test_weights_draw_from_several_inputs_of_different_sources(tmp_path):
    toucan = toucan_rows.write(
        tmp_path / "a.parquet", [toucan_rows.row(i, question=QUESTIONS[i]) for i in range(10, 40)]
    )
    own = tmp_path / "own.jsonl"
    calls = [{"type": "function", "function": {"name": "find", "arguments": {"query": "x"}}}]
    with own.open("w") as file:
        for i in range(10):
            messages = [{"role": "user", "content": QUESTIONS[i]}, {"role": "assistant", "tool_calls": calls}]
            file.write(json.dumps({"id": f"own{i}", "tools": [toucan_rows.tool("find")], "messages": messages}) + "\n")
    settings = {"input": (str(toucan), str(own)), "source": ("toucan-sft", "openai-jsonl"), "weights": ("1", "2")}
    manifest = prepare(config("", tmp_path / "out", **settings))
    assert manifest["counts"] == {"kept": 15, "left out by the mix": 25}
    table = pq.read_table(tmp_path / "out" / "train-00000-of-00001.parquet")
    assert table["id"].to_pylist()[5:] == [f"own{i}" for i in range(10)]
    assert table["license"].to_pylist() == ["Apache-2.0"] * 5 + [""] * 10
    assert [each["source"] for each in manifest["inputs"]] == ["toucan-sft", "openai-jsonl"]


def test_several_inputs_may_be_given_one_by_one(tmp_path):
    for i in range(2):
        toucan_rows.write(tmp_path / f"{i}.parquet", [toucan_rows.row(i, question=QUESTIONS[i])])
    inputs = [word for i in range(2) for word in ("--input", str(tmp_path / f"{i}.parquet"))]
    assert main([*inputs, "--output", str(tmp_path / "out"), *HERE]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in manifest["inputs"]] == ["0.parquet", "1.parquet"]
    assert manifest["counts"] == {"kept": 2}


def test_an_existing_folder_with_content_is_refused_and_an_empty_one_used(toucan_file, tmp_path):
    used = tmp_path / "used"
    used.mkdir()
    prepare(config(toucan_file, used))
    with pytest.raises(FileError, match="exists already"):
        prepare(config(toucan_file, used))
    with pytest.raises(FileError, match="exists already"):
        prepare(config(toucan_file, toucan_file))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_is_left_behind_when_the_rows_are_refused(toucan_file, tmp_path, share):
    subsets = RuleSettings().subsets if share == 0 else ("multi-turn",)
    with pytest.raises(DataError, match="cannot be read" if share == 0 else "none of 24 rows is kept"):
        prepare(config(toucan_file, tmp_path / "out", subsets=subsets, max_bad_share=share))
    assert list(tmp_path.iterdir()) == [toucan_file]


def test_a_folder_that_cannot_be_made_is_a_file_error(toucan_file):
    with pytest.raises(FileError, match="cannot write"):
        prepare(config(toucan_file, toucan_file / "below" / "a" / "file"))


def test_a_damaged_file_stops_the_run_unless_it_may_be_skipped(toucan_file, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(toucan_file, folder / "a.parquet")
    (folder / "b.parquet").write_bytes(toucan_file.read_bytes()[:-50])
    damaged = bytearray(toucan_file.read_bytes())
    damaged[300:400] = bytes(100)
    (folder / "c.parquet").write_bytes(damaged)
    settings = {"source": ("toucan-sft",)}
    with pytest.raises(DataError, match=r"b\.parquet"):
        prepare(config(folder, tmp_path / "out", **settings))
    with pytest.warns(UserWarning, match="is left out"):
        manifest = prepare(config(folder, tmp_path / "out", **settings, skip_bad_files=True))
    assert [each["part"].split()[0] for each in manifest["skipped"]] == ["b.parquet", "c.parquet"]
    assert manifest["counts"]["kept"] == 21
    assert str(tmp_path) not in json.dumps(manifest)


def test_the_limit_reads_no_further_than_it_must(toucan_file, tmp_path):
    manifest = prepare(config(toucan_file, tmp_path / "out", limit=3))
    assert manifest["counts"] == {"kept": 3}
    assert manifest["rows_read"] == 3


def test_flags_reach_the_rules_and_problems_are_all_named(toucan_file, tmp_path):
    flags = ["--input", str(toucan_file), "--output", str(tmp_path / "o"), "--max-tools-used", "none", *HERE]
    assert main([*flags, "--no-first-call-only", "--subsets", "irrelevant", "single-turn-original"]) == 0
    rules = json.loads((tmp_path / "o" / "manifest.json").read_text(encoding="utf-8"))["rules"]
    assert rules["subsets"] == ["irrelevant", "single-turn-original"]
    assert (rules["max_tools_used"], rules["max_tools_offered"], rules["first_call_only"]) == (None, 3, False)
    with pytest.raises(ConfigError, match=r"max_tools_used.*max_bad_share.*limit"):
        PrepareConfig(input=("x",), output=tmp_path, max_bad_share=2, limit=0, max_tools_used=-1)
    with pytest.raises(ConfigError, match=r"source must be one for all.*weights must be one for each"):
        PrepareConfig(input=("x",), output=tmp_path, source=("auto", "auto"), weights=("1", "2"))
    with pytest.raises(ConfigError, match="--max-tools-offered"):
        main(["--input", "x", "--output", "y", "--max-tools-ofered", "3"])


def test_the_flags_default_to_the_rules(tmp_path):
    assert PrepareConfig(input=("x",), output=tmp_path).rules == RuleSettings()


def test_the_rules_and_their_reasons_can_be_listed(capsys):
    assert main(["--list-rules"]) == 0
    printed = capsys.readouterr().out
    assert "subset: keeps Toucan rows of the subsets asked for" in printed
    assert "    undeclared tool called" in printed
