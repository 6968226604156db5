"""Files of rows: the same rows in units as in one piece, and hostile files named within bounded memory."""

import concurrent.futures
import gzip
import io
import itertools
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_tool_use.data import json_file, limits
from gemma_tool_use.data.files import (
    Unit,
    parquet_columns,
    plain_columns,
    read_batches,
    read_rows,
    read_unit,
    strict_json,
    units,
)
from gemma_tool_use.data.rejects import BROKEN_LINE, ROW_TOO_LARGE, Reject
from gemma_tool_use.errors import DataError, FileError, GemmaToolUseError

ROWS = [{"id": str(i), "text": "naïve 日本 \u2028 " * (i % 3)} for i in range(23)]


def as_parquet(path: Path, rows=ROWS, **options) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def as_lines(path: Path, rows=ROWS) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def as_array(path: Path, rows=ROWS, indent=None) -> Path:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=indent), encoding="utf-8")
    return path


def packed(path: Path) -> Path:
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


def files(folder: Path) -> list[Path]:
    """The same rows in every form."""
    lines, array = as_lines(folder / "rows.jsonl"), as_array(folder / "rows.json", indent=2)
    return [as_parquet(folder / "rows.parquet", row_group_size=5), lines, array, packed(lines), packed(array)]


def rows_of(path: Path, columns=("id", "text")):
    return [row for _, row in read_rows(path, columns)]


def test_the_same_rows_come_from_every_form(tmp_path):
    for path in files(tmp_path):
        assert rows_of(path) == ROWS, path


def test_a_row_knows_its_place(tmp_path):
    places = [[where for where, _ in read_rows(path, ("id",))][1] for path in files(tmp_path)]
    assert places == ["rows.parquet row 1", "rows.jsonl:2", "rows.json row 1", "rows.jsonl.gz:2", "rows.json.gz row 1"]


@pytest.mark.parametrize("size", [1, 3, 4, 5, 7, 11, 100])
def test_the_units_of_a_file_hold_its_rows_once_and_at_the_same_places(tmp_path, size):
    for path in files(tmp_path):
        parts = units(path, size)
        assert [pair for part in reversed(parts) for pair in reversed([*read_unit(part, ("id", "text"))])] == [
            *reversed([*read_rows(path, ("id", "text"))])
        ], path
        if path.suffix in (".parquet", ".jsonl"):
            assert all([*read_unit(part, ("id",))] for part in parts)
            assert max(len([*read_unit(part, ("id",))]) for part in parts) <= 2 * size


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from([b'{"a": 1}', b"", b"  ", b"x", b'"\xff"', b"{}\r", "\ufeff{}".encode()]), max_size=9
    ),
    end=st.booleans(),
    size=st.integers(1, 5),
)
def test_lines_of_any_kind_are_cut_between_lines(tmp_path_factory, lines, end, size):
    path = tmp_path_factory.mktemp("lines") / "rows.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if end else b""))
    whole = list(read_rows(path, ()))
    assert [pair for part in units(path, size) for pair in read_unit(part, ())] == whole
    assert [where for where, _ in whole] == [f"rows.jsonl:{i}" for i, line in enumerate(lines, 1) if line.strip()]


@settings(max_examples=100, deadline=None)
@given(groups=st.lists(st.integers(0, 9), max_size=6), size=st.integers(1, 6))
def test_parquet_is_cut_anywhere(tmp_path_factory, groups, size):
    path = tmp_path_factory.mktemp("groups") / "rows.parquet"
    schema = pa.schema([("id", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for n, rows in enumerate(groups):
            writer.write_table(pa.table({"id": [f"{n}.{i}" for i in range(rows)]}, schema=schema), row_group_size=100)
    whole = list(read_rows(path, ("id",)))
    assert len(whole) == sum(groups)
    assert [pair for part in units(path, size) for pair in read_unit(part, ("id",))] == whole


def test_a_cut_is_made_between_row_groups_where_there_is_one(tmp_path):
    path = tmp_path / "rows.parquet"
    with pq.ParquetWriter(path, pa.schema([("id", pa.string())])) as writer:
        for rows in (2, 2, 10):
            writer.write_table(pa.table({"id": ["x"] * rows}))
    assert [(part.start, part.stop) for part in units(path, 4)] == [(0, 4), (4, 8), (8, 12), (12, None)]


def test_columns_of_lists_and_numbers_are_read_and_deep_structs_refused(tmp_path):
    said = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": None}]
    row = {"id": 7, "conversations": said, "tags": ["a"], "score": 0.5, "deep": [{"arguments": {"a": 1}}]}
    path = as_parquet(tmp_path / "rows.parquet", [row, row | {"conversations": []}])
    assert rows_of(path, ("id", "conversations", "tags", "score"))[0] == {k: row[k] for k in list(row)[:4]}
    assert plain_columns(parquet_columns(path)) == ["id", "conversations", "tags", "score"]
    with pytest.raises(DataError, match="column 'deep' is list"):
        rows_of(path, ("deep",))


def test_optional_columns_are_read_where_they_are(tmp_path):
    path = as_parquet(tmp_path / "rows.parquet", ROWS[:1])
    assert [*read_rows(path, ("text",), ("id", "other"))] == [("rows.parquet row 0", {"text": "", "id": "0"})]
    with pytest.raises(DataError, match="no column 'gone'; its columns are id, text"):
        rows_of(path, ("gone",))


def test_a_column_whose_values_repeat_reads_as_any_other(tmp_path):
    rows = [{"a": None if i % 5 == 0 else "x" * 1000, "b": str(i)} for i in range(2000)]
    assert rows_of(as_parquet(tmp_path / "rows.parquet", rows, row_group_size=700), ("a", "b")) == rows


def test_lazy_rows_are_the_same_rows(tmp_path):
    rows = [{"id": f"{i}", "text": None if i % 3 == 0 else "é" * 500 * (i % 2), "n": i} for i in range(600)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=250)
    unit = Unit(path=tmp_path / "t.parquet", kind="parquet", start=100, stop=420)
    lazy = list(itertools.chain(*read_batches(unit, ("id", "text"), ("n", "no"), lazy=True)))
    assert lazy == list(read_unit(unit, ("id", "text"), ("n", "no")))
    assert [dict(row) for _, row in lazy if not isinstance(row, Reject)] == rows[100:420]
    first = lazy[0][1]
    assert not isinstance(first, Reject)
    assert first.get("no", 7) == 7
    assert "no" not in first


def test_json_numbers_come_out_exact(tmp_path):
    text = (
        '[{"big": 123456789012345678901234567890, "max": 18446744073709551616, "min": -9223372036854775809, "f": 1.0}]'
    )
    expected = {"big": 123456789012345678901234567890, "max": 2**64, "min": -(2**63) - 1, "f": 1.0}
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "a.jsonl").write_text(text[1:-1])
    assert rows_of(tmp_path / "a.json") == rows_of(tmp_path / "a.jsonl") == [expected]


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", "[1,]", "'a'", "", "[" * 5000, "[" * 300 + "]" * 300])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match=r".") as caught:
        strict_json(text)
    assert not isinstance(caught.value, GemmaToolUseError)


def test_of_a_key_that_stands_twice_the_last_value_counts():
    assert strict_json('{"a": 1, "a": 2}') == {"a": 2}


def test_half_a_surrogate_pair_stays_as_it_is(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": "\\ud83d"}]')
    assert rows_of(tmp_path / "a.json") == [{"a": "\ud83d"}]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_an_array_is_read_alike_in_pieces_of_any_size(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_file, "_CHUNK", chunk)
    rows = [{"a": [1.5, -12, True, None, 'é\\"\n]}'], "b": {}}, {}, {"c": "日本"}]
    for text in (json.dumps(rows), json.dumps(rows, indent=1, ensure_ascii=False), " [ ] ", "\ufeff[{}]"):
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
        assert rows_of(tmp_path / "a.json") == json.loads(text.removeprefix("\ufeff"))
    (tmp_path / "a.json").write_text("[123, 456]")
    found = rows_of(tmp_path / "a.json")
    assert [row.detail for row in found if isinstance(row, Reject)] == ["no JSON object: 123", "no JSON object: 456"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"a": 1}', "expected ']'"),
        ('[{"a": 1},', "Expecting value"),
        ('[{"a": 1} {"a": 2}]', "expected ']'"),
        ('[{"a": 1}] x', "something follows"),
        ('[{"a": NaN}]', "NaN is not JSON"),
        ('[{"a": "x', "Unterminated string"),
        ("[" * 100_000, "recursion|nested"),
        ("[" + "[" * 300 + "]" * 300 + "]", "nested too deeply"),
        ("[,]", "Expecting value"),
    ],
)
def test_a_broken_array_names_the_row_and_what_is_wrong(tmp_path, text, problem):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=rf"a\.json is not a whole JSON array of rows: .*({problem})"):
        rows_of(tmp_path / "a.json")


def test_rows_that_are_no_objects_are_rejected_and_the_rest_is_read(tmp_path):
    (tmp_path / "a.json").write_text('[1, {"a": 1}]')
    (tmp_path / "a.jsonl").write_text('1\n{"a": 1}\n{"a":\n')
    for name, broken in (("a.json", [0]), ("a.jsonl", [0, 2])):
        rows = rows_of(tmp_path / name)
        assert [i for i, row in enumerate(rows) if isinstance(row, Reject) and row.reason == BROKEN_LINE] == broken


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", b"PAR1....", "is a parquet file"),
        ("a.jsonl", gzip.compress(b"{}"), "is a gzip file"),
        ("a.json", b'{\n "a": 1\n}\n', "one JSON object over many lines"),
        ("a.csv", b"a,b\n", "none of the files that hold rows"),
        ("a.parquet.gz", b"", "none of the files that hold rows"),
        ("a.parquet", b"", "not a whole parquet file"),
        ("a.parquet", b"PAR1PAR1", "not a whole parquet file"),
        ("a.jsonl.gz", b"{}", "not a whole gzip file"),
        ("a.json.gz", gzip.compress(b"[{}]")[:-3], "not a whole gzip file"),
        ("a.json", b'[{"a": "\xff"}]', "not UTF-8"),
    ],
)
def test_a_file_that_is_not_what_it_seems_is_named(tmp_path, name, content, problem):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} .*{problem}"):
        rows_of(tmp_path / name)


def test_a_file_that_is_not_there_is_a_file_error(tmp_path):
    for name in ("gone.parquet", "gone.jsonl", "gone.json.gz"):
        with pytest.raises(FileError, match="cannot read"):
            rows_of(tmp_path / name)
        with pytest.raises(FileError, match="cannot read"):
            units(tmp_path / name, 5)


def test_empty_files_have_no_rows(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"")
    assert rows_of(tmp_path / "a.jsonl") == units(tmp_path / "a.jsonl", 5) == []


@pytest.fixture
def small_rows(monkeypatch):
    """Rows of 1,000 bytes are the longest, so that the limit can be tried without files of its real size."""
    from gemma_tool_use.data import parquet_file

    for module in (limits, json_file, parquet_file):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(json_file, "ENDLESS", 16_000)
    monkeypatch.setattr(json_file, "_CHUNK", 100)


def test_a_row_over_the_limit_is_rejected_and_the_next_one_read(tmp_path, small_rows):
    rows = [{"a": "x"}, {"a": "y" * 1200}, {"a": "z"}, {"a": "w" * 989}]
    for path in (as_lines(tmp_path / "a.jsonl", rows), as_parquet(tmp_path / "a.parquet", rows)):
        found = rows_of(path, ("a",))
        assert [row["a"][0] if not isinstance(row, Reject) else row.reason for row in found] == [
            *("x", ROW_TOO_LARGE, "z", "w")
        ]
        assert [pair for part in units(path, 1) for pair in read_unit(part, ("a",))] == [*read_rows(path, ("a",))]
    with pytest.raises(DataError, match="row 1 is longer than 1,000 characters"):
        rows_of(as_array(tmp_path / "a.json", rows))


def test_an_endless_line_is_an_error(tmp_path, small_rows):
    (tmp_path / "a.jsonl").write_bytes(b"x" * 20_000)
    with pytest.raises(DataError, match=r"a\.jsonl:1 is longer than 16,000 bytes; is this a JSONL file"):
        rows_of(tmp_path / "a.jsonl")


def bombs(folder: Path) -> dict[str, Path]:
    """Small files that stand for hundreds of megabytes."""
    value, options = "a" * 1_000_000, {"compression": "zstd", "write_statistics": False, "store_schema": False}
    pq.write_table(pa.table({"a": [value] * 400}), folder / "repeated.parquet", **options)
    pq.write_table(pa.table({"a": [value * 100]}), folder / "one.parquet", use_dictionary=False, **options)
    pq.write_table(pa.table({"a": [value] * 100}), folder / "pages.parquet", use_dictionary=False, **options)
    for name, char in {"lines.jsonl.gz": b"\n", "line.jsonl.gz": b" ", "array.json.gz": b"\t"}.items():
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb") as file:
            file.write(b"[" if name.startswith("array") else b"{}\n")
            for _ in range(100):
                file.write(char * 2**20)
        (folder / name).write_bytes(buffer.getvalue())
    return {path.name: path for path in folder.iterdir()}


READ = """
import re, sys
from pathlib import Path
from gemma_tool_use.data.files import read_rows
from gemma_tool_use.errors import DataError
def peak():  # of this process alone: getrusage counts what the process was forked from
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
for name in sys.argv[1:]:
    try:
        print(sum(1 for _ in read_rows(Path(name), ("a",))), "rows")
    except DataError as error:
        print(error)
print("MB:", peak() - before)
"""
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read there")


@needs_proc
def test_files_that_expand_beyond_measure_are_named_in_bounded_memory(tmp_path):
    found = bombs(tmp_path)
    assert found["repeated.parquet"].stat().st_size < 500
    result = subprocess.run(
        [sys.executable, "-c", READ, *map(str, found.values())], capture_output=True, text=True, check=True, timeout=120
    )
    *answers, memory = result.stdout.splitlines()
    for name, answer in zip(found, answers, strict=True):
        assert name in answer, answer
        assert any(part in answer for part in ("unpacks to more than", "is longer than", "empty lines")), answer
    assert int(memory.split()[1]) < 100


@needs_proc
def test_memory_is_bounded_by_a_row_and_not_by_the_file(tmp_path):
    """A row group and an array of 170 MB, in pages as the hub's files have them."""
    rows = [{"a": f"{i} " * 6000} for i in range(6000)]
    pages = {"compression": "none", "write_batch_size": 16, "data_page_size": 2**17}
    for path in (as_parquet(tmp_path / "a.parquet", rows, **pages), as_array(tmp_path / "a.json", rows)):
        assert path.stat().st_size > 170_000_000
        result = subprocess.run(
            [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True, timeout=120
        )
        count, memory = result.stdout.splitlines()
        assert count == "6000 rows"
        assert int(memory.split()[1]) < 120, path


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_file_with_flipped_or_missing_bytes_is_read_or_named(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = data.draw(st.sampled_from(files(folder)))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        for part in units(path, 7):
            list(read_unit(part, ("id",)))
        list(read_rows(path, ("id",)))
    except GemmaToolUseError as error:
        assert path.name in str(error)


def test_a_unit_can_be_sent_to_a_process(tmp_path):
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = units(as_lines(tmp_path / "a.jsonl"), 20)
        assert [list(rows) for rows in pool.map(first_rows, parts)] == [[*read_unit(part, ())][:1] for part in parts]


def first_rows(part: Unit):
    return [*read_unit(part, ())][:1]
