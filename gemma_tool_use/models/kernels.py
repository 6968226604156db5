"""Which parts of a layer run as kernels of the platform that a program is compiled for.

    out = kernels.attention(q, k, v, segment_ids, window=512, softcap=None)      # None: no kernel here, XLA does it

Every function returns None where its kernel does not apply: another platform, sizes it does not take, weights that
train or are packed, or a mesh that cuts layers along "tensor". The caller then writes the same thing in plain JAX.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from gemma_tool_use.models.blockwise_attention import blockwise_attention
from gemma_tool_use.models.sharding import ROW_AXES, row_shards, target_platform, tensor_shards

_LANES = 128
"""Width of a TPU's vector register: what sizes have to be multiples of."""

Mode = Literal["compiled", "interpreted"]


def tpu_mode() -> Mode | None:
    """How TPU kernels run in this context; None where they do not. Tests replace this by "interpreted", on a CPU."""
    return "compiled" if target_platform() == "tpu" else None


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segment_ids: jax.Array,
    *,
    window: int | None,
    softcap: float | None,
) -> jax.Array | None:
    """`models.attention.attention` by splash attention on a TPU, in blocks on a CPU."""
    if target_platform() == "cpu" and tpu_mode() is None and tensor_shards() == 1 and q.shape[0] % row_shards() == 0:
        blocks = functools.partial(blockwise_attention, window=window, softcap=softcap)
        return _over_rows(blocks, q, k, v, segment_ids)
    mode = _tpu_mode(q.dtype, rows=q.shape[0])
    if mode is None or q.shape[1] % _LANES or q.shape[3] % _LANES:
        return None
    from gemma_tool_use.models.tpu.splash import splash_attention

    kernel = functools.partial(splash_attention, window=window, softcap=softcap, interpret=mode == "interpreted")
    return _over_rows(kernel, q, k, v, segment_ids)


def prepare_heads(
    x: jax.Array, rope: tuple[jax.Array, jax.Array], norm: jax.Array, *, scale: float, epsilon: float
) -> jax.Array | None:
    """RMS norm of each head, times `norm`, rotated, times `scale`.

    Args:
      x: [rows, length, heads, size].
      rope: cosine and sine, float32 [rows, length, 1, size / 2].
      norm: float32 [size].
      scale: of the result.
      epsilon: added to the mean square.

    Returns:
      [rows, length, heads, size].
    """
    rows, length, heads, size = x.shape
    mode = _tpu_mode(x.dtype, rows=rows)
    if mode is None or length % _LANES or size % (2 * _LANES):
        return None
    from gemma_tool_use.models.tpu.heads import prepare_heads as kernel

    def prepare(x: jax.Array, cos: jax.Array, sin: jax.Array, norm: jax.Array) -> jax.Array:
        return kernel(x, cos, sin, norm, scale, epsilon, mode == "interpreted")

    flat = x.reshape(rows, length, heads * size)
    return _over_rows(prepare, flat, rope[0][:, :, 0], rope[1][:, :, 0], whole=(norm,)).transpose(0, 2, 1, 3)


def gated_mlp(mlp: Any, x: jax.Array, scale: float, activation: Callable[[jax.Array], jax.Array]) -> jax.Array | None:
    """A Tunix MLP whose three projections are adapted, on [tokens, width]."""
    modules = mlp.gate_proj, mlp.up_proj, mlp.down_proj
    mode = _tpu_mode(x.dtype, rows=x.shape[0])
    adapted = all(hasattr(module, "kernel_lora_a") for module in modules)
    if mode is None or not adapted or not all(isinstance(m.kernel.get_value(), jax.Array) for m in modules):
        return None
    from gemma_tool_use.models.tpu.mlp import BLOCK, Projection, fits
    from gemma_tool_use.models.tpu.mlp import gated_mlp as kernel

    width, hidden = mlp.gate_proj.kernel.shape
    if (
        x.shape[0] // row_shards() % BLOCK
        or width % _LANES
        or hidden % _LANES
        or not fits(width, hidden, x.dtype.itemsize)
    ):
        return None
    projections = [
        Projection(m.kernel[...], m.kernel_lora_a[...], m.kernel_lora_b[...] * jnp.asarray(scale, x.dtype))
        for m in modules
    ]

    def run(x: jax.Array, projections: list[Any]) -> jax.Array:
        return kernel(x, *projections, activation, mode == "interpreted")

    return _over_rows(run, x, whole=(projections,))


def adapted_projection(x: jax.Array, w: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array | None:
    """x @ w + (x @ a) @ b for x [tokens, in] and a frozen w [in, out]."""
    mode = _tpu_mode(x.dtype, rows=x.shape[0])
    if mode is None:
        return None
    from gemma_tool_use.models.tpu.mlp import BLOCK, Projection, fits
    from gemma_tool_use.models.tpu.mlp import adapted_projection as kernel

    width, out = w.shape
    if x.shape[0] // row_shards() % BLOCK or width % _LANES or out % _LANES or not fits(width, out, x.dtype.itemsize):
        return None

    def run(x: jax.Array, projection: Any) -> jax.Array:
        return kernel(x, projection, mode == "interpreted")

    return _over_rows(run, x, whole=(Projection(w, a, b),))


def vocabulary_softmax(hidden: jax.Array, table: Any) -> tuple[jax.Array, jax.Array] | None:
    """logsumexp [positions] of hidden @ table.T, and softmax of it @ table [positions, width]; both float32."""
    mode = _tpu_mode(hidden.dtype, rows=0)
    if mode is None or not isinstance(table, jax.Array) or any(size % _LANES for size in (*hidden.shape, *table.shape)):
        return None
    from gemma_tool_use.models.tpu.splash import vocabulary_softmax as kernel

    log_normalizer, expected = kernel(hidden, table, interpret=mode == "interpreted")
    return log_normalizer, expected.astype(jnp.float32)


def _tpu_mode(dtype: Any, *, rows: int) -> Mode | None:
    """`tpu_mode()`, if this computation can take a kernel: bfloat16 (any dtype when interpreted), whole layers, and as
    many rows in every shard.
    """
    mode = tpu_mode()
    if mode is None or (mode == "compiled" and dtype != jnp.bfloat16) or tensor_shards() > 1:
        return None
    return None if rows % row_shards() else mode


def _over_rows(function: Callable[..., jax.Array], *by_rows: jax.Array, whole: tuple[Any, ...] = ()) -> jax.Array:
    """`function(*by_rows, *whole)` on every shard of the rows: XLA cannot cut a kernel by itself."""
    if row_shards() == 1:
        return function(*by_rows, *whole)
    rows = PartitionSpec(ROW_AXES)
    specs = (rows,) * len(by_rows) + (PartitionSpec(),) * len(whole)
    return jax.shard_map(function, in_specs=specs, out_specs=rows, check_vma=False)(*by_rows, *whole)
