"""How arrays lie on several devices: the axes of the mesh, what each weight is cut along, and moving arrays there.

    with on_mesh(mesh):                                   # also None, for one device
        x = shard_rows(x)                                 # inside jit: rows over "data" and "fsdp"
    rules(ShardingConfig.get_default_sharding(), mesh, num_kv_heads=1).q_weight_ndh   # ("tensor", "fsdp", None)
    weight = place(array, NamedSharding(mesh, spec))      # each process uploads the parts of its own devices
    array = to_host(weight)                               # the whole array again, in every process

Three axes. Rows of a batch are spread over "data" and "fsdp". Weights are whole along "data", cut along "fsdp" by
width (gathered when they are used), and along "tensor" by heads, by hidden width of the MLP and by vocabulary.
"""

import contextlib
import dataclasses
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

DATA, FSDP, TENSOR = "data", "fsdp", "tensor"
AXES = (DATA, FSDP, TENSOR)
ROW_AXES = (DATA, FSDP)
"""The axes that the rows of a batch are spread over."""

_OF_TUNIX = {"fsdp": FSDP, "tp": TENSOR, None: None}

Config = TypeVar("Config")


def on_mesh(mesh: Mesh | None) -> contextlib.AbstractContextManager[Any]:
    """The context in which computations are laid out over `mesh`; does nothing for None."""
    stack = contextlib.ExitStack()
    if mesh is not None:
        stack.enter_context(jax.set_mesh(mesh))
        stack.enter_context(mesh)  # Tunix and its trainer look for the mesh of this older context
    return stack


def shard_rows(x: jax.Array) -> jax.Array:
    """Spreads the first axis (rows, or the tokens of rows) over the devices, the others whole; without a mesh, `x`."""
    return x if row_shards() == 1 else jax.lax.with_sharding_constraint(x, PartitionSpec(ROW_AXES))


def whole_width(table: Any) -> Any:
    """An embedding [vocabulary, width], possibly packed, gathered along "fsdp" to be looked up in; the vocabulary stays
    cut along "tensor". Without this XLA looks up parts of the width for all rows, and then exchanges the rows."""
    return table if row_shards() == 1 else jax.lax.with_sharding_constraint(table, PartitionSpec(TENSOR))


def row_shards() -> int:
    """Over how many parts the mesh in context spreads rows; 1 without a mesh, and inside `shard_map` over them."""
    mesh = jax.sharding.get_abstract_mesh()
    if not set(ROW_AXES) <= set(mesh.auto_axes):
        return 1
    return mesh.shape[DATA] * mesh.shape[FSDP]


def tensor_shards() -> int:
    """Over how many parts the mesh in context cuts layers; 1 without a mesh."""
    return jax.sharding.get_abstract_mesh().shape.get(TENSOR, 1)


def target_platform() -> str:
    """ "cpu", "gpu" or "tpu": what the devices of the mesh in context are, else the default backend.

    Not always this machine's: a program can be compiled ahead of time for devices that are elsewhere.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def rules(default: Config, mesh: Mesh, *, num_kv_heads: int) -> Config:
    """A Tunix `ShardingConfig` of any family, in terms of our axes.

    Tunix's own names the axes "fsdp" and "tp" and has no axis that leaves weights whole. Key/value heads that "tensor"
    does not divide stay whole on every device, as do norms. Activations keep their width whole between layers.
    """
    whole_kv = num_kv_heads % mesh.shape[TENSOR] != 0

    def axes(name: str, spec: tuple[str | None, ...]) -> tuple[Any, ...]:
        if name.startswith("act_"):
            inner = [
                None if name == "act_btd" or (whole_kv and name == "act_btnh") else _OF_TUNIX[axis] for axis in spec[1:]
            ]
            return (ROW_AXES, *inner)
        if name.startswith("rms_norm") or name.endswith("norm_weight"):
            return (None,) * len(spec)
        ours = tuple(_OF_TUNIX[axis] for axis in spec)
        whole = whole_kv and name.startswith(("kv_weight", "qkv_weight"))
        return tuple(None if whole and axis == TENSOR else axis for axis in ours)

    fields = {field.name: getattr(default, field.name) for field in dataclasses.fields(default)}  # pyright: ignore[reportArgumentType]
    return type(default)(**{name: axes(name, v) if isinstance(v, tuple) else v for name, v in fields.items()})


def place(array: np.ndarray | jax.Array, sharding: Sharding) -> jax.Array:
    """An array that every process holds, on the devices of all processes; each uploads what its own devices keep.

    (`jax.device_put` would first send the array around, to compare it.)
    """
    host = np.asarray(array)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def to_host(array: jax.Array) -> np.ndarray:
    """The whole array in every process. With several processes all have to call this, in the same order."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def replicated(mesh: Mesh) -> NamedSharding:
    """One whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())
