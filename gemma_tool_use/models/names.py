"""Parameter names and layouts in both directions: ours, Hugging Face, GGUF and Kaggle/Flax.

Our names are the paths of the Tunix module, joined by dots. For layer 0 of Gemma 3 and the letters of `ModelSpec`:

    ours                                shape      Hugging Face                                  shape
    embedder.input_embedding            V D        model.embed_tokens.weight                     V D
    layers.0.attn.q_einsum.w            N D H      model.layers.0.self_attn.q_proj.weight        N*H D
    layers.0.attn.kv_einsum.w           2 K D H    ...self_attn.k_proj.weight, ...v_proj.weight  K*H D each
    layers.0.attn.attn_vec_einsum.w     N H D      model.layers.0.self_attn.o_proj.weight        D N*H
    layers.0.mlp.gate_proj.kernel       D F        model.layers.0.mlp.gate_proj.weight           F D
    layers.0.pre_attention_norm.scale   D          model.layers.0.input_layernorm.weight         D

The rows are in name_tables.py, one table for each way in which Tunix writes a decoder. `ours_from` turns a foreign
checkpoint's arrays into ours, `ours_to` writes ours out; exports use the same tables.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.models.name_tables import FORMATS, Format, Layout, Row, table
from gemma_tool_use.models.spec import ModelSpec

__all__ = ["FORMATS", "TIED_HEAD", "Entry", "Format", "entries", "foreign_shapes", "our_shapes", "ours_from", "ours_to"]

TIED_HEAD: Mapping[Format, tuple[str, str]] = {
    "hf": ("lm_head.weight", "model.embed_tokens.weight"),
    "gguf": ("output.weight", "token_embd.weight"),
}
"""A second copy of the embedding that some writers add as the output head, and the name of the embedding itself."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the table for one layer and one foreign format, with every name and shape written out.

    Literal: `Entry(ours={"layers.0.attn.kv_einsum.w": (2, 1, 640, 256)}, foreign={"blk.0.attn_k.weight": (256, 640),
    "blk.0.attn_v.weight": (256, 640)}, ...)`.
    """

    ours: dict[str, tuple[int, ...]]
    foreign: dict[str, tuple[int, ...]]
    spec: ModelSpec
    layout: Layout

    def to_ours(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Our arrays (in the order of `ours`) from the foreign ones (in the order of `foreign`); may be views."""
        return self.layout.to_ours(arrays, self.spec)

    def from_ours(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The foreign arrays (in the order of `foreign`) from ours (in the order of `ours`); may be views."""
        return self.layout.from_ours(arrays, self.spec)


def entries(spec: ModelSpec, format: Format) -> Iterator[Entry]:
    """The whole table for one architecture and one foreign format, embedding first.

    Raises `CheckpointError` when the family is not read in that format.
    """
    for row, i in _rows(spec):
        if format not in row.sides:
            known = ", ".join(row.sides)
            raise CheckpointError(f"{spec.family.title} is read from {known} checkpoints, not from {format}")
        side = row.sides[format]
        yield Entry(
            ours={name.format(i=i): _sizes(row.shape, spec) for name in row.ours},
            foreign={name.format(i=i): _sizes(side.shape, spec) for name in side.names},
            spec=spec,
            layout=side.layout,
        )


def our_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Every parameter of the architecture under our name, with its shape."""
    return {name.format(i=i): _sizes(row.shape, spec) for row, i in _rows(spec) for name in row.ours}


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


def _rows(spec: ModelSpec) -> Iterator[tuple[Row, int]]:
    """Every row with every layer it is for; 0 for the rows outside the layers."""
    for row in table(spec):
        for i in range(spec.num_layers if "{i}" in row.ours[0] else 1):
            yield row, i


def _sizes(shape: str, spec: ModelSpec) -> tuple[int, ...]:
    """`_sizes("2 K*H D", spec)` is `(2, num_kv_heads * head_dim, embed_dim)`."""
    dims = spec.dims
    return tuple(math.prod(int(dims.get(part, part)) for part in axis.split("*")) for axis in shape.split())
