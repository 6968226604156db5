"""Batched sampling from a model of any family with a KV cache, greedy or with a temperature.

    Sampler(model).generate([[2, 105, 2364], [2, 105]], stop_ids=[1, 106], pad_id=0)
    # [[4521, 236888], [818]]      new tokens of each prompt, without the stop token

Prompts of a batch are padded on the left to one length, so that every row writes the same cache slot in a step. Prefill
computes logits for the last position only; decoding runs on the device until every row has stopped.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.models.cached import cached_states, empty_cache
from gemma_tool_use.models.decoder import logits_of
from gemma_tool_use.models.lora import cast_lora
from gemma_tool_use.models.quantize import dense_tree

# Prompt lengths are rounded up to this, so that batches of similar length share one compilation.
BUCKET = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How replies are sampled.

    Attributes:
      max_new_tokens: longest reply in tokens.
      temperature: 0 takes the most likely token each time.
      seed: seed of the sampling; without effect at temperature 0.
      batch_size: most prompts that are decoded together.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.batch_size < 1 or self.temperature < 0:
            raise ConfigError(f"max_new_tokens and batch_size must be at least 1, temperature at least 0; got {self}")


class Sampler:
    """Samples from one model; compiles once per prompt length bucket, batch size and reply length.

    The LoRA parameters are read at every call, so one sampler serves a model before, during and after training.
    """

    def __init__(self, model: nnx.Module, *, compute_dtype: Any = None) -> None:
        """`compute_dtype`: what LoRA parameters are cast to; None leaves them."""
        self._model = model
        self._compute_dtype = compute_dtype
        # The graph definition holds Tunix's ModelConfig, which cannot be hashed, so it is bound rather than passed.
        graphdef, _, _ = nnx.split(model, nnx.LoRAParam, ...)
        self._decode = jax.jit(functools.partial(_decode_batch, graphdef), static_argnums=(5, 6))

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        stop_ids: Sequence[int],
        pad_id: int,
        config: SamplingConfig | None = None,
    ) -> list[list[int]]:
        """New tokens for each prompt, in the order of the prompts.

        Args:
          prompts: token ids, `<bos>` included.
          stop_ids: tokens that end a reply; not part of it.
          pad_id: fills shorter prompts; never attended to.
          config: lengths, temperature, seed, batch size.

        Raises:
          DataError: an empty prompt.
        """
        config = config or SamplingConfig()
        empty = [i for i, prompt in enumerate(prompts) if not len(prompt)]
        if empty:
            raise DataError(f"prompt {empty[0]} has no tokens; a prompt starts with <bos>")
        _, lora, base = nnx.split(self._model, nnx.LoRAParam, ...)
        if self._compute_dtype is not None:
            lora = cast_lora(lora, self._compute_dtype)
        replies: list[list[int]] = [[] for _ in prompts]
        # Neighbours in length share a batch, so that little is padding.
        by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for start in range(0, len(prompts), config.batch_size):
            rows = by_length[start : start + config.batch_size]
            tokens, lengths = _left_pad([prompts[i] for i in rows], pad_id)
            key = jax.random.fold_in(jax.random.key(config.seed), start)
            stops = jnp.asarray(stop_ids, jnp.int32)
            new = self._decode((lora, base), tokens, lengths, stops, key, config.max_new_tokens, config.temperature)
            for row, reply in zip(rows, np.asarray(new), strict=True):
                replies[row] = _until_stop(reply.tolist(), set(stop_ids))
        return replies


def _decode_batch(
    graphdef: Any,
    states: tuple[nnx.State, nnx.State],
    tokens: jax.Array,
    lengths: jax.Array,
    stop_ids: jax.Array,
    key: jax.Array,
    max_new_tokens: int,
    temperature: float,
) -> jax.Array:
    """int32 [batch, max_new_tokens]; after a row's stop token its entries repeat that token."""
    states = dense_tree(states)  # packed base weights are unpacked once for a reply, not once for a token
    batch, width = tokens.shape
    first = width - lengths  # slot of each row's first real token

    def step(cache: Any, tokens: jax.Array, at: jax.Array) -> tuple[jax.Array, Any]:
        """Runs tokens [batch, n] at slots at..at+n-1; returns the last position's logits and the new cache."""
        model: Any = nnx.merge(graphdef, *states)
        query = at + jnp.arange(tokens.shape[1])
        positions = jnp.maximum(query[None] - first[:, None], 0)
        hidden, cache = cached_states(model, tokens, positions, cache, at=at, first=first)
        return logits_of(model, hidden[:, -1]), cache

    def choose(logits: jax.Array, index: jax.Array) -> jax.Array:
        if temperature == 0:
            return jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return jax.random.categorical(jax.random.fold_in(key, index), logits / temperature).astype(jnp.int32)

    def is_stop(token: jax.Array) -> jax.Array:
        return jnp.any(token[:, None] == stop_ids[None], axis=-1)

    def body(carry: Any) -> Any:
        index, token, cache, done, output = carry
        logits, cache = step(cache, token[:, None], width + index - 1)
        token = jnp.where(done, token, choose(logits, index))
        return index + 1, token, cache, done | is_stop(token), output.at[:, index].set(token)

    def unfinished(carry: Any) -> jax.Array:
        return (carry[0] < max_new_tokens) & ~jnp.all(carry[3])

    cache = empty_cache(nnx.merge(graphdef, *states), rows=batch, slots=width + max_new_tokens)
    logits, cache = step(cache, tokens, jnp.zeros((), jnp.int32))
    token = choose(logits, jnp.zeros((), jnp.int32))
    output = jnp.broadcast_to(stop_ids[0], (batch, max_new_tokens)).at[:, 0].set(token)
    return jax.lax.while_loop(unfinished, body, (jnp.ones((), jnp.int32), token, cache, is_stop(token), output))[4]


def _left_pad(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[jax.Array, jax.Array]:
    """`[[5, 6], [7]]` gives rows of 32 that end in `5, 6` and `7`, and lengths `[2, 1]`."""
    width = -(-max(map(len, prompts)) // BUCKET) * BUCKET
    tokens = np.full((len(prompts), width), pad_id, np.int32)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[width - len(prompt) :] = prompt
    return jnp.asarray(tokens), jnp.asarray([len(prompt) for prompt in prompts], jnp.int32)


def _until_stop(tokens: Sequence[int], stop_ids: set[int]) -> list[int]:
    end = next((i for i, token in enumerate(tokens) if token in stop_ids), len(tokens))
    return list(tokens[:end])
