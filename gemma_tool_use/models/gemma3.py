"""The sizes of Gemma 3, and how to recognise them in a checkpoint.

A `ModelSpec` is all that the rest of the program needs to know about an architecture. The instruction-tuned and the
pretrained checkpoint of one size share it.

    GEMMA3_270M.num_layers                                     # 18
    GEMMA3_270M.num_params                                     # 268098176
    spec_from_hf_config(json.loads(config_json))               # a ModelSpec equal to GEMMA3_270M
    tunix_config(GEMMA3_270M, param_dtype=np.float32)          # what tunix.models.gemma3.model.Gemma3 takes

Numbers: Gemma 3 technical report (https://arxiv.org/abs/2503.19786) and the `config.json` files of google/gemma-3-270m
and google/gemma-3-1b-pt. Both sizes attend locally in five layers of six, within 512 tokens.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gemma_tool_use.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from tunix.models.gemma3.model import ModelConfig, RematConfig, ShardingConfig

_MAX_LAYERS = 1_000  # the largest Gemma 3 has 62; a damaged file must not make us build a table of 10**9 names

LAYERS_PER_GLOBAL = 6
"""Every sixth layer attends to all tokens, the five before it to a sliding window."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One Gemma 3 architecture. Letters used for shapes elsewhere: V vocabulary, D width, F hidden width of the MLP,
    N query heads, K key/value heads, H size of one head.
    """

    name: str
    num_layers: int
    embed_dim: int
    hidden_dim: int
    num_heads: int
    head_dim: int
    num_kv_heads: int
    vocab_size: int
    sliding_window: int
    local_rope_base: int
    global_rope_base: int

    def __post_init__(self):
        sizes = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "name"}
        problems = [f"{name} is {value}, expected at least 1" for name, value in sizes.items() if value < 1]
        if self.num_layers > _MAX_LAYERS:
            problems.append(f"num_layers is {self.num_layers}, expected at most {_MAX_LAYERS}")
        if self.head_dim % 2:
            problems.append(f"head_dim is {self.head_dim}, expected an even number (rotary positions use pairs)")
        if self.num_kv_heads > 0 and (self.num_heads % self.num_kv_heads or self.num_heads == self.num_kv_heads):
            problems.append(
                f"num_heads is {self.num_heads} with num_kv_heads {self.num_kv_heads}, expected a larger multiple"
            )
        if problems:
            raise ConfigError(f"the architecture {self.name!r} is not usable: {'; '.join(problems)}")

    @property
    def dims(self) -> dict[str, int]:
        """The letters used in shape strings, with their sizes."""
        return {
            "V": self.vocab_size,
            "D": self.embed_dim,
            "F": self.hidden_dim,
            "N": self.num_heads,
            "K": self.num_kv_heads,
            "H": self.head_dim,
        }

    @property
    def num_params(self) -> int:
        """Number of values in a checkpoint of this architecture; the embedding is counted once, it is also the head."""
        attention = self.embed_dim * self.head_dim * 2 * (self.num_heads + self.num_kv_heads)
        norms = 4 * self.embed_dim + 2 * self.head_dim
        layer = attention + 3 * self.embed_dim * self.hidden_dim + norms
        return self.vocab_size * self.embed_dim + self.num_layers * layer + self.embed_dim


GEMMA3_270M = ModelSpec(
    name="gemma-3-270m",
    num_layers=18,
    embed_dim=640,
    hidden_dim=2048,
    num_heads=4,
    head_dim=256,
    num_kv_heads=1,
    vocab_size=262_144,
    sliding_window=512,
    local_rope_base=10_000,
    global_rope_base=1_000_000,
)
GEMMA3_1B = dataclasses.replace(GEMMA3_270M, name="gemma-3-1b", num_layers=26, embed_dim=1152, hidden_dim=6912)

SPECS: Mapping[str, ModelSpec] = {spec.name: spec for spec in (GEMMA3_270M, GEMMA3_1B)}
"""The supported sizes by name."""


def tiny(**changes: Any) -> ModelSpec:
    """A Gemma 3 small enough for tests: 2 layers, width 64, vocabulary 512; any field can be changed."""
    small = ModelSpec(
        name="tiny",
        num_layers=2,
        embed_dim=64,
        hidden_dim=128,
        num_heads=4,
        head_dim=16,
        num_kv_heads=1,
        vocab_size=512,
        sliding_window=32,
        local_rope_base=10_000,
        global_rope_base=1_000_000,
    )
    return dataclasses.replace(small, **changes)


def tunix_config(
    spec: ModelSpec,
    *,
    param_dtype: Any,
    sharding: "ShardingConfig | None" = None,
    remat: "RematConfig | None" = None,
) -> "ModelConfig":
    """The configuration object of Tunix's Gemma 3 for `spec`; `sharding` and `remat` default to Tunix's own."""
    from tunix.models.gemma3 import model as tunix_gemma3

    return tunix_gemma3.ModelConfig(
        num_layers=spec.num_layers,
        num_embed=spec.vocab_size,
        embed_dim=spec.embed_dim,
        hidden_dim=spec.hidden_dim,
        num_heads=spec.num_heads,
        head_dim=spec.head_dim,
        num_kv_heads=spec.num_kv_heads,
        sliding_window_size=spec.sliding_window,
        local_base_frequency=spec.local_rope_base,
        global_base_frequency=spec.global_rope_base,
        shd_config=sharding or tunix_gemma3.ShardingConfig.get_default_sharding(),
        remat_config=remat or tunix_gemma3.RematConfig.NONE,
        param_dtype=param_dtype,
    )


def spec_from_hf_config(config: Mapping[str, Any], where: str = "config.json") -> ModelSpec:
    """The architecture that a Hugging Face `config.json` describes.

    Raises `CheckpointError` when the file is for another model, or asks for arithmetic that this program does not do
    (a scaled rotary embedding, capped logits, another layer pattern), naming the key.
    """
    kind = config.get("model_type")
    if kind == "gemma3":
        raise CheckpointError(
            f"{where} is a Gemma 3 with vision (4B and larger), expected a text-only one; use {_known_sizes()}"
        )
    if kind != "gemma3_text":
        raise CheckpointError(f"{where} has model_type {kind!r}, expected 'gemma3_text'; use {_known_sizes()}")
    head_dim = _whole(config, "head_dim", where)
    local_base, global_base = _rope_bases(config, where)
    _refuse_other_arithmetic(config, head_dim, where)
    return _named(
        where,
        num_layers=_whole(config, "num_hidden_layers", where),
        embed_dim=_whole(config, "hidden_size", where),
        hidden_dim=_whole(config, "intermediate_size", where),
        num_heads=_whole(config, "num_attention_heads", where),
        head_dim=head_dim,
        num_kv_heads=_whole(config, "num_key_value_heads", where),
        vocab_size=_whole(config, "vocab_size", where),
        sliding_window=_whole(config, "sliding_window", where),
        local_rope_base=local_base,
        global_rope_base=global_base,
    )


def spec_from_gguf(metadata: Mapping[str, Any], vocab_size: int, where: str = "the GGUF file") -> ModelSpec:
    """The architecture that GGUF metadata describe; `vocab_size` is the first dimension of `token_embd.weight`.

    llama.cpp fixes the base of the local rotary embedding at 10,000 for Gemma 3 when the file does not state it
    (https://github.com/ggml-org/llama.cpp, `llama_model_gemma3`), so that is the reading here.
    """
    architecture = metadata.get("general.architecture")
    if architecture != "gemma3":
        raise CheckpointError(
            f"{where} has general.architecture {architecture!r}, expected 'gemma3'; use {_known_sizes()}"
        )
    if metadata.get("gemma3.rope.scaling.type", "none") != "none":
        raise CheckpointError(f"{where} scales its rotary embedding, as only 4B and larger do; use {_known_sizes()}")

    def whole(key: str) -> int:
        return _whole(metadata, f"gemma3.{key}", where)

    head_dim = whole("attention.key_length")
    if (other := whole("attention.value_length")) != head_dim:
        raise CheckpointError(f"{where} has value heads of {other} and key heads of {head_dim}, expected equal sizes")
    return _named(
        where,
        num_layers=whole("block_count"),
        embed_dim=whole("embedding_length"),
        hidden_dim=whole("feed_forward_length"),
        num_heads=whole("attention.head_count"),
        head_dim=head_dim,
        num_kv_heads=whole("attention.head_count_kv"),
        vocab_size=vocab_size,
        sliding_window=whole("attention.sliding_window"),
        local_rope_base=int(metadata.get("gemma3.rope.freq_base_swa", 10_000)),
        global_rope_base=whole("rope.freq_base"),
    )


def spec_from_flax_shapes(shapes: Mapping[str, tuple[int, ...]], where: str = "the checkpoint") -> ModelSpec:
    """The architecture of a Kaggle/Flax checkpoint, which holds arrays only, from their shapes (`path/name` -> shape).

    Window and rotary bases are not in such a checkpoint, so only the known sizes are recognised.
    """
    embedding = shapes.get("transformer/embedder/input_embedding", ())
    query = shapes.get("transformer/layer_0/attn/q_einsum/w", ())
    layers = sum(name.endswith("/attn/q_einsum/w") for name in shapes)
    for spec in SPECS.values():
        found = (layers, tuple(embedding), tuple(query))
        if found == (
            spec.num_layers,
            (spec.vocab_size, spec.embed_dim),
            (spec.num_heads, spec.embed_dim, spec.head_dim),
        ):
            return spec
    raise CheckpointError(
        f"{where} has {layers} layers, an embedding of shape {tuple(embedding)} and first query weights of shape "
        f"{tuple(query)}, expected those of {_known_sizes()}"
    )


def _known_sizes() -> str:
    return " or ".join(f"google/{name}" for name in SPECS)


def _named(where: str, **sizes: int) -> ModelSpec:
    """The spec of these sizes, under its known name where it has one."""
    try:
        found = ModelSpec(name=f"gemma3-{sizes['num_layers']}x{sizes['embed_dim']}", **sizes)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error
    return next((spec for spec in SPECS.values() if dataclasses.replace(found, name=spec.name) == spec), found)


def _whole(values: Mapping[str, Any], key: str, where: str) -> int:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value != int(value):
        raise CheckpointError(f"{where} has {key} = {value!r}, expected a whole number; the file is incomplete")
    return int(value)


def _rope_bases(config: Mapping[str, Any], where: str) -> tuple[int, int]:
    """(local, global). transformers 5 writes them under `rope_parameters`, earlier versions as two flat keys."""
    parameters = config.get("rope_parameters")
    if parameters is None:
        if config.get("rope_scaling") is not None:
            raise CheckpointError(f"{where} has rope_scaling = {config['rope_scaling']!r}, expected null")
        return _whole(config, "rope_local_base_freq", where), _whole(config, "rope_theta", where)
    bases = []
    for layer_type in ("sliding_attention", "full_attention"):
        one = parameters.get(layer_type) if isinstance(parameters, Mapping) else None
        if not isinstance(one, Mapping) or one.get("rope_type", "default") != "default":
            raise CheckpointError(f"{where} has rope_parameters.{layer_type} = {one!r}, expected rope_type 'default'")
        bases.append(_whole(one, "rope_theta", where))
    return bases[0], bases[1]


def _refuse_other_arithmetic(config: Mapping[str, Any], head_dim: int, where: str) -> None:
    expected = {
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": 1e-6,
        "query_pre_attn_scalar": head_dim,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "attention_bias": False,
        "use_bidirectional_attention": False,
        "sliding_window_pattern": LAYERS_PER_GLOBAL,
        "_sliding_window_pattern": LAYERS_PER_GLOBAL,
    }
    if isinstance(layers := config.get("layer_types"), list):
        expected["layer_types"] = _layer_types(len(layers))
    for key, value in expected.items():
        if key in config and config[key] != value:
            raise CheckpointError(f"{where} has {key} = {config[key]!r}, expected {value!r}; the model is not Gemma 3")


def _layer_types(num_layers: int) -> list[str]:
    period = ["sliding_attention"] * (LAYERS_PER_GLOBAL - 1) + ["full_attention"]
    return [period[layer % LAYERS_PER_GLOBAL] for layer in range(num_layers)]
