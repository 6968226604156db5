"""Attention of packed rows in blocks, of which only those are computed that hold a key some query may see.

out = blockwise_attention(q, k, v, segment_ids, window=512, softcap=None)     # [rows, length, heads, head size]

For a backend without an attention kernel of its own. A row of 640 tokens with conversations of 300 needs a third of the
pairs of tokens that the whole square has; which blocks those are follows from the segment ids at run time. The softmax
goes block by block and is computed again in the backward pass (https://arxiv.org/abs/2205.14135), so nothing of the
size of the square is kept.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gemma_tool_use.models.product import product

# Pairs of 128 x 128 tokens: smaller blocks skip more, larger ones are faster products. Of 64, 128, 256 the fastest for
# rows of 640 and of 1,024 tokens on two cores.
BLOCK = 128
# Where the running maximum starts. Masked scores are lower still, so their weights are exactly 0.
_LOWEST, _MASKED = -1e30, -1e31


class _Settings(NamedTuple):
    window: int | None
    softcap: float | None
    heads: int


# Traced once for all layers of a kind, and compiled once where a model runs outside jit.
@functools.partial(jax.jit, static_argnames=("window", "softcap"))
def blockwise_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segment_ids: jax.Array,
    *,
    window: int | None = None,
    softcap: float | None = None,
) -> jax.Array:
    """As `models.attention.attention`."""
    rows, length, heads, size = q.shape
    groups = k.shape[2]
    settings = _Settings(window, softcap, heads // groups)

    def padded(x: jax.Array) -> jax.Array:
        return jnp.pad(x, [(0, 0), (0, -length % BLOCK), *[(0, 0)] * (x.ndim - 2)])

    def by_group(x: jax.Array) -> jax.Array:
        """[rows * groups, length, heads of a group * head size]."""
        split = padded(x).reshape(rows, -1, groups, x.shape[2] // groups * size)
        return jnp.swapaxes(split, 1, 2).reshape(rows * groups, -1, split.shape[-1])

    ids = jnp.repeat(padded(segment_ids), groups, axis=0)
    out: jax.Array = _flash(settings, by_group(q), by_group(k), by_group(v), ids, _first_keys(ids, window))
    out = jnp.swapaxes(out.reshape(rows, groups, -1, heads // groups * size), 1, 2)
    return out[:, :length].reshape(rows, length, heads, size)


def _first_keys(segment_ids: jax.Array, window: int | None) -> jax.Array:
    """The first block of keys that each block of queries sees, int32 [rows, blocks]."""
    index = jnp.arange(segment_ids.shape[1], dtype=jnp.int32)
    begins = jnp.pad(segment_ids[:, 1:] != segment_ids[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    start = jax.lax.cummax(jnp.where(begins, index, 0), axis=1)
    if window is not None:
        start = jnp.maximum(start, index - window + 1)
    return start[:, ::BLOCK] // BLOCK


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _flash(
    settings: _Settings, q: jax.Array, k: jax.Array, v: jax.Array, ids: jax.Array, first: jax.Array
) -> jax.Array:
    """q [rows, length, heads * size], k and v [rows, length, size]."""
    return _forward(settings, q, k, v, ids, first)[0]


def _forward(settings: _Settings, q: jax.Array, k: jax.Array, v: jax.Array, ids: jax.Array, first: jax.Array):
    rows, length, _ = q.shape
    size, queries = k.shape[-1], BLOCK * settings.heads
    blocks = length // BLOCK

    def query_block(at: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        out, log_normalizers = carry
        row, block = at // blocks, at % blocks
        q_block = _slice(q, row, block).reshape(queries, size)

        def key_block(j: jax.Array, state: tuple[jax.Array, jax.Array, jax.Array]):
            maximum, normalizer, total = state
            scores = _scores(
                settings, q_block, _slice(k, row, j), _slice(ids, row, block), _slice(ids, row, j), block, j
            )
            new = jnp.maximum(maximum, scores.max(axis=1))
            weights = jnp.exp(scores - new[:, None])
            shrink = jnp.exp(maximum - new)
            values = product(weights.astype(v.dtype), _slice(v, row, j), dtype=jnp.float32)
            return new, normalizer * shrink + weights.sum(axis=1), total * shrink[:, None] + values

        start = jnp.full(queries, _LOWEST), jnp.zeros(queries), jnp.zeros((queries, size))
        maximum, normalizer, total = jax.lax.fori_loop(first[row, block], block + 1, key_block, start)
        result = (total / normalizer[:, None]).astype(q.dtype).reshape(1, BLOCK, -1)
        out = jax.lax.dynamic_update_slice(out, result, (row, block * BLOCK, 0))
        log_normalizer = (maximum + jnp.log(normalizer)).reshape(1, queries)
        return out, jax.lax.dynamic_update_slice(log_normalizers, log_normalizer, (row, block * queries))

    zero = jnp.zeros_like(q), jnp.zeros((rows, length * settings.heads))
    out, log_normalizers = jax.lax.fori_loop(0, rows * blocks, query_block, zero)
    return out, (q, k, v, ids, first, out, log_normalizers)


def _backward(settings: _Settings, residuals: tuple[jax.Array, ...], d_out: jax.Array):
    q, k, v, ids, first, out, log_normalizers = residuals
    rows, length, _ = q.shape
    size, queries = k.shape[-1], BLOCK * settings.heads
    blocks = length // BLOCK

    def query_block(at: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]):
        row, block = at // blocks, at % blocks
        q_block, d_block, out_block = (_slice(x, row, block).reshape(queries, size) for x in (q, d_out, out))
        log_normalizer = jax.lax.dynamic_slice(log_normalizers, (row, block * queries), (1, queries))[0]
        wide_q, wide_d = q_block.astype(jnp.float32), d_block.astype(jnp.float32)
        shift = jnp.sum(wide_d * out_block, axis=1)

        def key_block(j: jax.Array, state: tuple[jax.Array, jax.Array, jax.Array]):
            dq_block, dk, dv = state
            k_block, v_block = _slice(k, row, j), _slice(v, row, j)
            scores = _scores(settings, q_block, k_block, _slice(ids, row, block), _slice(ids, row, j), block, j)
            weights = jnp.exp(scores - log_normalizer[:, None])
            d_weights = product(d_block, v_block, 1, 1, dtype=jnp.float32)
            d_scores = weights * (d_weights - shift[:, None])
            if settings.softcap is not None:
                d_scores *= 1 - jnp.square(jnp.where(weights > 0, scores, 0) / settings.softcap)
            # Contracted over queries in float32: in bfloat16 that form takes four times as long.
            dk = _add(dk, row, j, d_scores.T @ wide_q)
            dv = _add(dv, row, j, weights.T @ wide_d)
            return dq_block + product(d_scores.astype(q.dtype), k_block, dtype=jnp.float32), dk, dv

        dq, dk, dv = carry
        state = jnp.zeros((queries, size)), dk, dv
        dq_block, dk, dv = jax.lax.fori_loop(first[row, block], block + 1, key_block, state)
        dq_block = dq_block.astype(q.dtype).reshape(1, BLOCK, -1)
        return jax.lax.dynamic_update_slice(dq, dq_block, (row, block * BLOCK, 0)), dk, dv

    zero = jnp.zeros_like(q), jnp.zeros(k.shape), jnp.zeros(v.shape)
    dq, dk, dv = jax.lax.fori_loop(0, rows * blocks, query_block, zero)
    return dq, dk.astype(k.dtype), dv.astype(v.dtype), None, None


_flash.defvjp(_forward, _backward)


def _scores(
    settings: _Settings,
    q: jax.Array,
    k: jax.Array,
    query_ids: jax.Array,
    key_ids: jax.Array,
    query_block: jax.Array,
    key_block: jax.Array,
) -> jax.Array:
    """Masked scores, float32 [BLOCK * heads, BLOCK]."""
    scores = product(q, k, 1, 1, dtype=jnp.float32)
    if settings.softcap is not None:
        scores = settings.softcap * jnp.tanh(scores / settings.softcap)
    distance = (query_block - key_block) * BLOCK + jnp.arange(BLOCK)[:, None] - jnp.arange(BLOCK)
    seen = (distance >= 0) & (query_ids[:, None] == key_ids)
    if settings.window is not None:
        seen &= distance < settings.window
    return jnp.where(jnp.repeat(seen, settings.heads, axis=0), scores, _MASKED)


def _slice(x: jax.Array, row: jax.Array, block: jax.Array) -> jax.Array:
    """Block number `block` of a row: [BLOCK, ...]."""
    start = (row, block * BLOCK, *[0] * (x.ndim - 2))
    return jax.lax.dynamic_slice(x, start, (1, BLOCK, *x.shape[2:]))[0]


def _add(total: jax.Array, row: jax.Array, block: jax.Array, part: jax.Array) -> jax.Array:
    sliced = _slice(total, row, block) + part
    return jax.lax.dynamic_update_slice(total, sliced[None], (row, block * BLOCK, 0))
