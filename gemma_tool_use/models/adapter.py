"""The adapter on disk: float32 `.npy` arrays plus `adapter.json`; back through Qwix, or merged into plain weights.

run/model.layers.0.attn.q_einsum.lora_a.npy     [640, 16]
run/model.layers.0.attn.q_einsum.lora_b.npy     [16, 4, 256]
run/adapter.json                                rank, alpha, modules, base identity, dialect, shape of every array

model = load_adapter(base, "run")        # attaches through Qwix and fills in the arrays
weights = merge_adapter(params, "run")   # plain weights with the adapter added
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.sharding import place, to_host

MANIFEST = "adapter.json"
FORMAT_VERSION = 1

# How a module's base weight grows by its adapter, weight += alpha / rank * einsum(formula, a, b).
# The einsums follow from Tunix's products. Gemma: q BTD,NDH->BTNH; kv BSD,CKDH->CBSKH; o BTNH,NHD->BTD. The others:
# q BTD,DNH->BTNH; k and v BSD,DKH->BSKH; o as Gemma's.
MERGE_FORMULAS: Mapping[str, tuple[str, str]] = {
    "q_einsum": ("w", "dr,rnh->ndh"),
    "kv_einsum": ("w", "dr,rckh->ckdh"),
    "attn_vec_einsum": ("w", "nhr,rd->nhd"),
    "q_proj": ("w", "dr,rnh->dnh"),
    "k_proj": ("w", "dr,rkh->dkh"),
    "v_proj": ("w", "dr,rkh->dkh"),
    "o_proj": ("w", "nhr,rd->nhd"),
    "gate_proj": ("kernel", "ir,ro->io"),
    "up_proj": ("kernel", "ir,ro->io"),
    "down_proj": ("kernel", "ir,ro->io"),
}


def adapter_arrays(model: nnx.Module) -> dict[str, np.ndarray]:
    """The LoRA arrays of a model by file stem, float32: `model.layers.0.attn.q_einsum.lora_a` -> [640, 16]."""
    state = nnx.state(model, nnx.LoRAParam)
    return {_stem(path): to_host(value[...]).astype(np.float32) for path, value in state.flat_state()}


def save_adapter(folder: Path | str, model: Any, spec: LoraSpec, *, details: Mapping[str, Any]) -> list[Path]:
    """Writes every LoRA array and the manifest into an existing folder. Of several processes all call this, one writes.

    Args:
      folder: where to; arrays of an earlier save are replaced.
      model: a model with LoRA attached.
      spec: what it was attached with.
      details: more manifest entries (base identity, dialect).

    Returns:
      The files written by this process, the manifest last.

    Raises:
      CheckpointError: the model has no LoRA arrays, or one is not finite.
    """
    spec = spec.resolved(model.spec.family.lora_modules)
    arrays = adapter_arrays(model)
    if not arrays:
        raise CheckpointError("the model has no LoRA parameters to save; attach them first (attach_lora)")
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        raise CheckpointError(f"{len(broken)} adapter arrays are not finite, first {broken[0]}; nothing was written")
    if jax.process_index() != 0:
        return []
    files = []
    for name, array in arrays.items():
        file = Path(folder) / f"{name}.npy"
        np.save(file, array, allow_pickle=False)
        files.append(file)
    manifest = {
        "format": FORMAT_VERSION,
        "rank": spec.rank,
        "alpha": spec.alpha,
        "modules": list(spec.modules),
        **details,
        "arrays": {name: list(array.shape) for name, array in sorted(arrays.items())},
    }
    file = Path(folder) / MANIFEST
    file.write_text(json.dumps(manifest, indent=2) + "\n")
    return [*files, file]


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """Reads `adapter.json`.

    Raises:
      CheckpointError: absent, not JSON, or without rank, alpha, modules and arrays.
    """
    file = Path(folder) / MANIFEST
    try:
        manifest = json.loads(file.read_text())
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} is not an adapter folder: it has no {MANIFEST}. Point to a run's folder."
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{file} is not valid JSON ({error}); copy the run's folder again") from None
    missing = [key for key in ("rank", "alpha", "modules", "arrays") if key not in manifest]
    if missing:
        raise CheckpointError(f"{file} lacks {', '.join(missing)}; it was not written by this project")
    return manifest


def read_adapter(folder: Path | str) -> tuple[LoraSpec, dict[str, np.ndarray]]:
    """Reads the arrays that the manifest lists, never through pickle.

    Raises:
      CheckpointError: an array is missing, of another shape or dtype, or not finite.
    """
    manifest = read_manifest(folder)
    arrays = {name: _read_array(Path(folder) / f"{name}.npy", shape) for name, shape in manifest["arrays"].items()}
    spec = LoraSpec(rank=manifest["rank"], alpha=manifest["alpha"], modules=tuple(manifest["modules"]))
    return spec, arrays


def load_adapter(model: nnx.Module, folder: Path | str, *, mesh: jax.sharding.Mesh | None = None) -> nnx.Module:
    """Attaches LoRA to a base model through Qwix and fills in the saved arrays.

    Raises:
      CheckpointError: names or shapes differ from what the base model takes.
    """
    spec, arrays = read_adapter(folder)
    model = attach_lora(model, spec, seed=0, mesh=mesh)
    state = nnx.state(model, nnx.LoRAParam)
    expected = {_stem(path): (path, value) for path, value in state.flat_state()}
    _compare_names(set(expected), set(arrays), folder)
    for name, (_, value) in expected.items():
        if value[...].shape != arrays[name].shape:
            raise CheckpointError(
                f"{folder}: {name} has shape {arrays[name].shape}, the base model takes {value[...].shape}; "
                "the adapter belongs to another model"
            )
    filled = [(path, value.replace(_place(arrays[name], value[...]))) for name, (path, value) in expected.items()]
    nnx.update(model, nnx.State.from_flat_path(filled))
    return model


def merge_adapter(params: Mapping[str, np.ndarray], folder: Path | str) -> dict[str, np.ndarray]:
    """Plain weights with the adapter added: weight + alpha / rank * a b, in float32, then in the weight's own dtype.

    Args:
      params: base weights by canonical name, as `models.load.load_params` returns them; left as they are.

    Raises:
      CheckpointError: the adapter names a module that the weights lack, or one without a merge formula.
    """
    spec, arrays = read_adapter(folder)
    merged = dict(params)
    for name in sorted(arrays):
        if not name.endswith(".lora_a"):
            continue
        module = name.removeprefix("model.").removesuffix(".lora_a")
        weight, formula = _merge_formula(module)
        key = f"{module}.{weight}"
        if key not in merged:
            raise CheckpointError(f"{folder}: the base weights have no {key}; the adapter belongs to another model")
        delta = np.einsum(formula, arrays[name], arrays[name.removesuffix("a") + "b"], optimize=True)
        base = merged[key]
        merged[key] = (np.asarray(base, np.float32) + np.float32(spec.alpha / spec.rank) * delta).astype(base.dtype)
    return merged


def fold_lora(model: Any) -> None:
    """Adds the LoRA of a model to its weights, which are not packed, in place; the LoRA parameters stay beside them.

    Raises:
      CheckpointError: a module has no merge formula.
    """
    for path, module in list(nnx.iter_modules(model)):
        names = [name for name, value in vars(module).items() if isinstance(value, nnx.LoRAParam)]
        if not names:
            continue
        name, formula = _merge_formula(".".join(map(str, path)))
        a, b = (getattr(module, f"{name}_lora_{part}")[...] for part in "ab")
        weight = getattr(module, name)
        delta = jnp.einsum(formula, a, b, preferred_element_type=jnp.float32) * model.lora_scale
        weight.set_value((weight[...] + delta).astype(weight[...].dtype))


def _merge_formula(module: str) -> tuple[str, str]:
    kind = module.rsplit(".", 1)[-1]
    if kind not in MERGE_FORMULAS:
        raise CheckpointError(f"no merge formula for {module}; known modules: {', '.join(MERGE_FORMULAS)}")
    return MERGE_FORMULAS[kind]


def _stem(path: tuple[Any, ...]) -> str:
    # ("layers", 0, "attn", "q_einsum", "w_lora_a") -> "model.layers.0.attn.q_einsum.lora_a"
    *module, name = map(str, path)
    return ".".join(["model", *module, "lora_" + name[-1]])


def _place(array: np.ndarray, like: jax.Array) -> jax.Array:
    return place(array.astype(like.dtype), like.sharding)


def _read_array(file: Path, shape: list[int]) -> np.ndarray:
    try:
        # A header may promise more than the file holds; the memory map refuses that before anything is allocated.
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing though {MANIFEST} lists it; copy the run's folder again") from None
    except (ValueError, EOFError, OSError) as error:
        raise CheckpointError(f"{file} is not a readable .npy array ({error}); copy the run's folder again") from None
    if array.dtype != np.float32 or list(array.shape) != shape:
        raise CheckpointError(f"{file} holds {array.dtype}{list(array.shape)}, {MANIFEST} says float32{shape}")
    if math.prod(array.shape) and not np.isfinite(array).all():
        raise CheckpointError(f"{file} holds values that are not finite; train again from a sound checkpoint")
    return np.array(array)


def _compare_names(expected: set[str], found: set[str], folder: Path | str) -> None:
    for what, names in (("missing", expected - found), ("unexpected", found - expected)):
        if names:
            first = ", ".join(sorted(names)[:3])
            raise CheckpointError(f"{folder}: {len(names)} adapter arrays {what}, first {first}; another base model?")
