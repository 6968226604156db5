"""Which rows a trained model is asked."""

import json

import pytest
from prepared_folder import write_prepared

from gemma_tool_use.conversation import conversation_to_dict
from gemma_tool_use.data.held_out import held_out_rows, sample
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.errors import DataError

ROWS = generate(count=8, seed=1)


def ids(rows):
    return [row.id for row in rows]


def test_of_a_prepared_folder_the_rows_it_held_out(tmp_path):
    folder = write_prepared(tmp_path / "prepared", train=[ROWS[:3]], held_out=[ROWS[3:5], ROWS[5:]])
    found = held_out_rows(str(folder))
    assert ids(found.conversations) == ids(ROWS[3:])
    assert found.counts == {"kept": 5}


def test_a_prepared_folder_without_a_split_and_a_changed_one_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds training rows only"):
        held_out_rows(str(write_prepared(tmp_path / "whole", train=[ROWS])))
    folder = write_prepared(tmp_path / "split", train=[ROWS[:3]], held_out=[ROWS[3:]])
    file = next(folder.glob("eval-*"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="was changed after the folder was prepared"):
        held_out_rows(str(folder))


def test_of_a_file_every_row(tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(conversation_to_dict(row)) + "\n" for row in ROWS))
    assert held_out_rows(str(tmp_path / "rows.jsonl")).conversations == ROWS


def test_a_larger_sample_has_a_smaller_one_in_the_order_of_the_rows():
    small, large = (ids(sample(list(ROWS), limit=limit, seed=2)) for limit in (3, 6))
    assert [id for id in large if id in small] == small
    assert len(small) == 3
    assert [id for id in ids(ROWS) if id in large] == large
    assert ids(sample(list(ROWS), limit=3, seed=3)) != small
    assert sample(list(ROWS), limit=None, seed=0) == list(ROWS)
