"""The forward pass of generation: a few new tokens of each row, keys and values of the earlier ones in a cache.

    cache = empty_cache(model, rows=2, slots=64)
    hidden, cache = cached_states(model, tokens, positions, cache, at=0, first=first)

Every row writes the same slots at a time, so prompts of a batch end in the same slot; `first` says where each begins.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gemma_tool_use.models.attention import masked_attention
from gemma_tool_use.models.decoder import run_layers
from gemma_tool_use.models.spec import ModelSpec

Cache = dict[str, list[jax.Array]]
"""`k` and `v`: an array [rows, slots, key/value heads, head size] for each layer."""


def empty_cache(model: Any, *, rows: int, slots: int) -> Cache:
    """A cache in the dtype of the model's embedding."""
    spec: ModelSpec = model.spec
    shape, dtype = (rows, slots, spec.num_kv_heads, spec.head_dim), model.embedder.input_embedding.get_value().dtype
    return {name: [jnp.zeros(shape, dtype) for _ in range(spec.num_layers)] for name in ("k", "v")}


def cached_states(
    model: Any, tokens: jax.Array, positions: jax.Array, cache: Cache, *, at: jax.Array | int, first: jax.Array
) -> tuple[jax.Array, Cache]:
    """Final hidden states [rows, new, width] of tokens that go to the slots `at`, `at + 1`, ..., and the new cache.

    Args:
      model: a Tunix module with its `spec`, with or without LoRA.
      tokens: int32 [rows, new].
      positions: int32 [rows, new].
      cache: of `empty_cache`, or of the call before.
      at: slot of the first new token, in every row.
      first: int32 [rows], slot of each row's first real token; earlier slots are not attended to.
    """
    spec: ModelSpec = model.spec
    slots = jnp.arange(cache["k"][0].shape[1])
    distance = (at + jnp.arange(tokens.shape[1]))[:, None] - slots
    visible = (distance >= 0) & (slots >= first[:, None, None])
    updated: Cache = {"k": [], "v": []}

    def attend(layer: int, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        for name, new in (("k", k), ("v", v)):
            old = cache[name][layer]
            updated[name].append(jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), at, axis=1))
        window = spec.sliding_window if spec.is_local(layer) else None
        mask = visible if window is None else visible & (distance < window)
        return masked_attention(q, updated["k"][layer], updated["v"][layer], mask, softcap=spec.attention_softcap)

    return run_layers(model, tokens, positions, attend), updated
