"""Duplicates found in SQL are those that the reference in `data/keys.py` finds, whatever the memory."""

import dataclasses
import json
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
import toucan_rows

from gemma_tool_use.conversation import conversation_from_dict
from gemma_tool_use.data.engine import duplicates
from gemma_tool_use.data.engine.decide import DECIDED, GlobalSettings, MappedUnit, check_split, decide
from gemma_tool_use.data.engine.map_unit import ROWS_PER_UNIT, UnitJob, map_unit
from gemma_tool_use.data.engine.split import Keys
from gemma_tool_use.data.files import units
from gemma_tool_use.data.keys import NEAR, api_id, near_duplicates, row_keys
from gemma_tool_use.data.row_task import RowTask
from gemma_tool_use.data.rules import EVERYTHING
from gemma_tool_use.errors import DataError


def varied(count):
    """Rows of few templates: many exact and near duplicates, some of them chained."""
    draw = random.Random(0)
    texts = [toucan_rows.question(draw, words=20) for _ in range(12)]
    result = []
    for number in range(count):
        words = draw.choice(texts).split()
        for _ in range(draw.choice([0, 0, 1, 2, 5])):
            words[draw.randrange(len(words))] = "kite"
        result.append(toucan_rows.row(number, question=" ".join(words), tools=(draw.choice(["find", "look"]),)))
    return result


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("units")
    path = toucan_rows.write(folder / "rows.parquet", varied(400), row_group_size=100)
    task = RowTask(source="toucan-sft", rules=EVERYTHING)
    jobs = [
        UnitJob(number=number, unit=unit, task=task, folder=str(folder)) for number, unit in enumerate(units(path, 100))
    ]
    for job in jobs:
        map_unit(job)
    return [MappedUnit(job=job, input=0) for job in jobs]


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def stored(mapped):
    rows = [row for unit in mapped for row in pq.read_table(unit.job.path(".kept.parquet")).to_pylist()]
    return rows, [row_keys(conversation_from_dict(row)) for row in rows]


def decided(mapped, folder, **settings):
    account = decide(mapped, GlobalSettings(**settings), folder=folder, workers=2)
    late = [json.loads(line) for line in pq.read_table(folder / "late.parquet")["line"].to_pylist()]
    return account, {each["id"]: each for each in late}


def test_exact_and_near_duplicates_are_those_of_the_reference(mapped, folder):
    assert len(mapped) == 4
    rows, keys = stored(mapped)
    first = {}
    exact = {number for number, key in enumerate(keys) if first.setdefault(key.exact, number) != number}
    left = [number for number in range(len(rows)) if number not in exact]
    near = near_duplicates([keys[number] for number in left], NEAR)
    assert len(exact) > 20
    assert len(near) > 20
    account, late = decided(mapped, folder)
    assert account["among_all"] == {"exact duplicate": len(exact), "near duplicate": len(near)}
    assert {id for id, each in late.items() if each["reason"] == "exact duplicate"} == {rows[n]["id"] for n in exact}
    for number, earlier in near.items():
        detail = late[rows[left[number]]["id"]]["detail"]
        assert detail.startswith(f"of {rows[left[earlier]]['id']!r} (rows.parquet row ")


def test_little_memory_changes_nothing(mapped, folder, monkeypatch):
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    first = decided(mapped, folder / "a", eval_share=0.2)
    monkeypatch.setattr("gemma_tool_use.data.engine.decide.MEMORY", 64 << 20)
    monkeypatch.setattr(duplicates, "PAIRS_AT_ONCE", 7)
    assert decided(mapped, folder / "b", eval_share=0.2) == first
    assert (folder / "a" / "decisions.parquet").read_bytes() == (folder / "b" / "decisions.parquet").read_bytes()


def test_each_duplicate_removal_can_be_switched_off(mapped, folder):
    (folder / "a").mkdir()
    account, late = decided(mapped, folder / "a", exact_duplicates=False, near_duplicates=False)
    assert (account["train"], account["among_all"], late) == (400, {}, {})
    (folder / "b").mkdir()
    account, _ = decided(mapped, folder / "b", near_duplicates=False)
    assert account["among_all"].keys() == {"exact duplicate"}


def test_a_decision_is_made_once(mapped, folder):
    account, _ = decided(mapped, folder)
    changed = account | {"train": -1}
    (folder / DECIDED).write_text(json.dumps(changed), encoding="ascii")
    assert decide(mapped, GlobalSettings(), folder=folder, workers=1) == changed


def test_a_leak_is_named_with_the_tool_and_both_rows(mapped):
    kept = [str(unit.job.path(".kept.parquet")) for unit in mapped]
    rows, _ = stored(mapped)
    positions = np.array([0, 1, ROWS_PER_UNIT + 5])
    name = json.loads(rows[0]["tools"])[0]["function"]["name"]
    keys = Keys(
        questions=np.array([1, 2, 3], np.uint64),
        apis=np.array([api_id(name), 7, api_id(name)], np.uint64),
        offsets=np.arange(4),
    )
    check_split(keys, np.array([False, True, False]), positions, kept)
    message = f"the split leaks: API '{name}' stands on both sides, in the train row 'u0' and in the eval row 'u105'"
    with pytest.raises(DataError, match=message):
        check_split(keys, np.array([False, False, True]), positions, kept)
    with pytest.raises(DataError, match=r"question '0+1' stands on both sides.*'u0'.*'u1'"):
        check_split(
            dataclasses.replace(keys, questions=np.array([1, 1, 3], np.uint64)),
            np.array([False, True, False]),
            positions,
            kept,
        )
