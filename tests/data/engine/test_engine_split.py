"""The split: no question and no API on both sides, whatever links them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gemma_tool_use.data.engine.split import Keys, assign, leaks, mixed


def keys(rows):
    """`[(question, [apis])]` as arrays."""
    return Keys(
        questions=np.array([question for question, _ in rows], np.uint64),
        apis=np.array([api for _, apis in rows for api in apis], np.uint64),
        offsets=np.cumsum([0, *(len(apis) for _, apis in rows)]),
    )


ROWS = st.lists(st.tuples(st.integers(0, 30), st.lists(st.integers(100, 130), max_size=3)), min_size=1, max_size=60)


@given(rows=ROWS, share=st.floats(0, 0.99), seed=st.integers(0, 5))
def test_nothing_stands_on_both_sides_and_the_share_is_not_exceeded(rows, share, seed):
    split = assign(keys(rows), share=share, seed=seed)
    assert not leaks(keys(rows), split.is_eval)
    assert split.is_eval.sum() <= round(share * len(rows))


@given(rows=ROWS, seed=st.integers(0, 3))
def test_the_order_of_the_rows_does_not_decide_who_is_linked(rows, seed):
    there = assign(keys(rows), share=0.3, seed=seed)
    back = assign(keys(rows[::-1]), share=0.3, seed=seed)
    assert (there.groups, there.largest) == (back.groups, back.largest)
    assert (there.is_eval == back.is_eval[::-1]).all()


def test_rows_linked_through_others_stay_together_and_a_large_group_in_train():
    chain = [(n, [100 + n, 101 + n]) for n in range(8)]  # each shares an API with the next
    alone = [(50, [200]), (51, [201])]
    split = assign(keys(chain + alone), share=0.2, seed=0)
    assert (split.groups, split.largest) == (3, 8)
    assert split.is_eval.tolist() == [False] * 8 + [True] * 2


def test_the_same_question_with_other_tools_stays_together():
    split = assign(keys([(1, [100]), (1, [200]), (2, [300])]), share=0.67, seed=0)
    assert split.groups == 2
    assert split.is_eval[0] == split.is_eval[1]


def test_another_seed_chooses_other_groups():
    rows = keys([(n, [100 + n]) for n in range(50)])
    chosen = {tuple(np.flatnonzero(assign(rows, share=0.1, seed=seed).is_eval)) for seed in range(5)}
    assert len(chosen) == 5
    assert all(len(each) == 5 for each in chosen)


def test_a_leak_is_named_with_a_row_of_each_side():
    rows = keys([(1, [100]), (2, [100]), (3, [])])
    assert leaks(rows, np.array([True, False, False])) == {"API": (100, 1, 0)}
    assert leaks(keys([(1, []), (1, [])]), np.array([False, True])) == {"question": (1, 0, 1)}
    assert leaks(rows, np.array([False, False, True])) == {}


def test_no_rows_are_no_groups():
    assert assign(keys([]), share=0.5, seed=0).groups == 0


def test_mixing_is_the_published_function():
    # The first two outputs of SplitMix64 from the state 0, as in the reference implementation by Vigna.
    golden = 0x9E3779B97F4A7C15
    assert [hex(value) for value in mixed(np.array([0, golden], np.uint64), 0)] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
    ]
