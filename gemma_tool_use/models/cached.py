"""The forward pass of generation: the keys and values of earlier tokens lie in a cache, a ring of slots for each layer.

    cache = empty_cache(model, rows=8, length=512)
    cache = prefill(model, packed, cache, places)                # prompts, packed like rows of training
    hidden, cache = decode(model, tokens, positions, cache)      # [8, width]: one more token of every row

The token at position p of a row lies in slot `p % slots`. A local layer has no more slots than its window, so a new
token takes the place of the one that has just left the window; a global layer has one for every position. Rows are
independent: each is at its own position.
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from gemma_tool_use.models.decoder import packed_attention, run_layers
from gemma_tool_use.models.sharding import target_platform
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


def decode(model: Any, tokens: jax.Array, positions: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
    """Final hidden states [rows, width] of the next token of every row, and the cache with it.

    Args:
      model: a Tunix module with its `spec`, with or without LoRA.
      tokens: int32 [rows].
      positions: int32 [rows], of these tokens; all earlier ones of the row are in the cache.
      cache: of `prefill`, or of the call before.
    """
    updated: Cache = {"k": [], "v": []}

    def attend(layer: int, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        slots = cache["k"][layer].shape[1]
        for name, new in (("k", k), ("v", v)):
            updated[name].append(_write(cache[name][layer], new, positions % slots))
        visible = _held(positions, slots) >= 0
        return _attention(q, updated["k"][layer], updated["v"][layer], visible, model.spec.attention_softcap)

    return run_layers(model, tokens[:, None], positions[:, None], attend)[:, 0], updated


def _write(cache: jax.Array, new: jax.Array, slot: jax.Array) -> jax.Array:
    """`cache` [rows, slots, ...] with `new` [rows, 1, ...] in the slot [rows] of each row."""
    new = new.astype(cache.dtype)
    if target_platform() == "cpu" and cache.dtype == jnp.bfloat16:
        # As in `_fill`: 5 ms for a scatter, 0.7 ms for choosing between old and new. In float32 it is the other way.
        return jnp.where((jnp.arange(cache.shape[1]) == slot[:, None])[:, :, None, None], new, cache)
    return cache.at[jnp.arange(cache.shape[0]), slot].set(new[:, 0])


def _attention(q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array, softcap: float | None) -> jax.Array:
    """One query of each row, [rows, 1, heads, head size], against keys [rows, slots, ...]; `visible`: [rows, slots].

    Scores lie as [slots, heads]: keys times queries. XLA's CPU backend takes 0.7 ms for that with 64 rows of 512 slots
    in bfloat16, and 4 ms for queries times keys. Both products ask for float32 sums: it would write a float32 copy of
    the cache for bfloat16 ones.
    """
    rows, _, heads, size = q.shape
    groups = k.shape[2]
    grouped = q.reshape(rows, groups, heads // groups, size)
    scores = jnp.einsum("bgnh,bsgh->bgsn", grouped, k, preferred_element_type=jnp.float32)
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    scores = jnp.where(visible[:, None, :, None], scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-2).astype(v.dtype)
    out = jnp.einsum("bgsn,bsgh->bgnh", weights, v, preferred_element_type=jnp.float32)
    return out.astype(q.dtype).reshape(q.shape)
