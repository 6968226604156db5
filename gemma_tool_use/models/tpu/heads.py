"""What stands between projections and attention as TPU kernels: norm of each head, rotation, scale, order in memory.

    q = prepare_heads(q, cos, sin, query_norm, scale=1 / 16, epsilon=1e-6)      # [rows, length, heads x size]
    q.shape                                                                    # (rows, heads, length, size)
    out = merge_heads(out)                                                     # back to [rows, length, heads x size]

XLA makes some fifteen passes over float32 copies of these arrays, in layouts that suit the rotation and not what
follows; here it is one, in bfloat16.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Tokens per step of the grid.
_BLOCK = 256


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def prepare_heads(
    x: jax.Array,
    cos: jax.Array,
    sin: jax.Array,
    norm: jax.Array,
    scale: float,
    epsilon: float,
    interpret: bool = False,
) -> jax.Array:
    """RMS norm over each head, times `norm`, rotated by the angles, times `scale`.

    Args:
      x: [rows, length, heads x size]; length is a multiple of 128, size of 256.
      cos, sin: float32 [rows, length, size / 2].
      norm: float32 [size], what a normalised head is multiplied by.
      scale: of the result.
      epsilon: added to the mean square.
      interpret: run the kernel in Python, on a CPU.

    Returns:
      [rows, heads, length, size] in the dtype of `x`.
    """
    rows, length, _ = x.shape
    size = norm.shape[0]
    heads = x.shape[2] // size
    block = _block(length)
    flat, angle, whole, by_head = _specs(block, heads, size)
    return pl.pallas_call(
        functools.partial(_forward_kernel, heads=heads, scale=scale, epsilon=epsilon),
        grid=(rows, length // block),
        in_specs=[flat, angle, angle, whole],
        out_specs=by_head,
        out_shape=jax.ShapeDtypeStruct((rows, heads, length, size), x.dtype),
        cost_estimate=_cost(x, cos, passes=2),
        interpret=interpret,
        name="prepare_heads",
    )(x, cos, sin, norm[None])


def _forward(x, cos, sin, norm, scale, epsilon, interpret):
    return prepare_heads(x, cos, sin, norm, scale, epsilon, interpret), (x, cos, sin, norm)


def _backward(scale: float, epsilon: float, interpret: bool, residuals: Any, dy: jax.Array):
    x, cos, sin, norm = residuals
    rows, length, _ = x.shape
    heads, size = dy.shape[1], dy.shape[3]
    block = _block(length)
    flat, angle, whole, by_head = _specs(block, heads, size)
    dx, d_norm = pl.pallas_call(
        functools.partial(_backward_kernel, heads=heads, scale=scale, epsilon=epsilon),
        grid=(rows, length // block),
        in_specs=[by_head, flat, angle, angle, whole],
        out_specs=[flat, whole],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype), jax.ShapeDtypeStruct((1, size), jnp.float32)],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary", "arbitrary")),
        cost_estimate=_cost(x, cos, passes=3),
        interpret=interpret,
        name="prepare_heads_backward",
    )(dy, x, cos, sin, norm[None])
    return dx, jnp.zeros_like(cos), jnp.zeros_like(sin), d_norm[0]


prepare_heads.defvjp(_forward, _backward)


def _forward_kernel(x_ref, cos_ref, sin_ref, norm_ref, y_ref, *, heads: int, scale: float, epsilon: float) -> None:
    size = norm_ref.shape[1]
    cos, sin = cos_ref[0] * scale, sin_ref[0] * scale
    for head in range(heads):
        x = x_ref[0, :, head * size : (head + 1) * size].astype(jnp.float32)
        y = x * _inverse_rms(x, epsilon) * norm_ref[...]
        first, second = y[:, : size // 2], y[:, size // 2 :]
        y_ref[0, head, :, : size // 2] = (first * cos - second * sin).astype(y_ref.dtype)
        y_ref[0, head, :, size // 2 :] = (second * cos + first * sin).astype(y_ref.dtype)


def _backward_kernel(
    dy_ref, x_ref, cos_ref, sin_ref, norm_ref, dx_ref, d_norm_ref, *, heads: int, scale: float, epsilon: float
) -> None:
    @pl.when((pl.program_id(0) == 0) & (pl.program_id(1) == 0))
    def _zero() -> None:
        d_norm_ref[...] = jnp.zeros_like(d_norm_ref)

    size = norm_ref.shape[1]
    cos, sin = cos_ref[0] * scale, sin_ref[0] * scale
    for head in range(heads):
        x = x_ref[0, :, head * size : (head + 1) * size].astype(jnp.float32)
        inverse = _inverse_rms(x, epsilon)
        normed = x * inverse
        dy = dy_ref[0, head].astype(jnp.float32)
        first, second = dy[:, : size // 2], dy[:, size // 2 :]
        turned_back = jnp.concatenate([first * cos + second * sin, second * cos - first * sin], axis=-1)
        d_norm_ref[...] += jnp.sum(turned_back * normed, axis=0, keepdims=True)
        d_normed = turned_back * norm_ref[...]
        dx = inverse * (d_normed - normed * jnp.mean(d_normed * normed, axis=-1, keepdims=True))
        dx_ref[0, :, head * size : (head + 1) * size] = dx.astype(dx_ref.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def merge_heads(x: jax.Array, interpret: bool = False) -> jax.Array:
    """[rows, heads, length, size] to [rows, length, heads x size], in one pass each way.

    The product that follows wants the heads of a token side by side; XLA gets there by five copies in two layouts.
    """
    rows, heads, length, size = x.shape
    return _move(x, _merge_kernel, (rows, length, heads * size), heads, interpret)


def _merge_forward(x: jax.Array, interpret: bool) -> tuple[jax.Array, tuple[int, ...]]:
    return merge_heads(x, interpret), x.shape


def _merge_backward(interpret: bool, shape: tuple[int, ...], dy: jax.Array) -> tuple[jax.Array]:
    return (_move(dy, _split_kernel, shape, shape[1], interpret),)


merge_heads.defvjp(_merge_forward, _merge_backward)


def _move(x: jax.Array, kernel: Any, shape: tuple[int, ...], heads: int, interpret: bool) -> jax.Array:
    merging = x.ndim == 4
    rows, _, length, size = x.shape if merging else shape
    block = _block(length)
    flat, _, _, by_head = _specs(block, heads, size)
    return pl.pallas_call(
        kernel,
        grid=(rows, length // block),
        in_specs=[by_head if merging else flat],
        out_specs=flat if merging else by_head,
        out_shape=jax.ShapeDtypeStruct(shape, x.dtype),
        cost_estimate=pl.CostEstimate(flops=0, transcendentals=0, bytes_accessed=2 * x.nbytes),
        interpret=interpret,
        name="merge_heads" if merging else "split_heads",
    )(x)


def _merge_kernel(x_ref: Any, y_ref: Any) -> None:
    _, heads, _, size = x_ref.shape
    for head in range(heads):
        y_ref[0, :, head * size : (head + 1) * size] = x_ref[0, head]


def _split_kernel(x_ref: Any, y_ref: Any) -> None:
    _, heads, _, size = y_ref.shape
    for head in range(heads):
        y_ref[0, head] = x_ref[0, :, head * size : (head + 1) * size]


def _inverse_rms(x: jax.Array, epsilon: float) -> jax.Array:
    return jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon)


def _block(length: int) -> int:
    return _BLOCK if length % _BLOCK == 0 else 128


def _specs(block: int, heads: int, size: int) -> tuple[pl.BlockSpec, ...]:
    """Of x, of the angles, of the norm, and of [rows, heads, length, size]."""
    return (
        pl.BlockSpec((1, block, heads * size), lambda i, j: (i, j, 0)),
        pl.BlockSpec((1, block, size // 2), lambda i, j: (i, j, 0)),
        pl.BlockSpec((1, size), lambda i, j: (0, 0)),
        pl.BlockSpec((1, heads, block, size), lambda i, j: (i, 0, j, 0)),
    )


def _cost(x: jax.Array, cos: jax.Array, *, passes: int) -> pl.CostEstimate:
    return pl.CostEstimate(
        flops=10 * passes * x.size, transcendentals=0, bytes_accessed=passes * x.nbytes + 2 * cos.nbytes
    )
