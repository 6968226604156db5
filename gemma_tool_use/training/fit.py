"""One training run from a config: weights and rows in, Tunix training, adapter and run folder out.

with StopRequest() as stop:
    prepared = prepare(config, resolve(config.model), cache=cache)
    folder = RunFolder.claim(config)
    result = fit(config, prepared, folder, stop)
"""

import contextlib
import dataclasses
import importlib.util
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from flax import nnx
from tunix.sft import metrics_logger, peft_trainer

from gemma_tool_use.data.packing import BatchPlan
from gemma_tool_use.data.pipeline import batches, eval_batches
from gemma_tool_use.data.rows import STEP_ARRAYS, Element
from gemma_tool_use.errors import ConfigError
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.formats.tokenizer import Tokenizer, check_vocabulary, load_tokenizer
from gemma_tool_use.models.load import Identity, identity, load_base, read_spec
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.resolve import LocalCheckpoint
from gemma_tool_use.models.sharding import ROW_AXES, on_mesh
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.mesh import make_mesh, row_parts
from gemma_tool_use.training.optimizer import make_optimizer, make_schedule
from gemma_tool_use.training.plans import held_out_plan, total_steps, training_plan
from gemma_tool_use.training.prepare_rows import Rows, prepare_rows
from gemma_tool_use.training.progress import BatchFeed, JsonlBackend, OwnMetrics, ProgressHooks, StopRequest
from gemma_tool_use.training.run_folder import RunFolder
from gemma_tool_use.training.trainer import ToolCallTrainer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """All that a run needs before its first step."""

    model: nnx.Module
    identity: Identity
    tokenizer: Tokenizer
    dialect: Dialect
    rows: Rows
    plan: BatchPlan
    held_out_plan: BatchPlan | None
    mesh: jax.sharding.Mesh | None
    compute_dtype: Any

    def on_mesh(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which sharded computations of this run happen."""
        return on_mesh(self.mesh)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """How training went. `stopped_by`: the signal that ended it early, if one did."""

    steps: int
    total_steps: int
    losses: list[float]
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
    rows = prepare_rows(config, dialect, tokenizer, cache=cache)
    dtype, spec = compute_dtype(config), read_spec(local)
    mesh = make_mesh(config.mesh, spec, weight_bytes=_weight_bytes(config, spec.num_params, dtype))
    plan = training_plan(config, rows, pad_id=tokenizer.pad_id, row_multiple=row_parts(mesh))
    held_out = held_out_plan(config, rows, pad_id=tokenizer.pad_id, row_multiple=row_parts(mesh))
    base = load_base(local, dtype=dtype, mesh=mesh)
    check_vocabulary(tokenizer, base.config.num_embed)
    with mesh if mesh is not None else contextlib.nullcontext():
        model = attach_lora(base, config.lora, seed=config.seed, mesh=mesh)
    return Prepared(
        model=model,
        identity=identity(local),
        tokenizer=tokenizer,
        dialect=dialect,
        rows=rows,
        plan=plan,
        held_out_plan=held_out,
        mesh=mesh,
        compute_dtype=dtype,
    )


def compute_dtype(config: TrainConfig) -> Any:
    """The dtype of base weights and activations."""
    if config.dtype == "auto":
        return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    return jnp.dtype(config.dtype)


def _weight_bytes(config: TrainConfig, parameters: int, dtype: Any) -> int:
    """What the weights take for the whole run: trained ones with a gradient and two moments, all in float32."""
    return parameters * (16 if config.method == "full" else jnp.dtype(dtype).itemsize)


def fit(config: TrainConfig, prepared: Prepared, folder: RunFolder, stop: StopRequest) -> FitResult:
    """Trains `prepared.model` in place, continuing from the folder's newest checkpoint if there is one.

    Raises:
      TrainingError: the loss stays non-finite.
    """
    steps = total_steps(config, prepared.plan)
    feed = BatchFeed(batches(prepared.rows.train, prepared.plan, workers=config.workers), stop)
    held_out = _EvalBatches(prepared)
    start = time.monotonic()
    with prepared.on_mesh():
        log = JsonlBackend(folder.metrics)
        logger = _metrics_logger(config, folder, log)
        trainer = _make_trainer(config, prepared, folder, steps, logger)
        folder.drop_metrics_after(trainer.train_steps)
        hooks = ProgressHooks(
            feed, log, steps=steps, log_every=config.log_every, row_ids=prepared.rows.train_ids, held_out=held_out
        )
        trainer.with_training_hooks(hooks)
        try:
            trainer.train(feed, held_out)
        except BaseException:  # Tunix closes its files at the end of a whole run only
            logger.close()
            trainer.checkpoint_manager.close()
            raise
    return FitResult(
        steps=trainer.train_steps,
        total_steps=steps,
        losses=hooks.losses,
        eval_loss=hooks.eval_loss,
        seconds=time.monotonic() - start,
        first_step_done=hooks.first_step_done,
        stopped_by=stop.signal.name if stop.signal is not None and trainer.train_steps < steps else None,
    )


def _make_trainer(
    config: TrainConfig, prepared: Prepared, folder: RunFolder, steps: int, logger: metrics_logger.MetricsLogger
) -> ToolCallTrainer:
    # Orbax warns and logs at every save; what a user needs to know of it is printed by us.
    logging.getLogger("absl").setLevel(logging.ERROR)
    schedule = make_schedule(
        config.schedule, learning_rate=config.learning_rate, steps=steps, warmup_share=config.warmup_share
    )
    optimizer = make_optimizer(config.optimizer, schedule, weight_decay=config.weight_decay, clip_norm=config.clip_norm)
    return ToolCallTrainer(
        prepared.model,
        optimizer,
        peft_trainer.TrainingConfig(
            eval_every_n_steps=config.eval_every,
            max_steps=steps,
            checkpoint_root_directory=str(folder.checkpoints),
            checkpointing_options=ocp.CheckpointManagerOptions(
                save_interval_steps=config.save_every, max_to_keep=config.keep
            ),
            # Rows are the second axis, behind the micro-batches.
            data_sharding_axis=(None, ROW_AXES),  # pyright: ignore[reportArgumentType]
            pbar_description="training",
        ),
        metrics_logger=logger,
        compute_dtype=prepared.compute_dtype,
    )


def _metrics_logger(config: TrainConfig, folder: RunFolder, log: JsonlBackend) -> metrics_logger.MetricsLogger:
    """Tunix's logger with exactly the backends asked for; by itself it would start Weights & Biases."""
    factories: list[Any] = [lambda: OwnMetrics(log)]
    if "tensorboard" in config.report_to:
        factories.append(lambda: OwnMetrics(metrics_logger.TensorboardBackend(log_dir=str(folder.tensorboard))))
    if "wandb" in config.report_to:
        factories.append(lambda: OwnMetrics(_wandb(folder)))
    return metrics_logger.MetricsLogger(
        metrics_logger.MetricsLoggerOptions(
            log_dir=str(folder.tensorboard), backend_kwargs={"custom_backend": factories}
        )
    )


def _wandb(folder: RunFolder) -> Any:
    return metrics_logger.WandbBackend(project="gemma-tool-use", name=folder.path.name)


class _EvalBatches:
    """The batches of the held-out rows, made anew for each evaluation, so that they need not fit into memory."""

    def __init__(self, prepared: Prepared) -> None:
        self._rows, self._plan = prepared.rows.held_out, prepared.held_out_plan

    def __len__(self) -> int:
        return self._plan.elements if self._plan else 0

    def __iter__(self) -> Iterator[Element]:
        if self._plan:
            for element in eval_batches(self._rows, self._plan):
                yield {name: element[name] for name in STEP_ARRAYS}
