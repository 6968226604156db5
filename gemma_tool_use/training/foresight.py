"""What a run will need and take, known before it starts: memory from the compiled step, time from a few steps of it.

    compiled = trainer.compiled_step(batch)
    need = step_memory(compiled)                  # StepMemory(held=1.1e9, working=2.3e9), bytes on one device
    require_memory(need, device_room(), advice)   # raises when a step would not fit, with the flags to change
    print("\\n".join(foresee(config, prepared).lines()))

Memory is XLA's own account of the compiled program (https://docs.jax.dev/en/latest/aot.html, `memory_analysis`): its
arguments, which are weights, optimizer and batch, and what it allocates while it runs.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import psutil
from jax.sharding import Mesh

from gemma_tool_use.data.packing import BatchPlan
from gemma_tool_use.errors import ConfigError
from gemma_tool_use.heap import give_back
from gemma_tool_use.models.remat import Remat, choose_remat
from gemma_tool_use.models.spec import ModelSpec
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.mesh import row_parts, weight_parts
from gemma_tool_use.training.trainer import ToolCallTrainer

# Bits that a packed weight takes with its scales, in blocks of 32 values with a scale of 32 bits.
_PACKED_BITS = {"nf4": 5, "int4": 5, "int8": 9}
_CGROUP = Path("/sys/fs/cgroup")
_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"
_RAM = "RAM"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes on one device. `held`: weights, optimizer and a batch. `working`: what a step allocates besides."""

    held: int
    working: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Room:
    """Memory of a device in bytes: what this process has of it, and how much that may become. `name`: for messages."""

    used: int
    limit: int
    name: str

    @property
    def free(self) -> int:
        return max(0, self.limit - self.used)


def step_memory(compiled: jax.stages.Compiled) -> StepMemory:
    """The account of a compiled step."""
    account: Any = compiled.memory_analysis()
    working = account.temp_size_in_bytes + account.output_size_in_bytes - account.alias_size_in_bytes
    return StepMemory(held=account.argument_size_in_bytes, working=working + account.generated_code_size_in_bytes)


def device_room() -> Room:
    """Memory of the first device of this process; of several CPU devices each has its share of the RAM."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats is not None and "bytes_limit" in stats:
        return Room(used=stats.get("bytes_in_use", 0), limit=stats["bytes_limit"], name=device.device_kind)
    devices = jax.local_device_count()
    used = psutil.Process().memory_info().rss
    return Room(used=used // devices, limit=(used + _free_ram()) // devices, name=_RAM)


def _free_ram() -> int:
    """What the machine has left, or the container if that is less (its page cache can be had, too)."""
    free = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text())  # "max" where there is none
        cached = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())["inactive_file"]
        return min(free, limit - int((_CGROUP / "memory.current").read_text()) + int(cached))
    except (OSError, ValueError, KeyError):
        return free


def peak(need: StepMemory, room: Room) -> int:
    """Bytes of a device in use while a step runs; what is held may be there already, among other things."""
    return max(room.used, need.held) + need.working


def check_step(
    config: TrainConfig, trainer: ToolCallTrainer, batch: Any, *, ready: Callable[[], None] = lambda: None
) -> StepMemory:
    """Compiles the step that training will run, and makes sure that it fits.

    Args:
      config: the settings, for the advice.
      trainer: ready to train.
      batch: as the step takes it (`trainer.place`).
      ready: waits for weights that are read while the step is compiled, before the free memory is looked at.

    Raises:
      ConfigError: a step does not fit; names a --batch-size that was found to fit, or what else to change.
    """

    def memory_of(batch: Any) -> StepMemory | None:
        return _compiled_memory(trainer, batch)

    need = memory_of(batch)
    ready()
    give_back()
    room = device_room()
    if need is not None and peak(need, room) <= room.limit:
        return need
    account = "" if need is None else f"needs {size(peak(need, room))}, {size(need.working)} of it while it runs, and "
    raise ConfigError(
        f"a training step does not fit into memory: it {account}may use {size(room.limit)} of {room.name}. "
        + memory_advice(config, batch, memory_of, room)
    )


def _compiled_memory(trainer: ToolCallTrainer, batch: Any) -> StepMemory | None:
    """None where the compiler itself gives up, as that of a TPU does."""
    try:
        return step_memory(trainer.compiled_step(batch))
    except jax.errors.JaxRuntimeError as error:
        if _OUT_OF_MEMORY not in str(error):
            raise
        return None


def require_weights(config: TrainConfig, spec: ModelSpec, *, dtype: Any, parts: int, room: Room) -> None:
    """Refuses a model whose weights alone do not fit, before they are read.

    Args:
      config: method and packing.
      spec: of the model.
      dtype: of frozen weights.
      parts: devices that share the weights.
      room: memory of a device.

    Raises:
      ConfigError: they do not fit.
    """
    need = weight_bytes(config, spec, dtype=dtype) // parts
    if need > room.free:
        smaller = [
            flags
            for flags, changes in (
                ("--method lora", {"method": "lora"}),
                ("--method qlora", {"method": "qlora", "quantization": None}),
            )
            if weight_bytes(dataclasses.replace(config, **changes), spec, dtype=dtype) // parts <= room.free
        ]
        advice = f"{' or '.join(smaller)} would fit" if smaller else "take a smaller --model"
        raise ConfigError(
            f"the weights of {spec.name} need {size(need)} of {room.name} with --method {config.method}, of which "
            f"{size(room.free)} are free; {advice}"
        )


def weight_bytes(config: TrainConfig, spec: ModelSpec, *, dtype: Any) -> int:
    """What the weights take for the whole run: trained ones with a gradient and two moments, all in float32."""
    if config.method == "full":
        return 16 * spec.num_params
    bits = 8 * jnp.dtype(dtype).itemsize if config.packed_as is None else _PACKED_BITS[config.packed_as]
    return int(spec.num_params * bits / 8)


def chosen_remat(config: TrainConfig, spec: ModelSpec, plan: BatchPlan, *, dtype: Any, mesh: Mesh | None) -> Remat:
    """What `--remat` says; for "auto" what the memory of a device allows beside the weights, and "none" on a CPU.

    A CPU's free memory differs from start to start, and a resumed run must compute what it computed before.
    """
    room = device_room()
    if config.remat != "auto":
        return config.remat
    if room.name == _RAM:
        return "none"
    left = room.limit * 4 // 5 - weight_bytes(config, spec, dtype=dtype) // weight_parts(mesh)
    tokens = plan.shape.rows * plan.shape.length // row_parts(mesh)
    return choose_remat(spec, tokens=tokens, itemsize=jnp.dtype(dtype).itemsize, room=left)


def memory_advice(config: TrainConfig, batch: Any, memory_of: Callable[[Any], StepMemory | None], room: Room) -> str:
    """Flags that make a step smaller, with a `--batch-size` that was found to fit if there is one.

    Args:
      config: the settings that do not fit.
      batch: arrays of a batch, [accumulation, rows, ...].
      memory_of: compiles the step for an abstract batch and gives its account.
      room: memory of a device.
    """
    rows = config.batch_size // 2
    while rows:
        need = memory_of(_with_rows(batch, config.batch_size, rows))
        if need is not None and peak(need, room) <= room.limit:
            times = -(-config.batch_size * config.gradient_accumulation // rows)
            return (
                f"--batch-size {rows} needs {size(peak(need, room))}; with --gradient-accumulation {times} the steps "
                "stay what they are"
            )
        rows //= 2
    others = [
        *(["--batch-size 1"] if config.batch_size > 1 else []),
        "shorter rows (--packed-length, --max-length)" if config.packing else "shorter rows (--max-length)",
        *(["--remat layers"] if config.remat != "layers" else []),
        *({"full": ["--method lora"], "lora": ["--method qlora"], "qlora": []}[config.method]),
    ]
    return f"A smaller --batch-size alone does not help; change more: {', '.join(others)}"


def _with_rows(batch: Any, batch_size: int, rows: int) -> Any:
    """The shapes of `batch` with as many rows as `--batch-size rows` gives."""

    def shrink(array: Any) -> jax.ShapeDtypeStruct:
        shape = list(array.shape)
        if len(shape) > 1:
            shape[1] = max(1, shape[1] * rows // batch_size)
        sharding = array.sharding if isinstance(array, jax.Array) else None
        return jax.ShapeDtypeStruct(shape, array.dtype, sharding=sharding)

    return jax.tree.map(shrink, batch)


def size(count: float) -> str:
    """`1.3 GB`, or `4.2 MB` below 100 MB (10^9 and 10^6 bytes)."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
