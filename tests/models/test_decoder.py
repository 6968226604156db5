"""The training forward equals that of the Tunix module, and a packed row equals its segments alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_model import random_lora, tiny_base

from gemma_tool_use.models.decoder import hidden_states
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    adapted = attach_lora(tiny_base(tmp_path_factory.mktemp("model") / "tiny"), LoraSpec(rank=4, alpha=6.0), seed=0)
    random_lora(adapted)
    return adapted


def tunix_hidden_states(model, tokens):
    """Those of the module's own forward pass, for rows of one segment."""
    rows, length = tokens.shape
    positions = jnp.broadcast_to(jnp.arange(length), (rows, length))
    mask = jnp.broadcast_to(jnp.tril(jnp.ones((length, length), bool)), (rows, length, length))
    model(tokens, positions, None, mask, output_hidden_states=True)
    return nnx.pop(model, nnx.Intermediate)["all_hidden_states"].get_value()[0]


def ours(model, tokens):
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return hidden_states(model, tokens, positions, jnp.ones_like(tokens))


def random_tokens(rows, length):
    return jnp.asarray(np.random.default_rng(length).integers(3, 500, (rows, length)), jnp.int32)


def states_and_lora_gradient(function, model, tokens):
    """The hidden states, and the gradient of a weighted sum of them with respect to every LoRA array."""
    graphdef, lora, base = nnx.split(model, nnx.LoRAParam, ...)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(*tokens.shape, 64)), jnp.float32)

    def scalar(lora):
        states = function(nnx.merge(graphdef, lora, base), tokens)
        return jnp.sum(states * weights), states

    gradient, states = jax.jit(jax.grad(scalar, has_aux=True))(lora)
    return {"states": states} | {path: leaf.get_value() for path, leaf in gradient.flat_state()}


@pytest.mark.parametrize("length", [7, 40, 300])
def test_hidden_states_and_gradients_equal_those_of_the_tunix_module(model, length):
    tokens = random_tokens(2, length)
    found = states_and_lora_gradient(ours, model, tokens)
    expected = states_and_lora_gradient(tunix_hidden_states, model, tokens)
    for name, array in found.items():
        assert np.linalg.norm(array - expected[name]) <= 1e-5 * np.linalg.norm(expected[name]), name


def test_a_packed_row_gives_each_segment_the_states_it_has_alone(model):
    lengths = [30, 5, 60, 1]  # one longer than the window of 24
    pieces = [random_tokens(1, n) for n in lengths]
    packed = jnp.concatenate([*pieces, jnp.zeros((1, 4), jnp.int32)], axis=1)
    positions = jnp.concatenate([jnp.arange(n) for n in (*lengths, 4)])[None]
    segment_ids = jnp.repeat(jnp.array([1, 2, 3, 4, 0]), jnp.array([*lengths, 4]))[None]
    together = hidden_states(model, packed, positions, segment_ids)[0]
    start = 0
    for piece in pieces:
        alone = ours(model, piece)[0]
        np.testing.assert_allclose(together[start : start + len(alone)], alone, rtol=1e-4, atol=1e-5)
        start += len(alone)
