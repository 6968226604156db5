"""Every family: our forward pass equals Tunix's where Tunix has the arithmetic, packed, cached and at once."""

import dataclasses
import functools
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_families import tiny_family_base
from tiny_model import random_lora

from gemma_tool_use.models.cached import Packed, Places, decode, empty_cache, empty_fresh, keep, prefill
from gemma_tool_use.models.decoder import hidden_states, logits_of
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec

# What Tunix's modules compute otherwise or not at all; the comparison is then with the spec changed to what they do.
AS_TUNIX = {
    "gemma2": {"query_scalar": 16},
    "llama3": {"global_rope_base": 1_000_000, "llama3_rope": None},
}
LENGTH = 40  # beyond the window of 24


@functools.cache
def adapted(family):
    with tempfile.TemporaryDirectory() as folder:
        base = tiny_family_base(Path(folder) / family, family)
    model = attach_lora(base, LoraSpec(rank=4, alpha=6.0), seed=0)
    random_lora(model)
    return model


def random_tokens(rows, length):
    return jnp.asarray(np.random.default_rng(length).integers(3, 500, (rows, length)), jnp.int32)


def ours(model, tokens):
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return logits_of(model, hidden_states(model, tokens, positions, jnp.ones_like(tokens)))


def tunix(model, tokens):
    rows, length = tokens.shape
    positions = jnp.broadcast_to(jnp.arange(length), (rows, length))
    mask = jnp.broadcast_to(jnp.tril(jnp.ones((length, length), bool)), (rows, length, length))
    return model(tokens, positions, None, mask)[0]


def logits_and_lora_gradient(function, model, tokens):
    """The logits, and the gradient of a weighted sum of them with respect to every LoRA array."""
    graphdef, lora, base = nnx.split(model, nnx.LoRAParam, ...)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(*tokens.shape, 512)), jnp.float32)

    def scalar(lora):
        logits = function(nnx.merge(graphdef, lora, base), tokens)
        return jnp.sum(logits * weights), logits

    gradient, logits = jax.jit(jax.grad(scalar, has_aux=True))(lora)
    return {"logits": logits} | {path: leaf.get_value() for path, leaf in gradient.flat_state()}


# Gemma 3 is in test_decoder.py; what sets Mistral and Llama 2 apart from Llama 3 is not in Tunix.
@pytest.mark.parametrize("family", ["gemma2", "qwen3", "llama3"])
def test_logits_and_gradients_equal_those_of_the_tunix_module(family):
    model = adapted(family)
    spec = model.spec
    tokens = random_tokens(2, LENGTH)
    expected = logits_and_lora_gradient(tunix, model, tokens)
    try:
        model.spec = dataclasses.replace(spec, **AS_TUNIX.get(family, {}))
        found = logits_and_lora_gradient(ours, model, tokens)
    finally:
        model.spec = spec
    assert set(found) == set(expected)
    for name, array in found.items():
        assert np.linalg.norm(array - expected[name]) <= 2e-5 * np.linalg.norm(expected[name]), name


def test_what_tunix_lacks_changes_the_result():
    model = adapted("mistral")
    tokens = random_tokens(1, LENGTH)
    assert not np.allclose(nnx.jit(ours)(model, tokens), nnx.jit(tunix)(model, tokens), atol=1e-3)


def test_a_packed_row_gives_each_segment_the_states_it_has_alone():
    model = adapted("gemma2")
    lengths = [30, 5]
    pieces = [random_tokens(1, n) for n in lengths]
    positions = jnp.concatenate([jnp.arange(n) for n in lengths])[None]
    segment_ids = jnp.repeat(jnp.array([1, 2]), jnp.array(lengths))[None]
    states = nnx.jit(hidden_states)
    together = states(model, jnp.concatenate(pieces, axis=1), positions, segment_ids)
    alone = states(model, pieces[1], positions[:, 30:], jnp.ones((1, 5), jnp.int32))
    np.testing.assert_allclose(together[:, 30:], alone, rtol=1e-4, atol=1e-5)


def test_a_cache_gives_rows_the_states_they_have_at_once():
    model = adapted("mistral")
    lengths, steps, room = [LENGTH - 6, LENGTH - 13], 6, 4
    tokens = random_tokens(2, LENGTH)
    prompts = [tokens[row, :length] for row, length in enumerate(lengths)]
    packed = Packed(
        jnp.concatenate(prompts)[None],
        jnp.concatenate([jnp.arange(length) for length in lengths])[None],
        jnp.repeat(jnp.array([1, 2]), jnp.array(lengths))[None],
    )
    # The second row of the cache takes the first prompt, the third the other; the last place is not used.
    places = Places(jnp.array([0, lengths[0], 0]), jnp.array([*lengths, 0]), jnp.array([1, 2, 3]))
    cache = nnx.jit(prefill)(model, packed, empty_cache(model, rows=3, length=LENGTH + 5), places)
    found, start, fresh = [], jnp.array([0, *lengths]), empty_fresh(cache, room)
    for step in range(steps):
        new = jnp.array([0, *(tokens[row, length + step] for row, length in enumerate(lengths))])
        if step == room:
            cache, fresh, start = keep(cache, fresh, start, room), empty_fresh(cache, room), start + room
        hidden, fresh = nnx.jit(decode)(model, new, start, step % room, cache, fresh)
        found.append(hidden[1:])
    positions = jnp.broadcast_to(jnp.arange(LENGTH), tokens.shape)
    expected = nnx.jit(hidden_states)(model, tokens, positions, jnp.ones_like(tokens))
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(
            jnp.stack(found)[:, row], expected[row, length : length + steps], rtol=1e-4, atol=2e-5
        )
