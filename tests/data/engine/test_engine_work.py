"""The work folder and the files in it: whole or not at all, of one plan, of one process; and the funnel's drawing."""

import dataclasses
import json
import subprocess
import sys
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toucan_rows
from hypothesis import given
from hypothesis import strategies as st

from gemma_tool_use.data.engine import map_unit, write
from gemma_tool_use.data.engine.atomic import remove_temporary, written
from gemma_tool_use.data.engine.funnel import counts, funnel, svg
from gemma_tool_use.data.engine.map_unit import reject_line
from gemma_tool_use.data.engine.work_folder import open_work_folder
from gemma_tool_use.data.prepare import PrepareConfig, prepare
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.errors import DataError, FileError

PLAN = {"settings": {"seed": 0, "rows": [1, 2]}}


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    with written(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    with pytest.raises(ZeroDivisionError), written(path) as temporary:
        temporary.write_text("other")
        raise ZeroDivisionError
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "half"


def test_what_killed_processes_left_is_removed(tmp_path):
    (tmp_path / ".tmp-123-a.txt").touch()
    (tmp_path / "a.txt").touch()
    remove_temporary(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_the_same_plan_continues_and_another_is_refused_by_what_differs(tmp_path):
    with open_work_folder(tmp_path / "out", PLAN) as work:
        assert not work.continued
        (work.units / "00000.json").write_text("{}")
    with open_work_folder(tmp_path / "out", PLAN) as work:
        assert work.continued
        assert (work.units / "00000.json").exists()
    with (
        pytest.raises(FileError, match=r"out\.partial holds .*settings\.rows\[1\] \(2, now 3\).*remove the folder"),
        open_work_folder(tmp_path / "out", {"settings": {"seed": 0, "rows": [1, 3]}}),
    ):
        pass


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    script = (
        "import sys; from pathlib import Path; from gemma_tool_use.data.engine.work_folder import open_work_folder\n"
        "with open_work_folder(Path(sys.argv[1]), {}): print('mine', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, tmp_path / "out"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(FileError, match="another process"), open_work_folder(tmp_path / "out", {}):
            pass
        other.kill()
    with open_work_folder(tmp_path / "out", {}) as work:
        assert work.continued


def test_a_run_killed_between_publishing_and_cleaning_up_is_finished(tmp_path):
    path = toucan_rows.write(tmp_path / "a.parquet", toucan_rows.rows(20))
    config = PrepareConfig(input=(str(path),), output=tmp_path / "out", workers=0)
    manifest = prepare(config)
    (tmp_path / "out").rename(tmp_path / "kept")
    with open_work_folder(tmp_path / "out", {key: manifest[key] for key in _plan_keys(manifest)}):
        pass
    (tmp_path / "out.partial" / "result").rmdir()
    (tmp_path / "kept").rename(tmp_path / "out")
    assert prepare(config) == manifest
    assert not (tmp_path / "out.partial").exists()


def _plan_keys(manifest):
    names = list(manifest)
    return names[: names.index("skipped")]


def test_changed_settings_or_inputs_do_not_continue_old_work(tmp_path):
    path = toucan_rows.write(tmp_path / "a.parquet", toucan_rows.rows(20))
    config = PrepareConfig(input=(str(path),), output=tmp_path / "out", workers=0)
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "plan.json").write_text('{"format": 2, "among_all": {"seed": 5}}')
    with pytest.raises(FileError, match="holds the unfinished work of another run, with other among_all"):
        prepare(config)


def test_text_that_is_no_utf_8_is_a_damaged_file(tmp_path):
    path = toucan_rows.write(tmp_path / "a.parquet", toucan_rows.rows(20))
    table = pq.read_table(path)
    spoiled = [value.encode().replace(b"role", b"r\xffle") for value in table["messages"].to_pylist()]
    offsets, data = pa.array(spoiled, pa.binary()).buffers()[1:]
    column = pa.StringArray.from_buffers(len(spoiled), offsets, data)
    pq.write_table(table.set_column(table.schema.get_field_index("messages"), "messages", column), path)
    with pytest.raises(DataError, match=r"a\.parquet .*is damaged .*utf-8.*fetch the file again"):
        prepare(PrepareConfig(input=(str(path),), output=tmp_path / "out", workers=0))


def test_a_lost_row_is_noticed(tmp_path, monkeypatch):
    path = toucan_rows.write(tmp_path / "a.parquet", toucan_rows.rows(20))
    honest = write._positions
    monkeypatch.setattr(write, "_positions", lambda job: honest(job)[1:])
    with pytest.raises(DataError, match="19 rows were written, and 20 should have been"):
        prepare(PrepareConfig(input=(str(path),), output=tmp_path / "out", workers=0))
    assert not (tmp_path / "out").exists()


def test_the_funnel_counts_down_to_what_is_kept_and_is_drawn_the_same_each_time():
    decided = {
        "rows_read": 100,
        "unreadable": {"line is not valid JSON": 3},
        "rules": {"<b>&": 40, "not single-turn": 7},
        "among_all": {"near duplicate": 10},
        "train": 36,
        "eval": 4,
    }
    steps = funnel(decided)
    assert [step.left for step in steps] == [100, 97, 57, 50, 40, 40]
    assert counts(decided)["kept"] == steps[-1].left == 40
    assert sum(counts(decided).values()) == 100
    drawing = svg(steps)
    assert drawing == svg(funnel(decided))
    texts = [each.text for each in ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]
    assert "<b>&" in texts
    assert "57 (-40)" in texts


@given(*[st.text()] * 4)
def test_a_line_of_rejects_is_what_json_writes(row_id, reason, detail, where):
    reject = Reject(id=row_id, reason=reason, detail=detail, where=where)
    assert reject_line(reject) == json.dumps(dataclasses.asdict(reject))


def test_texts_beyond_what_arrow_counts_are_a_word_about_memory():
    with pytest.raises(MemoryError):
        map_unit._offsets([2**30, 2**30])
    assert map_unit._offsets([2, 0, 3]).tolist() == [0, 2, 2, 5]
