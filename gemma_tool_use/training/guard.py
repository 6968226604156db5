"""Keeps a bad step out of the weights, inside the compiled step: a loss or gradient not finite, or a loss spike.

    optimizer = skip_bad_steps(optax.adamw(1e-4), spike_sd=8.0, window=64)
    updates, state = optimizer.update(gradients, state, params, loss=loss)
    guard_report(state)     # GuardReport(verdict=2, in_row=1, skipped=1): a spike; weights and moments are as before

Tunix tells its hooks of a step after the checkpoint of that step is on its way, so whatever looks at the loss on the
host comes too late.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

GOOD, NOT_FINITE, SPIKE = range(3)
SAID = {NOT_FINITE: "loss or gradient is not finite", SPIKE: "the loss is a spike"}
# Nats. In six runs on real weights of up to 255 steps of 2 to 4 rows, hard rows stood up to 7 standard deviations above
# the 64 losses before them, by 0.35 nats: late in a run the spread is small, and such rows are what is left to learn.
LEAST_JUMP = 0.5


class GuardReport(NamedTuple):
    """Of the newest step, int32 scalars: GOOD, NOT_FINITE or SPIKE; bad steps in a row; bad steps since the start."""

    verdict: Any
    in_row: Any
    skipped: Any


class GuardState(NamedTuple):
    """Optimizer state around that of the guarded optimizer.

    Attributes:
      inner_state: of the guarded optimizer.
      report: of the newest step.
      gradient_norm: of the newest step, float32, before any clipping.
      losses: float32 [window], the newest losses of steps that were taken, as a ring.
      taken: int32, how many were written to it in this stage.
      stage: int32, stage of the newest step.
    """

    inner_state: Any
    report: GuardReport
    gradient_norm: jax.Array
    losses: jax.Array
    taken: jax.Array
    stage: jax.Array


def skip_bad_steps(
    inner: optax.GradientTransformation, *, spike_sd: float, window: int
) -> optax.GradientTransformationExtraArgs:
    """Takes a step of `inner` unless it is bad; then the updates are zero and its state is the one before.

    A step is bad when the loss, a gradient or an update is not finite, or when the loss is a spike: above the mean of
    the last `window` losses by more than `spike_sd` of their standard deviations and by more than `LEAST_JUMP`. Bad
    losses do not enter the window. Nothing is a spike before the window is full, or while the loss of a new `stage`
    fills it again.

    `update` takes two more arguments: `loss`, float32 [], and `stage`, int32 [], of a curriculum.

    Args:
      inner: the optimizer.
      spike_sd: 0 looks for no spikes.
      window: how many losses are remembered.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> GuardState:
        # Each an array of its own: the step gives its state away, and no buffer can be given away twice.
        report_0, report_1, report_2, taken, stage = (jnp.zeros((), jnp.int32) for _ in range(5))
        return GuardState(
            inner_state=inner.init(params),
            report=GuardReport(report_0, report_1, report_2),
            gradient_norm=jnp.zeros((), jnp.float32),
            losses=jnp.zeros(window, jnp.float32),
            taken=taken,
            stage=stage,
        )

    def update(
        updates: Any, state: GuardState, params: Any = None, *, loss: jax.Array, stage: Any = 0, **extra: Any
    ) -> tuple[Any, GuardState]:
        new_updates, new_inner = inner.update(updates, state.inner_state, params, **extra)
        stage = jnp.asarray(stage, jnp.int32)
        taken = jnp.where(stage == state.stage, state.taken, 0)
        spike = (spike_sd > 0) & (taken >= window) & _is_spike(loss, state.losses, spike_sd)
        # Of gradients that are not finite neither is the norm, which clipping needs anyway.
        norm = optax.global_norm(updates)
        verdict = jnp.where(_all_finite((loss, norm, new_updates)), jnp.where(spike, SPIKE, GOOD), NOT_FINITE)
        good = verdict == GOOD
        losses = state.losses.at[taken % window].set(loss.astype(jnp.float32))
        nothing = jax.tree.map(jnp.zeros_like, new_updates)
        # A branch, not a choice in each array: XLA may compute the verdict, which looks at every array, again for each
        # of them, and a step of 216 arrays took over 100 s to compile.
        chosen, inner_state, losses = jax.lax.cond(
            good, lambda: (new_updates, new_inner, losses), lambda: (nothing, state.inner_state, state.losses)
        )
        bad = 1 - good.astype(jnp.int32)
        return chosen, GuardState(
            inner_state=inner_state,
            report=GuardReport(
                verdict=verdict.astype(jnp.int32),
                in_row=(state.report.in_row + 1) * bad,
                skipped=state.report.skipped + bad,
            ),
            gradient_norm=norm.astype(jnp.float32),
            losses=losses,
            taken=taken + 1 - bad,
            stage=stage,
        )

    # The type of `update` in optax leaves out the extra arguments that give the class its name.
    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def guard_report(opt_state: Any) -> GuardReport:
    """What the guard made of the newest step; `opt_state` is that of `skip_bad_steps`, as optax or as Flax holds it."""
    return GuardReport(*(jnp.asarray(value[...]) for value in opt_state.report))


def gradient_norm(opt_state: Any) -> jax.Array:
    """Norm of the newest step's gradients, float32 []; `opt_state` as for `guard_report`."""
    return jnp.asarray(opt_state.gradient_norm[...])


def _is_spike(loss: jax.Array, losses: jax.Array, spike_sd: float) -> jax.Array:
    return loss > jnp.mean(losses) + jnp.maximum(spike_sd * jnp.std(losses), LEAST_JUMP)


def _all_finite(tree: Any) -> jax.Array:
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]).all()
