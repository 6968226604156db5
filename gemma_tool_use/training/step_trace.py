"""A trace of some steps of a run, for `--profile N`: where the time of a step goes.

    with step_trace(folder.profile, steps=3) as hooks.trace:     # ProgressHooks tells it of each step
        trainer.train(feed)
    # profile/plugins/profile/<time>/<host>.xplane.pb for TensorBoard, perfetto_trace.json.gz for https://ui.perfetto.dev

Tunix has a profiler too. It stops while its last step still runs, leaves out a run that is continued, and writes
nothing for a run that ends before it does.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from flax import nnx

# The first step compiles, and the second may still fill caches.
_SKIPPED = 2


class StepTrace:
    """Starts before the third step that a start of the run takes, stops when `steps` of them are done."""

    def __init__(self, folder: Path, *, steps: int) -> None:
        self._folder, self._steps = folder, steps
        self._seen = 0
        self._first: int | None = None
        self._running = False

    def before_step(self, trainer: Any) -> None:
        """Told before each step by a `trainer` with `train_steps` and `model`."""
        if self._seen == _SKIPPED:
            self._settle(trainer)
            jax.profiler.start_trace(str(self._folder), create_perfetto_trace=True)
            self._running, self._first = True, trainer.train_steps + 1
        elif self._seen == _SKIPPED + self._steps:
            self.stop(trainer)
        self._seen += 1

    def stop(self, trainer: Any) -> None:
        """Writes the trace, if one is running, when the last step is done."""
        if not self._running:
            return
        self._settle(trainer)
        self._running = False
        jax.profiler.stop_trace()
        print(
            f"trace of steps {self._first} to {trainer.train_steps}: tensorboard --logdir {self._folder} (with the "
            f"package xprof), or drop perfetto_trace.json.gz of it on https://ui.perfetto.dev",
            file=sys.stderr,
        )

    def abandon(self) -> None:
        """Ends a trace whose run failed."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()

    def tell_if_absent(self) -> None:
        """Says why there is no trace, if there is none."""
        if self._first is None:
            print(f"--profile: the run took no more than {_SKIPPED} steps, so there is no trace", file=sys.stderr)

    @staticmethod
    def _settle(trainer: Any) -> None:
        # Steps are handed over before they are done; the weights are what the last of them gives.
        jax.block_until_ready(nnx.state(trainer.model))


@contextlib.contextmanager
def step_trace(folder: Path, *, steps: int) -> Iterator[StepTrace | None]:
    """A `StepTrace` in `folder`, None when `steps` is 0 or another process writes."""
    if not steps or jax.process_index():
        yield None
        return
    trace = StepTrace(folder, steps=steps)
    try:
        yield trace
        trace.tell_if_absent()
    finally:
        trace.abandon()
