"""What a run reports while it goes: speed and skipped steps, lines without a terminal, the end of a bad run."""

import collections
import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from tunix.sft import hooks

from gemma_tool_use.errors import TrainingError
from gemma_tool_use.heap import give_back
from gemma_tool_use.training.accuracy import CHOSEN_BY, AccuracyWatch
from gemma_tool_use.training.distributed import is_writer
from gemma_tool_use.training.feed import BatchFeed
from gemma_tool_use.training.guard import GOOD, SAID
from gemma_tool_use.training.step_trace import StepTrace


class HeldOut(Protocol):
    """The batches of an evaluation; may be iterated any number of times."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]: ...


class ProgressHooks(hooks.TrainingHooks):
    """Adds speed and mask share to every logged step, prints lines without a terminal, stops a run that skips steps."""

    def __init__(
        self,
        feed: BatchFeed,
        *,
        steps: int,
        log_every: int,
        max_skipped: int,
        row_ids: Sequence[str],
        held_out: HeldOut,
    ) -> None:
        self._feed, self._steps, self._log_every, self._row_ids = feed, steps, log_every, row_ids
        self._held_out = held_out
        self.trace: StepTrace | None = None
        self.accuracy: AccuracyWatch | None = None
        self._bad: collections.deque[str] = collections.deque(maxlen=max_skipped)
        self._last_time = time.monotonic()
        self._speeds: collections.deque[float] = collections.deque(maxlen=20)
        self.first_step_done: float | None = None
        self.losses: list[float] = []
        self.skipped = 0
        self.eval_loss: float | None = None
        self._evaluated_at = -1
        self._started = 0

    def evaluated_before(self, step: int, eval_loss: float) -> None:
        """Tells of an evaluation that the log has already."""
        self._evaluated_at, self.eval_loss = step, eval_loss

    def on_train_start(self, train_ctx: Any) -> None:
        self._last_time = time.monotonic()

    def on_train_end(self, train_ctx: Any) -> None:
        if self.trace is not None:
            self.trace.stop(train_ctx)
        if train_ctx.train_steps == self._steps:
            self._look(train_ctx)
        # Tunix evaluates every N steps only; the last weights are the ones that count. A run that was stopped goes on.
        if self._held_out and self._evaluated_at != train_ctx.train_steps == self._steps:
            _, eval_step = train_ctx.jit_train_and_eval_step(cache_nnx_graph=True)
            losses = [float(eval_step(train_ctx.place(batch))[0]) for batch in self._held_out]
            self.on_eval_step_end(train_ctx, sum(losses))
            train_ctx.metrics_logger.log(
                train_ctx.metrics_prefix, "loss", self.eval_loss, "eval", train_ctx.train_steps
            )

    def on_train_step_start(self, train_ctx: Any) -> None:
        self._look(train_ctx)
        self._started += 1
        if self._started == 2:
            give_back()  # what was compiled and read while the first step had its arrays lies between them
        if self.trace is not None:
            self.trace.before_step(train_ctx)

    def on_train_step_end(self, train_ctx: Any, train_step: int, train_loss: float) -> None:
        now = time.monotonic()
        seconds, self._last_time = now - self._last_time, now
        info, report = self._feed.take(train_step), train_ctx.take_report(train_step)
        if self.first_step_done is None:
            self.first_step_done = time.time()  # its time is mostly compilation, so it has no speed
        else:
            self._speeds.append(seconds)
            self._metric(train_ctx, "tokens_per_second", info.tokens / seconds, train_step)
        self._metric(train_ctx, "trained_token_share", info.trained / max(1, info.tokens), train_step)
        self.losses.append(float(train_loss))
        self.skipped = int(report.skipped)
        self._metric(train_ctx, "skipped_steps", self.skipped, train_step)
        self._tell_skipped(train_ctx, train_step, info.rows, report)
        if (
            is_writer()
            and not sys.stderr.isatty()
            and (train_step % self._log_every == 0 or train_step in (1, self._steps))
        ):
            self._print_line(train_step)

    def on_eval_step_start(self, train_ctx: Any) -> None:
        pass

    def on_eval_step_end(self, train_ctx: Any, eval_loss: float) -> None:
        """Tunix hands over the sum over batches; their mean is the loss per trained token (see `eval_batches`)."""
        self.eval_loss = float(eval_loss) / len(self._held_out)
        self._evaluated_at = train_ctx.train_steps

    def _look(self, trainer: Any) -> None:
        """Measures the accuracy after the newest step, if it is time to; that takes no time of the next step."""
        step = trainer.train_steps
        if self.accuracy is None or not self.accuracy.due(step):
            return
        start = time.monotonic()
        values = self.accuracy.look(step)
        give_back()
        for name, value in values.items():
            trainer.metrics_logger.log(trainer.metrics_prefix, name, value, "eval", step)
        took = time.monotonic() - start
        self._last_time += took
        if is_writer():
            best = "" if self.accuracy.best is None else f"; best: step {self.accuracy.best.step}"
            print(f"step {step}: {values[CHOSEN_BY]:.1%} exact in {clock(took)}{best}", file=sys.stderr, flush=True)

    def _metric(self, trainer: Any, name: str, value: float, step: int) -> None:
        trainer.metrics_logger.log(trainer.metrics_prefix, name, value, "train", step)

    def _tell_skipped(self, trainer: Any, step: int, rows: list[int], report: Any) -> None:
        """Names the rows of a step that the guard skipped.

        Raises:
          TrainingError: so many steps in a row were skipped that the run would go nowhere.
        """
        verdict = int(report.verdict)
        if verdict == GOOD:
            self._bad.clear()
            return
        names = ", ".join(self._row_ids[row] for row in rows)
        why = f"{SAID[verdict]} ({self.losses[-1]:.4g})"
        self._bad.append(f"step {step}, {why}: {names}")
        print(f"step {step} is skipped: {why}. Rows: {names}", file=sys.stderr)
        if int(report.in_row) >= (self._bad.maxlen or 0):
            newest = trainer.checkpoint_manager.latest_step()
            raise TrainingError(
                f"{report.in_row} steps in a row had to be skipped, so the run stops (--max-skipped "
                f"{self._bad.maxlen}). Their losses never reached the weights. "
                + ("There is no checkpoint yet. " if newest is None else f"The newest checkpoint is of step {newest}. ")
                + "Lower --learning-rate, take spikes as they are with --spike-sd 0, or look at these rows: "
                + "; ".join(self._bad)
            )

    def _print_line(self, step: int) -> None:
        per_step = sum(self._speeds) / len(self._speeds) if self._speeds else math.nan
        left = "" if math.isnan(per_step) else f", {per_step:.1f} s/step, {clock(per_step * (self._steps - step))} left"
        print(f"step {step}/{self._steps}: loss {self.losses[-1]:.3f}{left}", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """`1:02:03`, or `2:03` below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
