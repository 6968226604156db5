"""Files, folders and broken inputs: what is read, what adds up, and one clear error for each mistake."""

import dataclasses
import gzip
import json
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gemma_tool_use.conversation import conversation_to_dict
from gemma_tool_use.data import rejects, rules
from gemma_tool_use.data.rules import EVERYTHING, RuleSettings
from gemma_tool_use.data.sources.load import load, locate
from gemma_tool_use.errors import ConfigError, DataError, FileError

TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
CALL = {"role": "tool_call", "content": "{'name': 'now', 'arguments': '{}'}"}
LINE = {
    "id": "a1",
    "tools": [TOOL],
    "messages": [
        {"role": "user", "content": "Time?"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "now", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "x", "content": "12:00"},
        {"role": "assistant", "content": "Noon."},
    ],
}


def toucan_row(i=0, subset="single-turn-original", tools=1, messages=None):
    if messages is None:
        messages = json.dumps([{"role": "user", "content": f"Time {i}?"}, CALL])
    offered = [TOOL, *({"type": "function", "function": {"name": f"t{n}"}} for n in range(1, tools))]
    texts = {"question": "q", "target_tools": "now", "tools": json.dumps(offered), "messages": messages}
    return {"uuid": f"u{i}", "subset_name": subset, **texts}


def write_parquet(path: Path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def write_lines(path: Path, *lines):
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return str(path)


def test_kept_and_rejects_add_up_to_the_rows_read(tmp_path):
    rows = [
        *(toucan_row(i) for i in range(12)),
        toucan_row(12, subset="multi-turn"),
        toucan_row(13, tools=4),
        toucan_row(14, messages="[oops"),
    ]
    loaded = load("toucan-sft", write_parquet(tmp_path / "t.parquet", rows), rule=RuleSettings())
    assert loaded.counts == {
        "kept": 12,
        "subset not asked for": 1,
        "more than 3 tools offered": 1,
        "messages are not valid JSON": 1,
    }
    assert loaded.shortened == 0
    assert len(loaded.conversations) + len(loaded.rejects) == len(rows) == sum(loaded.counts.values())
    assert [(r.id, r.where) for r in loaded.rejects] == [(f"u{i}", f"t.parquet row {i}") for i in (12, 13, 14)]


def test_a_folder_in_the_hubs_layout_reads_its_sft_shards_in_order(tmp_path):
    for shard in (1, 0):
        write_parquet(tmp_path / f"SFT/train-0000{shard}-of-00002.parquet", [toucan_row(shard)])
    write_parquet(tmp_path / "OSS/train-00000-of-00001.parquet", [{"uuid": "x"}])
    loaded = load("toucan-sft", str(tmp_path), rule=RuleSettings())
    assert [c.id for c in loaded.conversations] == ["u0", "u1"]
    assert load("auto", str(tmp_path / "SFT"), rule=RuleSettings()).fingerprint == loaded.fingerprint


def test_a_folder_without_all_its_shards_is_read_with_a_warning(tmp_path):
    write_parquet(tmp_path / "train-00000-of-00003.parquet", [toucan_row()])
    with pytest.warns(UserWarning, match="1 of the 3 shards of 'train'"):
        assert load("toucan-sft", str(tmp_path), rule=RuleSettings()).counts == {"kept": 1}


def test_limit_stops_after_that_many_kept(tmp_path):
    rows = [toucan_row(0, subset="irrelevant"), *(toucan_row(i) for i in range(1, 9))]
    loaded = load("toucan-sft", write_parquet(tmp_path / "t.parquet", rows), rule=RuleSettings(), limit=2)
    assert loaded.counts == {"kept": 2, "subset not asked for": 1}


def test_jsonl_survives_bom_crlf_blank_lines_and_gzip(tmp_path):
    text = b"\xef\xbb\xbf" + json.dumps(LINE).encode() + b"\r\n\r\n   \n" + json.dumps(LINE | {"id": ""}).encode()
    (tmp_path / "rows.jsonl").write_bytes(text)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(text))
    plain = load("auto", str(tmp_path / "rows.jsonl"), rule=EVERYTHING)
    packed = load("auto", str(tmp_path / "rows.jsonl.gz"), rule=EVERYTHING)
    assert [c.id for c in plain.conversations] == ["a1", "rows.jsonl:4"]
    assert [c.messages for c in plain.conversations] == [c.messages for c in packed.conversations]
    assert plain.conversations[0].messages[1].calls[0].name == "now"
    assert plain.shortened == 0


def test_a_rule_that_cuts_says_how_many_it_cut(tmp_path):
    short = {"tools": [TOOL], "messages": LINE["messages"][:2]}
    loaded = load("openai-jsonl", write_lines(tmp_path / "r.jsonl", LINE, short, LINE), rule=RuleSettings())
    assert [len(conversation.messages) for conversation in loaded.conversations] == [2, 2, 2]
    assert loaded.shortened == 2


def test_a_line_separator_inside_a_string_does_not_end_the_line(tmp_path):
    line = {"messages": [{"role": "user", "content": "a\u2028b"}, {"role": "assistant", "content": "c"}]}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(line, ensure_ascii=False), encoding="utf-8")
    assert load("openai-jsonl", str(path), rule=EVERYTHING).conversations[0].messages[0].content == "a\u2028b"


def broken(call=None, **columns):
    message = {"role": "assistant", "tool_calls": [call]} if call else {"role": "assistant", "content": "x"}
    return {"messages": [{"role": "user", "content": "u"}, message], "tools": [TOOL]} | columns


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"messages": ', rejects.BROKEN_LINE),
        (b'{"a": NaN}', rejects.BROKEN_LINE),
        (b'"\xff"', rejects.BROKEN_LINE),
        (b"3", rejects.BROKEN_LINE),
        (broken(messages=[]), rejects.NO_MESSAGES),
        (broken(messages="[oops"), rejects.BROKEN_MESSAGES),
        (broken(tools={"a": 1}), rejects.BROKEN_TOOLS),
        (broken(tools=[{}]), rejects.UNREADABLE_TOOL),
        (broken(messages=[{"role": "robot"}]), rejects.UNREADABLE_MESSAGE),
        (broken({"function": {}}), rejects.UNREADABLE_CALL),
        (broken({"function": {"name": "now", "arguments": "{"}}), rejects.BROKEN_ARGUMENTS),
        (broken({"function": {"name": "now", "arguments": "[]"}}), rejects.ARGUMENTS_NOT_OBJECT),
        (broken({"function": {"name": "later"}}), rules.UNDECLARED_TOOL),
    ],
)
def test_a_broken_line_is_counted_with_its_number(tmp_path, line, expected):
    loaded = load("openai-jsonl", write_lines(tmp_path / "r.jsonl", LINE, line), rule=EVERYTHING, max_bad_share=0.5)
    assert loaded.counts == {"kept": 1, expected: 1}
    assert loaded.rejects[0].where == "r.jsonl:2"


def test_too_many_broken_lines_stop_the_run_naming_the_first(tmp_path):
    path = write_lines(tmp_path / "r.jsonl", LINE, b"{", b"{")
    with pytest.raises(DataError, match=r"2 of 3 rows cannot be read.*r\.jsonl:2.*line is not valid JSON"):
        load("openai-jsonl", path, rule=EVERYTHING)


def test_a_damaged_gzip_file_is_named(tmp_path):
    whole = gzip.compress(json.dumps(LINE).encode() * 100)
    for name, content in {"cut": whole[:-20], "plain": b"{}", "flipped": whole[:30] + b"\0\0\0" + whole[33:]}.items():
        (tmp_path / f"{name}.jsonl.gz").write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.jsonl\.gz is not a whole gzip file"):
            load("openai-jsonl", str(tmp_path / f"{name}.jsonl.gz"), rule=EVERYTHING)


def test_a_json_array_is_read_whatever_its_suffix(tmp_path):
    for name in ("r.jsonl", "r.json"):
        loaded = load(
            "auto", write_lines(tmp_path / name, [LINE, LINE | {"id": ""}, 3]), rule=EVERYTHING, max_bad_share=1
        )
        assert [conversation.id for conversation in loaded.conversations] == ["a1", f"{name} row 1"]
        assert [(reject.where, reject.reason) for reject in loaded.rejects] == [(f"{name} row 2", rejects.BROKEN_LINE)]


def test_stored_rows_in_parquet_read_back(tmp_path):
    loaded = load("openai-jsonl", write_lines(tmp_path / "r.jsonl", LINE), rule=EVERYTHING)
    stored = conversation_to_dict(loaded.conversations[0])
    texts = {key: json.dumps(stored[key]) for key in ("tools", "messages")}
    path = write_parquet(tmp_path / "p" / "rows.parquet", [stored | texts])
    again = load("auto", path, rule=EVERYTHING)
    assert again.conversations == loaded.conversations
    assert again.fingerprint == loaded.fingerprint
    changed = dataclasses.replace(again, conversations=[dataclasses.replace(again.conversations[0], id="other")])
    assert changed.fingerprint != loaded.fingerprint


def test_arrow_structs_are_refused_because_they_invent_nulls(tmp_path):
    path = write_parquet(tmp_path / "rows.parquet", [{"messages": LINE["messages"], "tools": "[]"}])
    with pytest.raises(DataError, match=r"column 'messages' is list.*expected text"):
        load("openai-jsonl", path, rule=EVERYTHING)


def test_a_missing_column_is_named_with_those_found(tmp_path):
    path = write_parquet(tmp_path / "t.parquet", [{"uuid": "u", "messages": "[]"}])
    with pytest.raises(DataError, match=r"no column 'subset_name', 'tools'; its columns are uuid, messages"):
        load("toucan-sft", path, rule=RuleSettings())


def test_files_that_are_not_whole_parquet_files_are_named(tmp_path):
    whole = Path(write_parquet(tmp_path / "whole.parquet", [toucan_row(i) for i in range(2000)])).read_bytes()
    middle = len(whole) // 2
    damaged = {
        "empty": b"",
        "text": b"uuid,messages\n",
        "cut": whole[:-50],
        "flipped": whole[:middle] + b"\xff" * 64 + whole[middle + 64 :],
    }
    for name, content in damaged.items():
        (tmp_path / f"{name}.parquet").write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.parquet is (not a whole parquet file|damaged)"):
            load("toucan-sft", str(tmp_path / f"{name}.parquet"), rule=RuleSettings())


def test_inputs_without_rows_are_errors(tmp_path):
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    with pytest.raises(DataError, match="holds no rows"):
        load("openai-jsonl", str(tmp_path / "empty.jsonl"), rule=RuleSettings())
    path = tmp_path / "none.parquet"
    pq.write_table(pa.table({name: pa.array([], pa.string()) for name in toucan_row()}), path)
    with pytest.raises(DataError, match="holds no rows"):
        load("toucan-sft", str(path), rule=RuleSettings())
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"holds no \.parquet, \.jsonl"):
        load("toucan-sft", str(tmp_path / "folder"), rule=RuleSettings())


def test_a_path_that_is_not_there_or_not_readable_is_a_file_error(tmp_path):
    for location in (tmp_path / "gone.parquet", tmp_path / "gone", tmp_path / ("x" * 300)):
        with pytest.raises(FileError, match="cannot read"):
            load("toucan-sft", str(location), rule=RuleSettings())
    with pytest.raises(FileError, match="cannot read"):
        load("openai-jsonl", write_lines(tmp_path / "file.jsonl", LINE) + "/rows.jsonl", rule=RuleSettings())


def test_a_misspelt_source_gets_a_suggestion(tmp_path):
    with pytest.raises(ConfigError, match=r"Did you mean 'toucan-sft'\? Known: .*openai-jsonl"):
        load("tucan-sft", str(tmp_path), rule=RuleSettings())


def test_auto_says_what_it_saw_when_it_cannot_tell(tmp_path):
    with pytest.raises(ConfigError, match=r"columns a\. Name the source"):
        load("auto", write_parquet(tmp_path / "a.parquet", [{"a": "1"}]), rule=RuleSettings())
    with pytest.raises(DataError, match=r"rows.csv is none of the files that hold rows: \.parquet"):
        load("auto", write_lines(tmp_path / "rows.csv", LINE), rule=RuleSettings())


def test_auto_recognises_both_forms(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert locate("auto", write_parquet(tmp_path / "t.parquet", [toucan_row()]))[0].name == "toucan-sft"
        assert locate("auto", write_lines(tmp_path / "r.jsonl", LINE))[0].name == "openai-jsonl"
