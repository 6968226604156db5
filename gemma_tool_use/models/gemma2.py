"""Gemma 2: every second layer attends locally, attention scores and logits are capped, heads are not normalised.

    GEMMA2_2B.num_params                    # 2614341888
    GEMMA2_2B.attention_softcap             # 50.0: scores become 50 * tanh(score / 50)

Numbers: Gemma 2 technical report (https://arxiv.org/abs/2408.00118) and the `config.json` of google/gemma-2-2b.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.models.config_values import expect, expect_layer_types, hf_sizes, named, number, rope, whole
from gemma_tool_use.models.gemma3 import GEMMA_MODULES, gguf_sizes
from gemma_tool_use.models.spec import Family, ModelSpec

if TYPE_CHECKING:
    from tunix.models.gemma.model import ModelConfig

LAYERS_PER_GLOBAL = 2

GEMMA2 = Family(
    name="gemma2",
    title="Gemma 2",
    norm_offset=1,
    layer_norms=("pre_attention_norm", "post_attn_norm", "pre_ffw_norm", "post_ffw_norm"),
    head_norms=None,
    fused=True,
    scales_embedding=True,
    activation="gelu",
    norm="scale",
    lora_modules=GEMMA_MODULES,
)

GEMMA2_2B = ModelSpec(
    name="gemma-2-2b",
    family=GEMMA2,
    num_layers=26,
    embed_dim=2304,
    hidden_dim=9216,
    num_heads=8,
    head_dim=256,
    num_kv_heads=4,
    vocab_size=256_000,
    query_scalar=256,
    sliding_window=4096,
    layers_per_global=LAYERS_PER_GLOBAL,
    local_rope_base=10_000,
    global_rope_base=10_000,
    attention_softcap=50.0,
    final_softcap=30.0,
)

SIZES = (GEMMA2_2B,)


def tunix_config(spec: ModelSpec, *, param_dtype: Any) -> "ModelConfig":
    """The configuration object of Tunix's `Gemma` for `spec`; it has no dtype of its own."""
    from tunix.models.gemma import model as tunix_gemma

    types = tunix_gemma.AttentionType
    return tunix_gemma.ModelConfig(
        num_layers=spec.num_layers,
        num_embed=spec.vocab_size,
        embed_dim=spec.embed_dim,
        hidden_dim=spec.hidden_dim,
        num_heads=spec.num_heads,
        head_dim=spec.head_dim,
        num_kv_heads=spec.num_kv_heads,
        final_logit_softcap=spec.final_softcap,
        use_post_attn_norm=True,
        use_post_ffw_norm=True,
        attention_types=tuple(
            types.LOCAL_SLIDING if spec.is_local(i) else types.GLOBAL for i in range(spec.num_layers)
        ),
        attn_logits_soft_cap=spec.attention_softcap,
        sliding_window_size=spec.sliding_window,
        shd_config=tunix_gemma.ShardingConfig.get_default_sharding(),
    )


def spec_from_hf_config(config: Mapping[str, Any], where: str) -> ModelSpec:
    """The architecture of a `config.json` with model_type "gemma2"."""
    arithmetic = {
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "use_bidirectional_attention": None,
        "tie_word_embeddings": True,
    }
    expect(config, arithmetic, where, GEMMA2.title)
    base = rope(config, where).base
    spec = named(
        where,
        SIZES,
        family=GEMMA2,
        **hf_sizes(config, where),
        head_dim=whole(config, "head_dim", where),
        query_scalar=number(config, "query_pre_attn_scalar", where),
        sliding_window=whole(config, "sliding_window", where),
        layers_per_global=LAYERS_PER_GLOBAL,
        local_rope_base=base,
        global_rope_base=base,
        norm_eps=number(config, "rms_norm_eps", where),
        attention_softcap=_softcap(config, "attn_logit_softcapping", where),
        final_softcap=_softcap(config, "final_logit_softcapping", where),
    )
    expect_layer_types(config, spec, where)
    return spec


def _softcap(config: Mapping[str, Any], key: str, where: str) -> float | None:
    if key not in config:
        raise CheckpointError(f"{where} has no {key}; Gemma 2 states it, the file is incomplete")
    return None if config[key] is None else number(config, key, where)


def spec_from_gguf(metadata: Mapping[str, Any], vocab_size: int, where: str) -> ModelSpec:
    """The architecture that GGUF metadata describe; `vocab_size` is the first dimension of `token_embd.weight`.

    llama.cpp fixes the rotary base at 10,000 and the query scalar of all sizes but 27B at the size of a head
    (https://github.com/ggml-org/llama.cpp, `llama_model_gemma2`).
    """
    sizes = gguf_sizes("gemma2", metadata, where)
    if sizes["num_layers"] == 46:
        raise CheckpointError(f"{where} is a Gemma 2 27B; its GGUF lacks the query scalar, use the HF repository")
    return named(
        where,
        SIZES,
        family=GEMMA2,
        **sizes,
        vocab_size=vocab_size,
        query_scalar=sizes["head_dim"],
        layers_per_global=LAYERS_PER_GLOBAL,
        local_rope_base=10_000,
        global_rope_base=metadata.get("gemma2.rope.freq_base", 10_000.0),
        attention_softcap=number(metadata, "gemma2.attn_logit_softcapping", where),
        final_softcap=number(metadata, "gemma2.final_logit_softcapping", where),
    )
