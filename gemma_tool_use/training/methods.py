"""What each `--method` trains and leaves behind.

lora     an adapter on frozen weights                             adapter.json and lora_a / lora_b .npy files
qlora    the same on weights packed in four or eight bits         the same
full     every weight, the embedding included, kept in float32    model/: a folder that --model takes

model = load_trainable(config, resolve(config.model), dtype=jnp.bfloat16, mesh=mesh)
trainable_type(model)                                             # nnx.LoRAParam, or nnx.Param for full
save_trained(config, model, local, folder, details={...})
"""

import contextlib
import dataclasses
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from gemma_tool_use.formats.sentencepiece_model import SentencePieceModel
from gemma_tool_use.formats.tokenizer import FILE_NAMES
from gemma_tool_use.models.adapter import save_adapter
from gemma_tool_use.models.load import Loading, begin_base, load_base
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.model_folder import save_model_folder
from gemma_tool_use.models.quantize import stored_bytes
from gemma_tool_use.models.resolve import LocalCheckpoint
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.distributed import is_writer

MODEL_FOLDER = "model"


class Trainable:
    """A model to be trained, whose frozen weights may still be on their way.

    `model`: has the shapes of all weights and the values of those that train; every value after `ready`.
    """

    def __init__(self, model: nnx.Module, loading: Loading | None = None) -> None:
        self.model, self._loading = model, loading

    def ready(self) -> None:
        """Waits for the weights.

        Raises:
          CheckpointError: a value is not finite, or the file is damaged.
        """
        if self._loading is not None:
            self._loading.fill(self.model)
            self._loading = None


def begin_trainable(
    config: TrainConfig, local: LocalCheckpoint, *, dtype: Any, mesh: jax.sharding.Mesh | None
) -> Trainable:
    """The base model with what `config.method` adds to it; the base of plain LoRA on one device is read meanwhile.

    What is computed from the weights (packed ones, those that train) or shared by several devices or processes is
    there at once.

    Args:
      config: method, packing and adapter.
      local: where the weights are.
      dtype: of frozen weights. Weights that train are float32, whatever the step computes in: in bfloat16 a weight of
        0.05 changes in steps of 2e-4, so most updates would be lost.
      mesh: where the arrays go.

    Raises:
      ConfigError: a module pattern matches nothing.
      CheckpointError: the checkpoint is not whole.
    """
    if config.method == "full":
        return Trainable(load_base(local, dtype=jnp.float32, mesh=mesh))
    loading = begin_base(local, dtype=dtype, mesh=mesh, quantization=config.packed_as)
    try:
        if config.packed_as is not None or mesh is not None or jax.process_count() > 1:
            loading.fill(loading.model)
        with mesh if mesh is not None else contextlib.nullcontext():
            return Trainable(attach_lora(loading.model, config.lora, seed=config.seed, mesh=mesh), loading)
    except BaseException:
        loading.cancel()
        raise


def load_trainable(
    config: TrainConfig, local: LocalCheckpoint, *, dtype: Any, mesh: jax.sharding.Mesh | None
) -> nnx.Module:
    """The model of `begin_trainable` with all its weights."""
    begun = begin_trainable(config, local, dtype=dtype, mesh=mesh)
    begun.ready()
    return begun.model


def trainable_type(model: nnx.Module) -> type[nnx.Param]:
    """The kind of parameters of `model` that train: an adapter where there is one, else all of them."""
    adapted = any(isinstance(value, nnx.LoRAParam) for _, value in nnx.iter_graph(model))
    return nnx.LoRAParam if adapted else nnx.Param


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParameterCounts:
    """`trained` and `total` parameters, trained `arrays`, and the bytes that frozen weights take, over all devices."""

    trained: int
    total: int
    arrays: int
    frozen_bytes: int


def count_parameters(model: nnx.Module) -> ParameterCounts:
    """Counts of a model as `load_trainable` gave it; a packed weight counts as the parameters it stands for."""
    _, trained, frozen = nnx.split(model, trainable_type(model), nnx.Param)
    shapes = {
        part: [value.get_value().shape for _, value in nnx.to_flat_state(state)]
        for part, state in (("trained", trained), ("frozen", frozen))
    }
    counts = {part: sum(map(math.prod, each)) for part, each in shapes.items()}
    return ParameterCounts(
        trained=counts["trained"],
        total=sum(counts.values()),
        arrays=len(shapes["trained"]),
        frozen_bytes=stored_bytes(frozen),
    )


def describe_method(config: TrainConfig, model: nnx.Module) -> str:
    """`LoRA rank 16: 216 arrays, 3,612,672 of 271,710,848 parameters; frozen weights 1.07 GB`"""
    counts = count_parameters(model)
    packed = f" over {config.packed_as} weights" if config.packed_as else ""
    name = "full fine-tuning" if config.method == "full" else f"LoRA rank {config.rank}{packed}"
    frozen = f"; frozen weights {counts.frozen_bytes / 1e9:.2f} GB" if counts.frozen_bytes else ""
    return f"{name}: {counts.arrays} arrays, {counts.trained:,} of {counts.total:,} parameters{frozen}"


def save_trained(
    config: TrainConfig, model: nnx.Module, local: LocalCheckpoint, folder: Path, *, details: Mapping[str, Any]
) -> list[Path]:
    """Writes what training made: the adapter into `folder`, or the whole model into `folder`/model.

    Args:
      config: method and adapter.
      model: as `load_trainable` gave it.
      local: what it was loaded from; its tokenizer comes along with a whole model.
      folder: the run folder.
      details: more entries of adapter.json; a whole model has them in run.json alone.

    Raises: as `save_adapter` and `save_model_folder`.
    """
    if config.method != "full":
        return save_adapter(folder, model, config.lora, details=details)
    files = save_model_folder(folder / MODEL_FOLDER, model, source=local)
    if is_writer():
        files += _copy_tokenizer(local.require_tokenizer(), folder / MODEL_FOLDER)
    return files


def _copy_tokenizer(tokenizer: Path, folder: Path) -> list[Path]:
    if tokenizer.suffix == ".gguf":
        file = folder / "tokenizer.model"
        file.write_bytes(SentencePieceModel.from_gguf(tokenizer).to_bytes())
        return [file]
    beside = tokenizer if tokenizer.is_dir() else tokenizer.parent
    return [Path(shutil.copy(beside / name, folder)) for name in FILE_NAMES if (beside / name).is_file()]
