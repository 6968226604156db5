"""The forward pass of generation: the keys and values of earlier tokens lie in a cache, a ring of slots for each layer.

    cache = empty_cache(model, rows=8, length=512)
    cache = prefill(model, packed, cache, places)                # prompts, packed like rows of training
    fresh = empty_fresh(cache, 16)
    hidden, fresh = decode(model, tokens, start, 0, cache, fresh)        # [8, width]: one more token of every row
    hidden, fresh = decode(model, more_tokens, start, 1, cache, fresh)
    cache = keep(cache, fresh, start, 2)

The token at position p of a row lies in slot `p % slots`. A local layer has no more slots than its window, so a new
token takes the place of the one that has just left the window; a global layer has one for every position. Rows are
independent: each is at its own position. Writing a token of each row to its own slot takes as long as reading a good
part of the cache, so the tokens of some steps are first kept side by side, at the same place in every row.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from gemma_tool_use.models.decoder import packed_attention, run_layers
from gemma_tool_use.models.spec import ModelSpec

Cache: TypeAlias = dict[str, list[jax.Array]]
"""`k` and `v`: an array [rows, slots, key/value heads, head size] for each layer."""


class Packed(NamedTuple):
    """Prompts in rows of one length: `tokens`, `positions` and `segment_ids`, int32 [rows, length], as in training."""

    tokens: jax.Array
    positions: jax.Array
    segment_ids: jax.Array


class Places(NamedTuple):
    """Where the prompts of a `Packed` stand and where they go, int32 [prompts] each.

    Attributes:
      starts: index of the prompt's first token among all tokens of the packed rows.
      lengths: its tokens; 0 is allowed.
      rows: its row of the cache; one that the cache does not have for an entry that is not used.
    """

    starts: jax.Array
    lengths: jax.Array
    rows: jax.Array


def empty_cache(model: Any, *, rows: int, length: int) -> Cache:
    """A cache for rows of up to `length` tokens, in the dtype of the model's embedding."""
    spec: ModelSpec = model.spec
    dtype = model.embedder.input_embedding.get_value().dtype

    def layer(index: int) -> jax.Array:
        slots = length if spec.sliding_window is None or not spec.is_local(index) else min(length, spec.sliding_window)
        return jnp.zeros((rows, slots, spec.num_kv_heads, spec.head_dim), dtype)

    return {name: [layer(index) for index in range(spec.num_layers)] for name in ("k", "v")}


def prefill(model: Any, packed: Packed, cache: Cache, places: Places) -> Cache:
    """The cache with the keys and values of prompts; whatever else their rows held is forgotten.

    Args:
      model: a Tunix module with its `spec`, with or without LoRA.
      packed: the prompts. No logits come out, so all but the last token of each: that one is decoded.
      cache: of `empty_cache`, or of the call before.
      places: which prompt goes to which row.
    """
    updated: Cache = {"k": [], "v": []}

    def attend(layer: int, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        for name, new in (("k", k), ("v", v)):
            updated[name].append(_fill(cache[name][layer], new, places))
        return packed_attention(model.spec, layer, q, k, v, packed.segment_ids)

    run_layers(model, packed.tokens, packed.positions, attend)
    return updated


def _fill(cache: jax.Array, new: jax.Array, places: Places) -> jax.Array:
    """`cache` [rows, slots, ...] with the prompts' parts of `new` [packed rows, length, ...].

    A row of the cache takes its prompt's part or stays, where a scatter would be shorter to write: XLA's CPU backend
    takes a bfloat16 scatter to float32 and back, the whole cache each time, 9 ms for 64 rows of 512 slots and not 0.7.
    """
    rows, slots = cache.shape[:2]
    held = _held(places.lengths - 1, slots)
    index = places.starts[:, None] + jnp.maximum(held, 0)  # a slot that nothing has reached yet gets any finite value
    flat = new.reshape(-1, *new.shape[2:]).astype(cache.dtype)
    prompts = jnp.take(flat, index, axis=0, mode="clip")
    unfilled = len(places.rows)
    prompt = jnp.full(rows, unfilled).at[places.rows].set(jnp.arange(unfilled), mode="drop")
    filled = (prompt < unfilled).reshape(rows, *[1] * (cache.ndim - 1))
    return jnp.where(filled, jnp.take(prompts, prompt, axis=0, mode="clip"), cache)


def _held(last: jax.Array, slots: int) -> jax.Array:
    """int32 [rows, slots]: the position that each slot holds once `last` [rows] is written; negative: none yet."""
    return last[:, None] - (last[:, None] - jnp.arange(slots)) % slots


def empty_fresh(cache: Cache, tokens: int) -> Cache:
    """Room for the keys and values of so many tokens of each row."""
    return jax.tree.map(lambda x: jnp.zeros((x.shape[0], tokens, *x.shape[2:]), x.dtype), cache)


def decode(
    model: Any, tokens: jax.Array, start: jax.Array, count: jax.Array | int, cache: Cache, fresh: Cache
) -> tuple[jax.Array, Cache]:
    """Final hidden states [rows, width] of the next token of every row, and `fresh` with its keys and values.

    Args:
      model: a Tunix module with its `spec`, with or without LoRA.
      tokens: int32 [rows], of positions `start + count`.
      start: int32 [rows], the first position that is not in the cache.
      count: tokens of each row in `fresh`, which has room for one more.
      cache: of `prefill` or `keep`; it is read only.
      fresh: of `empty_fresh`, or of the call before.
    """
    spec: ModelSpec = model.spec
    updated: Cache = {"k": [], "v": []}
    positions = start + count

    def attend(layer: int, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        for name, new in (("k", k), ("v", v)):
            room = fresh[name][layer]
            updated[name].append(jax.lax.dynamic_update_slice_in_dim(room, new.astype(room.dtype), count, axis=1))
        held = _held(start - 1, cache["k"][layer].shape[1])
        index = jnp.arange(updated["k"][layer].shape[1])
        visible = [held >= 0, jnp.broadcast_to(index <= count, (len(tokens), len(index)))]
        if spec.sliding_window is not None and spec.is_local(layer):
            visible[0] &= held > positions[:, None] - spec.sliding_window
            visible[1] &= index > count - spec.sliding_window
        parts = [
            (each["k"][layer], each["v"][layer], seen) for each, seen in zip((cache, updated), visible, strict=True)
        ]
        return _attention(q, parts, spec.attention_softcap)

    return run_layers(model, tokens[:, None], positions[:, None], attend)[:, 0], updated


def keep(cache: Cache, fresh: Cache, start: jax.Array, count: jax.Array | int) -> Cache:
    """The cache with `count` tokens of each row of `fresh`, which begin at position `start` [rows]."""

    def written(cache: jax.Array, fresh: jax.Array) -> jax.Array:
        index = _held(start + count - 1, cache.shape[1]) - start[:, None]
        index, cells = (x.reshape(*x.shape, *[1] * (cache.ndim - 2)) for x in (index, index >= 0))
        return jnp.where(cells, jnp.take_along_axis(fresh, jnp.maximum(index, 0), axis=1), cache)

    return jax.tree.map(written, cache, fresh)


def _attention(
    q: jax.Array, parts: Sequence[tuple[jax.Array, jax.Array, jax.Array]], softcap: float | None
) -> jax.Array:
    """One query of each row, [rows, 1, heads, head size], against the keys of all parts together.

    Scores are first [slots, heads]: keys times queries. XLA's CPU backend takes 0.7 ms for that with 64 rows of 512
    slots in bfloat16, and 4 ms for queries times keys. Weights are [heads, slots] again: with several key/value heads
    it lacks the other product in bfloat16. Both products ask for float32 sums: it would write a float32 copy of the
    cache for bfloat16 ones.

    Args:
      parts: keys and values [rows, slots, key/value heads, head size], and bool [rows, slots]: what the query sees.
    """
    rows, _, heads, size = q.shape
    groups = parts[0][0].shape[2]
    grouped = q.reshape(rows, groups, heads // groups, size)

    def score(k: jax.Array, visible: jax.Array) -> jax.Array:
        scores = jnp.einsum("bgnh,bsgh->bgsn", grouped, k, preferred_element_type=jnp.float32)
        if softcap is not None:
            scores = softcap * jnp.tanh(scores / softcap)
        return jnp.where(visible[:, None, :, None], scores, jnp.finfo(jnp.float32).min)

    scores = jnp.concatenate([score(k, visible) for k, _, visible in parts], axis=2)
    weights = jax.nn.softmax(jnp.swapaxes(scores, 2, 3), axis=3).astype(parts[0][1].dtype)
    ends = np.cumsum([k.shape[1] for k, _, _ in parts])[:-1]
    out = sum(
        jnp.einsum("bgns,bsgh->bgnh", share, v, preferred_element_type=jnp.float32)
        for share, (_, v, _) in zip(jnp.split(weights, ends, axis=3), parts, strict=True)
    )
    return jnp.asarray(out, q.dtype).reshape(q.shape)
