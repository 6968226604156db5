"""The programs of generation that run on the device: weights as decoding wants them, prefill, and a few decoding steps.

weights = programs.weights(lora, base)                       # once for many replies
cache = programs.prefill(weights, packed, cache, places)
cache, written = programs.decode(weights, cache, rows, stop_ids, limit, enough, config)
"""

import functools
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx

from gemma_tool_use.inference.sampling import SamplingConfig, choose
from gemma_tool_use.models.adapter import fold_lora
from gemma_tool_use.models.cached import (
    Cache,
    Packed,
    Places,
    decode,
    empty_cache,
    empty_fresh,
    keep,
    prefill,
)
from gemma_tool_use.models.decoder import logits_of
from gemma_tool_use.models.lora import without_lora
from gemma_tool_use.models.quantize import dense_tree

STEPS = 16
"""Most tokens of a row that are decoded before the host looks at them."""
NOTHING = -1
"""Stands for the token of a row that has ended."""

Adapter: TypeAlias = Literal["none", "folded", "apart"]
"""How the adapter takes part: not at all, added to the weights, or as products of its own beside them."""

Weights: TypeAlias = tuple[nnx.State, nnx.State]
"""LoRA parameters and base weights."""


class Rows(NamedTuple):
    """What decoding has to know of each row of the cache.

    Attributes:
      token: int32 [rows], the last token, which is not in the cache yet.
      position: int32 [rows], of that token.
      made: int32 [rows], tokens that the row has got so far.
      live: bool [rows], False for a row that has ended or was never filled.
      seed: uint32 [rows, 2], of its random numbers.
    """

    token: jax.Array
    position: jax.Array
    made: jax.Array
    live: jax.Array
    seed: jax.Array


class Programs:
    """The jitted functions for one model. Each compiles once for a shape."""

    def __init__(self, graphdef: Any, adapter: Adapter, dtype: Any) -> None:
        """`dtype`: what LoRA parameters are cast to."""
        # The graph definition holds Tunix's ModelConfig, which cannot be hashed, so it is bound rather than passed.
        model = functools.partial(_model, graphdef, adapter)
        self.weights = jax.jit(functools.partial(_weights, graphdef, adapter, dtype))
        self.empty = jax.jit(functools.partial(_empty, model), static_argnums=(1, 2))
        self.prefill = jax.jit(functools.partial(_prefill, model), donate_argnums=(2,))
        self.decode = jax.jit(functools.partial(_decode, model), static_argnums=(6,), donate_argnums=(1,))


def _weights(graphdef: Any, adapter: Adapter, dtype: Any, lora: nnx.State, base: nnx.State) -> Weights:
    """Packed weights are unpacked, and the adapter is added where it is to be, once and not for every token."""
    lora, base = jax.tree.map(lambda x: x.astype(dtype), lora), dense_tree(base)
    if adapter == "folded":
        model: Any = nnx.merge(graphdef, lora, base)
        fold_lora(model)
        _, lora, base = nnx.split(model, nnx.LoRAParam, ...)
    return lora, base


def _model(graphdef: Any, adapter: Adapter, weights: Weights) -> Any:
    model: Any = nnx.merge(graphdef, *weights)
    if adapter != "apart":
        without_lora(model)
    model.remat = "none"  # there is no backward pass, and what a layer keeps has to get out of it
    return model


def _empty(model: Any, weights: Weights, rows: int, length: int) -> Cache:
    return empty_cache(model(weights), rows=rows, length=length)


def _prefill(model: Any, weights: Weights, packed: Packed, cache: Cache, places: Places) -> Cache:
    return prefill(model(weights), packed, cache, places)


def _decode(
    model: Any,
    weights: Weights,
    cache: Cache,
    rows: Rows,
    stop_ids: jax.Array,
    limit: jax.Array,
    enough: jax.Array,
    config: SamplingConfig,
) -> tuple[Cache, jax.Array]:
    """Up to `STEPS` tokens of every live row; fewer once `enough` rows have ended, or all.

    Returns:
      The cache, and int32 [rows, STEPS]: the tokens, a stop token included, then `NOTHING`.
    """
    module = model(weights)
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed[0]), seed[1]))(rows.seed)

    def unfinished(carry: Any) -> jax.Array:
        step, _, live, _, _ = carry
        ended = jnp.sum(rows.live) - jnp.sum(live)
        return (step < STEPS) & jnp.any(live) & (ended < enough)

    def body(carry: Any) -> Any:
        step, token, live, fresh, written = carry
        hidden, fresh = decode(module, token, rows.position, step, cache, fresh)
        made = rows.made + step
        token = choose(logits_of(module, hidden), jax.vmap(jax.random.fold_in)(keys, made), config)
        written = written.at[:, step].set(jnp.where(live, token, NOTHING))
        live &= (made + 1 < limit) & ~jnp.any(token[:, None] == stop_ids, axis=-1)
        return step + 1, token, live, fresh, written

    written = jnp.full((rows.token.shape[0], STEPS), NOTHING, jnp.int32)
    start = jnp.zeros((), jnp.int32), rows.token, rows.live, empty_fresh(cache, STEPS), written
    count, _, _, fresh, written = jax.lax.while_loop(unfinished, body, start)
    return keep(cache, fresh, rows.position, count), written
