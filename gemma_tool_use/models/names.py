"""One table of parameter names and layouts: ours, Hugging Face, GGUF and Kaggle/Flax, read in both directions.

Our names are the paths of Tunix's Gemma 3 module, joined by dots. For layer 0 and the letters of `ModelSpec`:

    ours                                shape      Hugging Face                                  shape
    embedder.input_embedding            V D        model.embed_tokens.weight                     V D
    layers.0.attn.q_einsum.w            N D H      model.layers.0.self_attn.q_proj.weight        N*H D
    layers.0.attn.kv_einsum.w           2 K D H    ...self_attn.k_proj.weight, ...v_proj.weight  K*H D each
    layers.0.attn.attn_vec_einsum.w     N H D      model.layers.0.self_attn.o_proj.weight        D N*H
    layers.0.mlp.gate_proj.kernel       D F        model.layers.0.mlp.gate_proj.weight           F D
    layers.0.pre_attention_norm.scale   D          model.layers.0.input_layernorm.weight         D

GGUF has the Hugging Face layouts under other names, and norms stored as weight + 1 (llama.cpp's converter adds it).
Kaggle/Flax has our layouts, except that `mlp/gating_einsum` (2 F D) holds gate and up together, transposed.

`ours_from` turns a foreign checkpoint's arrays into ours, `ours_to` writes ours out; exports use the same table.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from gemma_tool_use.models.gemma3 import ModelSpec

Format = Literal["hf", "gguf", "flax"]
FORMATS: tuple[Format, ...] = ("hf", "gguf", "flax")

TIED_HEAD: Mapping[Format, tuple[str, str]] = {
    "hf": ("lm_head.weight", "model.embed_tokens.weight"),
    "gguf": ("output.weight", "token_embd.weight"),
}
"""A second copy of the embedding that some writers add as the output head, and the name of the embedding itself."""

_Convert = Callable[[Sequence[np.ndarray], ModelSpec], list[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class _Layout:
    """How the arrays of one row change between a foreign format (`to_ours`) and ours (`from_ours`)."""

    to_ours: _Convert
    from_ours: _Convert


@dataclasses.dataclass(frozen=True)
class _Side:
    """One foreign format's names for a row, their shape, and the layout."""

    names: tuple[str, ...]
    shape: str
    layout: _Layout


@dataclasses.dataclass(frozen=True)
class _Row:
    """Parameters that convert together: our names with their shape, and each foreign side."""

    ours: tuple[str, ...]
    shape: str
    sides: Mapping[Format, _Side]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the table for one layer and one foreign format, with every name and shape written out.

    Literal: `Entry(ours={"layers.0.attn.kv_einsum.w": (2, 1, 640, 256)}, foreign={"blk.0.attn_k.weight": (256, 640),
    "blk.0.attn_v.weight": (256, 640)}, ...)`.
    """

    ours: dict[str, tuple[int, ...]]
    foreign: dict[str, tuple[int, ...]]
    spec: ModelSpec
    layout: _Layout

    def to_ours(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Our arrays (in the order of `ours`) from the foreign ones (in the order of `foreign`); may be views."""
        return self.layout.to_ours(arrays, self.spec)

    def from_ours(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The foreign arrays (in the order of `foreign`) from ours (in the order of `ours`); may be views."""
        return self.layout.from_ours(arrays, self.spec)


def entries(spec: ModelSpec, format: Format) -> Iterator[Entry]:
    """The whole table for one architecture and one foreign format, embedding first."""
    for row in _TABLE:
        per_layer = "{i}" in row.ours[0]
        side = row.sides[format]
        for i in range(spec.num_layers if per_layer else 1):
            yield Entry(
                ours={name.format(i=i): _sizes(row.shape, spec) for name in row.ours},
                foreign={name.format(i=i): _sizes(side.shape, spec) for name in side.names},
                spec=spec,
                layout=side.layout,
            )


def our_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Every parameter of the architecture under our name, with its shape."""
    return {name: shape for entry in entries(spec, "flax") for name, shape in entry.ours.items()}


def foreign_shapes(spec: ModelSpec, format: Format) -> dict[str, tuple[int, ...]]:
    """Every array that a whole checkpoint in `format` holds, with its shape."""
    return {name: shape for entry in entries(spec, format) for name, shape in entry.foreign.items()}


def ours_from(arrays: Mapping[str, np.ndarray], spec: ModelSpec, format: Format) -> dict[str, np.ndarray]:
    """Our parameters from the arrays of a whole foreign checkpoint (names and shapes as `foreign_shapes` says)."""
    ours: dict[str, np.ndarray] = {}
    for entry in entries(spec, format):
        ours.update(zip(entry.ours, entry.to_ours([arrays[name] for name in entry.foreign]), strict=True))
    return ours


def ours_to(params: Mapping[str, np.ndarray], spec: ModelSpec, format: Format) -> dict[str, np.ndarray]:
    """The arrays of a whole foreign checkpoint from our parameters: the inverse of `ours_from`."""
    foreign: dict[str, np.ndarray] = {}
    for entry in entries(spec, format):
        foreign.update(zip(entry.foreign, entry.from_ours([params[name] for name in entry.ours]), strict=True))
    return foreign


def _sizes(shape: str, spec: ModelSpec) -> tuple[int, ...]:
    """`_sizes("2 K*H D", spec)` is `(2, num_kv_heads * head_dim, embed_dim)`."""
    dims = spec.dims
    return tuple(math.prod(int(dims.get(part, part)) for part in axis.split("*")) for axis in shape.split())


def _heads_from_rows(matrix: np.ndarray, head_dim: int) -> np.ndarray:
    """(heads*H, D) -> (heads, D, H)"""
    return matrix.reshape(-1, head_dim, matrix.shape[-1]).transpose(0, 2, 1)


def _rows_from_heads(heads: np.ndarray) -> np.ndarray:
    """(heads, D, H) -> (heads*H, D)"""
    return heads.transpose(0, 2, 1).reshape(-1, heads.shape[1])


_SAME = _Layout(lambda arrays, spec: list(arrays), lambda arrays, spec: list(arrays))
_TRANSPOSED = _Layout(lambda arrays, spec: [a.T for a in arrays], lambda arrays, spec: [a.T for a in arrays])
_PLUS_ONE = _Layout(
    lambda arrays, spec: [(a - 1).astype(a.dtype) for a in arrays],
    lambda arrays, spec: [(a + 1).astype(a.dtype) for a in arrays],
)
_QUERY = _Layout(
    lambda arrays, spec: [_heads_from_rows(a, spec.head_dim) for a in arrays],
    lambda arrays, spec: [_rows_from_heads(a) for a in arrays],
)
_KEY_VALUE = _Layout(
    lambda arrays, spec: [np.stack([_heads_from_rows(a, spec.head_dim) for a in arrays])],
    lambda arrays, spec: [_rows_from_heads(half) for half in arrays[0]],
)
_ATTENTION_OUTPUT = _Layout(
    lambda arrays, spec: [a.T.reshape(spec.num_heads, spec.head_dim, spec.embed_dim) for a in arrays],
    lambda arrays, spec: [a.reshape(-1, spec.embed_dim).T for a in arrays],
)
_GATING = _Layout(
    lambda arrays, spec: [half.T for half in arrays[0]],
    lambda arrays, spec: [np.stack([a.T for a in arrays])],
)


def _norm(ours: str, hf: str, gguf: str, size: str) -> _Row:
    """The row of a norm: one in every layer when `ours` starts with "layers.{i}.", else the one at the end."""
    in_layer = ours.startswith("layers.{i}.")
    flax = ours.replace("layers.{i}.", "layer_{i}/").replace(".", "/")
    return _Row(
        (f"{ours}.scale",),
        size,
        {
            "hf": _Side((("model.layers.{i}." if in_layer else "model.") + f"{hf}.weight",), size, _SAME),
            "gguf": _Side((("blk.{i}." if in_layer else "") + f"{gguf}.weight",), size, _PLUS_ONE),
            "flax": _Side((f"transformer/{flax}/scale",), size, _SAME),
        },
    )


def _matrices(
    *, ours: list[str], shape: str, hf: list[str], gguf: list[str], foreign_shape: str, layout: _Layout, flax: _Side
) -> _Row:
    """A row of layer matrices; GGUF differs from Hugging Face in the names only."""
    return _Row(
        tuple(f"layers.{{i}}.{name}" for name in ours),
        shape,
        {
            "hf": _Side(tuple(f"model.layers.{{i}}.{name}.weight" for name in hf), foreign_shape, layout),
            "gguf": _Side(tuple(f"blk.{{i}}.{name}.weight" for name in gguf), foreign_shape, layout),
            "flax": flax,
        },
    )


def _flax_as_ours(name: str, shape: str) -> _Side:
    return _Side((f"transformer/layer_{{i}}/{name}/w",), shape, _SAME)


_TABLE: tuple[_Row, ...] = (
    _Row(
        ("embedder.input_embedding",),
        "V D",
        {
            "hf": _Side(("model.embed_tokens.weight",), "V D", _SAME),
            "gguf": _Side(("token_embd.weight",), "V D", _SAME),
            "flax": _Side(("transformer/embedder/input_embedding",), "V D", _SAME),
        },
    ),
    _norm("layers.{i}.pre_attention_norm", "input_layernorm", "attn_norm", "D"),
    _matrices(
        ours=["attn.q_einsum.w"],
        shape="N D H",
        hf=["self_attn.q_proj"],
        gguf=["attn_q"],
        foreign_shape="N*H D",
        layout=_QUERY,
        flax=_flax_as_ours("attn/q_einsum", "N D H"),
    ),
    _matrices(
        ours=["attn.kv_einsum.w"],
        shape="2 K D H",
        hf=["self_attn.k_proj", "self_attn.v_proj"],
        gguf=["attn_k", "attn_v"],
        foreign_shape="K*H D",
        layout=_KEY_VALUE,
        flax=_flax_as_ours("attn/kv_einsum", "2 K D H"),
    ),
    _norm("layers.{i}.attn._query_norm", "self_attn.q_norm", "attn_q_norm", "H"),
    _norm("layers.{i}.attn._key_norm", "self_attn.k_norm", "attn_k_norm", "H"),
    _matrices(
        ours=["attn.attn_vec_einsum.w"],
        shape="N H D",
        hf=["self_attn.o_proj"],
        gguf=["attn_output"],
        foreign_shape="D N*H",
        layout=_ATTENTION_OUTPUT,
        flax=_flax_as_ours("attn/attn_vec_einsum", "N H D"),
    ),
    _norm("layers.{i}.post_attention_norm", "post_attention_layernorm", "post_attention_norm", "D"),
    _norm("layers.{i}.pre_ffw_norm", "pre_feedforward_layernorm", "ffn_norm", "D"),
    _matrices(
        ours=["mlp.gate_proj.kernel", "mlp.up_proj.kernel"],
        shape="D F",
        hf=["mlp.gate_proj", "mlp.up_proj"],
        gguf=["ffn_gate", "ffn_up"],
        foreign_shape="F D",
        layout=_TRANSPOSED,
        flax=_Side(("transformer/layer_{i}/mlp/gating_einsum/w",), "2 F D", _GATING),
    ),
    _matrices(
        ours=["mlp.down_proj.kernel"],
        shape="F D",
        hf=["mlp.down_proj"],
        gguf=["ffn_down"],
        foreign_shape="D F",
        layout=_TRANSPOSED,
        flax=_flax_as_ours("mlp/linear", "F D"),
    ),
    _norm("layers.{i}.post_ffw_norm", "post_feedforward_layernorm", "post_ffw_norm", "D"),
    _norm("final_norm", "norm", "output_norm", "D"),
)
