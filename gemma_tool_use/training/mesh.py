"""How the devices of a run are arranged: `--mesh data=2,fsdp=4,tensor=1`, or chosen by memory.

    shape = parse_mesh("data=2,fsdp=4")                      # MeshShape(data=2, fsdp=4, tensor=1)
    shape = default_shape(8, weight_bytes=536_000_000, device_bytes=16 * 10**9, width=640)    # data=8
    mesh = build_mesh(shape)                                 # None for one device
    share = row_share(mesh)                                  # which part of a batch's rows this process reads
    batch = place_batch(mesh, element)                       # its rows and those of the other processes, as one batch

What each axis does stands in `models/sharding.py`. By default weights stay whole on every device ("data") as long as
they fit: LoRA trains no base weight, so "data" exchanges the gradients of the adapter alone, 14 MB a step for Gemma 3
270M at rank 16, where "fsdp" gathers every weight in the forward and again in the backward pass, 2 x 536 MB. Weights
that take more than `WEIGHT_SHARE` of a device are cut along "fsdp" into as few parts as make them fit. "tensor" is
never chosen by itself: it exchanges activations in every layer.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gemma_tool_use.errors import ConfigError, suggest

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from gemma_tool_use.data.pipeline import RowShare

AUTO = "auto"
# What weights may take of a device's memory before they are cut; activations, logits and the adapter need the rest.
WEIGHT_SHARE = 0.4


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshShape:
    """Devices along each axis."""

    data: int = 1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        low = [f"{name}={size}" for name, size in dataclasses.asdict(self).items() if size < 1]
        if low:
            raise ConfigError(f"--mesh: every axis has at least 1 device, got {', '.join(low)}")

    @property
    def devices(self) -> int:
        return self.data * self.fsdp * self.tensor

    def __str__(self) -> str:
        return f"data={self.data},fsdp={self.fsdp},tensor={self.tensor}"


class Architecture(Protocol):
    """The sizes of a model that a mesh has to divide (`models.spec.ModelSpec`)."""

    @property
    def embed_dim(self) -> int: ...
    @property
    def hidden_dim(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...


def parse_mesh(text: str) -> MeshShape:
    """`data=2,fsdp=4`: an axis that is not named has size 1.

    Raises:
      ConfigError: not of that form, an axis that does not exist or is named twice, or a size below 1.
    """
    sizes: dict[str, int] = {}
    names = [field.name for field in dataclasses.fields(MeshShape)]
    for part in text.split(","):
        name, _, size = (piece.strip() for piece in part.partition("="))
        if not size.isdecimal():
            raise ConfigError(f"--mesh must look like data=2,fsdp=4,tensor=1, got {text!r}")
        if name not in names:
            raise ConfigError(f"--mesh has no axis {name!r}. {suggest(name, names)}")
        if name in sizes:
            raise ConfigError(f"--mesh names {name} twice: {text!r}")
        sizes[name] = int(size)
    return MeshShape(**sizes)


def default_shape(devices: int, *, weight_bytes: int, device_bytes: int | None, width: int) -> MeshShape:
    """Whole weights on every device if they fit, else cut along "fsdp" into the fewest parts that do.

    Args:
      devices: of all processes.
      weight_bytes: what is kept for the whole run: base weights, and what an optimizer holds for those it trains.
      device_bytes: memory of one device; None when it is not known, as on a CPU.
      width: `embed_dim` of the model, which "fsdp" has to divide.
    """
    if device_bytes is None:
        return MeshShape(data=devices)
    parts = [n for n in range(1, devices + 1) if devices % n == 0 and width % n == 0]
    fitting = [n for n in parts if weight_bytes / n <= WEIGHT_SHARE * device_bytes]
    fsdp = min(fitting, default=max(parts))
    return MeshShape(data=devices // fsdp, fsdp=fsdp)


def check_shape(shape: MeshShape, *, devices: int, spec: Architecture) -> None:
    """
    Raises:
      ConfigError: the mesh needs another number of devices, or does not divide the model. All problems at once.
    """
    problems = []
    if shape.devices != devices:
        fitting = [str(one) for one in _fitting(devices, shape, spec)]
        problems.append(
            f"--mesh {shape} needs {shape.devices} devices, this run has {devices}. These would fit: "
            f"{'; '.join(fitting)}"
        )
    if spec.embed_dim % shape.fsdp:
        problems.append(f"--mesh fsdp={shape.fsdp} does not divide the model's width of {spec.embed_dim}")
    for what, size in _cut_by_tensor(spec).items():
        if size % shape.tensor:
            problems.append(f"--mesh tensor={shape.tensor} does not divide the model's {what} of {size}")
    if problems:
        raise ConfigError("\n".join(problems))


def _cut_by_tensor(spec: Architecture) -> Mapping[str, int]:
    return {"heads": spec.num_heads, "hidden width": spec.hidden_dim, "vocabulary": spec.vocab_size}


def _fitting(devices: int, wanted: MeshShape, spec: Architecture) -> list[MeshShape]:
    """Up to three meshes of that many devices that the model allows, nearest to the wanted one first."""
    divisors = [n for n in range(1, devices + 1) if devices % n == 0]
    found = [
        MeshShape(data=devices // (fsdp * tensor), fsdp=fsdp, tensor=tensor)
        for fsdp in divisors
        for tensor in divisors
        if devices % (fsdp * tensor) == 0
        and spec.embed_dim % fsdp == 0
        and all(size % tensor == 0 for size in _cut_by_tensor(spec).values())
    ]
    return sorted(found, key=lambda one: (one.tensor != wanted.tensor, one.fsdp != wanted.fsdp, -one.data))[:3]


def make_mesh(text: str, spec: Architecture, *, weight_bytes: int) -> "Mesh | None":
    """The mesh of `--mesh text` over all devices of all processes; None for one device.

    Args:
      text: `auto` or sizes.
      spec: of the model.
      weight_bytes: as in `default_shape`.

    Raises:
      ConfigError: as `check_shape`.
    """
    import jax

    devices = jax.device_count()
    if text == AUTO:
        memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
        shape = default_shape(devices, weight_bytes=weight_bytes, device_bytes=memory, width=spec.embed_dim)
    else:
        shape = parse_mesh(text)
    check_shape(shape, devices=devices, spec=spec)
    return build_mesh(shape)


def build_mesh(shape: MeshShape) -> "Mesh | None":
    """Neighbours along the last axes are devices of one process, as far as there are enough; None for one device."""
    import jax
    from jax.sharding import AxisType

    from gemma_tool_use.models.sharding import AXES

    if shape.devices == 1:
        return None
    return jax.make_mesh((shape.data, shape.fsdp, shape.tensor), AXES, axis_types=(AxisType.Auto,) * 3)


def row_parts(mesh: "Mesh | None") -> int:
    """Into how many equal parts the rows of a batch are divided."""
    return 1 if mesh is None else mesh.devices.shape[0] * mesh.devices.shape[1]


def weight_parts(mesh: "Mesh | None") -> int:
    """Into how many equal parts the weights are cut."""
    return 1 if mesh is None else mesh.devices.shape[1] * mesh.devices.shape[2]


def row_share(mesh: "Mesh | None") -> "RowShare":
    """Which rows of every batch this process has to read. Processes that differ in "tensor" only read the same.

    Raises:
      ConfigError: the processes would need unequal or overlapping shares.
    """
    import jax

    from gemma_tool_use.data.pipeline import WHOLE, RowShare

    if mesh is None:
        return WHOLE
    parts: dict[int, set[int]] = {}
    for (i, j, _), device in np.ndenumerate(mesh.devices):
        parts.setdefault(device.process_index, set()).add(i * mesh.devices.shape[1] + j)
    shares = sorted({frozenset(part) for part in parts.values()}, key=min)
    if len({len(share) for share in shares}) > 1 or sum(map(len, shares)) != row_parts(mesh):
        raise ConfigError(
            f"--mesh {dict(mesh.shape)} gives the {len(parts)} processes unequal shares of the rows; choose tensor so "
            "that the devices of a process divide it or are divided by it"
        )
    return RowShare(index=shares.index(frozenset(parts[jax.process_index()])), count=len(shares))


def place_batch(mesh: "Mesh | None", batch: Mapping[str, np.ndarray], share: "RowShare") -> dict[str, Any]:
    """The arrays of a batch on the devices: [accumulation, rows, ...] by rows, numbers on every device.

    Args:
      mesh: None leaves the batch as it is.
      batch: with several processes, the rows of this process's `share`; the others have as many.
      share: what `row_share` gave.

    Returns:
      Global arrays of `share.count` times the rows.
    """
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    from gemma_tool_use.models.sharding import ROW_AXES, replicated

    if mesh is None:
        return dict(batch)
    by_rows = NamedSharding(mesh, PartitionSpec(None, ROW_AXES))

    def put(array: np.ndarray) -> Any:
        if array.ndim < 2:
            return jax.make_array_from_process_local_data(replicated(mesh), array, array.shape)
        accumulation, rows, *rest = array.shape
        return jax.make_array_from_process_local_data(by_rows, array, (accumulation, rows * share.count, *rest))

    return {name: put(array) for name, array in batch.items()}
