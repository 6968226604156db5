"""Loads base weights: every format, checked by name, shape and value, as NumPy arrays or as a Tunix model.

spec, params = load_params(resolve("embedded:gemma-3-270m"))
params["layers.0.attn.q_einsum.w"].shape                         # (4, 640, 256), float32
model = load_base(resolve("google/gemma-3-270m-it"), dtype=jnp.bfloat16, mesh=mesh)
loading = begin_base(resolve("google/gemma-3-270m-it"), dtype=jnp.bfloat16)     # reads in threads
loading.model                                                    # shapes already; arrays after loading.fill(model)
"""

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.models.families import build_module
from gemma_tool_use.models.names import TIED_HEAD, Entry, Format, entries, foreign_shapes, our_shapes
from gemma_tool_use.models.readers import Reader, open_reader
from gemma_tool_use.models.resolve import LocalCheckpoint
from gemma_tool_use.models.spec import ModelSpec

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from gemma_tool_use.models.lora_spec import Quantization

_Loaded = TypeVar("_Loaded")
_log = logging.getLogger(__name__)

_NAMES_SHOWN = 5
# NumPy releases the interpreter lock while it converts, so a second thread halves the time (2.1 s to 1.1 s for 270M);
# more threads only hold more arrays at once.
_THREADS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """Which weights a run started from; goes into `adapter.json`.

    `source`: what the user wrote. `architecture`: name of the `ModelSpec`. `files`: sha256 by file name. `sha256`: that
    of the one file, or for several files the sha256 of the lines "sha256  name", sorted by name, as `sha256sum` prints.
    """

    source: str
    architecture: str
    sha256: str
    files: dict[str, str]


def load_params(
    local: LocalCheckpoint, *, dtype: Any = np.float32, spec: ModelSpec | None = None
) -> tuple[ModelSpec, dict[str, np.ndarray]]:
    """The architecture and all parameters under our names, as arrays of `dtype`.

    `spec` overrides what the checkpoint says about itself (needed only for Orbax folders of unknown sizes). Raises
    `CheckpointError` when names are missing or unexpected, a shape differs, or a value is not finite.
    """
    reader = open_reader(local.format, local.path)
    spec = spec or reader.spec
    return spec, _Reading(reader, spec, local.format, np.dtype(dtype), lambda name, array: array).result()


class Loading:
    """Weights that are being read in threads, while the caller does what needs their shapes only.

    `model`: the Tunix module of the checkpoint's family, with `jax.ShapeDtypeStruct` in place of arrays.
    """

    def __init__(self, model: Any, paths: Mapping[str, tuple[Any, ...]], reading: "_Reading") -> None:
        self.model = model
        self._paths, self._reading = paths, reading

    def fill(self, model: Any) -> None:
        """Waits for the arrays and puts them into `model`: the same, or one with more parameters that was made of it.

        Raises:
          CheckpointError: a value is not finite, or the file is damaged.
        """
        nested: dict[Any, Any] = {}
        for name, array in self._reading.result().items():
            *parents, leaf = self._paths[name]
            node = nested
            for key in parents:
                node = node.setdefault(key, {})
            node[leaf] = array
        _nnx().update(model, nested)

    def cancel(self) -> None:
        """Reads no further arrays; without effect when all are there."""
        self._reading.cancel()


def load_base(
    local: LocalCheckpoint,
    *,
    dtype: Any,
    mesh: "Mesh | None" = None,
    spec: ModelSpec | None = None,
    quantization: "Quantization | None" = None,
) -> Any:
    """The Tunix module of the checkpoint's family with its weights in `dtype`, on the default device or over `mesh`.

    `mesh` has the axes of `models/sharding.py`. The module carries its `ModelSpec` as `spec`.
    Each array goes to its devices as soon as it is read, so the host holds little more than one copy of the model; of
    several processes each reads the files and uploads the parts that its own devices keep.
    `quantization` packs every matrix, the embedding included, as it arrives there (`models/quantize.py`).
    Raises what `load_params` raises.
    """
    loading = begin_base(local, dtype=dtype, mesh=mesh, spec=spec, quantization=quantization)
    loading.fill(loading.model)
    return loading.model


def begin_base(
    local: LocalCheckpoint,
    *,
    dtype: Any,
    mesh: "Mesh | None" = None,
    spec: ModelSpec | None = None,
    quantization: "Quantization | None" = None,
) -> Loading:
    """`load_base` in two halves: names and shapes are checked here, the arrays are read while the caller goes on.

    Raises what `load_params` raises of names and shapes; `Loading.fill` raises the rest.
    """
    reader = open_reader(local.format, local.path)
    spec = spec or reader.spec
    return _begin(reader, spec, local.format, np.dtype(dtype), mesh, quantization)


def identity(local: LocalCheckpoint) -> Identity:
    """The fingerprint of the weights; reads every file once (0.7 s per GB), unless `local.sha256` is already known."""
    reader = open_reader(local.format, local.path)
    root = local.path if local.path.is_dir() else local.path.parent
    files: dict[str, str] = {}
    for path in sorted(reader.files):
        name = path.relative_to(root).as_posix()
        if local.sha256 is not None and len(reader.files) == 1:
            files[name] = local.sha256
            continue
        with path.open("rb") as file:
            files[name] = hashlib.file_digest(file, "sha256").hexdigest()
    lines = "".join(f"{digest}  {name}\n" for name, digest in files.items())
    whole = next(iter(files.values())) if len(files) == 1 else hashlib.sha256(lines.encode()).hexdigest()
    return Identity(source=local.source, architecture=reader.spec.name, sha256=whole, files=files)


def read_spec(local: LocalCheckpoint) -> ModelSpec:
    """The architecture that a checkpoint states, without reading its weights."""
    return open_reader(local.format, local.path).spec


def _nnx() -> Any:
    from flax import nnx

    return nnx


def _begin(
    reader: Reader,
    spec: ModelSpec,
    format: Format,
    dtype: np.dtype[Any],
    mesh: "Mesh | None",
    quantization: "Quantization | None",
) -> Loading:
    import jax
    from flax import nnx

    from gemma_tool_use.models.lora import OneKey
    from gemma_tool_use.models.quantize import block_axis, quantize
    from gemma_tool_use.models.sharding import place

    # Shapes only: a random initialisation of 268 million values costs seconds and a second copy.
    model = nnx.eval_shape(lambda: build_module(spec, dtype=dtype, mesh=mesh, rngs=OneKey(0)))
    paths = {".".join(map(str, path)): path for path, _ in nnx.to_flat_state(nnx.state(model))}
    if set(paths) != set(our_shapes(spec)):
        where = f"this version of Tunix's {type(model).__name__}"
        raise CheckpointError(_name_difference(where, paths, our_shapes(spec)))
    places: Mapping[str, Any] = {}
    if mesh is not None:
        shardings = nnx.to_flat_state(nnx.get_named_sharding(nnx.state(model), mesh))
        places = {".".join(map(str, path)): leaf.get_value() for path, leaf in shardings}

    def keep(name: str, array: np.ndarray) -> Any:
        placed = jax.device_put(array, may_alias=False) if mesh is None else place(array, places[name])
        if quantization is None or array.ndim < 2:
            return placed
        return quantize(placed, quantization, axis=block_axis(name))

    return Loading(model, paths, _Reading(reader, spec, format, dtype, keep))


class _Reading(Generic[_Loaded]):
    """`keep(name, array)` of every parameter, by our name, in threads; names and shapes are checked before."""

    def __init__(
        self,
        reader: Reader,
        spec: ModelSpec,
        format: Format,
        dtype: np.dtype[Any],
        keep: Callable[[str, np.ndarray], _Loaded],
    ) -> None:
        where = f"the checkpoint {reader.files[0].parent if len(reader.files) > 1 else reader.files[0]}"
        _check_names(reader, spec, format, where)

        def convert(entry: Entry) -> dict[str, _Loaded]:
            stored = []
            for name in entry.foreign:
                array = reader.read(name)
                _check_finite(array, name, where)
                stored.append(array)
            ours = zip(entry.ours, entry.to_ours(stored), strict=True)
            return {name: keep(name, np.ascontiguousarray(array, dtype)) for name, array in ours}

        self._pool = ThreadPoolExecutor(_THREADS)
        self._parts: list[Future[dict[str, _Loaded]]] = [
            self._pool.submit(convert, entry) for entry in entries(spec, format)
        ]
        self._pool.shutdown(wait=False)

    def result(self) -> dict[str, _Loaded]:
        """Waits for all; the first error is raised, and nothing is read after it."""
        loaded: dict[str, _Loaded] = {}
        try:
            for part in self._parts:
                loaded.update(part.result())
        except BaseException:
            self.cancel()
            raise
        return loaded

    def cancel(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _check_names(reader: Reader, spec: ModelSpec, format: Format, where: str) -> None:
    expected = foreign_shapes(spec, format)
    found = dict(reader.shapes)
    if reader.skipped:
        _log.warning("%s: %d arrays of the vision part are left out; the text part is read", where, len(reader.skipped))
    head, embedding = TIED_HEAD.get(format, (None, None)) if spec.tied else (None, None)
    if head is not None and embedding is not None and head in found and embedding in found:
        if found[head] != found[embedding] or not np.array_equal(reader.read(head), reader.read(embedding)):
            raise CheckpointError(
                f"{where} has an output head {head!r} that differs from its embedding {embedding!r}; "
                f"{spec.name} uses one array for both, so this is a checkpoint that was trained otherwise"
            )
        del found[head]
    if set(found) != set(expected):
        raise CheckpointError(_name_difference(where, found, expected) + f"; expected a {spec.name}")
    for name, shape in expected.items():
        if found[name] != shape:
            raise CheckpointError(
                f"{where} has {name!r} with shape {found[name]}, expected {shape} for a {spec.name}; "
                "its configuration and its weights belong to different models"
            )


def _name_difference(where: str, found: Iterable[str], expected: Iterable[str]) -> str:
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    parts = [f"{where} does not hold the parameters it should"]
    for label, names in (("missing", missing), ("unexpected", unexpected)):
        if names:
            more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
            parts.append(f"{len(names)} {label}: {', '.join(names[:_NAMES_SHOWN])}{more}")
    return "; ".join(parts)


def _check_finite(array: np.ndarray, name: str, where: str) -> None:
    # The sum of the extremes is not finite exactly when a value is not: NaN spreads through min and max.
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        bad = int(array.size - np.count_nonzero(np.isfinite(array)))
        raise CheckpointError(f"{where} has {bad} values in {name!r} that are not finite; download it again")
