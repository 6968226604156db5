"""Cross-entropy over a 262,144-token vocabulary, only where `loss_mask` says so.

In Gemma 3 270M the vocabulary projection is 63 % of the arithmetic, and most of a tool-calling row is prompt. So only
the trained positions reach the vocabulary, a chunk of them at a time. The gradient of the hidden states is
softmax(logits) @ table - table[target]; it is formed in the same pass over the table as the loss, block by block with a
running softmax (as attention is in https://arxiv.org/abs/2205.14135, with the table as keys and values): no one-hot, no
logits of more than a block of the vocabulary.
"""

import dataclasses
import functools
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from gemma_tool_use.models import kernels
from gemma_tool_use.models.decoder import hidden_states, output_table
from gemma_tool_use.models.quantize import Weight, dense_block, dense_rows
from gemma_tool_use.models.sharding import ROW_AXES, row_shards, target_platform, tensor_shards

# Positions per pass over the table. On two cores 128 reach 80 % of the matrix rate and 256 88 %, but the last pass is
# half empty on average, and a step has some hundred trained positions.
CHUNK = 128
# A matrix unit for bfloat16 waits for the table: 128 positions take 435 ms on two cores with AMX, 512 take 590.
CHUNK_BFLOAT16 = 512
# An accelerator needs more to keep its matrix unit busy while the table streams by.
ACCELERATOR_CHUNK = 512
# Rows of the table at a time: logits of 128 x 2,048 stay in a processor's cache.
BLOCK = 2048
ACCELERATOR_BLOCK = 32768
_SMALLEST_BLOCK = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossOptions:
    """What the loss of a token is besides its negative log-likelihood.

    Attributes:
      label_smoothing: share of the target's weight that all tokens get alike (https://arxiv.org/abs/1512.00567).
      z_loss: factor of the squared log of the softmax's normalizer (https://arxiv.org/abs/2204.02311, section 5).
    """

    label_smoothing: float = 0.0
    z_loss: float = 0.0


PLAIN = LossOptions()


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def cross_entropy_sum(
    hidden: jax.Array,
    table: Weight,
    targets: jax.Array,
    mask: jax.Array,
    table_trains: bool = False,
    softcap: float | None = None,
    options: LossOptions = PLAIN,
) -> jax.Array:
    """Sum of the losses of the masked targets.

    The number of passes over the table follows the number of masked positions at run time, so any mask costs one
    compilation.

    Args:
      hidden: [positions, width] final hidden states.
      table: [vocabulary, width] output projection, mostly the embedding itself; a packed one is unpacked in blocks.
      targets: int32 [positions].
      mask: bool [positions], True where the target contributes.
      table_trains: gives the table its gradient; else that is taken as zero.
      softcap: c, where logits become c * tanh(logit / c); None for none.
      options: additions to the negative log-likelihood.

    Returns:
      float32 scalar, in nats.
    """
    return _sweep(hidden, table, targets, mask, False, softcap, options)[0]


_Sums: TypeAlias = tuple[jax.Array, jax.Array, jax.Array | None]


class _Softmax(NamedTuple):
    """What one pass over the table gives for some positions; "slope" is the derivative of the cap, 1 without one.

    Attributes:
      log_normalizer: logsumexp of the logits, float32 [positions].
      expected: softmax * slope @ table, float32 [positions, width].
      mean_logit: over the vocabulary, float32 [positions]; None unless labels are smoothed.
      mean_row: slope @ table / vocabulary, float32 [positions, width]; None unless labels are smoothed.
    """

    log_normalizer: jax.Array
    expected: jax.Array
    mean_logit: jax.Array | None = None
    mean_row: jax.Array | None = None


def _sweep(
    hidden: jax.Array,
    table: Weight,
    targets: jax.Array,
    mask: jax.Array,
    table_trains: bool,
    softcap: float | None,
    options: LossOptions,
) -> _Sums:
    """(sum of losses, its gradient with respect to `hidden`, and that with respect to `table` if it trains)."""
    positions, chunk = hidden.shape[0], _chunk_size(hidden.dtype)
    order = jnp.argsort(~mask, stable=True)  # masked positions first
    padding = (0, -positions % chunk)
    weight = jnp.pad(mask[order], padding).astype(jnp.float32)
    order = jnp.pad(order, padding)
    smoothing, z_loss = options.label_smoothing, options.z_loss

    def body(i: jax.Array, carry: _Sums) -> _Sums:
        total, gradient, of_table = carry
        index = jax.lax.dynamic_slice_in_dim(order, i * chunk, chunk)
        active = jax.lax.dynamic_slice_in_dim(weight, i * chunk, chunk)
        target, states = targets[index], hidden[index]
        softmax = _softmax(states, table, softcap, smoothing > 0)
        wanted = dense_rows(table, target).astype(jnp.float32)
        target_logit, slope = _capped(jnp.sum(states.astype(jnp.float32) * wanted, axis=-1), softcap)
        certain = (1 - smoothing) * (1 if slope is None else slope)
        pull = 1 + 2 * z_loss * softmax.log_normalizer
        losses = softmax.log_normalizer - (1 - smoothing) * target_logit + z_loss * softmax.log_normalizer**2
        step = softmax.expected * pull[:, None] - wanted * jnp.reshape(certain, (-1, 1))
        if softmax.mean_logit is not None and softmax.mean_row is not None:
            losses -= smoothing * softmax.mean_logit
            step -= smoothing * softmax.mean_row
        if of_table is not None:
            factor = active * pull, active * smoothing / table.shape[0]
            of_table = _add_table_gradient(of_table, states, table, softmax.log_normalizer, factor, softcap)
            of_table = of_table.at[target].add(-states.astype(jnp.float32) * (active * certain)[:, None])
        gradient = gradient.at[index].add(step * active[:, None])
        return total + jnp.sum(losses * active), gradient, of_table

    sweeps = (jnp.sum(mask) + chunk - 1) // chunk
    start = (
        jnp.zeros((), jnp.float32),
        jnp.zeros(hidden.shape, jnp.float32),
        jnp.zeros(table.shape, jnp.float32) if table_trains else None,
    )
    return jax.lax.fori_loop(0, sweeps, body, start)


def _softmax(states: jax.Array, table: Weight, softcap: float | None, with_means: bool) -> _Softmax:
    """One pass over the table for `states` [positions, width]."""
    if softcap is None and not with_means and (swept := kernels.vocabulary_softmax(states, table)) is not None:
        return _Softmax(*swept)
    (vocabulary, width), positions, size = table.shape, states.shape[0], _block_size(table.shape[0])

    def add_block(i: jax.Array, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        maximum, normalizer, expected, means = carry
        rows = dense_block(table, i * size, size)
        logits, slope = _logits(states, rows, softcap)
        highest = jnp.maximum(maximum, logits.max(axis=1))
        weights, shrink = jnp.exp(logits - highest[:, None]), jnp.exp(maximum - highest)
        normalizer = normalizer * shrink + weights.sum(axis=1)
        weights = weights if slope is None else weights * slope
        expected = expected * shrink[:, None] + _times_rows(weights, rows)
        if means is not None:
            uniform = jnp.ones_like(logits) if slope is None else slope
            means = means[0] + logits.sum(axis=1) / vocabulary, means[1] + _times_rows(uniform, rows) / vocabulary
        return highest, normalizer, expected, means

    by_position, by_width = jnp.zeros(positions, jnp.float32), jnp.zeros((positions, width), jnp.float32)
    start = by_position - jnp.inf, by_position, by_width, (by_position, by_width) if with_means else None
    maximum, normalizer, expected, means = jax.lax.fori_loop(0, vocabulary // size, add_block, start)
    return _Softmax(maximum + jnp.log(normalizer), expected / normalizer[:, None], *(means or ()))


def _add_table_gradient(
    total: jax.Array,
    states: jax.Array,
    table: Weight,
    log_normalizer: jax.Array,
    factors: tuple[jax.Array, jax.Array],
    softcap: float | None,
) -> jax.Array:
    """Adds (factors[0] * softmax - factors[1]) * slope, transposed, @ states: a second pass over the table."""
    size = _block_size(table.shape[0])

    def add_block(i: jax.Array, total: jax.Array) -> jax.Array:
        logits, slope = _logits(states, dense_block(table, i * size, size), softcap)
        weights = factors[0][:, None] * jnp.exp(logits - log_normalizer[:, None]) - factors[1][:, None]
        weights = weights if slope is None else weights * slope
        block = jnp.einsum("pv,pd->vd", weights.astype(states.dtype), states, preferred_element_type=jnp.float32)
        before = jax.lax.dynamic_slice_in_dim(total, i * size, size)
        return jax.lax.dynamic_update_slice_in_dim(total, before + block, i * size, axis=0)

    return jax.lax.fori_loop(0, table.shape[0] // size, add_block, total)


def _logits(states: jax.Array, rows: jax.Array, softcap: float | None) -> tuple[jax.Array, jax.Array | None]:
    """Logits of a block of the vocabulary in float32, and their slope."""
    return _capped(jnp.einsum("pd,vd->pv", states, rows, preferred_element_type=jnp.float32), softcap)


def _times_rows(weights: jax.Array, rows: jax.Array) -> jax.Array:
    """[positions, block] @ [block, width] in float32."""
    return jnp.einsum("pv,vd->pd", weights.astype(rows.dtype), rows, preferred_element_type=jnp.float32)


def _chunk_size(dtype: Any) -> int:
    """Positions per pass over the table."""
    if target_platform() != "cpu":
        return ACCELERATOR_CHUNK
    return CHUNK_BFLOAT16 if dtype == jnp.bfloat16 else CHUNK


def _block_size(vocabulary: int) -> int:
    """The largest divisor up to the platform's block. The whole vocabulary if that is so small that blocks cost time,
    or where a mesh cuts the vocabulary already.
    """
    if tensor_shards() > 1:
        return vocabulary
    most = min(BLOCK if target_platform() == "cpu" else ACCELERATOR_BLOCK, vocabulary)
    size = next(size for size in range(most, 0, -1) if vocabulary % size == 0)
    return size if size >= _SMALLEST_BLOCK else vocabulary


def _capped(logits: jax.Array, softcap: float | None) -> tuple[jax.Array, jax.Array | None]:
    """Capped logits and the derivative of the cap; None for the derivative where there is no cap."""
    if softcap is None:
        return logits, None
    share = jnp.tanh(logits / softcap)
    return softcap * share, 1 - share**2


def _forward(
    hidden: jax.Array,
    table: Weight,
    targets: jax.Array,
    mask: jax.Array,
    table_trains: bool,
    softcap: float | None,
    options: LossOptions,
):
    total, gradient, of_table = _sweep(hidden, table, targets, mask, table_trains, softcap, options)
    of_table = None if of_table is None else of_table.astype(table.dtype)
    return total, (gradient.astype(hidden.dtype), of_table)


def _backward(_: bool, __: float | None, ___: LossOptions, gradients: Any, cotangent: jax.Array):
    gradient, of_table = jax.tree.map(lambda array: array * cotangent.astype(array.dtype), gradients)
    return gradient, of_table, None, None


cross_entropy_sum.defvjp(_forward, _backward)


def token_loss_sum(
    model: Any,
    tokens: jax.Array,
    loss_mask: jax.Array,
    positions: jax.Array,
    segment_ids: jax.Array,
    options: LossOptions = PLAIN,
) -> jax.Array:
    """Summed next-token loss of one batch of packed rows.

    Position t predicts token t + 1, and counts when `loss_mask[t + 1]` is True and both belong to one segment.

    Args:
      model: a Tunix module with its `spec`, with or without LoRA.
      tokens: int32 [rows, length].
      loss_mask: bool [rows, length].
      positions: int32 [rows, length], restarting at 0 with each segment.
      segment_ids: int32 [rows, length]; 0 is padding.
      options: additions to the negative log-likelihood.

    Returns:
      float32 scalar: the sum over the trained tokens, to be divided by their number.
    """
    hidden = hidden_states(model, tokens, positions, segment_ids)
    targets = jnp.roll(tokens, -1, axis=1)
    mask = jnp.roll(loss_mask & (positions > 0), -1, axis=1).at[:, -1].set(False)
    table = output_table(model)
    table_trains = not hasattr(model, "lora_scale")  # an adapter leaves the embedding as it is
    flat = hidden.reshape(tokens.size, -1), table, targets.reshape(-1), mask.reshape(-1)

    def loss_sum(*flat: Any) -> jax.Array:
        return cross_entropy_sum(*flat, table_trains, model.spec.final_softcap, options)

    if row_shards() == 1:
        return loss_sum(*flat)
    # Each device sweeps over its own trained positions; XLA would gather those of all rows on every device.
    rows = PartitionSpec(ROW_AXES)
    return jax.shard_map(
        lambda *flat: jax.lax.psum(loss_sum(*flat), ROW_AXES),
        in_specs=(rows, PartitionSpec(), rows, rows),
        out_specs=PartitionSpec(),
        axis_names=set(ROW_AXES) if tensor_shards() > 1 else set(),
        check_vma=False,
    )(*flat)
