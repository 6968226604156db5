"""What a run reports while it goes: metrics.jsonl, TensorBoard scalars, lines without a terminal, and when to stop."""

import collections
import json
import math
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
from tunix.sft import hooks

from gemma_tool_use.data.rows import STEP_ARRAYS
from gemma_tool_use.errors import TrainingError

# A run whose steps keep being non-finite does not recover; the weights are those before the first of them.
MAX_NON_FINITE = 5


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a request to stop after the running step; a second Ctrl-C stops at once.

    with StopRequest() as stop:
        ...
        if stop.signal: ...
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        print("\nstopping after this step and saving a checkpoint; once more stops at once", file=sys.stderr)


class HeldOut(Protocol):
    """The batches of an evaluation; may be iterated any number of times."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]: ...


class BatchFeed:
    """The stream Tunix iterates: arrays only, with each step's token counts and rows kept for the log.

    Ends when `stop` was requested, so that Tunix saves its last checkpoint in the ordinary way.
    """

    def __init__(self, batches: Iterable[dict[str, np.ndarray]], stop: StopRequest) -> None:
        self._batches = batches
        self._stop = stop
        self._info: dict[int, tuple[int, int, np.ndarray]] = {}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for index, batch in enumerate(self._batches):
            if self._stop.signal is not None:
                return
            self._info[index] = (int(batch["lengths"].sum()), int(batch["loss_mask"].sum()), batch["row_index"])
            yield {name: batch[name] for name in STEP_ARRAYS}

    def take(self, step: int) -> tuple[int, int, list[int]]:
        """(tokens, trained tokens, rows) of a step counted from 1; forgets it and all earlier ones."""
        tokens, trained, rows = self._info[step - 1]
        self._info = {index: info for index, info in self._info.items() if index >= step}
        return tokens, trained, [int(row) for row in rows.ravel() if row >= 0]


class JsonlBackend:
    """A metrics backend (Tunix's `LoggingBackend`) that writes one JSON line per step."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", encoding="utf-8")
        self._line: dict[str, Any] = {}

    def log_scalar(self, event: str, value: float | np.ndarray, **kwargs: Any) -> None:
        step = int(kwargs.get("step") or 0)
        if self._line and self._line["step"] != step:
            self._write()
        self._line.setdefault("step", step)
        self._line[event.lstrip("/")] = float(value)

    def latest(self, name: str) -> float:
        return self._line.get(name, math.nan)

    def close(self) -> None:
        self._write()
        self._file.close()

    def _write(self) -> None:
        if self._line:
            # A non-finite loss must stay readable by strict JSON readers.
            line = {k: v if math.isfinite(v) else str(v) for k, v in self._line.items()}
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            self._line = {}


class OwnMetrics:
    """A metrics backend that passes on this run's metrics only.

    Tunix listens to every scalar of `jax.monitoring`, those of Orbax and JAX included, and never stops listening: after
    `close` the scalars are those of another run in the same process.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._open = True

    def log_scalar(self, event: str, value: float | np.ndarray, **kwargs: Any) -> None:
        if self._open and event.lstrip("/").startswith(("train/", "eval/")):
            self._backend.log_scalar(event, value, **kwargs)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._backend.close()


class ProgressHooks(hooks.TrainingHooks):
    """Adds speed and mask share to every logged step, prints lines without a terminal, stops a diverged run."""

    def __init__(
        self,
        feed: BatchFeed,
        log: JsonlBackend,
        *,
        steps: int,
        log_every: int,
        row_ids: Sequence[str],
        held_out: HeldOut,
    ) -> None:
        self._feed, self._log, self._steps, self._log_every, self._row_ids = feed, log, steps, log_every, row_ids
        self._held_out = held_out
        self._non_finite: collections.deque[str] = collections.deque(maxlen=MAX_NON_FINITE)
        self._last_time = time.monotonic()
        self._speeds: collections.deque[float] = collections.deque(maxlen=20)
        self.first_step_done: float | None = None
        self.losses: list[float] = []
        self.eval_loss: float | None = None
        self._evaluated_at = -1

    def on_train_start(self, train_ctx: Any) -> None:
        self._last_time = time.monotonic()

    def on_train_end(self, train_ctx: Any) -> None:
        # Tunix evaluates every N steps only; the last weights are the ones that count.
        if self._held_out and self._evaluated_at != train_ctx.train_steps:
            _, eval_step = train_ctx.jit_train_and_eval_step(cache_nnx_graph=True)
            self.on_eval_step_end(train_ctx, sum(float(eval_step(batch)[0]) for batch in self._held_out))
            train_ctx.metrics_logger.log(
                train_ctx.metrics_prefix, "loss", self.eval_loss, "eval", train_ctx.train_steps
            )

    def on_train_step_start(self, train_ctx: Any) -> None:
        pass

    def on_train_step_end(self, train_ctx: Any, train_step: int, train_loss: float) -> None:
        now = time.monotonic()
        seconds, self._last_time = now - self._last_time, now
        tokens, trained, rows = self._feed.take(train_step)
        if self.first_step_done is None:
            self.first_step_done = time.time()  # its time is mostly compilation, so it has no speed
        else:
            self._speeds.append(seconds)
            self._metric(train_ctx, "tokens_per_second", tokens / seconds, train_step)
        self._metric(train_ctx, "trained_token_share", trained / max(1, tokens), train_step)
        self.losses.append(float(train_loss))
        self._guard(train_step, rows)
        if not sys.stderr.isatty() and (train_step % self._log_every == 0 or train_step in (1, self._steps)):
            self._print_line(train_step)

    def on_eval_step_start(self, train_ctx: Any) -> None:
        pass

    def on_eval_step_end(self, train_ctx: Any, eval_loss: float) -> None:
        """Tunix hands over the sum over batches; their mean is the loss per trained token (see `eval_batches`)."""
        self.eval_loss = float(eval_loss) / len(self._held_out)
        self._evaluated_at = train_ctx.train_steps

    def _metric(self, trainer: Any, name: str, value: float, step: int) -> None:
        trainer.metrics_logger.log(trainer.metrics_prefix, name, value, "train", step)

    def _guard(self, step: int, rows: list[int]) -> None:
        if math.isfinite(self.losses[-1]) and math.isfinite(self._log.latest("train/grad_norm")):
            self._non_finite.clear()
            return
        names = ", ".join(self._row_ids[row] for row in rows)
        self._non_finite.append(f"step {step}: {names}")
        print(f"step {step}: loss or gradient is not finite; the step is skipped. Rows: {names}", file=sys.stderr)
        if len(self._non_finite) == MAX_NON_FINITE:
            raise TrainingError(
                f"{MAX_NON_FINITE} steps in a row were not finite. Weights and checkpoints are those from before. "
                f"Lower --learning-rate, or look at these rows: {'; '.join(self._non_finite)}"
            )

    def _print_line(self, step: int) -> None:
        per_step = sum(self._speeds) / len(self._speeds) if self._speeds else math.nan
        left = (
            "" if math.isnan(per_step) else f", {per_step:.1f} s/step, {_clock(per_step * (self._steps - step))} left"
        )
        print(f"step {step}/{self._steps}: loss {self.losses[-1]:.3f}{left}", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
