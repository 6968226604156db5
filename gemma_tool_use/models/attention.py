"""Causal attention of packed rows: a token sees itself and the earlier tokens of its own segment.

out = attention(q, k, v, segment_ids, window=512)      # [rows, length, heads, head size]

Segments are contiguous, so a distance between two indices of one segment is a distance between their positions.
"""

import jax
import jax.numpy as jnp

# Queries are taken in blocks of this many, each against the keys that stand before its end: with rows of 640 tokens
# 32 % of the products fall away. Smaller blocks save little more and take longer to compile.
_QUERY_BLOCK = 256


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segment_ids: jax.Array,
    *,
    window: int | None = None,
    softcap: float | None = None,
) -> jax.Array:
    """Softmax attention with one mask: causal, within the segment, and at most `window` tokens back.

    Args:
      q: [rows, length, heads, head size], scaled.
      k: [rows, length, key/value heads, head size]; the number of heads is a multiple of theirs.
      v: as `k`.
      segment_ids: int32 [rows, length].
      window: how many tokens one sees, itself included; None for all.
      softcap: c, where scores become c * tanh(score / c); None for none.

    Returns:
      [rows, length, heads, head size]. Padding attends to padding; nothing reads it.
    """
    length = q.shape[1]
    blocks = []
    for start in range(0, length, _QUERY_BLOCK):
        stop = min(start + _QUERY_BLOCK, length)
        first = 0 if window is None else max(0, start - window + 1)
        mask = _mask(segment_ids, slice(start, stop), slice(first, stop), window)
        blocks.append(masked_attention(q[:, start:stop], k[:, first:stop], v[:, first:stop], mask, softcap=softcap))
    return jnp.concatenate(blocks, axis=1)


def _mask(segment_ids: jax.Array, queries: slice, keys: slice, window: int | None) -> jax.Array:
    """bool [rows, queries, keys]."""
    distance = jnp.arange(queries.start, queries.stop)[:, None] - jnp.arange(keys.start, keys.stop)
    near = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    return near & (segment_ids[:, queries, None] == segment_ids[:, None, keys])


def masked_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, *, softcap: float | None = None
) -> jax.Array:
    """Queries [rows, queries, heads, head size] against keys where `mask`, bool [rows, queries, keys], says so."""
    rows, queries, heads, size = q.shape
    groups = k.shape[2]
    q = q.reshape(rows, queries, groups, heads // groups, size)
    logits = jnp.einsum("bqgnh,bkgh->bgqnk", q, k, preferred_element_type=jnp.float32)
    if softcap is not None:
        logits = softcap * jnp.tanh(logits / softcap)
    logits = jnp.where(mask[:, None, :, None], logits, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(logits, axis=-1).astype(v.dtype)
    return jnp.einsum("bgqnk,bkgh->bqgnh", weights, v).reshape(rows, queries, heads, size)
