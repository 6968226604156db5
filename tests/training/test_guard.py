"""The guard inside the optimizer: which steps it skips, and that a skipped step leaves nothing behind."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gemma_tool_use.training.guard import GOOD, NOT_FINITE, SPIKE, gradient_norm, guard_report, skip_bad_steps

PARAMS = {"a": jnp.ones(3)}
GRADIENT = {"a": jnp.ones(3)}


class Steps:
    """A guarded Adam and its state, step by step."""

    def __init__(self, *, spike_sd=4.0, window=4):
        optimizer = skip_bad_steps(optax.adam(0.1), spike_sd=spike_sd, window=window)
        self.state: Any = optimizer.init(PARAMS)
        self._update = jax.jit(optimizer.update)

    def take(self, loss, gradient=None, stage=0):
        updates: Any
        updates, self.state = self._update(
            gradient or GRADIENT, self.state, PARAMS, loss=jnp.float32(loss), stage=jnp.int32(stage)
        )
        return int(guard_report(self.state).verdict), bool(np.asarray(updates["a"]).any())

    def verdicts(self, *losses, stage=0):
        return [self.take(loss, stage=stage)[0] for loss in losses]


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_neither_weights_nor_moments(bad, where):
    steps = Steps()
    steps.take(1.0)
    before = steps.state.inner_state
    outcome = steps.take(bad) if where == "loss" else steps.take(1.0, {"a": jnp.array([1.0, bad, 1.0])})
    assert outcome == (NOT_FINITE, False)
    jax.tree.map(np.testing.assert_array_equal, steps.state.inner_state, before)


def test_a_finite_gradient_whose_update_overflows_is_skipped():
    optimizer = skip_bad_steps(optax.scale(1e30), spike_sd=0.0, window=2)
    updates: Any
    state: Any = optimizer.init(PARAMS)
    updates, state = optimizer.update({"a": jnp.full(3, 1e15)}, state, PARAMS, loss=jnp.float32(1))
    assert int(guard_report(state).verdict) == NOT_FINITE
    assert not np.asarray(updates["a"]).any()


def test_the_guard_tells_the_norm_of_the_gradients_as_they_came():
    optimizer = skip_bad_steps(optax.clip_by_global_norm(1.0), spike_sd=0.0, window=2)
    params = {"a": jnp.zeros(2), "b": jnp.zeros(())}
    _, state = optimizer.update(
        {"a": jnp.array([2.0, 3.0]), "b": jnp.array(6.0)}, optimizer.init(params), params, loss=jnp.float32(1)
    )
    assert float(gradient_norm(state)) == 7


def test_a_spike_changes_neither_weights_nor_moments_nor_what_counts_as_one():
    steps = Steps()
    assert steps.verdicts(1.0, 1.1, 0.9, 1.0) == [GOOD] * 4
    before = steps.state
    assert steps.take(2.0) == (SPIKE, False)
    jax.tree.map(np.testing.assert_array_equal, steps.state.inner_state, before.inner_state)
    np.testing.assert_array_equal(steps.state.losses, before.losses)
    assert steps.verdicts(2.0, 1.1) == [SPIKE, GOOD]


def test_nothing_is_a_spike_before_the_window_is_full():
    assert Steps().verdicts(1.0, 1.0, 1.0, 9.0) == [GOOD] * 4


@pytest.mark.parametrize(("loss", "expected"), [(3.9, GOOD), (4.1, SPIKE)])
def test_only_the_last_losses_count(loss, expected):
    # The last four have the mean 1 and the standard deviation 1.
    assert Steps(spike_sd=3.0).verdicts(100.0, 0.0, 2.0, 0.0, 2.0, loss)[-1] == expected


def test_a_small_rise_over_equal_losses_is_no_spike():
    assert Steps().verdicts(0.01, 0.01, 0.01, 0.01, 0.5) == [GOOD] * 5
    assert Steps().verdicts(0.01, 0.01, 0.01, 0.01, 0.52)[-1] == SPIKE


def test_without_deviations_no_loss_is_a_spike():
    assert Steps(spike_sd=0.0).verdicts(1.0, 1.0, 1.0, 1.0, 50.0) == [GOOD] * 5


def test_a_new_stage_of_a_curriculum_may_be_harder():
    steps = Steps()
    steps.verdicts(0.1, 0.1, 0.1, 0.1, stage=1)
    assert steps.verdicts(3.0, 3.0, 3.0, 3.0, stage=2) == [GOOD] * 4
    assert steps.verdicts(9.0, stage=2) == [SPIKE]


def test_skipped_steps_are_counted_in_a_row_and_in_all():
    steps, counts = Steps(), []
    for loss in (1.0, np.nan, np.nan, 1.0, np.inf):
        steps.take(loss)
        counts.append(tuple(int(value) for value in guard_report(steps.state)[1:]))
    assert counts == [(0, 0), (1, 1), (2, 2), (0, 2), (1, 3)]


def test_steps_after_a_skipped_one_are_those_of_a_run_without_it():
    with_nan, without = Steps(), Steps()
    for loss in (1.0, np.nan, 0.9, 0.8):
        with_nan.take(loss)
    for loss in (1.0, 0.9, 0.8):
        without.take(loss)
    jax.tree.map(np.testing.assert_array_equal, with_nan.state.inner_state, without.state.inner_state)
