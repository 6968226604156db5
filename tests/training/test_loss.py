"""The vocabulary loss equals the textbook one, in value and gradient."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_model import random_lora, tiny_base

from gemma_tool_use.data.rows import collate
from gemma_tool_use.formats.encode import Encoded
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.quantize import dense, quantize
from gemma_tool_use.training.loss import BLOCK, CHUNK, LossOptions, cross_entropy_sum, token_loss_sum


def textbook(hidden, table, targets, mask):
    log_probabilities = jax.nn.log_softmax(hidden @ table.T)
    return -jnp.sum(jnp.take_along_axis(log_probabilities, targets[:, None], 1)[:, 0] * mask)


def example(positions: int, share: float):
    rng = np.random.default_rng(positions)
    return (
        jnp.asarray(rng.normal(size=(positions, 16)), jnp.float32),
        jnp.asarray(rng.normal(size=(50, 16)), jnp.float32),
        jnp.asarray(rng.integers(0, 50, positions), jnp.int32),
        jnp.asarray(rng.random(positions) < share),
    )


@pytest.mark.parametrize(("positions", "share"), [(7, 0.5), (CHUNK, 1.0), (CHUNK + 1, 1.0), (3 * CHUNK + 5, 0.4)])
def test_loss_and_gradient_equal_those_of_full_logits(positions, share):
    arguments = example(positions, share)
    loss, gradient = jax.jit(jax.value_and_grad(cross_entropy_sum))(*arguments)
    expected_loss, expected_gradient = jax.value_and_grad(textbook)(*arguments)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("vocabulary", [50, 2 * BLOCK])
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_label_smoothing_and_z_loss_equal_their_formulas(vocabulary, softcap):
    hidden, _, targets, mask = example(20, 0.7)
    table = jnp.asarray(np.random.default_rng(0).normal(size=(vocabulary, 16)), jnp.float32)
    loss: Any = cross_entropy_sum

    def expected(hidden, table):
        logits = hidden @ table.T if softcap is None else softcap * jnp.tanh(hidden @ table.T / softcap)
        log_probabilities = jax.nn.log_softmax(logits)
        wanted = 0.9 * jax.nn.one_hot(targets, vocabulary) + 0.1 / vocabulary
        losses = -jnp.sum(wanted * log_probabilities, axis=1) + 0.01 * jax.nn.logsumexp(logits, axis=1) ** 2
        return jnp.sum(losses * mask)

    def ours(hidden, table):
        return loss(hidden, table, targets, mask, True, softcap, LossOptions(label_smoothing=0.1, z_loss=0.01))

    found, wanted = (jax.value_and_grad(function, argnums=(0, 1))(hidden, table) for function in (ours, expected))
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_position_outside_the_mask_gets_no_gradient():
    hidden, table, targets, mask = example(40, 0.5)
    gradient = np.asarray(jax.grad(cross_entropy_sum)(hidden, table, targets, mask))
    assert not gradient[~np.asarray(mask)].any()
    assert gradient[np.asarray(mask)].any(axis=1).all()


def test_an_empty_mask_costs_and_trains_nothing():
    hidden, table, targets, _ = example(10, 0.5)
    loss, gradient = jax.value_and_grad(cross_entropy_sum)(hidden, table, targets, jnp.zeros(10, bool))
    assert loss == 0
    assert not gradient.any()


def test_a_table_that_trains_gets_the_gradient_of_full_logits():
    hidden, table, targets, mask = example(CHUNK + 20, 0.9)
    loss: Any = cross_entropy_sum
    ours = jax.grad(lambda hidden, table: 3 * loss(hidden, table, targets, mask, True), argnums=(0, 1))
    expected = jax.grad(lambda hidden, table: 3 * textbook(hidden, table, targets, mask), argnums=(0, 1))
    for found, wanted in zip(ours(hidden, table), expected(hidden, table), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("vocabulary", [2 * BLOCK, 2 * 4099])  # in blocks; of two primes, so whole
def test_a_packed_table_gives_what_its_unpacked_one_gives(vocabulary):
    hidden, _, targets, mask = example(30, 0.5)
    table = quantize(jnp.asarray(np.random.default_rng(0).normal(size=(vocabulary, 16)), jnp.float32), "nf4", axis=-1)
    targets *= vocabulary // 50
    packed = jax.jit(jax.value_and_grad(cross_entropy_sum))(hidden, table, targets, mask)
    plain = jax.value_and_grad(cross_entropy_sum)(hidden, dense(table), targets, mask)
    for found, wanted in zip(packed, plain, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_packed_table_is_never_unpacked_whole():
    vocabulary, width = 8 * BLOCK, 512
    table = quantize(jnp.ones((vocabulary, width)), "nf4", axis=-1)
    _, _, targets, mask = example(30, 0.5)
    program = jax.jit(jax.value_and_grad(cross_entropy_sum)).lower(jnp.ones((30, width)), table, targets, mask)
    memory = program.compile().memory_analysis()
    assert memory is not None and memory.temp_size_in_bytes < vocabulary * width * 4


def loss_of(model, tokens, mask, real=None):
    """The loss of rows of one segment each, of which `real` tokens are not padding."""
    positions = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
    segment_ids = (positions < (real or tokens.shape[1])).astype(np.int32)
    return token_loss_sum(model, *map(jnp.asarray, (tokens, mask, positions, segment_ids)))


def test_token_t_is_predicted_from_the_tokens_before_it(tmp_path):
    model = tiny_base(tmp_path / "model")
    tokens = np.array([[2, 300, 301, 302, 303]], np.int32)
    mask = np.array([[False, False, False, True, True]])
    logits, _ = model(tokens, np.arange(5)[None], None, np.tril(np.ones((1, 5, 5), bool)))
    expected = -sum(jax.nn.log_softmax(logits[0, t - 1])[tokens[0, t]] for t in (3, 4))
    np.testing.assert_allclose(loss_of(model, tokens, mask), expected, rtol=1e-5)


def test_padding_behind_a_row_changes_nothing(tmp_path):
    model = tiny_base(tmp_path / "model")
    tokens, mask = np.full((1, 40), 300, np.int32), np.zeros((1, 40), bool)
    tokens[0, :30], mask[0, 20:30] = np.arange(300, 330), True
    padded = loss_of(model, tokens, mask, real=30)
    alone = loss_of(model, tokens[:, :30], mask[:, :30])
    np.testing.assert_allclose(padded, alone, rtol=1e-5)


def test_a_packed_batch_has_the_loss_and_the_gradient_of_its_rows_alone(tmp_path):
    model = attach_lora(tiny_base(tmp_path / "model"), LoraSpec(rank=4, alpha=4.0), seed=0)
    random_lora(model)
    rng = np.random.default_rng(0)
    encoded = []
    for length in (60, 9, 33, 24, 70, 5):  # the window is 24
        loss_mask = rng.random(length) < 0.3
        loss_mask[0], loss_mask[-1] = True, True  # a first token is never predicted
        encoded.append(Encoded(tokens=rng.integers(3, 500, length).astype(np.int32), loss_mask=loss_mask))
    graphdef, lora, base = nnx.split(model, nnx.LoRAParam, ...)

    def loss_and_gradient(row_index):
        element = collate(encoded, np.array(row_index, np.int32), length=128, pad_id=0)
        arrays = [jnp.asarray(element[name][0]) for name in ("tokens", "loss_mask", "positions", "segment_ids")]
        return step(lora, *arrays)

    step = jax.jit(jax.value_and_grad(lambda lora, *arrays: token_loss_sum(nnx.merge(graphdef, lora, base), *arrays)))
    packed = loss_and_gradient([[[0, 1, 2], [3, 4, 5]]])
    alone = [loss_and_gradient([[[row, -1, -1], [-1, -1, -1]]]) for row in range(6)]
    summed = jax.tree.map(lambda *parts: sum(parts), *alone)
    for found, expected in zip(jax.tree.leaves(packed), jax.tree.leaves(summed), strict=True):
        assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)
