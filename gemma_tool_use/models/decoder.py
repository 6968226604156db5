"""The forward pass over the parameters of a Tunix module: final hidden states of packed rows, for every family.

    hidden = hidden_states(model, tokens, positions, segment_ids)      # [rows, length, width]
    hidden = run_layers(model, tokens, positions, attend)              # the same with an attention of the caller's

Same parameters and numbers as the module's own forward pass (a test holds them together), but it knows segments, has
every product over one axis of tokens, and computes no logits. Tunix's module holds the names, the sharding and the LoRA
arrays that Qwix attached; what is computed comes from its `spec`, which also has what Tunix's modules fix or lack: the
rotary base of Qwen3 and Llama, Llama 3.1's frequency bands, Mistral's window.
"""

import functools
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gemma_tool_use.models import kernels
from gemma_tool_use.models.attention import attention
from gemma_tool_use.models.linear import linear
from gemma_tool_use.models.quantize import dense, dense_rows
from gemma_tool_use.models.remat import ATTENTION, MLP, kept, rematerialised
from gemma_tool_use.models.sharding import shard_rows, whole_width
from gemma_tool_use.models.spec import Llama3Rope, ModelSpec

Attend: TypeAlias = Callable[[int, jax.Array, jax.Array, jax.Array], jax.Array]
"""(layer, q, k, v) to [rows, length, heads, head size]; q is scaled, k and v have the key/value heads."""

_Rope: TypeAlias = tuple[jax.Array, jax.Array]


def hidden_states(model: Any, tokens: jax.Array, positions: jax.Array, segment_ids: jax.Array) -> jax.Array:
    """Final hidden states [rows, length, width], after the last norm.

    A token attends to itself and the earlier tokens of its own segment.

    Args:
      model: a Tunix module with its `spec` (`models.families`), with or without LoRA. Its `remat`, where it has
        one, says what is kept for the backward pass (`models.remat`).
      tokens: int32 [rows, length].
      positions: int32 [rows, length], restarting at 0 with each segment.
      segment_ids: int32 [rows, length]; 0 is padding.
    """

    def attend(layer: int, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return packed_attention(model.spec, layer, q, k, v, segment_ids)

    return run_layers(model, tokens, positions, attend, alike=model.spec.is_local)


def packed_attention(
    spec: ModelSpec, layer: int, q: jax.Array, k: jax.Array, v: jax.Array, segment_ids: jax.Array
) -> jax.Array:
    """The attention of one layer over packed rows, by the kernel of the platform where there is one."""
    window = spec.sliding_window if spec.is_local(layer) else None
    options: dict[str, Any] = {"window": window, "softcap": spec.attention_softcap}
    out = kernels.attention(q, k, v, segment_ids, **options)
    return kept(attention(q, k, v, segment_ids, **options), ATTENTION) if out is None else out


def run_layers(
    model: Any,
    tokens: jax.Array,
    positions: jax.Array,
    attend: Attend,
    *,
    alike: Callable[[int], Hashable] | None = None,
) -> jax.Array:
    """Final hidden states [rows, length, width], after the last norm.

    Args:
      model, tokens, positions: as `hidden_states`.
      attend: says which keys a query sees.
      alike: the kind of a layer. `attend` is then called once for a kind, and layers of a kind are traced once, which
        takes 2 s of Python less for a training step of 18 layers. None: `attend` is called once for each layer.
    """
    spec: ModelSpec = model.spec
    x = shard_rows(dense_rows(whole_width(model.embedder.input_embedding.get_value()), tokens.reshape(-1)))
    if spec.family.scales_embedding:
        x *= jnp.sqrt(spec.embed_dim).astype(x.dtype)
    ropes = {
        local: _rope_angles(positions, spec, local) for local in {spec.is_local(i) for i in range(spec.num_layers)}
    }
    scale = getattr(model, "lora_scale", 0.0)
    traced: dict[Any, Callable[[nnx.State, jax.Array], jax.Array]] = {}
    for i, layer in enumerate(model.layers):
        graphdef, weights = nnx.split(layer)
        kind = (alike(i) if alike else i), jax.tree.structure(weights)
        if kind not in traced:
            run = functools.partial(
                _run_layer, graphdef, spec, ropes[spec.is_local(i)], functools.partial(attend, i), scale
            )
            run = rematerialised(run, getattr(model, "remat", "none"))
            traced[kind] = jax.jit(run) if alike else run
        x = traced[kind](weights, x)
    return _rms_norm(x, model.final_norm, spec).reshape(*tokens.shape, -1)


def output_table(model: Any) -> Any:
    """[vocabulary, width], possibly packed: logits are products of hidden states with it, before `final_softcap`."""
    if model.spec.tied:
        return model.embedder.input_embedding.get_value()
    return jax.tree.map(jnp.transpose, model.lm_head.w.get_value())  # of a packed one: codes and scales


def logits_of(model: Any, hidden: jax.Array) -> jax.Array:
    """float32 logits [..., vocabulary] of final hidden states [..., width]."""
    cap, table = model.spec.final_softcap, dense(output_table(model))
    logits = jnp.einsum("...d,vd->...v", hidden, table, preferred_element_type=jnp.float32)
    return logits if cap is None else cap * jnp.tanh(logits / cap)


def _run_layer(
    graphdef: Any,
    spec: ModelSpec,
    rope: _Rope,
    attend: Callable[..., jax.Array],
    scale: float,
    weights: nnx.State,
    x: jax.Array,
) -> jax.Array:
    return _layer(nnx.merge(graphdef, weights), spec, x, rope, attend, scale)


def _layer(layer: Any, spec: ModelSpec, x: jax.Array, rope: _Rope, attend: Callable[..., jax.Array], scale: float):
    """x: [tokens, width]."""
    before, after, before_mlp, after_mlp = (getattr(layer, name) if name else None for name in spec.family.layer_norms)
    attended = _attention(layer.attn, spec, _rms_norm(x, before, spec), rope, attend, scale)
    x = shard_rows(x + (_rms_norm(attended, after, spec) if after is not None else attended))
    down = kept(_mlp(layer.mlp, spec, _rms_norm(x, before_mlp, spec), scale), MLP)
    return shard_rows(x + (_rms_norm(down, after_mlp, spec) if after_mlp is not None else down))


def _mlp(mlp: Any, spec: ModelSpec, x: jax.Array, scale: float) -> jax.Array:
    """x: [tokens, width]."""
    activation = jax.nn.gelu if spec.family.activation == "gelu" else jax.nn.silu
    out = kernels.gated_mlp(mlp, x, scale, activation)
    if out is not None:
        return out
    gate = linear(mlp.gate_proj, "kernel", x, scale)
    up = linear(mlp.up_proj, "kernel", x, scale)
    return linear(mlp.down_proj, "kernel", activation(gate) * up, scale)


def _attention(attn: Any, spec: ModelSpec, x: jax.Array, rope: _Rope, attend: Callable[..., jax.Array], scale: float):
    """x: [tokens, width]."""
    rows, length = rope[0].shape[:2]
    q, k, v = (
        y.reshape(rows, length, -1, spec.head_dim)
        for y in (_fused_projections if spec.family.fused else _projections)(attn, spec, x, scale)
    )
    query_norm, key_norm = (getattr(attn, name) if name else None for name in spec.family.head_norms or (None, None))
    q, k = _heads(q, query_norm, spec, rope, spec.query_scalar**-0.5), _heads(k, key_norm, spec, rope, 1.0)
    out = attend(q, k, v)
    output = attn.attn_vec_einsum if spec.family.fused else attn.o_proj
    return linear(output, "w", out.reshape(rows * length, -1), scale, inputs=(0, 1))


def _heads(x: jax.Array, norm: Any, spec: ModelSpec, rope: _Rope, scale: float) -> jax.Array:
    """Queries or keys [rows, length, heads, size]: normalised if the family does so, rotated, times `scale`."""
    if norm is not None:
        out = kernels.prepare_heads(x, rope, _norm_scale(norm, spec), scale=scale, epsilon=spec.norm_eps)
        if out is not None:
            return out
        x = _rms_norm(x, norm, spec)
    return _rotate(x, rope) * scale


def _fused_projections(attn: Any, spec: ModelSpec, x: jax.Array, scale: float) -> list[jax.Array]:
    """q, k, v of Gemma's weights [heads, width, size] and [2, kv heads, width, size]."""
    q = linear(attn.q_einsum, "w", x, scale, inputs=1)
    return [q, *jnp.split(linear(attn.kv_einsum, "w", x, scale, inputs=2), 2, axis=1)]


def _projections(attn: Any, spec: ModelSpec, x: jax.Array, scale: float) -> list[jax.Array]:
    """q, k, v of weights [width, heads, size]."""
    return [linear(module, "w", x, scale) for module in (attn.q_proj, attn.k_proj, attn.v_proj)]


def _rms_norm(x: jax.Array, norm: Any, spec: ModelSpec) -> jax.Array:
    """Over the last axis, in float32."""
    wide = x.astype(jnp.float32)
    normed = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + spec.norm_eps)
    return (normed * _norm_scale(norm, spec)).astype(x.dtype)


def _norm_scale(norm: Any, spec: ModelSpec) -> jax.Array:
    """float32 [width]: what a normalised vector is multiplied by."""
    return spec.family.norm_offset + getattr(norm, spec.family.norm)[...].astype(jnp.float32)


def _rope_angles(positions: jax.Array, spec: ModelSpec, local: bool) -> _Rope:
    """Cosine and sine, each float32 [rows, length, 1, size / 2] (rotary embedding, https://arxiv.org/abs/2104.09864)."""
    base = spec.local_rope_base if local else spec.global_rope_base
    timescale = base ** (2 * jnp.arange(spec.head_dim // 2) / spec.head_dim)
    if spec.llama3_rope is not None:
        timescale *= _stretch(spec.llama3_rope, base, spec.head_dim)
    angles = positions[:, :, None, None] / timescale / (1.0 if local else spec.global_rope_factor)
    return jnp.cos(angles), jnp.sin(angles)


def _stretch(bands: Llama3Rope, base: float, size: int) -> np.ndarray:
    """By how much each of the size / 2 wavelengths grows (`Llama3Rope`)."""
    wavelength = 2 * np.pi * base ** (2 * np.arange(size // 2) / size)
    low, high = bands.low_frequency_factor, bands.high_frequency_factor
    kept = np.clip((bands.original_length / wavelength - low) / (high - low), 0, 1)
    return 1 / (kept + (1 - kept) / bands.factor)


def _rotate(x: jax.Array, rope: _Rope) -> jax.Array:
    """Rotates the pairs (i, i + size / 2) of [rows, length, heads, size]."""
    cos, sin = rope
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)
