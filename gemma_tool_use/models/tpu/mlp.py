"""The gated MLP with LoRA as one TPU kernel: what is as wide as the hidden layer never leaves the chip's fast memory.

    y = gated_mlp(x, gate, up, down, activation=jax.nn.gelu)     # [tokens, width]; gate = Projection(w, a, b)

With XLA the four arrays [tokens, hidden] of each layer (gate, up, and their gradients) travel to memory and back eleven
times a step; here the backward pass computes gate and up again from `x`. The weights must fit beside a block of tokens
(Gemma 3 270M: 8 MB of 128).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

BLOCK = 256
"""Tokens per step of the grid."""
# Of the 128 MiB that v5e and v6e have; the compiler gives a kernel 16 unless told.
_VMEM_BYTES = 96 * 2**20
# Float32 arrays [BLOCK, hidden] alive at once in the backward pass.
_ARRAYS = 8

Activation = Callable[[jax.Array], jax.Array]


class Projection(NamedTuple):
    """w [in, out], frozen; a [in, rank]; b [rank, out], already scaled by alpha / rank."""

    w: jax.Array
    a: jax.Array
    b: jax.Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def gated_mlp(
    x: jax.Array, gate: Projection, up: Projection, down: Projection, activation: Activation, interpret: bool = False
) -> jax.Array:
    """(activation(gate(x)) * up(x)) through `down`, each with its LoRA arrays.

    Args:
      x: [tokens, width]; the number of tokens is a multiple of 256.
      gate, up: [width, hidden]. down: [hidden, width].
      activation: element by element.
      interpret: run the kernel in Python, on a CPU.

    Returns:
      [tokens, width]. Gradients: of `x` and of all `a` and `b`; those of the frozen `w` are zero.
    """
    kernel = functools.partial(_forward_kernel, activation=activation)
    tokens = _rows(x.shape[1])
    call = pl.pallas_call(
        kernel,
        grid=(x.shape[0] // BLOCK,),
        in_specs=[tokens, *map(_whole, (*gate, *up, *down))],
        out_specs=tokens,
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        compiler_params=_compiler_params(),
        cost_estimate=_cost(x, gate, wide=3, narrow=6),
        interpret=interpret,
        name="gated_mlp",
    )
    return call(x, *gate, *up, *down)


def _forward(x: jax.Array, gate: Projection, up: Projection, down: Projection, activation: Activation, interpret: bool):
    return gated_mlp(x, gate, up, down, activation, interpret), (x, gate, up, down)


def _backward(activation: Activation, interpret: bool, residuals: Any, dy: jax.Array):
    x, gate, up, down = residuals
    tokens = _rows(x.shape[1])
    narrow = [array for projection in (gate, up, down) for array in (projection.a, projection.b)]
    call = pl.pallas_call(
        functools.partial(_backward_kernel, activation=activation),
        grid=(x.shape[0] // BLOCK,),
        in_specs=[tokens, tokens, *map(_whole, (*gate, *up, *down))],
        out_specs=[tokens, *map(_whole, narrow)],
        out_shape=[
            jax.ShapeDtypeStruct(x.shape, x.dtype),
            *(jax.ShapeDtypeStruct(array.shape, jnp.float32) for array in narrow),
        ],
        compiler_params=_compiler_params(),
        cost_estimate=_cost(x, gate, wide=5, narrow=18),
        interpret=interpret,
        name="gated_mlp_backward",
    )
    dx, *gradients = call(x, dy, *gate, *up, *down)
    pairs = zip(gradients[::2], gradients[1::2], (gate, up, down), strict=True)
    return dx, *(Projection(jnp.zeros_like(p.w), da.astype(p.a.dtype), db.astype(p.b.dtype)) for da, db, p in pairs)


gated_mlp.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def adapted_projection(x: jax.Array, projection: Projection, interpret: bool = False) -> jax.Array:
    """x @ w + (x @ a) @ b in one pass over `x`; the backward pass is one over `x` and the gradient of the result.

    XLA adds the narrow product in a pass of its own, and turns the operands of each adapter gradient around in memory.

    Args:
      x: [tokens, in]; the number of tokens is a multiple of 256.
      projection: w [in, out] with its adapter.
      interpret: run the kernel in Python, on a CPU.

    Returns:
      [tokens, out]. Gradients: of `x`, `a` and `b`; that of the frozen `w` is zero.
    """
    call = pl.pallas_call(
        _projection_kernel,
        grid=(x.shape[0] // BLOCK,),
        in_specs=[_rows(x.shape[1]), *map(_whole, projection)],
        out_specs=_rows(projection.w.shape[1]),
        out_shape=jax.ShapeDtypeStruct((x.shape[0], projection.w.shape[1]), x.dtype),
        compiler_params=_compiler_params(),
        cost_estimate=_projection_cost(x, projection, wide=1, narrow=1),
        interpret=interpret,
        name="adapted_projection",
    )
    return call(x, *projection)


def _projection_forward(x: jax.Array, projection: Projection, interpret: bool):
    return adapted_projection(x, projection, interpret), (x, projection)


def _projection_backward(interpret: bool, residuals: Any, dy: jax.Array):
    x, projection = residuals
    tokens, narrow = _rows(x.shape[1]), (projection.a, projection.b)
    call = pl.pallas_call(
        _projection_backward_kernel,
        grid=(x.shape[0] // BLOCK,),
        in_specs=[tokens, _rows(dy.shape[1]), *map(_whole, projection)],
        out_specs=[tokens, *map(_whole, narrow)],
        out_shape=[
            jax.ShapeDtypeStruct(x.shape, x.dtype),
            *(jax.ShapeDtypeStruct(array.shape, jnp.float32) for array in narrow),
        ],
        compiler_params=_compiler_params(),
        cost_estimate=_projection_cost(x, projection, wide=1, narrow=2.5),
        interpret=interpret,
        name="adapted_projection_backward",
    )
    dx, da, db = call(x, dy, *projection)
    w, a, b = projection
    return dx, Projection(jnp.zeros_like(w), da.astype(a.dtype), db.astype(b.dtype))


adapted_projection.defvjp(_projection_forward, _projection_backward)


def _projection_kernel(x_ref: Any, w_ref: Any, a_ref: Any, b_ref: Any, y_ref: Any) -> None:
    y_ref[...] = _project(x_ref[...], w_ref, a_ref, b_ref).astype(y_ref.dtype)


def _projection_backward_kernel(
    x_ref: Any, dy_ref: Any, w_ref: Any, a_ref: Any, b_ref: Any, dx_ref: Any, da_ref: Any, db_ref: Any
) -> None:
    @pl.when(pl.program_id(0) == 0)
    def _zero() -> None:
        da_ref[...] = jnp.zeros_like(da_ref)
        db_ref[...] = jnp.zeros_like(db_ref)

    dx = _project_backward(x_ref[...], dy_ref[...], w_ref, a_ref, b_ref, da_ref, db_ref)
    dx_ref[...] = dx.astype(dx_ref.dtype)


def _projection_cost(x: jax.Array, projection: Projection, *, wide: int, narrow: float) -> pl.CostEstimate:
    tokens, (width, out), rank = x.shape[0], projection.w.shape, projection.a.shape[1]
    reads = x.size + tokens * out + projection.w.size + (x.size if narrow > 1 else 0)
    return pl.CostEstimate(
        flops=2 * tokens * (width * out * wide + int(rank * (width + out) * narrow)),
        transcendentals=0,
        bytes_accessed=reads * x.dtype.itemsize,
    )


def _forward_kernel(x_ref: Any, *refs: Any, activation: Activation) -> None:
    gate, up, down, y_ref = refs[:3], refs[3:6], refs[6:9], refs[9]
    x = x_ref[...]
    hidden = (activation(_project(x, *gate)) * _project(x, *up)).astype(x.dtype)
    y_ref[...] = _project(hidden, *down).astype(y_ref.dtype)


def _backward_kernel(x_ref: Any, dy_ref: Any, *refs: Any, activation: Activation) -> None:
    gate, up, down, dx_ref = refs[:3], refs[3:6], refs[6:9], refs[9]
    gradients = refs[10:]

    @pl.when(pl.program_id(0) == 0)
    def _zero() -> None:
        for ref in gradients:
            ref[...] = jnp.zeros_like(ref)

    x, dy = x_ref[...], dy_ref[...]
    activated, pull = jax.vjp(activation, _project(x, *gate))
    linear = _project(x, *up)
    hidden = (activated * linear).astype(x.dtype)
    d_hidden = _project_backward(hidden, dy, *down, *gradients[4:6])
    (d_gate,) = pull(d_hidden * linear)
    dx = _project_backward(x, d_gate.astype(x.dtype), *gate, *gradients[:2])
    dx += _project_backward(x, (d_hidden * activated).astype(x.dtype), *up, *gradients[2:4])
    dx_ref[...] = dx.astype(dx_ref.dtype)


def _project(x: jax.Array, w_ref: Any, a_ref: Any, b_ref: Any) -> jax.Array:
    """float32 [tokens, out]."""
    narrow = _dot(x, a_ref[...], 1, 0).astype(x.dtype)
    return _dot(x, w_ref[...], 1, 0) + _dot(narrow, b_ref[...], 1, 0)


def _project_backward(
    x: jax.Array, dy: jax.Array, w_ref: Any, a_ref: Any, b_ref: Any, da_ref: Any, db_ref: Any
) -> jax.Array:
    """float32 gradient of x; adds those of a and b to their sums over the blocks."""
    narrow = _dot(x, a_ref[...], 1, 0).astype(x.dtype)
    d_narrow = _dot(dy, b_ref[...], 1, 1).astype(x.dtype)
    da_ref[...] += _dot(x, d_narrow, 0, 0)
    db_ref[...] += _dot(narrow, dy, 0, 0)
    return _dot(dy, w_ref[...], 1, 1) + _dot(d_narrow, a_ref[...], 1, 1)


def _dot(x: jax.Array, y: jax.Array, x_axis: int, y_axis: int) -> jax.Array:
    return jax.lax.dot_general(x, y, (((x_axis,), (y_axis,)), ((), ())), preferred_element_type=jnp.float32)


def _rows(width: int) -> pl.BlockSpec:
    return pl.BlockSpec((BLOCK, width), lambda i: (i, 0))


def _whole(array: jax.Array) -> pl.BlockSpec:
    return pl.BlockSpec(array.shape, lambda i: (0, 0))


def _compiler_params() -> Any:
    return pltpu.CompilerParams(dimension_semantics=("arbitrary",), vmem_limit_bytes=_VMEM_BYTES)


def _cost(x: jax.Array, gate: Projection, *, wide: int, narrow: int) -> pl.CostEstimate:
    """XLA sees no arithmetic inside a kernel. Multiplications per token: width x hidden times `wide`, and
    rank x (width + hidden) / 2 times `narrow`. Bytes: x, y, and the weights, once.
    """
    tokens, width = x.shape
    hidden, rank = gate.w.shape[1], gate.a.shape[1]
    return pl.CostEstimate(
        flops=2 * tokens * width * hidden * wide + tokens * rank * (width + hidden) * narrow,
        transcendentals=tokens * hidden,
        bytes_accessed=(2 * x.size + 3 * gate.w.size) * x.dtype.itemsize,
    )


def fits(width: int, hidden: int, itemsize: int) -> bool:
    """Whether the three weights, which a kernel holds twice, leave room for a block of tokens."""
    weights = 2 * 3 * width * hidden * itemsize
    block = BLOCK * hidden * 4 * _ARRAYS
    return weights + block <= _VMEM_BYTES
