"""Schedules by their values, and that every optimizer does what its flags say."""

import typing

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gemma_tool_use.training.config import Optimizer
from gemma_tool_use.training.optimizer import OPTIMIZERS, make_optimizer, make_schedule


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [0, 0.5, 1, 1, 1, 1]),
        ("linear", [0, 0.5, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0, 0.5, 1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_the_rate_rises_over_the_warm_up_and_then_follows_its_name(kind, expected):
    schedule = make_schedule(kind, learning_rate=1.0, steps=6, warmup_share=1 / 3)
    np.testing.assert_allclose([schedule(step) for step in range(6)], expected, atol=1e-6)


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert make_schedule("cosine", learning_rate=0.5, steps=10, warmup_share=0.0)(0) == 0.5


def test_the_flag_knows_exactly_the_optimizers_there_are():
    assert set(typing.get_args(Optimizer)) == set(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_a_step_downhill(name):
    optimizer = make_optimizer(name, optax.constant_schedule(0.01), weight_decay=0.0, clip_norm=1.0)
    params = {"a": jnp.ones((4, 3))}
    updates, _ = optimizer.update({"a": jnp.ones((4, 3))}, optimizer.init(params), params, loss=jnp.float32(1))
    assert (np.asarray(updates["a"]) < 0).all()


def test_weight_decay_pulls_weights_towards_zero_only_when_asked():
    params, gradient = {"a": jnp.full(3, 10.0)}, {"a": jnp.zeros(3)}
    for decay, moves in ((0.0, False), (0.1, True)):
        optimizer = make_optimizer("adamw", optax.constant_schedule(0.1), weight_decay=decay, clip_norm=0)
        updates, _ = optimizer.update(gradient, optimizer.init(params), params, loss=jnp.float32(1))
        assert bool(np.asarray(updates["a"]).any()) == moves
