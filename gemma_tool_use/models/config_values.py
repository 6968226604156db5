"""Reads the values of a checkpoint's configuration: whole, in range, and of arithmetic that this program does.

    whole({"hidden_size": 640}, "hidden_size", "config.json")          # 640
    rope({"rope_theta": 1e6, "rope_scaling": None}, "config.json")     # Rope(base=1000000.0)

`where` names the file in messages.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gemma_tool_use.errors import CheckpointError, ConfigError
from gemma_tool_use.models.spec import Family, Llama3Rope, ModelSpec


def whole(values: Mapping[str, Any], key: str, where: str) -> int:
    """A whole number; `CheckpointError` for anything else."""
    value = number(values, key, where)
    if value != int(value):
        raise CheckpointError(f"{where} has {key} = {value!r}, expected a whole number; the file is incomplete")
    return int(value)


def number(values: Mapping[str, Any], key: str, where: str) -> float:
    """A finite number; `CheckpointError` for anything else."""
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CheckpointError(f"{where} has {key} = {value!r}, expected a whole number; the file is incomplete")
    return value


def expect(values: Mapping[str, Any], expected: Mapping[str, Any], where: str, title: str) -> None:
    """`CheckpointError` naming the first key that is there with another value than the one we compute with."""
    for key, value in expected.items():
        if key in values and values[key] != value:
            raise CheckpointError(
                f"{where} has {key} = {values[key]!r}, expected {value!r}; the model is not {title} as computed here"
            )


def expect_layer_types(values: Mapping[str, Any], spec: ModelSpec, where: str) -> None:
    """`CheckpointError` unless `layer_types`, where it is given, are the layers that the spec has."""
    layers = ["sliding_attention" if spec.is_local(i) else "full_attention" for i in range(spec.num_layers)]
    if values.get("layer_types") is not None:
        expect(values, {"layer_types": layers}, where, spec.family.title)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rope:
    """One rotary embedding: its base, what positions are divided by, and Llama 3.1's frequency bands."""

    base: float
    factor: float = 1.0
    llama3: Llama3Rope | None = None


def rope(
    config: Mapping[str, Any],
    where: str,
    *,
    base_key: str = "rope_theta",
    layer_type: str | None = None,
    types: Collection[str] = ("default",),
) -> Rope:
    """The rotary embedding of a `config.json`.

    transformers 5 writes `rope_parameters` (per layer type in Gemma 3, then `layer_type` is looked up), earlier
    versions a flat base under `base_key` and `rope_scaling`. Raises `CheckpointError` for a type outside `types`.
    """
    parameters = config.get("rope_parameters")
    if parameters is None:
        scaling, key = config.get("rope_scaling"), "rope_scaling"
        if scaling is not None and not isinstance(scaling, Mapping):
            raise CheckpointError(f"{where} has rope_scaling = {scaling!r}, expected null or an object")
        values = {**(scaling or {}), base_key: config.get(base_key)}
    else:
        key = "rope_parameters" + (f".{layer_type}" if layer_type else "")
        values = parameters.get(layer_type) if layer_type and isinstance(parameters, Mapping) else parameters
        base_key = "rope_theta"
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{where} has {key} = {values!r}, expected an object")
    kind = values.get("rope_type", values.get("type", "default"))
    if kind not in types or values.get("partial_rotary_factor", 1.0) != 1.0:
        raise CheckpointError(f"{where} has {key} = {dict(values)!r}, expected rope_type {' or '.join(types)}")
    base = number(values, base_key, where)
    if kind == "linear":
        return Rope(base=base, factor=number(values, "factor", where))
    if kind == "llama3":
        return Rope(base=base, llama3=_llama3(values, where))
    return Rope(base=base)


def _llama3(values: Mapping[str, Any], where: str) -> Llama3Rope:
    return Llama3Rope(
        factor=number(values, "factor", where),
        low_frequency_factor=number(values, "low_freq_factor", where),
        high_frequency_factor=number(values, "high_freq_factor", where),
        original_length=whole(values, "original_max_position_embeddings", where),
    )


def hf_sizes(config: Mapping[str, Any], where: str) -> dict[str, int]:
    """The sizes that every family's `config.json` states under the same keys, by field of `ModelSpec`."""
    keys = {
        "num_layers": "num_hidden_layers",
        "embed_dim": "hidden_size",
        "hidden_dim": "intermediate_size",
        "num_heads": "num_attention_heads",
        "num_kv_heads": "num_key_value_heads",
        "vocab_size": "vocab_size",
    }
    return {field: whole(config, key, where) for field, key in keys.items()}


def named(where: str, known: Sequence[ModelSpec], *, family: Family, **fields: Any) -> ModelSpec:
    """The spec of these fields, under its known name where it has one; `CheckpointError` when they do not fit."""
    try:
        found = ModelSpec(name=f"{family.name}-{fields['num_layers']}x{fields['embed_dim']}", family=family, **fields)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error
    return next((spec for spec in known if dataclasses.replace(found, name=spec.name) == spec), found)
