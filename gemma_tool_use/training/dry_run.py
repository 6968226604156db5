"""`--dry-run`: what a run would train, need and take. Rows and weights are loaded, a few steps run, nothing is kept.

model   gemma-3-270m on 1 x cpu, float32; LoRA rank 16: 216 arrays, 3,612,672 of 271,710,848 parameters; ...
rows    1,425 to train on (412,338 tokens, 11 % trained), 75 held out
packing 97 % of the cells hold a token: 2.9 rows in 1,024 tokens
steps   483 of 1 x 2 x 1,024 tokens
memory  4.1 GB of RAM: 1.1 GB of weights, optimizer and batch, 1.9 GB while a step runs; 21.8 GB can be had
time    1:12:30 from the first step on: 483 steps of 9.0 s (2 were timed), 6 evaluations of 4.1 s
"""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gemma_tool_use.data.pipeline import eval_batches
from gemma_tool_use.data.rows import STEP_ARRAYS, row_sizes
from gemma_tool_use.training.checkpoints import Checkpoints
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.fit import Prepared, example_feed, make_trainer
from gemma_tool_use.training.foresight import Room, StepMemory, check_step, device_room, peak, size
from gemma_tool_use.training.methods import describe_method
from gemma_tool_use.training.plans import total_steps
from gemma_tool_use.training.progress import clock
from gemma_tool_use.training.trainer import ToolCallTrainer

# The first step touches its memory for the first time: it runs, but does not count.
_TIMED = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Foresight:
    """What was measured.

    Attributes:
      need: of a training step, from the compiled program.
      room: of a device, with everything loaded.
      step_seconds: of a training step, those of `timed` steps in the middle.
      timed: how many.
      evaluation_seconds: of all held-out rows, from one batch of them.
    """

    need: StepMemory
    room: Room
    step_seconds: float
    timed: int
    evaluation_seconds: float


def foresee(config: TrainConfig, prepared: Prepared) -> Foresight:
    """Compiles the step, runs a few on `prepared.model`, and evaluates a batch.

    Raises:
      ConfigError: a step does not fit into memory.
    """
    steps = min(1 + _TIMED, total_steps(config, prepared.plan))
    with tempfile.TemporaryDirectory() as folder, prepared.on_mesh():
        checkpoints = Checkpoints(Path(folder), save_every=config.save_every, keep=1)
        try:
            feed = example_feed(prepared, steps)
            trainer = make_trainer(config, prepared, total_steps(config, prepared.plan), checkpoints, feed)
            batches = [trainer.place(batch) for batch in feed]
            need = check_step(config, trainer, batches[0], ready=prepared.begun.ready)
            train_step, eval_step = trainer.jit_train_and_eval_step(cache_nnx_graph=True)
            seconds = [_seconds(train_step, batch) for batch in batches]
            return Foresight(
                need=need,
                room=device_room(),
                step_seconds=statistics.median(seconds[1:] or seconds),
                timed=len(seconds[1:] or seconds),
                evaluation_seconds=_evaluation_seconds(prepared, trainer, eval_step),
            )
        finally:
            checkpoints.close()


def describe(config: TrainConfig, prepared: Prepared, foresight: Foresight) -> Iterator[str]:
    """The lines that --dry-run prints."""
    rows, plan, steps = prepared.rows, prepared.plan, total_steps(config, prepared.plan)
    sizes = row_sizes(rows.train)
    tokens, targets = (int(each.sum(dtype=np.int64)) for each in (sizes.lengths, sizes.targets))
    yield (
        f"model   {prepared.identity.architecture} on {jax.device_count()} x {jax.devices()[0].device_kind}, "
        f"{jax.numpy.dtype(prepared.compute_dtype)}; {describe_method(config, prepared.model)}"
    )
    yield (
        f"rows    {len(rows.train):,} to train on ({tokens:,} tokens, {targets / tokens:.0%} trained), "
        f"{len(rows.held_out):,} held out"
    )
    shape = plan.shape
    yield (
        f"packing {plan.efficiency:.0%} of the cells hold a token: {len(plan.order) / plan.packed_rows:.1f} rows in "
        f"{shape.length:,} tokens"
    )
    yield f"steps   {steps:,} of {shape.accumulation} x {shape.rows} x {shape.length:,} tokens"
    need, room = foresight.need, foresight.room
    yield (
        f"memory  {size(peak(need, room))} of {room.name}: {size(need.held)} of weights, optimizer and batch, "
        f"{size(need.working)} while a step runs; {size(room.limit)} can be had"
    )
    evaluations = _evaluations(config, steps) if len(rows.held_out) else 0
    total = steps * foresight.step_seconds + evaluations * foresight.evaluation_seconds
    yield (
        f"time    {clock(total)} from the first step on: {steps:,} steps of {foresight.step_seconds:.2g} s "
        f"({foresight.timed} were timed), {evaluations} evaluations of {foresight.evaluation_seconds:.2g} s"
    )


def _seconds(function: Any, batch: Any) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(batch))
    return time.perf_counter() - start


def _evaluation_seconds(prepared: Prepared, trainer: ToolCallTrainer, eval_step: Any) -> float:
    plan = prepared.held_out_plan
    if plan is None:
        return 0.0
    element = next(iter(eval_batches(prepared.rows.held_out, plan)))
    batch = trainer.place({name: element[name] for name in STEP_ARRAYS})
    _seconds(eval_step, batch)  # compiles
    return plan.elements * _seconds(eval_step, batch)


def _evaluations(config: TrainConfig, steps: int) -> int:
    """Before the first step, every so many, and after the last."""
    return 1 + steps // config.eval_every + (steps % config.eval_every != 0)
