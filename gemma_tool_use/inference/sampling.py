"""One token from the logits of each row: the likeliest, or one drawn at a temperature from the top-k and the nucleus.

    tokens = choose(logits, keys, SamplingConfig(temperature=0.7, top_p=0.9))      # int32 [rows]

Rows draw with keys of their own, so a token depends on nothing but the row's logits and its key.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gemma_tool_use.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How replies are sampled.

    Attributes:
      max_new_tokens: longest reply in tokens.
      temperature: 0 takes the most likely token each time.
      top_k: only the k likeliest tokens are drawn (and those as likely as the k-th); None for all.
      top_p: only the likeliest tokens that together reach this probability are drawn, after `top_k`; 1 for all.
      seed: seed of the sampling; without effect at temperature 0.
      batch_size: most prompts that are decoded together; fewer than 8 count as 8.
      max_length: most tokens of a prompt with `max_new_tokens`; a longer one is an error of that prompt.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0
    batch_size: int = 64
    max_length: int = 8192

    def __post_init__(self) -> None:
        wanted = {
            "max_new_tokens": ("at least 1", self.max_new_tokens >= 1),
            "temperature": ("at least 0 and finite", 0 <= self.temperature < math.inf),
            "top_k": ("None or at least 1", self.top_k is None or self.top_k >= 1),
            "top_p": ("above 0 and at most 1", 0 < self.top_p <= 1),
            "batch_size": ("at least 1", self.batch_size >= 1),
            "seed": ("from 0 to 2**32 - 1", 0 <= self.seed < 2**32),
            "max_length": ("above max_new_tokens", self.max_length > self.max_new_tokens),
        }
        problems = [
            f"{name} is {getattr(self, name)}, expected {text}" for name, (text, ok) in wanted.items() if not ok
        ]
        if problems:
            raise ConfigError(f"these sampling settings are not usable: {'; '.join(problems)}")


def choose(logits: jax.Array, keys: jax.Array, config: SamplingConfig) -> jax.Array:
    """int32 [rows].

    Args:
      logits: float32 [rows, vocabulary].
      keys: random keys [rows].
      config: temperature, top_k and top_p.
    """
    if config.temperature == 0:
        return _likeliest(logits)
    return jax.vmap(_draw)(keys, restrict(logits / config.temperature, config)).astype(jnp.int32)


def _likeliest(logits: jax.Array) -> jax.Array:
    """As `argmax`, by the largest of each block: on a CPU, XLA needs four times as long to keep each number's index."""
    size = math.gcd(logits.shape[-1], 512)
    blocks = logits.reshape(logits.shape[0], -1, size)
    block = jnp.argmax(jnp.max(blocks, axis=-1), axis=-1)
    within = jnp.argmax(jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0], axis=-1)
    return (block * size + within).astype(jnp.int32)


def restrict(logits: jax.Array, config: SamplingConfig) -> jax.Array:
    """Logits [rows, vocabulary] with -inf for tokens outside the top-k or the nucleus (https://arxiv.org/abs/1904.09751)."""
    top_k, top_p = config.top_k, config.top_p
    if top_k is not None and top_k < logits.shape[-1]:
        logits = _keep_largest(logits, lambda kept: kept.sum(axis=-1) >= top_k)
    if top_p < 1:
        chances = jax.nn.softmax(logits, axis=-1)
        logits = _keep_largest(logits, lambda kept: jnp.where(kept, chances, 0).sum(axis=-1) >= top_p)
    return logits


def _keep_largest(logits: jax.Array, enough: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """The fewest of the largest logits of a row that are enough, together with all that equal the last of them.

    The bound is found bit by bit in the order of the numbers: 32 sums, where sorting 262,144 of them takes far longer.
    """
    bits = jax.lax.bitcast_convert_type(logits, jnp.uint32)
    sign = jnp.uint32(1 << 31)
    order = jnp.where(bits >= sign, ~bits, bits | sign)

    def narrow(bit: jax.Array, bound: jax.Array) -> jax.Array:
        higher = bound | (sign >> bit.astype(jnp.uint32))
        return jnp.where(enough(order >= higher[:, None]), higher, bound)

    bound = jax.lax.fori_loop(0, 32, narrow, jnp.zeros(logits.shape[0], jnp.uint32))
    return jnp.where(order >= bound[:, None], logits, -jnp.inf)


def _draw(key: jax.Array, logits: jax.Array) -> jax.Array:
    """First a block of about sqrt(vocabulary) tokens, then one of them: few random numbers for a large vocabulary."""
    size = math.isqrt(logits.size - 1) + 1
    blocks = jnp.pad(logits, (0, -logits.size % size), constant_values=-jnp.inf).reshape(-1, size)
    first, second = jax.random.split(key)
    block = jax.random.categorical(first, jax.nn.logsumexp(blocks, axis=-1))
    return block * size + jax.random.categorical(second, blocks[block])
