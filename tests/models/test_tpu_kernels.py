"""TPU kernels run in Python on a CPU: the same numbers and gradients as plain JAX, on tiny sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma_tool_use.models.attention import attention
from gemma_tool_use.models.tpu.heads import prepare_heads
from gemma_tool_use.models.tpu.mlp import Projection, adapted_projection, fits, gated_mlp
from gemma_tool_use.models.tpu.splash import splash_attention, table_block, vocabulary_softmax

TOLERANCE = 2e-5


def _normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _same(ours: object, plain: object) -> None:
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE * float(jnp.abs(other).max()))


@pytest.mark.parametrize("window", [None, 130])
def test_splash_attention_of_packed_rows_has_the_numbers_and_gradients_of_plain_attention(window: int | None) -> None:
    q, k, v = _normal(2, 256, 4, 128), _normal(2, 256, 2, 128, seed=1), _normal(2, 256, 2, 128, seed=2)
    segment_ids = jnp.asarray([[1] * 100 + [2] * 140 + [0] * 16, [1] * 256], jnp.int32)

    def loss(attend, q, k, v):
        real = (segment_ids > 0)[:, :, None, None]
        return jnp.sum(jnp.sin(attend(q, k, v, segment_ids, window=window, softcap=20.0)) * real)

    ours = functools.partial(loss, functools.partial(splash_attention, interpret=True))
    _same(*(jax.value_and_grad(one, (0, 1, 2))(q, k, v) for one in (ours, functools.partial(loss, attention))))


def test_the_softmax_over_the_vocabulary_in_one_pass_is_that_of_whole_logits() -> None:
    hidden, table = _normal(128, 128), _normal(640, 128, seed=1) / 4
    logits = hidden @ table.T
    plain = jax.nn.logsumexp(logits, axis=-1), jax.nn.softmax(logits) @ table
    _same(vocabulary_softmax(hidden, table, interpret=True), plain)


def test_a_block_of_the_table_divides_the_vocabulary() -> None:
    assert table_block(jnp.zeros((262_144, 640), jnp.bfloat16)) == 1024
    assert table_block(jnp.zeros((151_936, 1024), jnp.bfloat16)) == 128


def test_the_heads_kernel_is_norm_rotation_and_scale_with_their_gradients() -> None:
    rows, length, heads, size = 2, 128, 3, 256
    x, norm, angle = (
        _normal(rows, length, heads * size),
        _normal(size, seed=1),
        _normal(rows, length, size // 2, seed=2),
    )
    cos, sin = jnp.cos(angle), jnp.sin(angle)

    def plain(x, norm):
        y = x.reshape(rows, length, heads, size)
        y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + 1e-6) * norm
        first, second = jnp.split(y, 2, axis=-1)
        c, s = cos[:, :, None], sin[:, :, None]
        return 0.5 * jnp.concatenate([first * c - second * s, second * c + first * s], axis=-1).transpose(0, 2, 1, 3)

    def ours(x, norm):
        return prepare_heads(x, cos, sin, norm, 0.5, 1e-6, True)

    results = [
        jax.value_and_grad(lambda x, norm, f=f: jnp.sum(jnp.sin(f(x, norm))), (0, 1))(x, norm) for f in (ours, plain)
    ]
    _same(*results)


@pytest.mark.parametrize("activation", [jax.nn.gelu, jax.nn.silu])
def test_the_mlp_kernel_has_the_numbers_and_adapter_gradients_of_plain_products(activation) -> None:
    x = _normal(512, 64)
    shapes = (64, 96), (64, 96), (96, 64)
    frozen = [_normal(*shape, seed=i) / 8 for i, shape in enumerate(shapes)]
    adapters = [(_normal(i, 4, seed=7) / 8, _normal(4, o, seed=9) / 2) for i, o in shapes]

    def plain(x, gate, up, down):
        def project(x, p):
            return x @ p.w + (x @ p.a) @ p.b

        return project(activation(project(x, gate)) * project(x, up), down)

    def ours(x, gate, up, down):
        return gated_mlp(x, gate, up, down, activation, True)

    def loss(f, x, adapters):
        return jnp.sum(jnp.sin(f(x, *(Projection(w, a, b) for w, (a, b) in zip(frozen, adapters, strict=True)))))

    _same(*(jax.value_and_grad(functools.partial(loss, f), (0, 1))(x, adapters) for f in (ours, plain)))


def test_the_mlp_of_270m_fits_into_fast_memory_and_that_of_4b_does_not() -> None:
    assert fits(640, 2048, 2)
    assert not fits(2560, 10240, 2)


def test_the_projection_kernel_has_the_numbers_and_adapter_gradients_of_plain_products() -> None:
    x, w, a, b = _normal(512, 64), _normal(64, 96, seed=1) / 8, _normal(64, 4, seed=2) / 8, _normal(4, 96, seed=3)

    def ours(x, a, b):
        return jnp.sum(jnp.sin(adapted_projection(x, Projection(w, a, b), True)))

    def plain(x, a, b):
        return jnp.sum(jnp.sin(x @ w + (x @ a) @ b))

    _same(*(jax.value_and_grad(f, (0, 1, 2))(x, a, b) for f in (ours, plain)))
