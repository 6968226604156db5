"""Causal attention of packed rows: a token sees itself and the earlier tokens of its own segment.

out = attention(q, k, v, segment_ids, window=512)      # [rows, length, heads, head size]

Segments are contiguous, so a distance between two indices of one segment is a distance between their positions.
"""

import jax
import jax.numpy as jnp


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
    return masked_attention(q, k, v, segment_mask(segment_ids, window), softcap=softcap)


def segment_mask(segment_ids: jax.Array, window: int | None) -> jax.Array:
    """bool [rows, queries, keys], True where the query sees the key."""
    index = jnp.arange(segment_ids.shape[1])
    distance = index[:, None] - index
    near = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    return near & (segment_ids[:, :, None] == segment_ids[:, None, :])


def masked_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, *, softcap: float | None = None
) -> jax.Array:
    """Queries [rows, queries, heads, head size] against keys [rows, keys, ...]; `mask`: bool [rows, queries, keys]."""
    rows, queries, heads, size = q.shape
    groups = k.shape[2]
    q = q.reshape(rows, queries, groups, heads // groups, size)
    logits = jnp.einsum("bqgnh,bkgh->bgqnk", q, k, preferred_element_type=jnp.float32)
    if softcap is not None:
        logits = softcap * jnp.tanh(logits / softcap)
    logits = jnp.where(mask[:, None, :, None], logits, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(logits, axis=-1).astype(v.dtype)
    return jnp.einsum("bgqnk,bkgh->bqgnh", weights, v).reshape(rows, queries, heads, size)
