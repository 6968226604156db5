"""One linear projection with its LoRA arrays: y = x @ (w + scale * a @ b), gradients for a, b and x.

y = linear(layer.mlp.gate_proj, "kernel", x, scale)      # [tokens, 640] -> [tokens, 2048]

In float32 the adapter is added to the weight first: with some hundred tokens that is less arithmetic than two narrow
products, and costs one rounding of 6e-8. In bfloat16 the sum would round the adapter away, so the products stay apart.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import qwix

from gemma_tool_use.models import kernels
from gemma_tool_use.models.product import product
from gemma_tool_use.models.quantize import Weight, dense


def linear(module: Any, name: str, x: jax.Array, scale: float, *, inputs: int | tuple[int, ...] = 0) -> jax.Array:
    """The projection of a Tunix module, with LoRA where Qwix attached it.

    Args:
      module: has the weight `name`, and `{name}_lora_a`, `{name}_lora_b` if it was adapted.
      name: of the weight.
      x: [tokens, in].
      scale: alpha / rank.
      inputs: the axes of the weight that are contracted with `x`; the others, in order, make up the output.

    Returns:
      [tokens, out].
    """
    weight = getattr(module, name).get_value()
    axes = (inputs,) if isinstance(inputs, int) else inputs
    a = getattr(module, f"{name}_lora_a", None)
    if a is None:
        return _frozen(axes, x, weight) if isinstance(weight, qwix.QArray) else product(x, _kernel(weight, axes, x))
    a, b = a[...], getattr(module, f"{name}_lora_b")[...] * scale
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(b.shape[0], -1)
    if x.dtype == jnp.float32:
        return _merged(axes, x, weight, a, b)
    if isinstance(weight, jax.Array):
        out = kernels.adapted_projection(x, _kernel(weight, axes, x), a, b)
        if out is not None:
            return out
    return _apart(axes, x, weight, a, b)


def _kernel(weight: Weight, axes: tuple[int, ...], x: jax.Array) -> jax.Array:
    """[in, out], of a weight that is contracted along `axes`; packed weights wait for `x`, their other factor."""
    whole = dense(weight, after=x)
    return jnp.moveaxis(whole, axes, range(len(axes))).reshape(math.prod(whole.shape[i] for i in axes), -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _frozen(axes: tuple[int, ...], x: jax.Array, weight: Weight) -> jax.Array:
    """x @ kernel for a frozen kernel."""
    return product(x, _kernel(weight, axes, x))


def _frozen_forward(axes: tuple[int, ...], x: jax.Array, weight: Weight):
    return _frozen(axes, x, weight), weight


def _frozen_backward(axes: tuple[int, ...], weight: Weight, dy: jax.Array):
    return product(dy, _kernel(weight, axes, dy), 1, 1), None


_frozen.defvjp(_frozen_forward, _frozen_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _apart(axes: tuple[int, ...], x: jax.Array, weight: Weight, a: jax.Array, b: jax.Array) -> jax.Array:
    """x @ kernel + x @ a @ b for a frozen kernel."""
    return product(x, _kernel(weight, axes, x)) + product(product(x, a), b)


def _apart_forward(axes: tuple[int, ...], x: jax.Array, weight: Weight, a: jax.Array, b: jax.Array):
    return _apart(axes, x, weight, a, b), (x, weight, a, b)


def _apart_backward(axes: tuple[int, ...], residuals: tuple[Any, ...], dy: jax.Array):
    x, weight, a, b = residuals
    d_hidden, hidden = jax.lax.optimization_barrier((product(dy, b, 1, 1), product(x, a)))
    dx = product(dy, _kernel(weight, axes, dy), 1, 1) + product(d_hidden, a, 1, 1)
    return dx, None, product(d_hidden, x, 0, 0).T, product(hidden, dy, 0, 0)


_apart.defvjp(_apart_forward, _apart_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _merged(axes: tuple[int, ...], x: jax.Array, weight: Weight, a: jax.Array, b: jax.Array) -> jax.Array:
    """x @ (kernel + a @ b) for a frozen kernel."""
    return x @ (_kernel(weight, axes, x) + a @ b)


def _merged_forward(axes: tuple[int, ...], x: jax.Array, weight: Weight, a: jax.Array, b: jax.Array):
    return _merged(axes, x, weight, a, b), (x, weight, a, b)


def _merged_backward(axes: tuple[int, ...], residuals: tuple[Any, ...], dy: jax.Array):
    x, weight, a, b = residuals
    # Fused into the products that read them, the narrow ones are computed again for each block of those: on two cores
    # 2,560 tokens through 2,048 -> 640 take 48 ms instead of 30. The token axis, the longest, is contracted from the
    # left, four times as fast as from the right.
    kernel, d_hidden, hidden = jax.lax.optimization_barrier((_kernel(weight, axes, dy) + a @ b, dy @ b.T, x @ a))
    return dy @ kernel.T, None, (d_hidden.T @ x).T, hidden.T @ dy


_merged.defvjp(_merged_forward, _merged_backward)
