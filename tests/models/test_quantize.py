"""Weights in four or eight bits: values, bytes, rows and blocks of a table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qwix

from gemma_tool_use.models.quantize import dense, dense_block, dense_rows, quantize, stored_bytes

KINDS = ("int4", "int8", "nf4")


def matrix(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(0, 0.05, shape), jnp.float32)


def squared_errors(array: jax.Array, back: jax.Array) -> np.ndarray:
    """Of each block of 32 along the middle axis of three."""
    blocks = (np.asarray(array) - np.asarray(back)).reshape(array.shape[0], -1, 32, array.shape[2])
    return np.square(blocks).sum(axis=2)


def test_int8_brings_every_value_back_within_half_a_step_of_its_block():
    array = matrix(4, 128, 6)
    back = dense(quantize(array, "int8", axis=-2))
    blocks = np.asarray(array).reshape(4, 4, 32, 6)
    error = np.abs(np.asarray(back).reshape(blocks.shape) - blocks) / np.abs(blocks).max(axis=2, keepdims=True)
    assert 0.25 / 127.5 < error.max() <= 0.5 / 127.5 + 1e-6  # blocks, not whole columns, have a scale


@pytest.mark.parametrize(("kind", "share"), [("nf4", 0.85), ("int4", 0.85)])
def test_a_four_bit_block_is_nearer_than_with_its_largest_value_as_scale(kind, share):
    array = matrix(4, 128, 600)
    by_largest = qwix.quantize(array, jnp.int4 if kind == "int4" else kind, channelwise_axes=(0, 2), tiled_axes={1: 32})
    found = squared_errors(array, dense(quantize(array, kind, axis=-2)))
    plain = squared_errors(array, qwix.dequantize(by_largest))
    assert (found <= plain * (1 + 1e-5)).all()
    assert found.sum() < share * plain.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_of_zeros_comes_back_as_zeros(kind):
    assert not np.asarray(dense(quantize(jnp.zeros((64, 2)), kind, axis=0))).any()


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_qwix(kind):
    weight = quantize(matrix(128, 8), kind, axis=0)
    np.testing.assert_array_equal(dense(weight), qwix.dequantize(weight))


def test_nf4_keeps_its_sixteen_values_exactly():
    values = np.asarray(qwix.quantize(jnp.linspace(-1, 1, 10_001), "nf4").qvalue)
    assert sorted(set(values.tolist())) == list(range(16))
    sixteen = dense(qwix.QArray(jnp.arange(16, dtype=jnp.uint4), jnp.ones((1,)), None, "nf4"))
    for values in (sixteen, -sixteen):  # the second by a negative scale
        np.testing.assert_array_equal(dense(quantize(values, "nf4", axis=0)), values)
    assert (float(sixteen[0]), float(sixteen[7]), float(sixteen[15])) == (-1, 0, 1)


@pytest.mark.parametrize(
    ("kind", "dtype", "bits"), [("nf4", "float32", 5), ("int4", "bfloat16", 4.5), ("int8", "bfloat16", 8.5)]
)
def test_bytes_are_counted_as_they_lie_in_memory(kind, dtype, bits):
    weight = quantize(matrix(640, 32).astype(dtype), kind, axis=0)
    assert stored_bytes(weight) == 640 * 32 * bits / 8
    memory = jax.jit(lambda weight: dense(weight).sum()).lower(weight).compile().memory_analysis()
    assert memory is not None and memory.argument_size_in_bytes == stored_bytes(weight)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_blocks_of_a_table_are_those_of_the_dense_table(kind):
    table = quantize(matrix(96, 64), kind, axis=-1)
    whole = np.asarray(dense(table))
    index = jnp.asarray([[5, 95], [0, 5]])
    np.testing.assert_array_equal(dense_rows(table, index), whole[np.asarray(index)])
    np.testing.assert_array_equal(dense_block(table, 32, 16), whole[32:48])


def test_plain_arrays_pass_through():
    table = matrix(8, 4)
    assert dense(table) is table
    np.testing.assert_array_equal(dense_rows(table, jnp.asarray([3, 1])), table[jnp.asarray([3, 1])])
    np.testing.assert_array_equal(dense_block(table, 2, 4), table[2:6])
    assert stored_bytes({"a": table, "b": jnp.zeros((3,), jnp.bfloat16)}) == 8 * 4 * 4 + 6


def test_a_size_that_32_does_not_divide_gets_smaller_blocks():
    assert quantize(matrix(80, 3), "int8", axis=0).scale.shape == (5, 3)
