"""Which prompts are computed side by side."""

import numpy as np
import pytest

from gemma_tool_use.inference.plan import bucket, plan


def test_four_prompts_share_one_packed_row():
    [group] = plan({0: 5, 1: 300, 2: 0, 3: 40}, new=64, rows=64)
    assert (group.rows, group.length, group.packed_rows, group.packed_length) == (8, 384, 1, 512)
    [chunk] = group.chunks
    assert chunk.prompts == (1, 3, 0, 2)
    assert chunk.starts == (0, 300, 340, 345)


def test_buckets_grow_by_halves():
    assert [bucket(n) for n in (1, 128, 129, 300, 385, 600, 1025, 1537)] == [128, 128, 256, 384, 512, 768, 1536, 2048]


def test_long_prompts_do_not_make_the_cache_of_short_ones_long():
    groups = plan({0: 100, 1: 3000, 2: 90}, new=100, rows=64)
    assert [group.length for group in groups] == [256, 4096]
    assert [group.chunks[0].prompts for group in groups] == [(0, 2), (1,)]


@pytest.mark.parametrize("seed", range(5))
def test_every_prompt_has_a_place_of_its_own(seed):
    rng = np.random.default_rng(seed)
    lengths = dict(enumerate(rng.integers(0, 1500, 200).tolist()))
    for group in (groups := plan(lengths, new=50, rows=12, multiple=3)):
        assert group.rows % 3 == 0
        for chunk in group.chunks:
            taken = np.zeros(group.packed_rows * group.packed_length, int)
            for prompt, start in zip(chunk.prompts, chunk.starts, strict=True):
                taken[start : start + lengths[prompt]] += 1
                assert lengths[prompt] + 50 <= group.length
                if lengths[prompt]:
                    assert start // group.packed_length == (start + lengths[prompt] - 1) // group.packed_length
            assert taken.max() <= 1
            assert len(chunk.prompts) <= group.most_prompts <= group.rows
    assert sorted(p for group in groups for chunk in group.chunks for p in chunk.prompts) == sorted(lengths)
