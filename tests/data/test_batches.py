"""Laws of the batches of a plan: rows as they are, exact normalizers, the same elements from any place or process."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_tool_use.data.packing import plan_batches
from gemma_tool_use.data.pipeline import RowShare, batches, eval_batches
from gemma_tool_use.data.rows import STEP_ARRAYS, BatchShape, row_sizes, trained_targets
from gemma_tool_use.errors import ConfigError
from gemma_tool_use.formats.encode import Encoded

SHARED = ("tokens", "loss_mask", "positions", "segment_ids")


def rows_of(n):
    return [
        Encoded(tokens=np.arange(2, 5 + i % 5, dtype=np.int32), loss_mask=np.arange(3 + i % 5) >= 1 + i % 2)
        for i in range(n)
    ]


def plan_of(rows, *, batch_size=2, length=16, accumulation=1, row_multiple=1, **more):
    shape = BatchShape(
        batch_size=batch_size, length=length, pad_id=0, accumulation=accumulation, row_multiple=row_multiple
    )
    return plan_batches(row_sizes(rows), shape, **more)


def assert_same(elements, expected):
    elements, expected = list(elements), list(expected)
    assert len(elements) == len(expected)
    for one, other in zip(elements, expected, strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            assert type(array) is np.ndarray and array.dtype == other[name].dtype
            assert array.tolist() == other[name].tolist(), name


class Counting(list):
    """Rows that remember which of them were read."""

    def __init__(self, rows):
        super().__init__(rows)
        self.read = []

    def __getitem__(self, index):
        self.read.append(index)
        return super().__getitem__(index)


def test_a_whole_element():
    rows = [
        Encoded(tokens=np.array([2, 5, 6], np.int32), loss_mask=np.array([True, False, True])),
        Encoded(tokens=np.array([2, 7], np.int32), loss_mask=np.array([False, True])),
    ]
    (element,) = batches(rows, plan_of(rows, length=6))
    assert {name: array.tolist() for name, array in element.items()} == {
        "tokens": [[[2, 5, 6, 2, 7, 0], [0, 0, 0, 0, 0, 0]]],
        "loss_mask": [[[True, False, True, False, True, False], [False] * 6]],
        "positions": [[[0, 1, 2, 0, 1, 0], [0, 0, 0, 0, 0, 0]]],
        "segment_ids": [[[1, 1, 1, 2, 2, 0], [0, 0, 0, 0, 0, 0]]],
        "normalizer": 2.0,  # the first token of a segment is never predicted
        "lengths": [[5, 0]],
        "row_index": [[[0, 1], [-1, -1]]],
    }
    assert {name for name, array in element.items() if array.dtype == np.int32} == element.keys() - {
        "loss_mask",
        "normalizer",
    }
    assert element["normalizer"].dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 25),
    shape=st.tuples(st.integers(1, 4), st.integers(7, 20), st.integers(1, 3), st.integers(1, 3)),
    epochs=st.integers(1, 2),
    pack=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_segment_is_its_row_alone_and_the_normalizer_counts_the_trained_targets(n, shape, epochs, pack, seed):
    rows = rows_of(n)
    names = ("batch_size", "length", "accumulation", "row_multiple")
    plan = plan_of(rows, **dict(zip(names, shape, strict=True)), epochs=epochs, packing=pack, seed=seed)
    counted = 0
    for element in batches(rows, plan):
        predicted = element["loss_mask"][..., 1:] & (
            element["segment_ids"][..., 1:] == element["segment_ids"][..., :-1]
        )
        assert element["normalizer"] == predicted.sum()
        assert (element["lengths"] == (element["segment_ids"] > 0).sum(axis=-1)).all()
        counted += predicted.sum()
        for place in np.ndindex(element["lengths"].shape):
            members = element["row_index"][place][element["row_index"][place] >= 0]
            assert element["segment_ids"][place].max() == len(members)
            for segment, number in enumerate(members, start=1):
                cells = element["segment_ids"][place] == segment
                assert element["tokens"][place][cells].tolist() == rows[number].tokens.tolist()
                assert element["loss_mask"][place][cells].tolist() == rows[number].loss_mask.tolist()
                assert element["positions"][place][cells].tolist() == list(range(len(rows[number].tokens)))
            padding = element["segment_ids"][place] == 0
            assert not (element["tokens"][place][padding].any() or element["loss_mask"][place][padding].any())
    assert counted == epochs * sum(map(trained_targets, rows))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 25), stop=st.integers(0, 60), seed=st.integers(0, 99))
def test_a_restored_stream_goes_on_as_if_undisturbed(n, stop, seed):
    rows = rows_of(n)
    plan = plan_of(rows, epochs=3, seed=seed)
    whole, stop = list(batches(rows, plan)), min(stop, plan.elements)
    stream = batches(rows, plan)
    iterator = iter(stream)
    assert_same([next(iterator) for _ in range(stop)], whole[:stop])
    state = json.loads(json.dumps(stream.state()))
    resumed = batches(rows, plan_of(rows, epochs=3, seed=seed))
    resumed.restore(state)
    assert_same(resumed, whole[stop:])


def test_the_state_is_that_of_the_batch_trained_on_not_of_the_one_read_ahead():
    rows = rows_of(30)
    stream = batches(rows, plan_of(rows))
    iterator = iter(stream)
    for _ in range(3):
        next(iterator)
    assert stream.state()["next_index"] == 3
    assert stream.state(trained=2)["next_index"] == 2


def test_a_restored_stream_reads_nothing_of_what_came_before():
    rows = Counting(rows_of(30))
    stream = batches(rows, plan_of(rows, shuffle=False))
    stream.restore(stream.state(trained=len(stream) - 1))
    rows.read.clear()
    (last,) = stream
    assert sorted(rows.read) == sorted(i for i in last["row_index"].ravel() if i >= 0)


def test_a_state_of_other_batches_is_refused_with_what_differs():
    rows = rows_of(12)
    state = batches(rows, plan_of(rows, epochs=2)).state()
    with pytest.raises(ConfigError, match="seed was 0 and is 1, batch_size was 2 and is 3"):
        batches(rows, plan_of(rows, epochs=2, batch_size=3, seed=1)).restore(state)
    in_order = {"packing": False, "shuffle": False}
    longer = [*rows[:-1], rows_of(5)[-1]]
    with pytest.raises(ConfigError, match="the rows have other lengths"):
        batches(longer, plan_of(longer, **in_order)).restore(batches(rows, plan_of(rows, **in_order)).state())
    with pytest.raises(ConfigError, match="expected a next_index from 0 to"):
        batches(rows, plan_of(rows)).restore({"next_index": 99, "plan": state["plan"]})
    with pytest.raises(ConfigError, match="another version"):
        batches(rows, plan_of(rows)).restore({"next_index": 1})


def test_more_devices_continue_the_same_run():
    rows = rows_of(12)
    stream = batches(rows, plan_of(rows, row_multiple=4))
    stream.restore(batches(rows, plan_of(rows)).state(trained=2))
    seen = [element["row_index"][:, :2].tolist() for element in stream]
    assert seen == [element["row_index"].tolist() for element in batches(rows, plan_of(rows))][2:]


@pytest.mark.parametrize("count", [2, 4])
def test_the_shares_of_all_processes_are_the_whole(count):
    rows = rows_of(23)
    settings = {"batch_size": 3, "accumulation": 2, "row_multiple": 4, "epochs": 2, "length": 9}
    whole = list(batches(rows, plan_of(rows, **settings)))
    counting = [Counting(rows) for _ in range(count)]
    shares = [
        list(batches(own, plan_of(rows, **settings), share=RowShare(index, count)))
        for index, own in enumerate(counting)
    ]
    for element, *parts in zip(whole, *shares, strict=True):
        for name in SHARED:
            assert np.concatenate([part[name] for part in parts], axis=1).tolist() == element[name].tolist()
        for part in parts:
            assert all(part[name].tolist() == element[name].tolist() for name in element.keys() - set(SHARED))
    assert sum(len(own.read) for own in counting) == 2 * len(rows)


def test_a_share_that_cannot_be_is_refused():
    rows = rows_of(3)
    with pytest.raises(ConfigError, match="3 packed rows cannot be shared by 2 processes"):
        batches(rows, plan_of(rows, batch_size=3), share=RowShare(0, 2))
    with pytest.raises(ConfigError, match="from 0 to 1, got 2"):
        RowShare(2, 2)


@pytest.mark.parametrize("pack", [True, False])
def test_the_mean_of_the_eval_losses_is_the_loss_per_trained_token(pack):
    rows = rows_of(11)
    token_loss = {i: np.linspace(1, 2 + i, len(row.tokens)) for i, row in enumerate(rows)}
    summed = {i: token_loss[i][1:][row.loss_mask[1:]].sum() for i, row in enumerate(rows)}
    elements = eval_batches(rows, plan_of(rows, row_multiple=4, shuffle=False, packing=pack))
    for _ in range(2):  # every evaluation makes them anew
        losses = [
            sum(summed[i] for i in element["row_index"].ravel() if i >= 0) / element["normalizer"]
            for element in elements
        ]
        assert len(losses) > 1
        assert np.mean(losses) == pytest.approx(sum(summed.values()) / sum(map(trained_targets, rows)), rel=1e-6)


def test_worker_processes_change_nothing():
    rows = rows_of(7)
    plan = plan_of(rows, accumulation=2, epochs=2, seed=3)
    stream = batches(rows, plan, workers=2)
    stream.restore(stream.state(trained=1))
    assert_same(stream, list(batches(rows, plan))[1:])


def test_settings_out_of_range_are_named():
    rows = rows_of(1)
    with pytest.raises(ConfigError, match="workers"):
        next(iter(batches(rows, plan_of(rows), workers=-1)))
    with pytest.raises(ValueError, match="2 rows and a plan of 1"):
        batches(rows_of(2), plan_of(rows))


def test_the_step_gets_arrays_that_every_element_has():
    rows = rows_of(3)
    (element,) = batches(rows, plan_of(rows, batch_size=3))
    assert set(STEP_ARRAYS) == {*SHARED, "normalizer"} < element.keys()
