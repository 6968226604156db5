"""The training step compiled for TPUs that are not here: what it needs, what it moves, and its least time.

    cost = compile_ahead("v5e:2x4", rows=8, length=1024)          # Gemma 3 270M, rank 16, bfloat16; no weights needed
    cost.temporary_bytes, cost.flops, cost.bytes_accessed         # of one chip
    cost.seconds                                                  # max(flops / chip.flops, bytes / chip.bandwidth)

Needs libtpu, which compiles without a TPU: `uv sync --extra tpu`. XLA's own account of a program does not see into
JAX's splash kernel and counts the body of a loop once, so what it leaves out is added by formula (`_unseen`).
"""

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gemma_tool_use.models.families import build_module
from gemma_tool_use.models.gemma3 import GEMMA3_270M
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.remat import Remat
from gemma_tool_use.models.sharding import AXES, ROW_AXES, on_mesh, replicated
from gemma_tool_use.models.spec import ModelSpec
from gemma_tool_use.models.tpu.splash import attention_block
from gemma_tool_use.training.loss import ACCELERATOR_CHUNK
from gemma_tool_use.training.optimizer import make_optimizer, make_schedule
from gemma_tool_use.training.trainer import make_train_step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """What one chip does at most (https://cloud.google.com/tpu/docs/system-architecture-tpu-vm).

    `flops`: bfloat16 operations per second. `bandwidth`: bytes per second between chip and memory. `memory`: bytes.
    """

    flops: float
    bandwidth: float
    memory: float


CHIPS: Mapping[str, Chip] = {
    "v5e": Chip(flops=197e12, bandwidth=819e9, memory=16e9),
    "v6e": Chip(flops=918e12, bandwidth=1640e9, memory=32e9),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepCost:
    """One step on one chip.

    `bytes_accessed` counts what every operation reads and writes, as XLA does, also where that stays in the chip's fast
    memory: it is above what crosses to the main memory. `unseen_flops` and `unseen_bytes` are contained in `flops` and
    `bytes_accessed`.
    """

    topology: str
    chips: int
    rows: int
    length: int
    trained_share: float
    argument_bytes: int
    temporary_bytes: int
    output_bytes: int
    flops: float
    bytes_accessed: float
    unseen_flops: float
    unseen_bytes: float
    compile_seconds: float

    @property
    def chip(self) -> Chip:
        return CHIPS[self.topology.partition(":")[0]]

    @property
    def tokens(self) -> int:
        """Of one chip, in one step."""
        return self.rows * self.length

    @property
    def seconds(self) -> float:
        """The least a step takes: all arithmetic at the full rate, or all bytes at the full bandwidth."""
        return max(self.flops / self.chip.flops, self.bytes_accessed / self.chip.bandwidth)


def compile_ahead(
    topology: str,
    *,
    rows: int,
    length: int,
    spec: ModelSpec = GEMMA3_270M,
    lora: LoraSpec | None = None,
    remat: Remat = "none",
    trained_share: float = 0.1,
) -> StepCost:
    """Compiles the step of `ToolCallTrainer` with AdamW for bfloat16 and whole weights on every chip.

    Args:
      topology: `v5e:2x4`; one chip is `v5e:1x1`.
      rows: of one chip.
      length: tokens of a row.
      spec: architecture.
      lora: default `LoraSpec()`.
      remat: what the step computes again.
      trained_share: of the tokens; decides how often the loss sweeps over the vocabulary.

    Raises:
      RuntimeError: libtpu is not installed.
    """
    start = time.monotonic()
    mesh = _mesh(topology)
    batch_rows = rows * mesh.size
    step, state = _abstract_step(spec, lora or LoraSpec(), remat)
    with on_mesh(mesh):
        state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), state)
        lowered = jax.jit(step, donate_argnums=0).lower(state, _abstract_batch(mesh, batch_rows, length))
    compiled = lowered.compile()
    memory: Any = compiled.memory_analysis()
    seen: Any = compiled.cost_analysis()
    unseen_flops, unseen_bytes = _unseen(spec, rows, length, trained_share)
    return StepCost(
        topology=topology,
        chips=mesh.size,
        rows=rows,
        length=length,
        trained_share=trained_share,
        argument_bytes=memory.argument_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        output_bytes=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        flops=seen["flops"] + unseen_flops,
        bytes_accessed=seen["bytes accessed"] + unseen_bytes,
        unseen_flops=unseen_flops,
        unseen_bytes=unseen_bytes,
        compile_seconds=time.monotonic() - start,
    )


def _mesh(topology: str) -> Mesh:
    """All chips along "data"."""
    name, _, shape = topology.partition(":")
    options = {"chips_per_host_bounds": (1, 1, 1)} if shape == "1x1" else {}
    devices = topologies.get_topology_desc(platform="tpu", topology_name=f"{name}:{shape}", **options).devices
    return Mesh(np.array(devices).reshape(-1, 1, 1), AXES)


def _abstract_step(spec: ModelSpec, lora: LoraSpec, remat: Remat) -> tuple[Any, Any]:
    """A function (state, batch) to (results, state), and the shapes of the state: model and optimizer."""

    def build() -> nnx.Module:
        model = attach_lora(build_module(spec, dtype=jnp.bfloat16), lora, seed=0)
        setattr(model, "remat", remat)  # noqa: B010
        return model

    schedule = make_schedule("cosine", learning_rate=1e-4, steps=1000, warmup_share=0.1)
    optimizer = make_optimizer("adamw", schedule, weight_decay=0.0, clip_norm=1.0)
    model = nnx.eval_shape(build)
    guarded = nnx.eval_shape(lambda model: nnx.Optimizer(model, optimizer, wrt=nnx.LoRAParam), model)
    graphdef, state = nnx.split((model, guarded))
    run = make_train_step(jnp.bfloat16)

    def step(state: Any, batch: Any) -> tuple[Any, Any]:
        model, optimizer = nnx.merge(graphdef, state)
        return run(model, optimizer, batch), nnx.state((model, optimizer))

    return step, state


def _abstract_batch(mesh: Mesh, rows: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    by_rows = NamedSharding(mesh, PartitionSpec(None, ROW_AXES))
    dtypes = {"tokens": jnp.int32, "loss_mask": jnp.bool_, "positions": jnp.int32, "segment_ids": jnp.int32}
    batch = {name: jax.ShapeDtypeStruct((1, rows, length), dtype, sharding=by_rows) for name, dtype in dtypes.items()}
    return {**batch, "normalizer": jax.ShapeDtypeStruct((), jnp.float32, sharding=replicated(mesh))}


def _unseen(spec: ModelSpec, rows: int, length: int, trained_share: float) -> tuple[float, float]:
    """(FLOPs, bytes) of one chip that XLA's account leaves out.

    Attention: per pair of blocks that the mask leaves, two products forward and five backward; forward, the blocks of
    keys and values are read again for every block of queries, backward the other way round, of which XLA counts one
    reading. Loss: two products per sweep, and every sweep after the first reads the table twice, as keys and values,
    and adds to the gradient of the hidden states.
    """
    flops = moved = 0.0
    block, item = attention_block(length), 2
    for layer in range(spec.num_layers):
        pairs = _block_pairs(length, block, spec.sliding_window if spec.is_local(layer) else None)
        per_pair = rows * spec.num_heads * block * spec.head_dim
        flops += 7 * 2 * pairs * per_pair * block
        once = rows * length * spec.head_dim * item * 2 * (spec.num_kv_heads + spec.num_heads)
        moved += max(0, 2 * pairs * per_pair * 2 * item - once)
    tokens, table = rows * length, spec.vocab_size * spec.embed_dim
    sweeps = math.ceil(trained_share * tokens / ACCELERATOR_CHUNK)
    flops += sweeps * 2 * 2 * ACCELERATOR_CHUNK * table
    moved += (sweeps - 1) * (2 * table * item + 2 * tokens * spec.embed_dim * 4)
    return flops, moved


def _block_pairs(length: int, block: int, window: int | None) -> int:
    """Pairs of a block of queries and one of keys in which some query sees some key."""
    reach = length if window is None else window - 1
    blocks = range(length // block)
    return sum(key <= query and (query - key - 1) * block + 1 <= reach for query in blocks for key in blocks)
