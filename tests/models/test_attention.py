"""Attention in blocks equals attention over the whole square, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma_tool_use.models.attention import masked_attention, segment_mask
from gemma_tool_use.models.blockwise_attention import BLOCK, blockwise_attention


def random(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def segments(*rows):
    """segments([3, 2]) is [[1, 1, 1, 2, 2]]; a last length given as negative is padding."""
    return jnp.asarray(
        [np.concatenate([np.full(abs(n), i + 1 if n > 0 else 0) for i, n in enumerate(row)]) for row in rows], jnp.int32
    )


def value_and_gradients(function, *arrays):
    weights = random(9, *arrays[0].shape)
    out, pull = jax.vjp(function, *arrays)
    return out, *pull(weights)


@pytest.mark.parametrize(
    ("heads", "groups", "window", "softcap"), [(4, 1, None, None), (4, 2, 150, None), (2, 2, 40, 3.0)]
)
@pytest.mark.parametrize(
    "ids",
    [
        segments([50]),
        segments([2 * BLOCK + 30, 100], [7, 2 * BLOCK - 20, 15, -128]),
        segments([BLOCK, BLOCK, BLOCK], [3 * BLOCK]),
    ],
    ids=["one short row", "segments across blocks, padding", "segments of whole blocks"],
)
def test_blocks_equal_the_whole_square(ids, heads, groups, window, softcap):
    rows, length = ids.shape
    q = random(0, rows, length, heads, 16)
    k, v = random(1, rows, length, groups, 16), random(2, rows, length, groups, 16)
    mask = segment_mask(ids, window)
    found = value_and_gradients(lambda *a: blockwise_attention(*a, ids, window=window, softcap=softcap), q, k, v)
    expected = value_and_gradients(lambda *a: masked_attention(*a, mask, softcap=softcap), q, k, v)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_block_that_no_query_sees_is_not_read():
    ids = segments([BLOCK, BLOCK])
    q, k, v = (random(i, 1, 2 * BLOCK, 1, 8) for i in range(3))
    clean = blockwise_attention(q, k, v, ids)
    poisoned = blockwise_attention(q, k.at[:, :BLOCK].set(jnp.nan), v, ids)
    np.testing.assert_array_equal(clean[:, BLOCK:], poisoned[:, BLOCK:])


def test_the_mask_is_causal_within_a_segment_and_a_window():
    expected = ["1....", "11...", ".11..", "...1.", "...11"]
    found = ["".join("1" if seen else "." for seen in row) for row in segment_mask(segments([3, 2]), 2)[0]]
    assert found == expected
