"""Llama 2 and 3 and Mistral 7B: one architecture, with the rotary embedding and the window as their differences.

    LLAMA3_2_1B.llama3_rope                 # Llama3Rope(factor=32.0, ...)
    MISTRAL_7B.is_local(0)                  # True: the first Mistral sees 4,096 tokens in every layer

Numbers: https://arxiv.org/abs/2307.09288, https://arxiv.org/abs/2407.21783, https://arxiv.org/abs/2310.06825 and the
`config.json` files of meta-llama/Llama-2-7b-hf, meta-llama/Llama-3.1-8B, meta-llama/Llama-3.2-1B and
mistralai/Mistral-7B-v0.1. Tunix's module knows neither a window nor a rotary base other than 1,000,000 nor Llama 3.1's
frequency bands; the forward pass of this program takes all three from here.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gemma_tool_use.models.config_values import expect, hf_sizes, named, number, rope, whole
from gemma_tool_use.models.qwen3 import SPLIT_MODULES
from gemma_tool_use.models.spec import Family, Llama3Rope, ModelSpec

if TYPE_CHECKING:
    from tunix.models.llama3.model import ModelConfig

LLAMA = Family(
    name="llama",
    title="Llama or Mistral",
    norm_offset=0,
    layer_norms=("input_layernorm", None, "post_attention_layernorm", None),
    head_norms=None,
    fused=False,
    scales_embedding=False,
    activation="silu",
    norm="w",
    lora_modules=SPLIT_MODULES,
)

LLAMA2_7B = ModelSpec(
    name="llama-2-7b",
    family=LLAMA,
    num_layers=32,
    embed_dim=4096,
    hidden_dim=11_008,
    num_heads=32,
    head_dim=128,
    num_kv_heads=32,
    vocab_size=32_000,
    query_scalar=128,
    sliding_window=None,
    layers_per_global=1,
    local_rope_base=10_000,
    global_rope_base=10_000,
    norm_eps=1e-5,
    tied=False,
)
MISTRAL_7B = dataclasses.replace(
    LLAMA2_7B, name="mistral-7b-v0.1", hidden_dim=14_336, num_kv_heads=8, sliding_window=4096, layers_per_global=0
)
LLAMA3_1_8B = dataclasses.replace(
    LLAMA2_7B,
    name="llama-3.1-8b",
    hidden_dim=14_336,
    num_kv_heads=8,
    vocab_size=128_256,
    local_rope_base=500_000,
    global_rope_base=500_000,
    llama3_rope=Llama3Rope(factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_length=8192),
)
LLAMA3_2_1B = dataclasses.replace(
    LLAMA3_1_8B,
    name="llama-3.2-1b",
    num_layers=16,
    embed_dim=2048,
    hidden_dim=8192,
    head_dim=64,
    query_scalar=64,
    llama3_rope=Llama3Rope(factor=32.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_length=8192),
    tied=True,
)

SIZES = (LLAMA2_7B, MISTRAL_7B, LLAMA3_1_8B, LLAMA3_2_1B)


def tunix_config(spec: ModelSpec, *, param_dtype: Any) -> "ModelConfig":
    """The configuration object of Tunix's `Llama3` for `spec`; it has no dtype, window or rope scaling of its own."""
    from tunix.models.llama3 import model as tunix_llama

    return tunix_llama.ModelConfig(
        num_layers=spec.num_layers,
        vocab_size=spec.vocab_size,
        embed_dim=spec.embed_dim,
        hidden_dim=spec.hidden_dim,
        num_heads=spec.num_heads,
        head_dim=spec.head_dim,
        num_kv_heads=spec.num_kv_heads,
        rope_theta=int(spec.global_rope_base),
        norm_eps=spec.norm_eps,
        weight_tying=spec.tied,
        shd_config=tunix_llama.ShardingConfig.get_default_sharding(),
    )


def spec_from_hf_config(config: Mapping[str, Any], where: str) -> ModelSpec:
    """The architecture of a `config.json` with model_type "llama" or "mistral"."""
    arithmetic = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "layer_types": None}
    expect(config, arithmetic, where, LLAMA.title)
    found = rope(config, where, types=("default", "llama3"))
    sizes = hf_sizes({"num_key_value_heads": config.get("num_attention_heads"), **config}, where)
    head_dim = sizes["embed_dim"] // sizes["num_heads"] if config.get("head_dim") is None else None
    head_dim = head_dim or whole(config, "head_dim", where)
    windowed = config["model_type"] == "mistral" and config.get("sliding_window") is not None
    return named(
        where,
        SIZES,
        family=LLAMA,
        **sizes,
        head_dim=head_dim,
        query_scalar=head_dim,
        sliding_window=whole(config, "sliding_window", where) if windowed else None,
        layers_per_global=0 if windowed else 1,
        local_rope_base=found.base,
        global_rope_base=found.base,
        llama3_rope=found.llama3,
        norm_eps=number(config, "rms_norm_eps", where),
        tied=bool(config.get("tie_word_embeddings", False)),
    )
