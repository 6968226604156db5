"""Cross-entropy over a 262,144-token vocabulary, only where `loss_mask` says so.

In Gemma 3 270M the vocabulary projection is 63 % of the arithmetic, and most of a tool-calling row is prompt. So logits
are computed for the trained positions alone, `CHUNK` of them at a time, and the gradient of the hidden states is formed
in the same sweep, as softmax(logits) @ table - table[target]: no one-hot, never [batch, length, vocabulary].
"""

import functools
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from gemma_tool_use.models import kernels
from gemma_tool_use.models.decoder import hidden_states, output_table
from gemma_tool_use.models.quantize import Weight, dense, dense_block, dense_rows
from gemma_tool_use.models.sharding import ROW_AXES, row_shards, tensor_shards

# Positions per sweep: 96 x 262,144 float32 logits are 100 MB.
CHUNK = 96
# On a TPU the logits of a sweep stay inside a kernel, and one pass over the table serves all positions of the sweep:
# 512 are enough to keep the matrix unit busy while the table streams by.
TPU_CHUNK = 512
# The gradient contracts over the vocabulary. As one product of 262,144 terms XLA's CPU backend reaches 120 GFLOP/s on
# two cores, in blocks of 4,096 it reaches 200; elsewhere one product is best, except that a packed table would be
# unpacked whole for it.
BLOCK = 4096
_SMALLEST_BLOCK = 256


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def cross_entropy_sum(
    hidden: jax.Array,
    table: Weight,
    targets: jax.Array,
    mask: jax.Array,
    table_trains: bool = False,
    softcap: float | None = None,
) -> jax.Array:
    """Sum of the negative log-likelihoods of the masked targets.

    The number of sweeps follows the number of masked positions at run time, so any mask costs one compilation.

    Args:
      hidden: [positions, width] final hidden states.
      table: [vocabulary, width] output projection, mostly the embedding itself; a packed one is unpacked in blocks.
      targets: int32 [positions].
      mask: bool [positions], True where the target contributes.
      table_trains: gives the table its gradient; else that is taken as zero.
      softcap: c, where logits become c * tanh(logit / c); None for none.

    Returns:
      float32 scalar, in nats.
    """
    return _sweep(hidden, table, targets, mask, False, softcap)[0]


_Sums: TypeAlias = tuple[jax.Array, jax.Array, jax.Array | None]


def _sweep(
    hidden: jax.Array,
    table: Weight,
    targets: jax.Array,
    mask: jax.Array,
    table_trains: bool,
    softcap: float | None,
) -> _Sums:
    """(sum of losses, its gradient with respect to `hidden`, and that with respect to `table` if it trains)."""
    positions, chunk = hidden.shape[0], TPU_CHUNK if kernels.tpu_mode() else CHUNK
    order = jnp.argsort(~mask, stable=True)  # masked positions first
    padding = (0, -positions % chunk)
    weight = jnp.pad(mask[order], padding).astype(jnp.float32)
    order = jnp.pad(order, padding)

    def body(i: jax.Array, carry: _Sums) -> _Sums:
        total, gradient, of_table = carry
        index = jax.lax.dynamic_slice_in_dim(order, i * chunk, chunk)
        active = jax.lax.dynamic_slice_in_dim(weight, i * chunk, chunk)
        target, states = targets[index], hidden[index]
        if softcap is None and not table_trains and (swept := kernels.vocabulary_softmax(states, table)) is not None:
            losses, step = _from_softmax(*swept, states, dense_rows(table, target).astype(jnp.float32))
            return total + jnp.sum(losses * active), gradient.at[index].add(step * active[:, None]), None
        logits, slope = _capped(_logits(states, table), softcap)
        log_normalizer = jax.nn.logsumexp(logits, axis=-1)
        target_logit = jnp.take_along_axis(logits, target[:, None], axis=-1)[:, 0]
        probabilities = jnp.exp(logits - log_normalizer[:, None]) * active[:, None]
        certain = active  # the target's own probability, if it were the only one
        if slope is not None:
            probabilities *= slope
            certain *= jnp.take_along_axis(slope, target[:, None], axis=-1)[:, 0]
        probabilities = probabilities.astype(table.dtype)
        step = _expected_embedding(probabilities, table)
        step -= dense_rows(table, target).astype(jnp.float32) * certain[:, None]
        if of_table is not None:
            of_table += jnp.einsum("pv,pd->vd", probabilities, states, preferred_element_type=jnp.float32)
            of_table = of_table.at[target].add(-states.astype(jnp.float32) * certain[:, None])
        return total + jnp.sum((log_normalizer - target_logit) * active), gradient.at[index].add(step), of_table

    sweeps = (jnp.sum(mask) + chunk - 1) // chunk
    start = (
        jnp.zeros((), jnp.float32),
        jnp.zeros(hidden.shape, jnp.float32),
        jnp.zeros(table.shape, jnp.float32) if table_trains else None,
    )
    return jax.lax.fori_loop(0, sweeps, body, start)


def _from_softmax(
    log_normalizer: jax.Array, expected: jax.Array, states: jax.Array, wanted: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Losses [positions] and their gradients [positions, width]; `wanted`: the embedding of each target."""
    return log_normalizer - jnp.sum(states.astype(jnp.float32) * wanted, axis=-1), expected - wanted


def _logits(states: jax.Array, table: Weight) -> jax.Array:
    """[positions, width] @ [width, vocabulary] in float32."""
    vocabulary, size = table.shape[0], _block_size(table.shape[0])
    if isinstance(table, jax.Array) or size == vocabulary:
        return jnp.einsum("pd,vd->pv", states, dense(table), preferred_element_type=jnp.float32)

    def fill_block(i: jax.Array, logits: jax.Array) -> jax.Array:
        rows = dense_block(table, i * size, size)
        block = jnp.einsum("pd,vd->pv", states, rows, preferred_element_type=jnp.float32)
        return jax.lax.dynamic_update_slice_in_dim(logits, block, i * size, axis=1)

    return jax.lax.fori_loop(0, vocabulary // size, fill_block, jnp.zeros((states.shape[0], vocabulary), jnp.float32))


def _expected_embedding(probabilities: jax.Array, table: Weight) -> jax.Array:
    """[positions, vocabulary] @ [vocabulary, width] in float32."""
    (vocabulary, width), size = table.shape, _block_size(table.shape[0])
    if size == vocabulary or (isinstance(table, jax.Array) and jax.default_backend() != "cpu"):
        return jnp.einsum("pv,vd->pd", probabilities, dense(table), preferred_element_type=jnp.float32)

    def add_block(i: jax.Array, total: jax.Array) -> jax.Array:
        weights = jax.lax.dynamic_slice_in_dim(probabilities, i * size, size, axis=1)
        rows = dense_block(table, i * size, size)
        return total + jnp.einsum("pv,vd->pd", weights, rows, preferred_element_type=jnp.float32)

    zero = jnp.zeros((probabilities.shape[0], width), jnp.float32)
    return jax.lax.fori_loop(0, vocabulary // size, add_block, zero)


def _block_size(vocabulary: int) -> int:
    """The largest divisor up to `BLOCK`; the whole vocabulary if that is so small that blocks would cost time."""
    size = next(size for size in range(min(BLOCK, vocabulary), 0, -1) if vocabulary % size == 0)
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
):
    total, gradient, of_table = _sweep(hidden, table, targets, mask, table_trains, softcap)
    of_table = None if of_table is None else of_table.astype(table.dtype)
    return total, (gradient.astype(hidden.dtype), of_table)


def _backward(_: bool, __: float | None, gradients: Any, cotangent: jax.Array):
    gradient, of_table = jax.tree.map(lambda array: array * cotangent.astype(array.dtype), gradients)
    return gradient, of_table, None, None


cross_entropy_sum.defvjp(_forward, _backward)


def token_loss_sum(
    model: Any, tokens: jax.Array, loss_mask: jax.Array, positions: jax.Array, segment_ids: jax.Array
) -> jax.Array:
    """Summed next-token loss of one batch of packed rows.

    Position t predicts token t + 1, and counts when `loss_mask[t + 1]` is True and both belong to one segment.

    Args:
      model: a Tunix module with its `spec`, with or without LoRA.
      tokens: int32 [rows, length].
      loss_mask: bool [rows, length].
      positions: int32 [rows, length], restarting at 0 with each segment.
      segment_ids: int32 [rows, length]; 0 is padding.

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
        return cross_entropy_sum(*flat, table_trains, model.spec.final_softcap)

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
