"""Laws of the packing plan: no row cut, lost or doubled, stages in order, an order per pass, as full as Grain's."""

import itertools

import grain
import numpy as np
import pytest
from grain.experimental import BestFitPackIterDataset
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_tool_use.data import packing
from gemma_tool_use.data.packing import best_fit, pack, plan_batches
from gemma_tool_use.data.rows import BatchShape, RowSizes, collate
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.formats.encode import Encoded

lengths_in_16 = st.lists(st.integers(1, 16), min_size=1, max_size=40)
shapes = st.builds(
    BatchShape,
    batch_size=st.integers(1, 4),
    length=st.just(16),
    pad_id=st.just(0),
    accumulation=st.integers(1, 3),
    row_multiple=st.integers(1, 3),
)


def sizes_of(lengths):
    return RowSizes(lengths=np.array(lengths, np.int32), targets=np.array(lengths, np.int32) - 1)


def shape_of(length, batch_size=1, **more):
    return BatchShape(batch_size=batch_size, length=length, pad_id=0, **more)


def elements_of(plan):
    return [plan.row_index(number) for number in range(plan.elements)]


def rows_in(elements):
    index = np.concatenate([element.ravel() for element in elements])
    return index[index >= 0]


def lengths_like_toucan(count, seed=0):
    return np.random.default_rng(seed).gamma(4.0, 80.0, count).clip(60, 640).astype(np.int32)


def test_four_rows_fill_two_packed_rows():
    plan = plan_batches(sizes_of([5, 3, 6, 2]), shape_of(8), shuffle=False)
    assert [element.tolist() for element in elements_of(plan)] == [[[[2, 3]]], [[[0, 1]]]]
    assert (plan.elements, plan.packed_rows, plan.segments, plan.efficiency) == (2, 2, 2, 1.0)


def test_an_element_with_accumulation_and_rows_that_stay_empty():
    plan = plan_batches(sizes_of([8, 8, 8, 4, 3]), shape_of(8, 2, accumulation=2, row_multiple=3), shuffle=False)
    assert plan.row_index(0).tolist() == [[[0, -1], [1, -1], [-1, -1]], [[2, -1], [3, 4], [-1, -1]]]
    lengths, targets = plan.totals(plan.row_index(0))
    assert lengths.tolist() == [[8, 8, 0], [8, 7, 0]]
    assert targets.tolist() == [[7, 7, 0], [7, 5, 0]]
    assert plan.efficiency == 31 / 48


@settings(max_examples=60, deadline=None)
@given(
    lengths=lengths_in_16,
    shape=shapes,
    epochs=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    shuffle=st.booleans(),
    pack=st.booleans(),
)
def test_every_pass_holds_every_row_once_and_whole(lengths, shape, epochs, seed, shuffle, pack):
    plan = plan_batches(sizes_of(lengths), shape, epochs=epochs, seed=seed, shuffle=shuffle, packing=pack)
    elements = elements_of(plan)
    assert {element.shape for element in elements} == {(shape.accumulation, shape.rows, plan.segments)}
    steps = [0, *(plan.steps(epoch + 1) for epoch in range(epochs))]
    assert steps[-1] == plan.elements
    for first, end in itertools.pairwise(steps):
        assert sorted(rows_in(elements[first:end])) == list(range(len(lengths)))
    for element in elements:
        tokens, _ = plan.totals(element)
        assert tokens.sum() > 0 and tokens.max() <= shape.length
        assert not (element[:, shape.batch_size :] >= 0).any()
        assert pack or element.shape[2] == 1


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(1, 16), st.integers(1, 4)), min_size=1, max_size=30),
    shape=shapes,
    epochs=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_stages_come_in_order_and_never_share_a_packed_row(rows, shape, epochs, seed):
    lengths, stages = (np.array(column) for column in zip(*rows, strict=True))
    plan = plan_batches(sizes_of(lengths), shape, epochs=epochs, seed=seed, stages=stages)
    packed = np.concatenate([element.reshape(-1, plan.segments) for element in elements_of(plan)])
    of_packed = [set(stages[row[row >= 0]].tolist()) for row in packed if row[0] >= 0]
    assert all(len(members) == 1 for members in of_packed)
    order = np.array([min(members) for members in of_packed])
    for first, end in itertools.pairwise(plan.passes):
        assert (np.diff(order[first:end]) >= 0).all()


def test_the_seed_decides_the_order_and_each_pass_has_its_own():
    def passes(seed):
        plan = plan_batches(sizes_of([3] * 40), shape_of(8, 20), epochs=3, seed=seed)
        return [element.tolist() for element in elements_of(plan)]

    assert passes(5) == passes(5)
    assert passes(5) != passes(6)
    assert len({str(element) for element in passes(5)}) == 3


def test_rows_share_packed_rows_with_others_in_every_pass(monkeypatch):
    monkeypatch.setattr(packing, "WINDOW", 16)
    plan = plan_batches(sizes_of(range(1, 65)), shape_of(64, 100), epochs=2, seed=1)
    first, second = ({tuple(sorted(row[row >= 0])) for row in element[0]} for element in elements_of(plan))
    assert len(first & second) < len(first) / 2


def test_without_shuffle_and_packing_rows_keep_their_order():
    plan = plan_batches(sizes_of([3, 9, 1, 4]), shape_of(9, 2), packing=False, shuffle=False)
    assert [element.tolist() for element in elements_of(plan)] == [[[[0], [1]]], [[[2], [3]]]]
    staged = plan_batches(
        sizes_of([3, 9, 1, 4]), shape_of(9, 4), packing=False, shuffle=False, stages=np.r_[2, 1, 2, 1]
    )
    assert staged.row_index(0).ravel().tolist() == [1, 3, 0, 2]


def test_steps_of_a_share_of_a_pass():
    plan = plan_batches(sizes_of([4] * 10), shape_of(4), epochs=3)
    assert [plan.steps(epochs) for epochs in (0.01, 0.5, 1, 1.26, 2.5, 3)] == [1, 5, 10, 13, 25, 30]


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_no_two_bins_would_fit_into_one_and_none_is_over_full(lengths):
    sizes = np.array(lengths)
    bins = pack(sizes, np.arange(len(sizes)), 20)
    filled = sorted(int(sizes[members].sum()) for members in bins)
    assert sorted(row for members in bins for row in members) == list(range(len(sizes)))
    assert filled[-1] <= 20
    assert len(filled) == 1 or filled[0] + filled[1] > 20


def test_rows_are_packed_from_the_longest_or_in_their_order_whichever_takes_fewer_bins():
    mixed = np.array([4, 3, 3, 4, 3, 3])  # from the longest 4 + 4 leaves 2 unused
    assert pack(mixed, np.arange(6), 10) == [[0, 1, 2], [3, 4, 5]]
    uneven = np.array([3, 3, 7, 7])  # in their order 3 + 3 leaves no room for a 7
    assert pack(uneven, np.arange(4), 10) == [[2, 0], [3, 1]]
    assert len(best_fit(uneven, np.arange(4), 10)) == 3


def test_the_plan_is_fuller_than_that_of_grains_best_fit_packer():
    lengths, capacity = lengths_like_toucan(1000), 640
    cells = np.zeros(capacity, np.int8)
    source = grain.MapDataset.range(len(lengths)).map(lambda row: {"cells": cells[: lengths[row]]}).to_iter_dataset()
    theirs = sum(1 for _ in BestFitPackIterDataset(source, length_struct={"cells": capacity}, num_packing_bins=1000))
    ours = plan_batches(sizes_of(lengths), shape_of(capacity)).packed_rows
    assert ours < theirs < len(lengths)


@pytest.mark.parametrize("length", [640, 1024])
def test_rows_of_up_to_640_tokens_fill_95_percent(length):
    assert plan_batches(sizes_of(lengths_like_toucan(5000)), shape_of(length)).efficiency >= 0.95


def test_segments_and_positions_are_those_of_grains_packer():
    rows = [Encoded(tokens=np.arange(2, 2 + n, dtype=np.int32), loss_mask=np.arange(n) > 1) for n in (4, 3, 2)]
    stream = grain.MapDataset.source(rows).map(lambda row: {"tokens": row.tokens}).to_iter_dataset()
    (theirs,) = BestFitPackIterDataset(stream, length_struct={"tokens": 12}, num_packing_bins=1)
    ours = collate(rows, np.array([[[0, 1, 2]]]), length=12, pad_id=0)
    assert ours["tokens"][0, 0].tolist() == theirs["tokens"].tolist()
    assert ours["segment_ids"][0, 0].tolist() == theirs["tokens_segment_ids"].tolist()
    assert ours["positions"][0, 0].tolist() == theirs["tokens_positions"].tolist()


def test_a_row_longer_than_the_batches_is_never_cut():
    with pytest.raises(DataError, match="row 1 has 9 tokens and the batches only 8"):
        plan_batches(sizes_of([8, 9]), shape_of(8))
    with pytest.raises(DataError, match="no rows"):
        plan_batches(sizes_of([]), shape_of(8))


def test_settings_out_of_range_are_named():
    with pytest.raises(ConfigError, match=r"epochs.*seed"):
        plan_batches(sizes_of([1]), shape_of(1), epochs=0, seed=-1)
