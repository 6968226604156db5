"""The forward pass of training: final hidden states of packed rows, read from the parameters of a Tunix module.

    hidden = hidden_states(model, tokens, positions, segment_ids)      # [rows, length, width]

Same parameters and numbers as the module's own forward pass (a test holds them together), but it knows segments, has
every product over one axis of tokens, and computes no logits. Tunix's module holds the names, the sharding and the LoRA
arrays that Qwix attached.
"""

from typing import Any

import jax
import jax.numpy as jnp
from tunix.models.gemma3.model import AttentionType

from gemma_tool_use.models.attention import attention
from gemma_tool_use.models.linear import linear

_EPSILON = 1e-6  # of every RMS norm, as in Tunix


def hidden_states(model: Any, tokens: jax.Array, positions: jax.Array, segment_ids: jax.Array) -> jax.Array:
    """Final hidden states [rows, length, width], after the last norm.

    A token attends to itself and the earlier tokens of its own segment.

    Args:
      model: a Tunix Gemma 3 with or without LoRA.
      tokens: int32 [rows, length].
      positions: int32 [rows, length], restarting at 0 with each segment.
      segment_ids: int32 [rows, length]; 0 is padding.
    """
    config = model.config
    x = model.embedder.input_embedding[...][tokens.reshape(-1)]
    x *= jnp.sqrt(config.embed_dim).astype(x.dtype)
    rope = {
        AttentionType.LOCAL_SLIDING: _rope_angles(
            positions, config.head_dim, config.local_base_frequency, config.local_scale_factor
        ),
        AttentionType.GLOBAL: _rope_angles(
            positions, config.head_dim, config.global_base_frequency, config.global_scale_factor
        ),
    }
    scale = getattr(model, "lora_scale", 0.0)
    for layer in model.layers:
        x = _layer(layer, x, rope[layer.attn.attn_type], segment_ids, scale)
    return rms_norm(x, model.final_norm).reshape(*tokens.shape, -1)


def _layer(layer: Any, x: jax.Array, rope: tuple[jax.Array, jax.Array], segment_ids: jax.Array, scale: float):
    """x: [tokens, width]."""
    attended = _attention(layer.attn, rms_norm(x, layer.pre_attention_norm), rope, segment_ids, scale)
    x = x + rms_norm(attended, layer.post_attention_norm)
    mlp, h = layer.mlp, rms_norm(x, layer.pre_ffw_norm)
    gate = linear(mlp.gate_proj, "kernel", h, scale)
    up = linear(mlp.up_proj, "kernel", h, scale)
    down = linear(mlp.down_proj, "kernel", jax.nn.gelu(gate) * up, scale)
    return x + rms_norm(down, layer.post_ffw_norm)


def _attention(attn: Any, x: jax.Array, rope: tuple[jax.Array, jax.Array], segment_ids: jax.Array, scale: float):
    """x: [tokens, width]."""
    rows, length = segment_ids.shape
    heads, kv_heads, size = attn.num_heads, attn.num_kv_heads, attn.head_dim
    q = linear(attn.q_einsum, "w", x, scale, inputs=1).reshape(rows, length, heads, size)
    k, v = jnp.split(
        linear(attn.kv_einsum, "w", x, scale, inputs=2).reshape(rows, length, 2 * kv_heads, size), 2, axis=2
    )
    q = _rotate(rms_norm(q, attn._query_norm), rope) * attn.query_pre_attn_scalar
    k = _rotate(rms_norm(k, attn._key_norm), rope)
    window = attn.sliding_window_size if attn.attn_type == AttentionType.LOCAL_SLIDING else None
    out = attention(q, k, v, segment_ids, window=window)
    return linear(attn.attn_vec_einsum, "w", out.reshape(rows * length, heads * size), scale, inputs=(0, 1))


def rms_norm(x: jax.Array, norm: Any) -> jax.Array:
    """Over the last axis, in float32."""
    wide = x.astype(jnp.float32)
    normed = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + _EPSILON)
    return (normed * (1 + norm.scale[...].astype(jnp.float32))).astype(x.dtype)


def _rope_angles(positions: jax.Array, size: int, base: int, scale: float) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine, each float32 [rows, length, 1, size / 2] (rotary embedding, https://arxiv.org/abs/2104.09864)."""
    timescale = base ** (2 * jnp.arange(size // 2) / size)
    angles = positions[:, :, None, None] / timescale / scale
    return jnp.cos(angles), jnp.sin(angles)


def _rotate(x: jax.Array, rope: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Rotates the pairs (i, i + size / 2) of [rows, length, heads, size]."""
    cos, sin = rope
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)
