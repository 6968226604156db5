"""Units of rows: the same rows however a file is cut, a limit, and files that are not what they seem."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gemma_tool_use.conversation import conversation_to_dict
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.store import units
from gemma_tool_use.data.store.units import list_units, parquet_units
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.errors import DataError, FileError

CONVERSATIONS = generate(count=11, seed=2)


def table(conversations):
    rows = [conversation_to_dict(conversation) for conversation in conversations]
    texts = [row | {"tools": json.dumps(row["tools"]), "messages": json.dumps(row["messages"])} for row in rows]
    return pa.Table.from_pylist([{"license": "MIT", "meta": "{}"} | row for row in texts])


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "train-00000-of-00002.parquet", tmp_path / "train-00001-of-00002.parquet"]
    pq.write_table(table(CONVERSATIONS[:7]), paths[0], row_group_size=2)
    pq.write_table(table(CONVERSATIONS[7:]), paths[1], row_group_size=2)
    return paths


def read(found):
    return [conversation for unit in found for conversation in unit.read()]


@pytest.mark.parametrize(("size", "groups"), [(1, [(0,), (1,), (2,), (3,), (0,), (1,)]), (3, [(0, 1), (2, 3), (0, 1)])])
def test_units_are_whole_row_groups_of_one_file_in_order(files, monkeypatch, size, groups):
    monkeypatch.setattr(units, "UNIT_ROWS", size)
    found = parquet_units(files)
    assert [unit.groups for unit in found] == groups
    assert read(found) == CONVERSATIONS
    assert sum(unit.rows for unit in found) == 11
    assert read(list_units(CONVERSATIONS)) == CONVERSATIONS


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 11, 20])
def test_a_limit_takes_the_first_rows(files, monkeypatch, limit):
    monkeypatch.setattr(units, "UNIT_ROWS", 3)
    found = parquet_units(files, limit=limit)
    assert read(found) == CONVERSATIONS[:limit]
    assert sum(unit.rows for unit in found) == min(limit, 11)


def test_a_row_that_cannot_be_read_is_a_reject_with_its_place(tmp_path):
    broken = table(CONVERSATIONS[:3]).to_pylist()
    broken[1]["messages"] = "[{"
    broken[2] |= {"id": "", "messages": "[]"}
    pq.write_table(pa.Table.from_pylist(broken), tmp_path / "rows.parquet")
    kept, first, second = read(parquet_units([tmp_path / "rows.parquet"]))
    assert kept == CONVERSATIONS[0]
    assert isinstance(first, Reject) and isinstance(second, Reject) and first.bad
    assert (first.id, first.where) == (CONVERSATIONS[1].id, "rows.parquet row 1")
    assert (second.id, second.detail) == ("rows.parquet row 2", "messages is missing or empty")


def test_files_that_are_not_what_they_seem_are_named(files, tmp_path):
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(DataError, match=r"text\.parquet is not a whole parquet file"):
        parquet_units([tmp_path / "text.parquet"])
    with pytest.raises(FileError, match=r"missing\.parquet"):
        parquet_units([tmp_path / "missing.parquet"])
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"other\.parquet has no column source, tools, messages"):
        parquet_units([tmp_path / "other.parquet"])
    found = parquet_units(files)
    data = bytearray(files[0].read_bytes())
    data[20:400] = bytes(380)
    files[0].write_bytes(data)
    with pytest.raises(DataError, match=r"train-00000-of-00002\.parquet is damaged"):
        read(found)
