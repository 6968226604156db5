"""Tunix's PeftTrainer with our loss: one optimizer step per element of the batch stream.

    trainer = ToolCallTrainer(
        model, optimizer, tunix_config, compute_dtype=jnp.float32, checkpoints=checkpoints, batch_state=feed.state
    )
    if trainer.restored is not None:
        feed.restore(trainer.train_steps, trainer.restored)
    trainer.log_to(logger)
    trainer.train(feed, eval_batches)
    trainer.close()     # saves, unless the last step was saved

An element of the stream is a dict of `tokens`, `positions`, `segment_ids` int32 and `loss_mask` bool, all
[accumulation, rows, length], and `normalizer` float32 []: the number by which the summed loss is divided. The pipeline
counts it over all micro-batches of the step, so every trained token weighs the same, however unevenly they fall into
micro-batches. (Tunix's own accumulation averages the means of micro-batches.)
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from tunix.sft import metrics_logger, peft_trainer, sharding_utils

from gemma_tool_use.heap import give_back
from gemma_tool_use.models.lora import cast_lora
from gemma_tool_use.training.checkpoints import Checkpoints
from gemma_tool_use.training.guard import GuardReport, gradient_norm, guard_report
from gemma_tool_use.training.loss import PLAIN, LossOptions, token_loss_sum
from gemma_tool_use.training.methods import trainable_type
from gemma_tool_use.training.metrics import Logger

Batch = dict[str, jax.Array]
StepResult = tuple[jax.Array, "StepReport", jax.Array]
"""Loss, report, norm of the gradients."""


class StepReport(NamedTuple):
    """What the guard made of a step, and the learning rate of the newest step that it took, float32 []."""

    guard: GuardReport
    learning_rate: jax.Array


class ToolCallTrainer(peft_trainer.PeftTrainer):
    """PeftTrainer whose step is `token_loss_sum` over micro-batches, and whose checkpoints hold the place in the rows.

    Attributes:
      restored: the place of the checkpoint that this trainer continues from; None without one.
      evaluate_first: whether `train` evaluates before its first step: only where a stop came between a step and its
        evaluation.
    """

    def __init__(
        self,
        model: nnx.Module,
        optimizer: optax.GradientTransformation,
        training_config: peft_trainer.TrainingConfig,
        *,
        compute_dtype: Any,
        loss_options: LossOptions = PLAIN,
        checkpoints: Checkpoints,
        batch_state: Callable[[int], dict[str, Any]],
        place_batch: Callable[[dict[str, Any]], Any] = dict,
    ) -> None:
        """
        Args:
          model: trained in place.
          optimizer: guarded, as `make_optimizer` gives it.
          training_config: Tunix's, without a folder for checkpoints.
          compute_dtype: of activations.
          loss_options: of training; the evaluation loss is always the plain one.
          checkpoints: where to continue from, and where to save.
          batch_state: the place in the rows after so many steps.
          place_batch: puts a batch of the stream on the devices (`mesh.place_batch`); one device takes it as it is.

        Raises:
          CheckpointError: there are checkpoints, and none of them is good.
        """
        super().__init__(model, optimizer, training_config)
        self._place_batch = place_batch
        self._compute_dtype, self._loss_options, self._batch_state = compute_dtype, loss_options, batch_state
        self._flush: Callable[[], None] = lambda: None
        self._reports: dict[int, StepReport] = {}
        # Tunix would read again every batch that was trained already, and save at the end without metadata.
        self.is_managed_externally = True
        self.checkpoint_manager = checkpoints
        step, metadata = checkpoints.maybe_restore(
            self.model, self.optimizer, restore_only_lora_params=self._lora_enabled
        )
        self._train_steps = self._iter_steps = step
        self.restored: dict[str, Any] | None = metadata.get("data")
        self.evaluate_first = False

    def log_to(self, logger: Logger) -> None:
        """Where metrics go; to be told before training, and after the step to continue from is known."""
        self.metrics_logger, self._flush = logger, logger.flush

    def custom_checkpoint_metadata(self) -> dict[str, Any]:
        return {"data": self._batch_state(self._train_steps)}

    def take_report(self, step: int) -> GuardReport:
        """What the guard made of a step, once."""
        return self._reports.pop(step).guard

    def _post_process_train_step(self, aux: StepReport) -> None:
        self._reports[self._train_steps + 1] = aux

    def _try_get_learning_rate(self) -> Any:
        """That of the step that is told of, which Tunix mistakes for the newest one."""
        told = self._prev_buffered_train_metrics
        if told is None or self._mode == metrics_logger.Mode.EVAL:
            return _learning_rate(self.optimizer)
        return self._reports[told.step].learning_rate

    def _write_train_metrics(self) -> None:
        """Tunix tells of a step when the next one runs; here also of the newest one, before it is saved."""
        super()._write_train_metrics()
        if self.checkpoint_manager.should_save(self._train_steps):
            super()._write_train_metrics()
            self._flush()

    def _run_eval(self, eval_ds: Iterable[Any], eval_step_fn: Callable[..., Any]) -> None:
        def one_at_a_time(batch: Any) -> Any:
            # Tunix starts all batches at once, and a CPU reserves the temporary arrays of each when it is started.
            # Those of the train step are free by the time that the first batch is done.
            nonlocal batches
            result = jax.block_until_ready(eval_step_fn(batch))
            batches += 1
            if batches == 1:
                give_back()
            return result

        batches = 0
        if self.evaluate_first:
            self._throttler.wait_for_all()
            super()._run_eval(eval_ds, one_at_a_time)
            give_back()
        self.evaluate_first = True

    def _save_last_checkpoint(self) -> None:
        if self.checkpoint_manager.latest_step() != self._train_steps:
            self._flush()
            self.checkpoint_manager.save(
                self._train_steps,
                self.model,
                self.optimizer,
                save_only_lora_params=self._lora_enabled,
                force=True,
                custom_metadata=self.custom_checkpoint_metadata(),
            )

    def _prepare_inputs(self, input_data: dict[str, Any]) -> Any:
        """Before Tunix does it, which would take the rows of one process for those of all."""
        return self._place_batch(input_data)

    def place(self, batch: dict[str, Any]) -> Any:
        """A batch of the stream as the step takes it."""
        return sharding_utils.shard_input(self._prepare_inputs(batch), self.config.data_sharding_axis)

    def compiled_step(self, batch: Any) -> jax.stages.Compiled:
        """The step compiled for placed batches of this shape (arrays or their shapes); JAX then has it for `train`."""
        step: Any = self.jit_train_and_eval_step(cache_nnx_graph=True)[0]
        return step.func.__wrapped__.lower(self.model, self.optimizer, batch).compile().compiled

    def jit_train_and_eval_step(self, skip_jit: bool = False, cache_nnx_graph: bool = False) -> Any:
        """As Tunix's, which donates the optimizer alone: where all weights are trained, they would be there twice."""
        known = self._jitted_train_step_fn is not None
        steps = super().jit_train_and_eval_step(skip_jit, cache_nnx_graph)
        if known or skip_jit or self._lora_enabled:
            return steps
        step: Any = nnx.jit(self.create_train_step_fn(), donate_argnames=("model", "optimizer"))
        step = nnx.cached_partial(step, self.model, self.optimizer) if cache_nnx_graph else step
        self._jitted_train_step_fn = functools.partial(step)
        return self._jitted_train_step_fn, steps[1]

    def create_train_step_fn(self) -> Callable[..., StepResult]:
        return make_train_step(self._compute_dtype, self._loss_options)

    def create_eval_step_fn(self) -> Callable[..., Any]:
        compute_dtype = self._compute_dtype

        def eval_step(model: nnx.Module, batch: Batch) -> tuple[jax.Array, None]:
            graphdef, trained, frozen = nnx.split(model, trainable_type(model), ...)
            merged = nnx.merge(graphdef, cast_lora(trained, compute_dtype), frozen)
            losses = jax.lax.map(lambda micro: _loss_sum(merged, micro, PLAIN), _micro_batches(batch))
            return jnp.sum(losses) / batch["normalizer"], None

        return eval_step


def make_train_step(compute_dtype: Any, loss_options: LossOptions = PLAIN) -> Callable[..., StepResult]:
    """A function of (model, guarded optimizer, batch) that updates both; arguments as those of `ToolCallTrainer`."""

    def train_step(model: nnx.Module, optimizer: nnx.Optimizer, batch: Batch) -> StepResult:
        graphdef, trained, frozen = nnx.split(model, trainable_type(model), ...)

        def loss_fn(trained: nnx.State, micro: Batch) -> jax.Array:
            merged = nnx.merge(graphdef, cast_lora(trained, compute_dtype), frozen)
            return _loss_sum(merged, micro, loss_options) / batch["normalizer"]

        loss, gradients = _accumulate(jax.value_and_grad(loss_fn), trained, batch)
        optimizer.update(model, gradients, loss=loss, stage=batch.get("stage", 0))
        report = StepReport(guard_report(optimizer.opt_state), _learning_rate(optimizer))
        return loss, report, gradient_norm(optimizer.opt_state)

    return train_step


def _learning_rate(optimizer: Any) -> jax.Array:
    return optimizer.opt_state.inner_state.hyperparams["learning_rate"][...]


def _loss_sum(model: nnx.Module, micro: Batch, options: LossOptions) -> jax.Array:
    return token_loss_sum(model, micro["tokens"], micro["loss_mask"], micro["positions"], micro["segment_ids"], options)


def _micro_batches(batch: Batch) -> Batch:
    """The arrays of `token_loss_sum`, whose leading axis is that of the micro-batches."""
    return {name: batch[name] for name in ("tokens", "loss_mask", "positions", "segment_ids")}


def _accumulate(value_and_grad: Callable[..., Any], trained: nnx.State, batch: Batch) -> tuple[jax.Array, nnx.State]:
    """Sums loss and gradients over the leading axis of the batch, holding one micro-batch's activations at a time."""
    micro_batches = _micro_batches(batch)
    if batch["tokens"].shape[0] == 1:
        return value_and_grad(trained, {name: array[0] for name, array in micro_batches.items()})

    def add(total: Any, micro: Batch) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, value_and_grad(trained, micro)), None

    zero = jnp.zeros(()), jax.tree.map(jnp.zeros_like, trained)
    return jax.lax.scan(add, zero, micro_batches)[0]
