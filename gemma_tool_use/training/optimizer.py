"""Optimizers and learning-rate schedules by name, from optax."""

from collections.abc import Callable, Mapping

import jax
import optax

from gemma_tool_use.training.guard import skip_bad_steps

OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "adamw": optax.adamw,
    "adam": optax.adam,
    "adafactor": optax.adafactor,
    "adagrad": optax.adagrad,
    "lamb": optax.lamb,
    "lion": optax.lion,
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
}
_DECAYS_BY = {"adamw": "weight_decay", "lamb": "weight_decay", "lion": "weight_decay", "adafactor": "weight_decay_rate"}


def make_schedule(kind: str, *, learning_rate: float, steps: int, warmup_share: float) -> optax.Schedule:
    """Warm-up from zero over `warmup_share` of the steps, then constant, or down to zero along a line or half cosine.

    `make_schedule("linear", learning_rate=1.0, steps=10, warmup_share=0.2)` gives 0, 0.5, 1, 0.875, ..., 0.125.
    """
    warmup = round(steps * warmup_share)
    rest = max(1, steps - warmup)
    after = {
        "constant": optax.constant_schedule(learning_rate),
        "linear": optax.linear_schedule(learning_rate, 0.0, rest),
        "cosine": optax.cosine_decay_schedule(learning_rate, rest),
    }[kind]
    if warmup:
        after = optax.join_schedules([optax.linear_schedule(0.0, learning_rate, warmup), after], [warmup])
    return jax.jit(after)  # an optimizer asks for its first value, which would compile a dozen operations one by one


def make_optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    weight_decay: float,
    clip_norm: float,
    spike_sd: float = 0.0,
    spike_window: int = 1,
) -> optax.GradientTransformationExtraArgs:
    """Clipping, then the optimizer, inside the guard of `guard.py`, so `update` wants the `loss` as well.

    The learning rate is an injected hyperparameter, so that Tunix can log it.
    """
    options = {_DECAYS_BY[name]: weight_decay} if name in _DECAYS_BY and weight_decay else {}
    if name == "adamw":
        options["weight_decay"] = weight_decay  # optax's own default is 1e-4

    def build(learning_rate: float) -> optax.GradientTransformation:
        optimizer = OPTIMIZERS[name](learning_rate, **options)
        return optax.chain(optax.clip_by_global_norm(clip_norm), optimizer) if clip_norm else optimizer

    inner = optax.inject_hyperparams(build)(learning_rate=schedule)
    return skip_bad_steps(inner, spike_sd=spike_sd, window=spike_window)
