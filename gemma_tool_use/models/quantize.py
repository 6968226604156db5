"""Frozen base weights in four or eight bits, through Qwix, and how they are read.

    weight = quantize(array, "nf4", axis=-2)     # qwix.QArray: packed codes and one scale for every 32 values
    dense(weight)                                # the array again, off by 15 % of a block's largest value at most
    dense_rows(table, tokens)                    # some rows of an embedding; the others stay packed
    stored_bytes(weight)                         # 5 bits a value with float32 scales, 4.5 with bfloat16

A quantised weight sits in the same `nnx.Param` of the model, so its name, its place and the LoRA beside it are those of
the plain model; whoever multiplies by it reads it through `dense`, which leaves plain arrays alone.

nf4: the sixteen quantiles of a normal distribution of QLoRA (https://arxiv.org/abs/2305.14314, appendix E). Blocks lie
along the contracted axis. They are half of that paper's 64, as a model as small as Gemma 3 270M has less to spare: in
blocks of 64 its loss on text of tool calls rose from 2.10 to 2.58 before any training, to 2.23 with the embedding
alone packed.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import qwix
from jax.sharding import NamedSharding, PartitionSpec

from gemma_tool_use.models.lora_spec import Quantization
from gemma_tool_use.models.sharding import target_platform

Weight: TypeAlias = jax.Array | qwix.QArray

BLOCK = 32
EMBEDDING = "embedder.input_embedding"
_WIDTH_FIRST = (".q_proj.w", ".k_proj.w", ".v_proj.w")

_T = TypeVar("_T")
_QTYPES: dict[str, Any] = {"nf4": "nf4", "int8": jnp.int8, "int4": jnp.int4}
_NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)


def quantize(array: jax.Array, kind: Quantization, *, axis: int) -> qwix.QArray:
    """`array` in blocks of up to 32 values along `axis`, each with its own scale in the dtype of `array`.

    A sharded array gives codes and scales that lie as it does; a mesh axis that does not divide the blocks leaves the
    scales whole.
    """
    sharding = array.sharding if isinstance(array.sharding, NamedSharding) else None
    return _quantizer(kind, axis % array.ndim, array.shape, array.dtype, sharding)(array)


@functools.cache  # one compilation for all layers of a model
def _quantizer(
    kind: Quantization, axis: int, shape: tuple[int, ...], dtype: Any, sharding: NamedSharding | None
) -> Callable[[jax.Array], qwix.QArray]:
    def build(array: jax.Array) -> qwix.QArray:
        return qwix.quantize(
            array.astype(jnp.float32),
            _QTYPES[kind],
            channelwise_axes=tuple(i for i in range(len(shape)) if i != axis),
            tiled_axes={axis: math.gcd(shape[axis], BLOCK)},
            scale_dtype=dtype,
        )

    if sharding is None:
        return jax.jit(build)
    parts = jax.eval_shape(build, jax.ShapeDtypeStruct(shape, dtype))
    return jax.jit(build, out_shardings=jax.tree.map(lambda part: _place(sharding, part.shape), parts))


def block_axis(name: str) -> int:
    """The axis along which the weight of this name is contracted: the last of a table [vocabulary, width], the first of
    projections [width, heads, size], the last but one of every other matrix of a Tunix model.
    """
    if name.endswith(_WIDTH_FIRST):
        return -3
    return -1 if name == EMBEDDING else -2


def dense(weight: Weight, *, after: jax.Array | None = None) -> jax.Array:
    """The values of a weight, plain or quantised, in the dtype that a quantised one has for its scales.

    `after`: what the values are multiplied by. A quantised weight is then unpacked for this product: not before the
    other factor is there, and anew in the backward pass, so that a step holds the values of few weights at a time.
    """
    if not isinstance(weight, qwix.QArray):
        return weight
    if after is not None:
        weight = _wait_for(after, weight)
    # Qwix looks nf4 codes up in a table, one gather for each value; a chain of selects is a third faster on a CPU, and
    # gathers from tiny tables are what TPUs are worst at. The values are the same.
    values = _nf4_values(weight.qvalue) if weight.qtype == "nf4" else weight.qvalue
    return _multiply_blocks(values.astype(weight.scale.dtype), weight.scale)


def dense_rows(table: Weight, index: jax.Array) -> jax.Array:
    """`dense(table)[index]` for a table [rows, width], without the other rows."""
    return dense(_on_codes_and_scales(lambda part: part[index], table))


def dense_block(table: Weight, start: jax.Array | int, size: int) -> jax.Array:
    """`dense(table)[start : start + size]` for a table [rows, width], without the other rows."""
    return dense(_on_codes_and_scales(lambda part: jax.lax.dynamic_slice_in_dim(part, start, size), table))


def dense_tree(tree: _T) -> _T:
    """A state of a model with all weights dense."""
    return jax.tree.map(dense, tree, is_leaf=_is_quantized)


def stored_bytes(tree: Any) -> int:
    """Bytes that the arrays of a tree take on their device, where two four-bit codes share a byte.

    (`jax.Array.nbytes` counts a byte for each four-bit code.)
    """
    return sum(-(-leaf.size * _bits(leaf.dtype) // 8) for leaf in jax.tree.leaves(tree))


def _wait_for(x: jax.Array, weight: qwix.QArray) -> qwix.QArray:
    if target_platform() != "cpu":
        return jax.lax.optimization_barrier((weight, x))[0]
    # XLA's CPU backend drops barriers before it orders the step, and then unpacks every weight first. It has to keep
    # this sum, because 0 * x is not 0 where x is not finite (and the result is not finite either there).
    return dataclasses.replace(weight, scale=weight.scale + (0 * x[(0,) * x.ndim]).astype(weight.scale.dtype))


def _bits(dtype: Any) -> int:
    return jnp.iinfo(dtype).bits if jnp.issubdtype(dtype, jnp.integer) else jnp.dtype(dtype).itemsize * 8


def _is_quantized(value: Any) -> bool:
    return isinstance(value, qwix.QArray)


def _on_codes_and_scales(function: Callable[[jax.Array], jax.Array], table: Weight) -> Weight:
    return jax.tree.map(function, table)


def _nf4_values(codes: jax.Array) -> jax.Array:
    codes = codes.astype(jnp.int8)
    values = jnp.full(codes.shape, _NF4[0], jnp.float32)
    for code, value in enumerate(_NF4[1:], start=1):
        values = jnp.where(codes >= code, value, values)
    return values


def _multiply_blocks(values: jax.Array, scale: jax.Array) -> jax.Array:
    """Each block of `values` times its scale; both have the same rank, and every size of `scale` divides that of
    `values`.
    """
    blocks = [(n, size // n) for size, n in zip(values.shape, scale.shape, strict=True)]
    split = values.reshape([part for pair in blocks for part in pair])
    return (split * scale.reshape([part for n, _ in blocks for part in (n, 1)])).reshape(values.shape)


def _place(like: NamedSharding, shape: tuple[int, ...]) -> NamedSharding:
    """The sharding of the whole array, without the mesh axes that do not divide this part of it."""
    spec = []
    for size, names in zip(shape, (*like.spec, *[None] * len(shape)), strict=False):
        over = names if isinstance(names, tuple) else () if names is None else (names,)
        spec.append(names if size % math.prod(like.mesh.shape[name] for name in over) == 0 else None)
    return NamedSharding(like.mesh, PartitionSpec(*spec))
