"""Qwen3, the dense sizes: heads are normalised as in Gemma 3, every layer attends to all tokens, no bias anywhere.

    QWEN3_0_6B.num_params          # 596049920
    QWEN3_0_6B.tied                # True; 8B and larger have an output head of their own

Numbers: Qwen3 technical report (https://arxiv.org/abs/2505.09388) and the `config.json` of Qwen/Qwen3-0.6B. Tunix's
module fixes the rotary base at 1,000,000; the forward pass of this program takes it from here.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gemma_tool_use.models.config_values import expect, expect_layer_types, hf_sizes, named, number, rope, whole
from gemma_tool_use.models.spec import Family, ModelSpec

if TYPE_CHECKING:
    from tunix.models.qwen3.model import ModelConfig

SPLIT_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear projections of Tunix's modules that keep queries, keys and values apart."""

QWEN3 = Family(
    name="qwen3",
    title="Qwen3",
    norm_offset=0,
    layer_norms=("input_layernorm", None, "post_attention_layernorm", None),
    head_norms=("q_norm", "k_norm"),
    fused=False,
    scales_embedding=False,
    activation="silu",
    norm="w",
    lora_modules=SPLIT_MODULES,
)

QWEN3_0_6B = ModelSpec(
    name="qwen3-0.6b",
    family=QWEN3,
    num_layers=28,
    embed_dim=1024,
    hidden_dim=3072,
    num_heads=16,
    head_dim=128,
    num_kv_heads=8,
    vocab_size=151_936,
    query_scalar=128,
    sliding_window=None,
    layers_per_global=1,
    local_rope_base=1_000_000,
    global_rope_base=1_000_000,
)

SIZES = (QWEN3_0_6B,)


def tunix_config(spec: ModelSpec, *, param_dtype: Any) -> "ModelConfig":
    """The configuration object of Tunix's `Qwen3` for `spec`."""
    from tunix.models.qwen3 import model as tunix_qwen3

    return tunix_qwen3.ModelConfig(
        num_layers=spec.num_layers,
        vocab_size=spec.vocab_size,
        embed_dim=spec.embed_dim,
        hidden_dim=spec.hidden_dim,
        num_heads=spec.num_heads,
        head_dim=spec.head_dim,
        num_kv_heads=spec.num_kv_heads,
        rope_theta=int(spec.global_rope_base),
        norm_eps=spec.norm_eps,
        use_tied_embedding=spec.tied,
        shd_config=tunix_qwen3.ShardingConfig.get_default_sharding(),
        dtype=param_dtype,
        param_dtype=param_dtype,
    )


def spec_from_hf_config(config: Mapping[str, Any], where: str) -> ModelSpec:
    """The architecture of a `config.json` with model_type "qwen3"."""
    expect(config, {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False}, where, QWEN3.title)
    base, head_dim = rope(config, where).base, whole(config, "head_dim", where)
    spec = named(
        where,
        SIZES,
        family=QWEN3,
        **hf_sizes(config, where),
        head_dim=head_dim,
        query_scalar=head_dim,
        sliding_window=None,
        layers_per_global=1,
        local_rope_base=base,
        global_rope_base=base,
        norm_eps=number(config, "rms_norm_eps", where),
        tied=bool(config.get("tie_word_embeddings", False)),
    )
    expect_layer_types(config, spec, where)
    return spec
