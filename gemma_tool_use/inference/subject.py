"""Which model is asked: what `--model`, `--adapter` and `--run` mean, and the weights of it.

chosen = choose(run=Path("my_run"))                 # adapter, base weights and dialect are those of the run
loaded = load(chosen, resolve(chosen.model), dtype="auto", dialect=None)
loaded.base, loaded.adapted                         # two modules on one set of base weights
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gemma_tool_use.errors import CheckpointError, ConfigError
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.dialects import DEFAULT_DIALECT, get_dialect
from gemma_tool_use.formats.tokenizer import Tokenizer, check_vocabulary, load_tokenizer
from gemma_tool_use.formats.turn_tags import in_turns_of
from gemma_tool_use.inference.sampler import Sampler
from gemma_tool_use.models.adapter import MANIFEST, load_adapter, read_adapter, read_manifest
from gemma_tool_use.models.load import Identity, identity, load_base, read_spec
from gemma_tool_use.models.lora_spec import LoraSpec, Quantization
from gemma_tool_use.models.precision import ComputeDtype, compute_dtype
from gemma_tool_use.models.resolve import LocalCheckpoint
from gemma_tool_use.models.sharding import to_host

_RUN, _WHOLE_MODEL = "run.json", "model"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """A model by its places on disk.

    Attributes:
      model: base weights, as `resolve` takes them.
      adapter: folder of the adapter; None for the base weights alone.
      dialect: the one it was trained with; None where nothing says so.
      base_sha256: of the base weights the adapter was trained on.
      quantization: how the base weights were packed in training.
    """

    model: str
    adapter: Path | None = None
    dialect: str | None = None
    base_sha256: str | None = None
    quantization: Quantization | None = None


def choose(*, model: str | None = None, adapter: Path | None = None, run: Path | None = None) -> Chosen:
    """What is meant by one of the three, or by an adapter or run with other base weights (`model`).

    Raises:
      ConfigError: none of them, adapter and run together, or a run that has nothing trained yet.
      CheckpointError: a folder without an adapter, or a damaged one.
    """
    if run is not None and adapter is not None:
        raise ConfigError("--run and --adapter both name an adapter; give one of them")
    folder = run or adapter
    if folder is None:
        if model is None:
            raise ConfigError("give what is to be asked: --model, --adapter or --run")
        return Chosen(model=model)
    folder = folder.expanduser()
    config = run_config(folder)
    if run is not None and not (folder / MANIFEST).is_file():
        return _whole_model(folder, config, model)
    manifest = read_manifest(folder)
    base = manifest.get("base") or {}
    source = model or base.get("source")
    if not source:
        raise CheckpointError(f"{folder / MANIFEST} does not name its base weights; give them with --model")
    return Chosen(
        model=source,
        adapter=folder,
        dialect=manifest.get("dialect"),
        base_sha256=base.get("sha256"),
        quantization=(config.get("quantization") or "nf4") if config.get("method") == "qlora" else None,
    )


def _whole_model(folder: Path, config: Mapping[str, Any], model: str | None) -> Chosen:
    if not (folder / _WHOLE_MODEL).is_dir():
        raise ConfigError(
            f"{folder} has neither {MANIFEST} nor {_WHOLE_MODEL}/, so its training has not come to an end. "
            "evaluate-checkpoints scores the checkpoints it has; train --resume ends it"
        )
    if model is not None:
        raise ConfigError(f"--model {model}: {folder} was trained with --method full and has all weights; leave it out")
    return Chosen(model=str(folder / _WHOLE_MODEL), dialect=config.get("dialect"))


def run_config(folder: Path) -> dict[str, Any]:
    """What run.json says of the flags; an adapter that was copied out of its run has none."""
    try:
        content = json.loads((folder / _RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / _RUN} cannot be read: {error}") from None
    config = content.get("config") if isinstance(content, dict) else None
    return config if isinstance(config, dict) else {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """Weights, tokenizer and dialect.

    Attributes:
      sampler: of the model, with its adapter if it has one.
      identity: which base weights these are.
      adapter_sha256: of the adapter; None without one.
      tokenizer: that of the base weights.
      dialect: in the turns of the tokenizer's family.
      dtype: of base weights and activations.
      quantization: how base weights are packed.
    """

    sampler: Sampler
    identity: Identity
    adapter_sha256: str | None
    tokenizer: Tokenizer
    dialect: Dialect
    dtype: Any
    quantization: Quantization | None

    def describe(self, *, adapter: bool) -> dict[str, Any]:
        """JSON values that tell this model from others; `adapter` says whether it is on."""
        known = self.identity
        return {
            "model": {"source": known.source, "architecture": known.architecture, "sha256": known.sha256},
            "adapter": {"sha256": self.adapter_sha256} if adapter else None,
            "tokenizer_sha256": self.tokenizer.fingerprint,
            "dialect": self.dialect.name,
            "compute_dtype": dtype_name(self.dtype),
            "quantization": self.quantization,
            "device": device_kind(),
        }


def load(chosen: Chosen, local: LocalCheckpoint, *, dtype: ComputeDtype, dialect: str | None) -> LoadedModel:
    """Reads what was chosen. Tokenizer, dialect and identities come before the weights.

    Args:
      chosen: from `choose`.
      local: `resolve(chosen.model)`.
      dtype: as in `compute_dtype`.
      dialect: in place of the one it was trained with; without either `gemma_json`.

    Raises:
      ConfigError: an unknown dialect.
      CheckpointError: base weights or adapter are not whole, or do not belong together.
    """
    tokenizer = load_tokenizer(local.require_tokenizer())
    written_as = in_turns_of(get_dialect(dialect or chosen.dialect or DEFAULT_DIALECT), tokenizer)
    check_vocabulary(tokenizer, read_spec(local).vocab_size)
    known = identity(local)
    _check_base(chosen, known)
    digest = None if chosen.adapter is None else arrays_sha256(*read_adapter(chosen.adapter))
    compute = compute_dtype(dtype)
    base = load_base(local, dtype=compute, quantization=chosen.quantization)
    return LoadedModel(
        sampler=Sampler(base if chosen.adapter is None else load_adapter(base, chosen.adapter)),
        identity=known,
        adapter_sha256=digest,
        tokenizer=tokenizer,
        dialect=written_as,
        dtype=compute,
        quantization=chosen.quantization,
    )


def arrays_sha256(spec: LoraSpec | None, arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over trained arrays and what they are multiplied with; equal exactly when the adapter is the same."""
    digest = hashlib.sha256(json.dumps(spec and [spec.rank, spec.alpha]).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def trained_sha256(model: Any) -> str:
    """That of a model's LoRA arrays, or of all its weights when it has none."""
    state = nnx.state(model, nnx.LoRAParam)
    flat = (state if nnx.to_flat_state(state) else nnx.state(model, nnx.Param)).flat_state()
    return arrays_sha256(None, {".".join(map(str, path)): to_host(value.get_value()) for path, value in flat})


def device_kind() -> str:
    """`cpu`, `TPU v5 lite`"""
    return jax.devices()[0].device_kind


def dtype_name(dtype: Any) -> str:
    """`float32`"""
    return str(jnp.dtype(dtype))


def _check_base(chosen: Chosen, found: Identity) -> None:
    if chosen.base_sha256 is None or chosen.base_sha256 == found.sha256:
        return
    print(
        f"warning: {chosen.adapter} was trained on weights with sha256 {chosen.base_sha256[:12]}..., and "
        f"{found.source} has {found.sha256[:12]}...; scores.json says so",
        file=sys.stderr,
    )
