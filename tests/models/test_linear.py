"""A projection with LoRA equals the sum of its two products, in value and gradient."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gemma_tool_use.models.linear import linear
from gemma_tool_use.models.quantize import dense, quantize


def random(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape), jnp.float32)


def module(weight, a=None, b=None):
    adapter = {} if a is None else {"w_lora_a": a, "w_lora_b": b}
    return SimpleNamespace(w=nnx.Param(weight), **adapter)


@pytest.mark.parametrize(
    ("equation", "weight", "a", "b", "inputs"),
    [
        ("td,df->tf", (6, 10), (6, 3), (3, 10), 0),
        ("td,ndh->tnh", (4, 6, 5), (6, 3), (3, 4, 5), 1),
        ("td,ckdh->tckh", (2, 1, 6, 5), (6, 3), (3, 2, 1, 5), 2),
        ("tnh,nhd->td", (4, 5, 6), (4, 5, 3), (3, 6), (0, 1)),
    ],
)
def test_each_layout_equals_its_einsum_with_the_adapter_added(equation, weight, a, b, inputs):
    left, (w, lora_a, lora_b) = equation.split(",")[0], (random(*shape) for shape in (weight, a, b))
    x = random(*(7, *(dict(zip(equation.split(",")[1], weight, strict=False))[letter] for letter in left[1:])))

    def expected(x, lora_a, lora_b):
        delta = jnp.tensordot(jnp.tensordot(x, lora_a, len(left) - 1), lora_b, 1)
        return (jnp.einsum(equation, x, w) + 0.5 * delta).reshape(7, -1)

    def ours(x, lora_a, lora_b):
        return linear(module(w, lora_a, lora_b), "w", x.reshape(7, -1), 0.5, inputs=inputs)

    def gradients(function):
        weights = random(*function(x, lora_a, lora_b).shape)
        return jax.grad(lambda *args: jnp.sum(function(*args) * weights), argnums=(0, 1, 2))(x, lora_a, lora_b)

    np.testing.assert_allclose(ours(x, lora_a, lora_b), expected(x, lora_a, lora_b), rtol=1e-4, atol=1e-5)
    for found, wanted in zip(gradients(ours), gradients(expected), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_bfloat16_keeps_an_adapter_that_would_vanish_in_the_weight():
    x = jnp.asarray([[1.0, -1.0, 1.0, -1.0]], jnp.bfloat16)  # cancels the kernel of ones
    a = jnp.asarray([[1e-3], [0], [0], [0]], jnp.bfloat16)  # 1 + 0.001 is 1 in bfloat16
    y = linear(module(jnp.ones((4, 2), jnp.bfloat16), a, jnp.ones((1, 2), jnp.bfloat16)), "w", x, 1.0)
    np.testing.assert_allclose(np.asarray(y, np.float32), 1e-3, rtol=0.01)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("adapted", [True, False])
def test_a_packed_weight_gives_what_its_unpacked_one_gives(dtype, adapted):
    x, weight = random(7, 64).astype(dtype), quantize(random(64, 10).astype(dtype), "nf4", axis=0)
    lora = [random(64, 3).astype(dtype), random(3, 10).astype(dtype)] if adapted else [None, None]

    def total(weight, arrays):
        x, *lora = arrays
        return jnp.sum(jnp.square(linear(module(weight, *lora), "w", x, 0.5)).astype(jnp.float32))

    of_packed = jax.value_and_grad(lambda arrays: total(weight, arrays))([x, *lora])
    of_dense = jax.value_and_grad(lambda arrays: total(dense(weight), arrays))([x, *lora])
    for found, wanted in zip(jax.tree.leaves(of_packed), jax.tree.leaves(of_dense), strict=True):
        np.testing.assert_allclose(np.float32(found), np.float32(wanted), rtol=1e-5 if dtype == "float32" else 2e-2)


def test_unpacked_weights_do_not_wait_in_memory_for_the_backward_pass():
    layers, width = 6, 512
    weights = [quantize(random(width, width), "nf4", axis=0) for _ in range(layers)]

    def total(x, weights):
        for weight in weights:
            x = linear(module(weight), "w", x, 1.0)
        return jnp.sum(x)

    memory = jax.jit(jax.grad(total)).lower(random(8, width), weights).compile().memory_analysis()
    assert memory is not None and memory.temp_size_in_bytes < 3 * width * width * 4
