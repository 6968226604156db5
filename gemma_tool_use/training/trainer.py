"""Tunix's PeftTrainer with our loss: one optimizer step per element of the batch stream.

    trainer = ToolCallTrainer(model, optimizer, tunix_config, compute_dtype=jnp.float32)
    trainer.train(feed, eval_batches)

An element of the stream is a dict of `tokens`, `positions`, `segment_ids` int32 and `loss_mask` bool, all
[accumulation, rows, length], and `normalizer` float32 []: the number by which the summed loss is divided. The pipeline
counts it over all micro-batches of the step, so every trained token weighs the same, however unevenly they fall into
micro-batches. (Tunix's own accumulation averages the means of micro-batches.)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from tunix.sft import peft_trainer

from gemma_tool_use.models.lora import cast_lora
from gemma_tool_use.training.guard import GuardReport, guard_report
from gemma_tool_use.training.loss import token_loss_sum

Batch = dict[str, jax.Array]
StepResult = tuple[jax.Array, GuardReport, jax.Array]
"""Loss, what the guard made of the step, norm of the gradients."""


class ToolCallTrainer(peft_trainer.PeftTrainer):
    """PeftTrainer whose step is `token_loss_sum` over micro-batches; the rest is Tunix's."""

    def __init__(
        self,
        model: nnx.Module,
        optimizer: optax.GradientTransformation,
        training_config: peft_trainer.TrainingConfig,
        *,
        compute_dtype: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, optimizer, training_config, **kwargs)
        self._compute_dtype = compute_dtype

    def create_train_step_fn(self) -> Callable[..., StepResult]:
        compute_dtype = self._compute_dtype

        def train_step(model: nnx.Module, optimizer: nnx.Optimizer, batch: Batch) -> StepResult:
            graphdef, lora, base = nnx.split(model, nnx.LoRAParam, ...)

            def loss_fn(lora: nnx.State, micro: Batch) -> jax.Array:
                merged = nnx.merge(graphdef, cast_lora(lora, compute_dtype), base)
                return token_loss_sum(merged, **micro) / batch["normalizer"]

            loss, gradients = _accumulate(jax.value_and_grad(loss_fn), lora, batch)
            optimizer.update(model, gradients, loss=loss, stage=batch.get("stage", 0))
            return loss, guard_report(optimizer.opt_state), optax.global_norm(gradients)

        return train_step

    def create_eval_step_fn(self) -> Callable[..., Any]:
        compute_dtype = self._compute_dtype

        def eval_step(model: nnx.Module, batch: Batch) -> tuple[jax.Array, None]:
            graphdef, lora, base = nnx.split(model, nnx.LoRAParam, ...)
            merged = nnx.merge(graphdef, cast_lora(lora, compute_dtype), base)
            micro_batches = _micro_batches(batch)
            losses = [
                token_loss_sum(merged, **{name: array[i] for name, array in micro_batches.items()})
                for i in range(batch["tokens"].shape[0])
            ]
            return jnp.sum(jnp.stack(losses)) / batch["normalizer"], None

        return eval_step


def _micro_batches(batch: Batch) -> Batch:
    """The arrays of `token_loss_sum`, whose leading axis is that of the micro-batches."""
    return {name: batch[name] for name in ("tokens", "loss_mask", "positions", "segment_ids")}


def _accumulate(value_and_grad: Callable[..., Any], lora: nnx.State, batch: Batch) -> tuple[jax.Array, nnx.State]:
    """Sums loss and gradients over the leading axis of the batch, holding one micro-batch's activations at a time."""
    micro_batches = _micro_batches(batch)
    if batch["tokens"].shape[0] == 1:
        return value_and_grad(lora, {name: array[0] for name, array in micro_batches.items()})

    def add(total: Any, micro: Batch) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, value_and_grad(lora, micro)), None

    zero = jnp.zeros(()), jax.tree.map(jnp.zeros_like, lora)
    return jax.lax.scan(add, zero, micro_batches)[0]
