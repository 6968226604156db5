"""Frozen base weights in four or eight bits, through Qwix, and how they are read.

    weight = quantize(array, "nf4", axis=-2)     # qwix.QArray: packed codes and one scale for every 32 values
    dense(weight)                                # the array again, off by 8 % of its norm for nf4, 0.6 % for int8
    dense_rows(table, tokens)                    # some rows of an embedding; the others stay packed
    stored_bytes(weight)                         # 5 bits a value with float32 scales, 4.5 with bfloat16

A quantised weight sits in the same `nnx.Param` of the model, so its name, its place and the LoRA beside it are those of
the plain model; whoever multiplies by it reads it through `dense`, which leaves plain arrays alone.

nf4: the sixteen quantiles of a normal distribution of QLoRA (https://arxiv.org/abs/2305.14314, appendix E). Blocks lie
along the contracted axis, and are half of that paper's 64.

The scale of a four-bit block is the one that leaves the smallest squared error among a few, not the block's largest
value: a model as small as Gemma 3 270M has little to spare. Before any training, packing only the attention raised its
loss on held-out tool calls by 4.8 % with the largest value and by 0.6 % with the best of 24 scales; only the MLP by
2.3 % and -0.4 %; only the embedding by 2.9 % and -0.9 %, nearly all of it as output projection.
The search here tries six scales; the whole model packed with it stood 4.4 % higher (64 rows, 2.161 to 2.256).
"""

import dataclasses
import functools
import itertools
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
# Codes lie between these, and the largest of them is for values up to the bound.
_RANGE = {"nf4": (-1.0, 1.0), "int4": (-8.0, 7.0)}
_BOUND = {"nf4": 1.0, "int4": 7.5}
# Scales that are tried, as shares of the one that just holds the largest value. Negative ones turn the block around, as
# neither kind of code has as many steps above zero as below.
_SHARES = (1.0, 0.9, 0.8, -1.0, -0.9, -0.8)


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
    size = math.gcd(shape[axis], BLOCK)
    others = tuple(i for i in range(len(shape)) if i != axis)

    def build(array: jax.Array) -> qwix.QArray:
        array = array.astype(jnp.float32)
        if kind == "int8":  # its 256 steps lose nothing that a better scale could win back
            return qwix.quantize(
                array, _QTYPES[kind], channelwise_axes=others, tiled_axes={axis: size}, scale_dtype=dtype
            )
        blocks = array.reshape(*shape[:axis], shape[axis] // size, size, *shape[axis + 1 :])
        scale = _best_scale(blocks, kind, axis + 1).astype(dtype)
        # The range of all codes as that of one scale, which is then 1: Qwix rounds to the nearest code and no more.
        scaled = (blocks / scale.astype(jnp.float32)).reshape(shape).clip(*_RANGE[kind])
        codes = qwix.quantize(scaled, _QTYPES[kind], calibration_method=f"fixed,{_BOUND[kind]}")
        return dataclasses.replace(codes, scale=scale.squeeze(axis + 1))

    if sharding is None:
        return jax.jit(build)
    parts = jax.eval_shape(build, jax.ShapeDtypeStruct(shape, dtype))
    return jax.jit(build, out_shardings=jax.tree.map(lambda part: _place(sharding, part.shape), parts))


def _best_scale(blocks: jax.Array, kind: Quantization, axis: int) -> jax.Array:
    """The scale of each block along `axis`, among a few, whose codes leave the smallest squared error.

    Codes c of a block x fit best with the scale <x, c> / <c, c>, and then leave <x, x> - <x, c>^2 / <c, c>.
    """
    largest = jnp.max(jnp.abs(blocks), axis, keepdims=True)
    scale = jnp.where(largest == 0, 1, largest)
    start, explained = scale / _BOUND[kind], jnp.zeros_like(scale)
    for share in _SHARES:
        codes = _nearest(blocks / (share * start), kind)
        along = jnp.sum(blocks * codes, axis, keepdims=True)
        square = jnp.maximum(jnp.sum(codes * codes, axis, keepdims=True), jnp.finfo(jnp.float32).tiny)
        gain = along * along / square
        scale = jnp.where(gain > explained, along / square, scale)
        explained = jnp.maximum(gain, explained)
    return scale


def _nearest(values: jax.Array, kind: Quantization) -> jax.Array:
    """The value of the code nearest to each of `values`."""
    if kind != "nf4":
        return jnp.round(values).clip(*_RANGE[kind])
    nearest = jnp.full(values.shape, _NF4[0], jnp.float32)
    for below, value in itertools.pairwise(_NF4):
        nearest = jnp.where(values > (below + value) / 2, value, nearest)
    return nearest


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
    return dense(_on_codes_and_scales(lambda part: _rows(part, index), table))


def dense_block(table: Weight, start: jax.Array | int, size: int) -> jax.Array:
    """`dense(table)[start : start + size]` for a table [rows, width], without the other rows."""

    def block(part: jax.Array) -> jax.Array:
        return _on_bits(lambda bits: jax.lax.dynamic_slice_in_dim(bits, start, size), part)

    return dense(_on_codes_and_scales(block, table))


def dense_tree(tree: _T) -> _T:
    """A state of a model with all weights dense."""
    return jax.tree.map(dense, tree, is_leaf=_is_quantized)


def stored_bytes(tree: Any) -> int:
    """Bytes that the arrays of a tree take on their device, where two four-bit codes share a byte.

    (`jax.Array.nbytes` counts a byte for each four-bit code.)
    """
    return sum(-(-leaf.size * _bits(leaf.dtype) // 8) for leaf in jax.tree.leaves(tree))


@jax.custom_jvp
def _rows(part: jax.Array, index: jax.Array) -> jax.Array:
    return _on_bits(lambda bits: bits[index], part)


@_rows.defjvp
def _rows_jvp(primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]):
    return _rows(*primals), tangents[0][primals[1]]  # bits have no derivative


def _on_bits(move: Callable[[jax.Array], jax.Array], part: jax.Array) -> jax.Array:
    """`move(part)`, where `move` only picks elements.

    XLA's CPU backend has bfloat16 in products alone: to pick from a table of that type it widens all of it to float32.
    """
    if part.dtype != jnp.bfloat16 or target_platform() != "cpu":
        return move(part)
    return jax.lax.bitcast_convert_type(move(jax.lax.bitcast_convert_type(part, jnp.uint16)), jnp.bfloat16)


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
