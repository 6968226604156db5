"""Every family of models that can be trained: how a checkpoint says which it is, and the Tunix module that holds it.

    spec_from_hf_config({"model_type": "qwen3", ...})      # a ModelSpec equal to QWEN3_0_6B
    build_module(QWEN3_0_6B, dtype=jnp.bfloat16)           # tunix.models.qwen3.model.Qwen3

A built module carries its `ModelSpec` as `module.spec`: the forward pass and the sampler read the arithmetic there, and
use Tunix's module for its parameters, their names and the layout over devices.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.models import gemma2, gemma3, llama, qwen3
from gemma_tool_use.models.spec import FamilyName, ModelSpec

if TYPE_CHECKING:
    from flax import nnx
    from jax.sharding import Mesh

SPECS: Mapping[str, ModelSpec] = {spec.name: spec for module in (gemma3, gemma2, qwen3, llama) for spec in module.SIZES}
"""The known sizes by name."""

_HF_TYPES = {
    "gemma3_text": gemma3.spec_from_hf_config,
    "gemma3": gemma3.spec_from_hf_config,
    "gemma2": gemma2.spec_from_hf_config,
    "qwen3": qwen3.spec_from_hf_config,
    "llama": llama.spec_from_hf_config,
    "mistral": llama.spec_from_hf_config,
}
_GGUF_TYPES = {"gemma3": gemma3.spec_from_gguf, "gemma2": gemma2.spec_from_gguf}


def spec_from_hf_config(config: Mapping[str, Any], where: str = "config.json") -> ModelSpec:
    """The architecture that a Hugging Face `config.json` describes.

    Raises `CheckpointError` when the file is for another model, or asks for arithmetic that this program does not do
    (another rotary embedding, another layer pattern, quantised weights), naming the key.
    """
    kind = config.get("model_type")
    if kind not in _HF_TYPES:
        raise CheckpointError(
            f"{where} has model_type {kind!r}, expected {_one_of(_HF_TYPES)}; known models: {', '.join(SPECS)}"
        )
    if config.get("quantization_config") is not None:
        raise CheckpointError(f"{where} has a quantization_config; use the unquantised repository of the model")
    return _HF_TYPES[kind](config, where)


def spec_from_gguf(metadata: Mapping[str, Any], vocab_size: int, where: str = "the GGUF file") -> ModelSpec:
    """The architecture that GGUF metadata describe; `vocab_size` is the first dimension of `token_embd.weight`."""
    kind = metadata.get("general.architecture")
    if kind not in _GGUF_TYPES:
        raise CheckpointError(
            f"{where} has general.architecture {kind!r}, expected {_one_of(_GGUF_TYPES)}; of other families use the "
            "Hugging Face repository"
        )
    return _GGUF_TYPES[kind](metadata, vocab_size, where)


def spec_from_flax_shapes(shapes: Mapping[str, tuple[int, ...]], where: str = "the checkpoint") -> ModelSpec:
    """The architecture of a Kaggle/Flax checkpoint from the shapes of its arrays (`path/name` -> shape)."""
    if (spec := gemma3.spec_from_flax_shapes(shapes, where)) is not None:
        return spec
    layers = sum(name.endswith("/attn/q_einsum/w") for name in shapes)
    known = " or ".join(f"google/{spec.name}" for spec in gemma3.SIZES)
    raise CheckpointError(
        f"{where} has {layers} layers, an embedding of shape "
        f"{tuple(shapes.get('transformer/embedder/input_embedding', ()))} and first query weights of shape "
        f"{tuple(shapes.get('transformer/layer_0/attn/q_einsum/w', ()))}, expected those of {known}"
    )


def build_module(
    spec: ModelSpec, *, dtype: Any, mesh: "Mesh | None" = None, rngs: "nnx.Rngs | None" = None
) -> "nnx.Module":
    """The Tunix module of `spec` with Tunix's own initial values, drawn with `rngs`.

    With a `mesh` its parameters say how they are laid out over it (`models/sharding.py`).
    """
    from flax import nnx

    from gemma_tool_use.models.sharding import rules

    config_of, class_of = _MODULES[spec.family.name]
    config = config_of(spec, param_dtype=dtype)
    if mesh is not None:
        config = dataclasses.replace(config, shd_config=rules(config.shd_config, mesh, num_kv_heads=spec.num_kv_heads))
    module = class_of()(config, rngs=rngs or nnx.Rngs(0))
    module.spec = spec
    return module


def _gemma3_class() -> Any:
    from tunix.models.gemma3.model import Gemma3

    return Gemma3


def _gemma2_class() -> Any:
    from tunix.models.gemma.model import Gemma

    return Gemma


def _qwen3_class() -> Any:
    from tunix.models.qwen3.model import Qwen3

    return Qwen3


def _llama_class() -> Any:
    from tunix.models.llama3.model import Llama3

    return Llama3


_MODULES: Mapping[FamilyName, tuple[Any, Any]] = {
    "gemma3": (gemma3.tunix_config, _gemma3_class),
    "gemma2": (gemma2.tunix_config, _gemma2_class),
    "qwen3": (qwen3.tunix_config, _qwen3_class),
    "llama": (llama.tunix_config, _llama_class),
}


def _one_of(kinds: Mapping[str, Any]) -> str:
    return " or ".join(map(repr, kinds))
