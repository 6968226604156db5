"""The loss with a cap on the logits, and with an output head that is not the embedding."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tiny_families import tiny_family_base

from gemma_tool_use.models.decoder import hidden_states, logits_of
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.training.loss import CHUNK, cross_entropy_sum, token_loss_sum


def test_a_cap_on_the_logits_is_in_the_loss_and_in_every_gradient():
    rng = np.random.default_rng(0)
    count, cap = CHUNK + 3, 2.0
    hidden = jnp.asarray(rng.normal(size=(count, 16)), jnp.float32)
    table = jnp.asarray(rng.normal(size=(50, 16)), jnp.float32)
    targets, mask = jnp.asarray(rng.integers(0, 50, count)), jnp.asarray(rng.random(count) < 0.6)

    def textbook(hidden, table):
        logits = cap * jnp.tanh(hidden @ table.T / cap)
        return -jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(logits), targets[:, None], 1)[:, 0] * mask)

    def ours(hidden, table):
        return cross_entropy_sum(hidden, table, targets, mask, True, cap)

    loss, gradients = jax.value_and_grad(ours, argnums=(0, 1))(hidden, table)
    expected, expected_gradients = jax.value_and_grad(textbook, argnums=(0, 1))(hidden, table)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_loss_of_a_model_is_that_of_its_capped_logits_from_a_head_of_its_own(tmp_path):
    model: Any = attach_lora(tiny_family_base(tmp_path, "llama3"), LoraSpec(rank=2), seed=0)
    model.spec = dataclasses.replace(model.spec, final_softcap=3.0)
    tokens = jnp.asarray([[2, 300, 301, 302, 303]], jnp.int32)
    mask, positions = jnp.asarray([[False, False, True, True, True]]), jnp.arange(5)[None]
    segment_ids = jnp.ones_like(tokens)
    logits = nnx.jit(lambda model: logits_of(model, hidden_states(model, tokens, positions, segment_ids)))(model)
    expected = -sum(jax.nn.log_softmax(logits[0, t])[tokens[0, t + 1]] for t in (1, 2, 3))
    found = nnx.jit(token_loss_sum)(model, tokens, mask, positions, segment_ids)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert abs(logits).max() < 3
