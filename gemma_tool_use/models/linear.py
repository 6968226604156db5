"""One linear projection with its LoRA arrays: y = x @ (w + scale * a @ b), gradients for a, b and x.

y = linear(layer.mlp.gate_proj, "kernel", x, scale)      # [tokens, 640] -> [tokens, 2048]

In float32 the adapter is added to the weight first: with some hundred tokens that is less arithmetic than two narrow
products, and costs one rounding of 6e-8. In bfloat16 the sum would round the adapter away, so the products stay apart.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp


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
    weight = getattr(module, name)[...]
    axes = (inputs,) if isinstance(inputs, int) else inputs
    kernel = jnp.moveaxis(weight, axes, range(len(axes))).reshape(math.prod(weight.shape[i] for i in axes), -1)
    a = getattr(module, f"{name}_lora_a", None)
    if a is None:
        return x @ kernel
    a, b = a[...], getattr(module, f"{name}_lora_b")[...] * scale
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(b.shape[0], -1)
    if x.dtype == jnp.float32:
        return _merged(x, kernel, a, b)
    return x @ kernel + (x @ a) @ b


@jax.custom_vjp
def _merged(x: jax.Array, kernel: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """x @ (kernel + a @ b) for a frozen kernel."""
    return x @ (kernel + a @ b)


def _forward(x: jax.Array, kernel: jax.Array, a: jax.Array, b: jax.Array):
    return _merged(x, kernel, a, b), (x, kernel, a, b)


def _backward(residuals: tuple[jax.Array, ...], dy: jax.Array):
    x, kernel, a, b = residuals
    dx = dy @ (kernel + a @ b).T
    # Written so that the token axis, the longest, is contracted from the left: XLA's CPU backend is four times as fast.
    da = ((dy @ b.T).T @ x).T
    db = (x @ a).T @ dy
    return dx, jnp.zeros_like(kernel), da, db


_merged.defvjp(_forward, _backward)
