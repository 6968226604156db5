"""Gemma 3: its sizes, and how they are recognised in a checkpoint.

The instruction-tuned and the pretrained checkpoint of one size share an architecture. Of the sizes that also see (4B
and larger) the text part is read.

    GEMMA3_270M.num_params                                     # 268098176
    spec_from_hf_config(json.loads(config_json))               # a ModelSpec equal to GEMMA3_270M
    tunix_config(GEMMA3_270M, param_dtype=np.float32)          # what tunix.models.gemma3.model.Gemma3 takes

Numbers: Gemma 3 technical report (https://arxiv.org/abs/2503.19786) and the `config.json` files of google/gemma-3-270m,
google/gemma-3-1b-pt and google/gemma-3-4b-pt. All sizes attend locally in five layers of six.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gemma_tool_use.errors import CheckpointError, ConfigError
from gemma_tool_use.models.config_values import expect, expect_layer_types, hf_sizes, named, number, rope, whole
from gemma_tool_use.models.spec import Family, ModelSpec

if TYPE_CHECKING:
    from tunix.models.gemma3.model import ModelConfig

LAYERS_PER_GLOBAL = 6
"""Every sixth layer attends to all tokens, the five before it to a sliding window."""

GEMMA_MODULES = ("q_einsum", "kv_einsum", "attn_vec_einsum", "gate_proj", "up_proj", "down_proj")
"""The linear projections of Tunix's Gemma modules."""

GEMMA3 = Family(
    name="gemma3",
    title="Gemma 3",
    norm_offset=1,
    layer_norms=("pre_attention_norm", "post_attention_norm", "pre_ffw_norm", "post_ffw_norm"),
    head_norms=("_query_norm", "_key_norm"),
    fused=True,
    scales_embedding=True,
    activation="gelu",
    norm="scale",
    lora_modules=GEMMA_MODULES,
)

GEMMA3_270M = ModelSpec(
    name="gemma-3-270m",
    family=GEMMA3,
    num_layers=18,
    embed_dim=640,
    hidden_dim=2048,
    num_heads=4,
    head_dim=256,
    num_kv_heads=1,
    vocab_size=262_144,
    query_scalar=256,
    sliding_window=512,
    layers_per_global=LAYERS_PER_GLOBAL,
    local_rope_base=10_000,
    global_rope_base=1_000_000,
)
GEMMA3_1B = dataclasses.replace(GEMMA3_270M, name="gemma-3-1b", num_layers=26, embed_dim=1152, hidden_dim=6912)
GEMMA3_4B = dataclasses.replace(
    GEMMA3_270M,
    name="gemma-3-4b",
    num_layers=34,
    embed_dim=2560,
    hidden_dim=10_240,
    num_heads=8,
    num_kv_heads=4,
    vocab_size=262_208,
    sliding_window=1024,
    global_rope_factor=8.0,
)

SIZES = (GEMMA3_270M, GEMMA3_1B, GEMMA3_4B)

# What google/gemma-3-4b-*/config.json leaves out of its `text_config`: the defaults of transformers' Gemma3TextConfig.
_TEXT_DEFAULTS = {
    "vocab_size": 262_208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "rope_theta": 1_000_000.0,
    "rope_local_base_freq": 10_000.0,
}


def tiny(**changes: Any) -> ModelSpec:
    """A Gemma 3 small enough for tests: 2 layers, width 64, vocabulary 512; any field can be changed."""
    small = ModelSpec(
        name="tiny",
        family=GEMMA3,
        num_layers=2,
        embed_dim=64,
        hidden_dim=128,
        num_heads=4,
        head_dim=16,
        num_kv_heads=1,
        vocab_size=512,
        query_scalar=changes.get("head_dim", 16),
        sliding_window=32,
        layers_per_global=LAYERS_PER_GLOBAL,
        local_rope_base=10_000,
        global_rope_base=1_000_000,
    )
    return dataclasses.replace(small, **changes)


def tunix_config(spec: ModelSpec, *, param_dtype: Any) -> "ModelConfig":
    """The configuration object of Tunix's Gemma 3 for `spec`.

    Tunix's module knows two query scalars; `ConfigError` for another.
    """
    from tunix.models.gemma3 import model as tunix_gemma3

    norms = tunix_gemma3.QueryPreAttentionNormalisation
    scalars = {
        spec.head_dim: norms.BY_ONE_OVER_SQRT_HEAD_DIM,
        spec.embed_dim // spec.num_heads: norms.BY_ONE_OVER_SQRT_EMBED_DIM_DIV_NUM_HEADS,
    }
    if spec.query_scalar not in scalars:
        raise ConfigError(f"{spec.name}: query_scalar is {spec.query_scalar}, Tunix's Gemma 3 has {sorted(scalars)}")
    return tunix_gemma3.ModelConfig(
        num_layers=spec.num_layers,
        num_embed=spec.vocab_size,
        embed_dim=spec.embed_dim,
        hidden_dim=spec.hidden_dim,
        num_heads=spec.num_heads,
        head_dim=spec.head_dim,
        num_kv_heads=spec.num_kv_heads,
        sliding_window_size=spec.sliding_window,
        local_base_frequency=int(spec.local_rope_base),
        global_base_frequency=int(spec.global_rope_base),
        global_scale_factor=spec.global_rope_factor,
        query_pre_attn_norm=norms.BY_ONE_OVER_SQRT_HEAD_DIM
        if spec.query_scalar == spec.head_dim
        else norms.BY_ONE_OVER_SQRT_EMBED_DIM_DIV_NUM_HEADS,
        shd_config=tunix_gemma3.ShardingConfig.get_default_sharding(),
        param_dtype=param_dtype,
    )


def spec_from_hf_config(config: Mapping[str, Any], where: str) -> ModelSpec:
    """The architecture of a `config.json` with model_type "gemma3_text", or "gemma3" (then its `text_config`)."""
    if config.get("model_type") == "gemma3":
        text = config.get("text_config")
        if not isinstance(text, Mapping):
            raise CheckpointError(f"{where} has text_config = {text!r}, expected an object; the file is incomplete")
        config, where = _TEXT_DEFAULTS | dict(text), f"{where} (text_config)"
    local, everywhere = _ropes(config, where)
    arithmetic = {
        "hidden_activation": "gelu_pytorch_tanh",
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "attention_bias": False,
        "use_bidirectional_attention": False,
        "tie_word_embeddings": True,
        "sliding_window_pattern": LAYERS_PER_GLOBAL,
        "_sliding_window_pattern": LAYERS_PER_GLOBAL,
    }
    expect(config, arithmetic, where, GEMMA3.title)
    spec = named(
        where,
        SIZES,
        family=GEMMA3,
        **hf_sizes(config, where),
        head_dim=whole(config, "head_dim", where),
        query_scalar=number(config, "query_pre_attn_scalar", where),
        sliding_window=whole(config, "sliding_window", where),
        layers_per_global=LAYERS_PER_GLOBAL,
        local_rope_base=local.base,
        global_rope_base=everywhere.base,
        global_rope_factor=everywhere.factor,
        norm_eps=number({"rms_norm_eps": 1e-6, **config}, "rms_norm_eps", where),
    )
    expect_layer_types(config, spec, where)
    return spec


def _ropes(config: Mapping[str, Any], where: str) -> tuple[Any, Any]:
    """(local, global). The scaling of older files belongs to the global layers alone."""
    types = ("default", "linear")
    everywhere = rope(config, where, layer_type="full_attention", types=types)
    unscaled = config if config.get("rope_parameters") is not None else {**config, "rope_scaling": None}
    local = rope(unscaled, where, base_key="rope_local_base_freq", layer_type="sliding_attention")
    return local, everywhere


def spec_from_gguf(metadata: Mapping[str, Any], vocab_size: int, where: str) -> ModelSpec:
    """The architecture that GGUF metadata describe; `vocab_size` is the first dimension of `token_embd.weight`.

    llama.cpp fixes the base of the local rotary embedding at 10,000 for Gemma 3 when the file does not state it
    (https://github.com/ggml-org/llama.cpp, `llama_model_gemma3`), so that is the reading here.
    """
    scaling = metadata.get("gemma3.rope.scaling.type", "none")
    if scaling not in ("none", "linear"):
        raise CheckpointError(f"{where} has gemma3.rope.scaling.type = {scaling!r}, expected 'none' or 'linear'")
    sizes = gguf_sizes("gemma3", metadata, where)
    return named(
        where,
        # A converter may leave the rows behind the last piece out of the embedding.
        [dataclasses.replace(spec, vocab_size=vocab_size) for spec in SIZES],
        family=GEMMA3,
        **sizes,
        vocab_size=vocab_size,
        query_scalar=sizes["head_dim"],
        layers_per_global=LAYERS_PER_GLOBAL,
        local_rope_base=metadata.get("gemma3.rope.freq_base_swa", 10_000.0),
        global_rope_base=number(metadata, "gemma3.rope.freq_base", where),
        global_rope_factor=number(metadata, "gemma3.rope.scaling.factor", where) if scaling == "linear" else 1.0,
    )


def gguf_sizes(architecture: str, metadata: Mapping[str, Any], where: str) -> dict[str, int]:
    """The sizes that GGUF metadata of a Gemma state, by field of `ModelSpec`."""

    def size(key: str) -> int:
        return whole(metadata, f"{architecture}.{key}", where)

    head_dim = size("attention.key_length")
    if (other := size("attention.value_length")) != head_dim:
        raise CheckpointError(f"{where} has value heads of {other} and key heads of {head_dim}, expected equal sizes")
    return {
        "num_layers": size("block_count"),
        "embed_dim": size("embedding_length"),
        "hidden_dim": size("feed_forward_length"),
        "num_heads": size("attention.head_count"),
        "head_dim": head_dim,
        "num_kv_heads": size("attention.head_count_kv"),
        "sliding_window": size("attention.sliding_window"),
    }


def spec_from_flax_shapes(shapes: Mapping[str, tuple[int, ...]], where: str) -> ModelSpec | None:
    """The known size whose Kaggle/Flax checkpoint has these shapes (`path/name` -> shape); None when there is none.

    Such a checkpoint holds arrays only; window and rotary bases are not in it.
    """
    embedding = tuple(shapes.get("transformer/embedder/input_embedding", ()))
    query = tuple(shapes.get("transformer/layer_0/attn/q_einsum/w", ()))
    layers = sum(name.endswith("/attn/q_einsum/w") for name in shapes)
    for spec in SIZES:
        if (layers, embedding[1:], query) == (
            spec.num_layers,
            (spec.embed_dim,),
            (spec.num_heads, spec.embed_dim, spec.head_dim),
        ):
            return dataclasses.replace(spec, vocab_size=embedding[0])
    return None
