"""The bytes of a record: a picture, the round trip, and that no other bytes pass for a row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_tool_use.data.store.record import pack, unpack
from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.encode import Encoded

F, T = False, True


def row(tokens, mask):
    return Encoded(tokens=np.array(tokens, np.int32), loss_mask=np.array(mask, bool))


def numbers(record):
    return np.frombuffer(record, "<i4").tolist()


def record_of(values):
    return np.array(values, "<i4").tobytes()


@pytest.mark.parametrize(
    ("tokens", "mask", "expected"),
    [
        ([2, 5, 6, 7], [F, F, T, T], [1, 4, 2, 2, 5, 6, 7, 2, 2]),
        ([2, 5, 6, 7], [F, T, F, F], [1, 4, 3, 2, 5, 6, 7, 1, 1, 2]),
        ([2, 5], [T, T], [1, 2, 2, 2, 5, 0, 2]),
        ([2], [F], [1, 1, 1, 2, 1]),
    ],
)
def test_a_record_is_three_numbers_the_ids_and_the_runs(tokens, mask, expected):
    assert numbers(pack(row(tokens, mask))) == expected


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.booleans()), max_size=60))
def test_packing_and_unpacking_gives_the_row_back(pairs):
    before = row([id for id, _ in pairs], [mask for _, mask in pairs])
    after = unpack(pack(before))
    assert (after.tokens.dtype, after.loss_mask.dtype) == (np.int32, bool)
    assert after.tokens.tolist() == before.tokens.tolist()
    assert after.loss_mask.tolist() == before.loss_mask.tolist()


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (b"", "0 bytes"),
        (b"1234567890123", "13 bytes"),
        (record_of([2, 1, 1, 2, 1]), "format 2, expected 1"),
        (record_of([1, 2, 1, 2, 1]), "2 tokens and 1 runs"),
        (record_of([1, 1, 1, 2, 5]), "1 tokens"),
        (record_of([1, 2, 2, 2, 5, 3, -1]), "2 tokens"),
        (record_of([1, -1, 2, 2, 1]), "-1 tokens"),
        (record_of([1, 2**31 - 1, 1, 2, 1]), "2147483647 tokens"),
    ],
)
def test_bytes_that_are_no_whole_record_are_refused(record, found):
    with pytest.raises(DataError, match=found):
        unpack(record)
