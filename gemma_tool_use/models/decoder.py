"""The forward pass of training: final hidden states of packed rows.

hidden = hidden_states(model, tokens, positions, segment_ids)      # [rows, length, width]
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


def hidden_states(model: Any, tokens: jax.Array, positions: jax.Array, segment_ids: jax.Array) -> jax.Array:
    """Final hidden states [rows, length, width], after the last norm.

    A token attends to itself and the earlier tokens of its own segment.

    Args:
      model: a Tunix module with or without LoRA.
      tokens: int32 [rows, length].
      positions: int32 [rows, length], restarting at 0 with each segment.
      segment_ids: int32 [rows, length]; 0 is padding.
    """
    length = tokens.shape[1]
    causal = jnp.tril(jnp.ones((length, length), bool))
    mask = causal & (segment_ids[:, :, None] == segment_ids[:, None, :])
    # The logits of the same call are unused, so XLA drops them.
    model(tokens, positions, None, mask, output_hidden_states=True)
    sown: Any = nnx.pop(model, nnx.Intermediate)["all_hidden_states"]
    return sown.get_value()[0]
