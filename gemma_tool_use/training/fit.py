"""One training run from a config: weights and rows in, Tunix training, adapter and run folder out.

with StopRequest() as stop:
    prepared = prepare(config, resolve(config.model), cache=cache)
    folder = RunFolder.claim(config)
    result = fit(config, prepared, folder, stop, on_start=record.start)
"""

import contextlib
import dataclasses
import functools
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import optax
from flax import nnx
from tunix.sft import peft_trainer

from gemma_tool_use.data.packing import BatchPlan
from gemma_tool_use.data.pipeline import batches, eval_batches
from gemma_tool_use.errors import ConfigError
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.formats.tokenizer import Tokenizer, check_vocabulary, load_tokenizer
from gemma_tool_use.formats.turn_tags import in_turns_of
from gemma_tool_use.models.load import Identity, identity, read_spec
from gemma_tool_use.models.precision import compute_dtype
from gemma_tool_use.models.resolve import LocalCheckpoint
from gemma_tool_use.models.sharding import ROW_AXES, on_mesh, target_platform
from gemma_tool_use.training.accuracy import CHOSEN_BY, AccuracyWatch
from gemma_tool_use.training.checkpoints import Checkpoints, require_space
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.distributed import StopVote, is_writer
from gemma_tool_use.training.feed import BatchFeed, EvalBatches
from gemma_tool_use.training.foresight import check_step, chosen_remat, device_room, require_weights, weight_bytes
from gemma_tool_use.training.loss import LossOptions
from gemma_tool_use.training.mesh import make_mesh, place_batch, row_parts, row_share, weight_parts
from gemma_tool_use.training.methods import Trainable, begin_trainable, trainable_type
from gemma_tool_use.training.metrics import Backend, JsonlBackend, Logger, TensorBoardBackend, WandbBackend
from gemma_tool_use.training.optimizer import make_optimizer, make_schedule
from gemma_tool_use.training.plans import held_out_plan, total_steps, training_plan
from gemma_tool_use.training.prepare_rows import Rows, prepare_rows
from gemma_tool_use.training.progress import ProgressHooks
from gemma_tool_use.training.run_folder import RunFolder
from gemma_tool_use.training.step_trace import step_trace
from gemma_tool_use.training.stop import Stopped, StopRequest
from gemma_tool_use.training.trainer import ToolCallTrainer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """All that a run needs before its first step.

    `begun` holds the model, whose frozen weights may still be read: call `begun.ready` before one is computed with.
    """

    begun: Trainable
    identity: Identity
    tokenizer: Tokenizer
    dialect: Dialect
    rows: Rows
    plan: BatchPlan
    held_out_plan: BatchPlan | None
    mesh: jax.sharding.Mesh | None
    compute_dtype: Any

    @property
    def model(self) -> nnx.Module:
        return self.begun.model

    def on_mesh(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which sharded computations of this run happen."""
        return on_mesh(self.mesh)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """How training went. `losses`: of the steps since it was last started. `skipped_steps`: of all that were too bad to
    take. `stopped_by`: the signal that ended it early, if one did."""

    steps: int
    total_steps: int
    losses: list[float]
    skipped_steps: int
    eval_loss: float | None
    seconds: float
    first_step_done: float | None
    stopped_by: str | None


def prepare(config: TrainConfig, local: LocalCheckpoint, *, cache: Path) -> Prepared:
    """Loads tokenizer, rows and weights; everything cheap that can fail comes first. `cache`: folder of token stores.

    Raises:
      ConfigError: an unknown dialect or module, or a tracker that is not installed.
    """
    if "wandb" in config.report_to and importlib.util.find_spec("wandb") is None:
        raise ConfigError("--report-to wandb needs the package: uv sync --extra wandb (or pip install wandb)")
    dialect = get_dialect(config.dialect)
    tokenizer = load_tokenizer(local.require_tokenizer())
    dialect = in_turns_of(dialect, tokenizer)
    rows = prepare_rows(config, dialect, tokenizer, cache=cache)
    dtype, spec = compute_dtype(config.dtype), read_spec(local)
    check_vocabulary(tokenizer, spec.vocab_size)
    mesh = make_mesh(config.mesh, spec, weight_bytes=weight_bytes(config, spec, dtype=dtype))
    require_weights(config, spec, dtype=dtype, parts=weight_parts(mesh), room=device_room())
    plan = training_plan(config, rows, pad_id=tokenizer.pad_id, row_multiple=row_parts(mesh))
    held_out = held_out_plan(config, rows, pad_id=tokenizer.pad_id, row_multiple=row_parts(mesh))
    begun = begin_trainable(config, local, dtype=dtype, mesh=mesh)
    model: Any = begun.model
    model.remat = chosen_remat(config, spec, plan, dtype=dtype, mesh=mesh)
    return Prepared(
        begun=begun,
        identity=identity(local),
        tokenizer=tokenizer,
        dialect=dialect,
        rows=rows,
        plan=plan,
        held_out_plan=held_out,
        mesh=mesh,
        compute_dtype=dtype,
    )


def check_space(config: TrainConfig, prepared: Prepared, folder: RunFolder) -> None:
    """
    Raises:
      ConfigError: the checkpoints of the run do not fit on the disk.
    """
    trained = nnx.state(prepared.model, trainable_type(prepared.model))
    moments = jax.eval_shape(_optimizer(config, steps=1).init, nnx.as_pure(trained))
    size = sum(array.size * array.dtype.itemsize for array in jax.tree.leaves((trained, moments)))
    require_space(folder.checkpoints, checkpoint_bytes=size, keep=config.keep)


def fit(
    config: TrainConfig,
    prepared: Prepared,
    folder: RunFolder,
    stop: StopRequest,
    *,
    on_start: Callable[[], None],
    accuracy: AccuracyWatch | None = None,
) -> FitResult:
    """Trains `prepared.model` in place, continuing from the folder's newest good checkpoint if there is one.

    `on_start` is called when the step is compiled and nothing speaks against the run any more. `accuracy` looks at the
    model as it goes.

    Raises:
      ConfigError: a step does not fit into memory; the folder is as it was.
      CheckpointError: there are checkpoints, and none of them is good.
      TrainingError: too many steps in a row had to be skipped, or the disk is full.
    """
    steps = total_steps(config, prepared.plan)
    stream = batches(prepared.rows.train, prepared.plan, workers=config.workers, share=row_share(prepared.mesh))
    feed = BatchFeed(stream, stop, steps=steps, stages=prepared.rows.stages, vote=StopVote(prepared.mesh))
    held_out = _eval_batches(prepared, stop)
    hooks = ProgressHooks(
        feed,
        steps=steps,
        log_every=config.log_every,
        max_skipped=config.max_skipped,
        row_ids=prepared.rows.train_ids,
        held_out=held_out,
    )
    hooks.accuracy = accuracy
    start = time.monotonic()
    checkpoints = Checkpoints(folder.checkpoints, save_every=config.save_every, keep=config.keep)
    profile = step_trace(folder.profile, steps=config.profile)
    with prepared.on_mesh(), checkpoints.explained(), profile as hooks.trace:
        trainer = make_trainer(config, prepared, steps, checkpoints, feed)
        try:
            batch = trainer.place(next(iter(example_feed(prepared, 1))))
            check_step(config, trainer, batch, ready=prepared.begun.ready)
        except BaseException:
            checkpoints.close()
            raise
        on_start()
        trainer.with_training_hooks(hooks)
        first_step = _continue(trainer, feed, hooks, folder, eval_every=config.eval_every)
        logger = Logger(_backends(config, folder, first_step=first_step))
        trainer.log_to(logger)
        try:
            with contextlib.suppress(Stopped):
                trainer.train(feed, held_out)
            trainer.close()
        except BaseException:
            with contextlib.suppress(OSError):  # a full disk was told of already
                logger.close()
            checkpoints.close()
            raise
    return FitResult(
        steps=trainer.train_steps,
        total_steps=steps,
        losses=hooks.losses,
        skipped_steps=hooks.skipped,
        eval_loss=hooks.eval_loss,
        seconds=time.monotonic() - start,
        first_step_done=hooks.first_step_done,
        stopped_by=stop.signal.name if stop.signal is not None and trainer.train_steps < steps else None,
    )


def example_feed(prepared: Prepared, steps: int) -> BatchFeed:
    """The first batches of the run once more; takes none away from it."""
    stream = batches(prepared.rows.train, prepared.plan, share=row_share(prepared.mesh))
    return BatchFeed(stream, StopRequest(), steps=steps, stages=prepared.rows.stages)


def make_trainer(
    config: TrainConfig, prepared: Prepared, steps: int, checkpoints: Checkpoints, feed: BatchFeed
) -> ToolCallTrainer:
    return ToolCallTrainer(
        prepared.model,
        _optimizer(config, steps=steps),
        peft_trainer.TrainingConfig(
            eval_every_n_steps=config.eval_every,
            max_steps=steps,
            # A CPU reserves the temporary arrays of a step when it is started, not when it runs.
            max_inflight_computations=1 if target_platform() == "cpu" else 2,
            # Rows are the second axis, behind the micro-batches.
            data_sharding_axis=(None, ROW_AXES),  # pyright: ignore[reportArgumentType]
            pbar_description="training",
        ),
        compute_dtype=prepared.compute_dtype,
        loss_options=LossOptions(label_smoothing=config.label_smoothing, z_loss=config.z_loss),
        checkpoints=checkpoints,
        batch_state=feed.state,
        place_batch=functools.partial(place_batch, prepared.mesh, share=row_share(prepared.mesh)),
    )


def _optimizer(config: TrainConfig, *, steps: int) -> optax.GradientTransformationExtraArgs:
    schedule = make_schedule(
        config.schedule, learning_rate=config.learning_rate, steps=steps, warmup_share=config.warmup_share
    )
    return make_optimizer(
        config.optimizer,
        schedule,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        spike_sd=config.spike_sd,
        spike_window=config.spike_window,
    )


def _continue(
    trainer: ToolCallTrainer, feed: BatchFeed, hooks: ProgressHooks, folder: RunFolder, *, eval_every: int
) -> int:
    """Brings rows and log to the step of the checkpoint, so that both are those of a run that was never stopped.

    Returns:
      The first step to be logged; what an earlier start logged of it and later ones does not count.
    """
    step = trainer.train_steps
    if is_writer():  # another process may be late, and would drop what this one has logged by then
        # Without a checkpoint, all of a run that was killed before its first one.
        folder.drop_metrics_after(-1 if trainer.restored is None else step)
    if trainer.restored is None:
        return 0
    feed.restore(step, trainer.restored)
    eval_loss = folder.logged("eval/loss", step)
    trainer.evaluate_first = eval_loss is None and step % eval_every == 0
    if eval_loss is not None:
        hooks.evaluated_before(step, eval_loss)
    if hooks.accuracy is not None and folder.logged(f"eval/{CHOSEN_BY}", step) is not None:
        hooks.accuracy.measured_before(step)
    if is_writer():
        print(f"continuing after step {step}", file=sys.stderr)
    return step + 1


def _backends(config: TrainConfig, folder: RunFolder, *, first_step: int) -> list[Backend]:
    """Exactly those asked for; of several processes one has any."""
    if not is_writer():
        return []
    backends: list[Backend] = [JsonlBackend(folder.metrics)]
    if "tensorboard" in config.report_to:
        backends.append(TensorBoardBackend(folder.tensorboard, first_step=first_step))
    if "wandb" in config.report_to:
        backends.append(WandbBackend(folder.path.name))
    return backends


def _eval_batches(prepared: Prepared, stop: StopRequest) -> EvalBatches:
    plan = prepared.held_out_plan
    elements = eval_batches(prepared.rows.held_out, plan, share=row_share(prepared.mesh)) if plan else ()
    return EvalBatches(elements, plan.elements if plan else 0, stop)
