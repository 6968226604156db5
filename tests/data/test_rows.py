"""Pictures of a batch, the mask check, and the laws of a split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_tool_use.conversation import Conversation, Message
from gemma_tool_use.data.rows import BatchShape, check_mask, collate, padded_length, question, row_sizes, split
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.formats.encode import Encoded

F, T = False, True


def row(tokens, mask):
    return Encoded(tokens=np.array(tokens, np.int32), loss_mask=np.array(mask, bool))


A, B, C = row([2, 5, 6], [F, F, T]), row([2, 7], [F, T]), row([2, 8, 9, 4], [F, T, F, T])


class Words:
    """Decodes ids as `w5 w6`."""

    def decode(self, ids):
        return " ".join(f"w{i}" for i in ids)


def test_packed_rows_with_accumulation_and_an_empty_row():
    row_index = np.array([[[2, -1], [0, 1]], [[1, -1], [-1, -1]]], np.int32)
    element = collate([A, B, C], row_index, length=6, pad_id=9)
    assert {name: array.tolist() for name, array in element.items()} == {
        "tokens": [
            [[2, 8, 9, 4, 9, 9], [2, 5, 6, 2, 7, 9]],
            [[2, 7, 9, 9, 9, 9], [9, 9, 9, 9, 9, 9]],
        ],
        "loss_mask": [
            [[F, T, F, T, F, F], [F, F, T, F, T, F]],
            [[F, T, F, F, F, F], [F, F, F, F, F, F]],
        ],
        "positions": [
            [[0, 1, 2, 3, 0, 0], [0, 1, 2, 0, 1, 0]],
            [[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]],
        ],
        "segment_ids": [
            [[1, 1, 1, 1, 0, 0], [1, 1, 1, 2, 2, 0]],
            [[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]],
        ],
    }
    assert {name: str(array.dtype) for name, array in element.items()} == {
        "tokens": "int32",
        "loss_mask": "bool",
        "positions": "int32",
        "segment_ids": "int32",
    }


def test_a_batch_of_4_has_8_rows_on_8_devices():
    assert BatchShape(batch_size=4, length=1, pad_id=0, row_multiple=8).rows == 8
    assert BatchShape(batch_size=9, length=1, pad_id=0, row_multiple=8).rows == 16
    assert BatchShape(batch_size=4, length=1, pad_id=0).rows == 4


def test_sizes_that_are_not_positive_are_all_named():
    with pytest.raises(ConfigError, match=r"batch_size.*length.*accumulation.*row_multiple"):
        BatchShape(batch_size=0, length=0, pad_id=0, accumulation=-1, row_multiple=0)


def test_without_packing_the_longest_row_decides_the_length():
    assert padded_length(row_sizes([A, C])) == 32
    assert padded_length(row_sizes([A, row(range(33), [T] * 33)])) == 64


@pytest.mark.parametrize("mask", [[F, F, F], [T, F, F]])
def test_a_mask_that_trains_nothing_stops_with_the_text(mask):
    with pytest.raises(DataError, match=r"row 'r1': no token is trained.*'w2 w5 w6'"):
        check_mask(row([2, 5, 6], mask), "r1", Words())  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("mask", [[T, T, T], [F, T, T]])
def test_a_mask_that_trains_everything_stops_with_the_text(mask):
    with pytest.raises(DataError, match=r"row 'r1': every token is trained.*'w2 w5 w6'"):
        check_mask(row([2, 5, 6], mask), "r1", Words())  # pyright: ignore[reportArgumentType]


def test_a_question_is_the_first_user_message_without_case_and_spacing():
    messages = (Message(role="system", content="s"), Message(role="user", content=" Time\n in  OSLO? "))
    assert question(Conversation(messages=messages)) == "time in oslo?"


@given(
    groups=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=40).filter(lambda names: len(set(names)) > 1),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_a_split_keeps_order_groups_and_every_row(groups, share, seed):
    rows = list(range(len(groups)))
    train, held = split(rows, eval_share=share, seed=seed, groups=groups)
    assert sorted(train + held) == rows
    assert train == sorted(train) and held == sorted(held)
    assert train and held
    assert not {groups[i] for i in train} & {groups[i] for i in held}
    assert (train, held) == split(rows, eval_share=share, seed=seed, groups=groups)


def test_a_split_has_the_share_asked_for_and_follows_the_seed():
    first = split(range(1000), eval_share=0.05, seed=0)
    assert [len(side) for side in first] == [950, 50]
    assert first != split(range(1000), eval_share=0.05, seed=1)
    assert split(range(3), eval_share=0, seed=0) == ([0, 1, 2], [])


def test_rows_added_later_move_few_others():
    names = [f"question {i}" for i in range(1100)]
    _, before = split(range(1000), eval_share=0.1, seed=0, groups=names[:1000])
    _, after = split(range(1100), eval_share=0.1, seed=0, groups=names)
    assert len(set(before) & set(after)) > 90


def test_one_question_cannot_be_split():
    with pytest.raises(DataError, match="3 rows with 1 different questions"):
        split([1, 2, 3], eval_share=0.5, seed=0, groups=["a", "a", "a"])
    with pytest.raises(ConfigError, match="eval_share"):
        split([1, 2, 3], eval_share=1.0, seed=0)
