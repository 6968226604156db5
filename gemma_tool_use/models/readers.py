"""Reads the arrays of a checkpoint under its own names: safetensors folder, GGUF file, Orbax folder.

    reader = open_reader("hf", Path("gemma-3-270m-it"))
    reader.spec                                          # ModelSpec(name='gemma-3-270m', ...)
    reader.shapes["model.norm.weight"]                   # (640,)
    reader.read("model.norm.weight")                     # float32 array of that shape

Nothing large is read before `read`, which gives one array, in float32 whatever the file holds: float32 has every value
of bfloat16, float16 and the quantised types. What a checkpoint must hold is checked by `models.load`.
"""

import abc
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gemma_tool_use.errors import CheckpointError, FileError
from gemma_tool_use.gguf_file import GgufFile
from gemma_tool_use.models.families import spec_from_gguf, spec_from_hf_config
from gemma_tool_use.models.name_tables import Format
from gemma_tool_use.models.spec import ModelSpec

HF_INDEX = "model.safetensors.index.json"
HF_SINGLE = "model.safetensors"


class Reader(abc.ABC):
    """A checkpoint opened for reading.

    `files`: the files that hold the weights, for fingerprints. `shapes`: shape of every array by its name in the file.
    `skipped`: names of arrays that belong to another part of the model than the text, and are not in `shapes`.
    """

    files: list[Path]
    shapes: Mapping[str, tuple[int, ...]]
    skipped: Sequence[str] = ()

    @property
    @abc.abstractmethod
    def spec(self) -> ModelSpec:
        """The architecture that the checkpoint states or shows; `CheckpointError` when it is none we support."""

    @abc.abstractmethod
    def read(self, name: str) -> np.ndarray:
        """One array in float32, not to be written to; may be called from several threads."""


def open_reader(format: Format, path: Path) -> Reader:
    """The reader for a checkpoint of `format` at `path` (a folder, or the file for "gguf")."""
    if format == "hf":
        return SafetensorsReader(path)
    if format == "gguf":
        return GgufReader(path)
    from gemma_tool_use.models.orbax_reader import OrbaxReader

    return OrbaxReader(path)


class GgufReader(Reader):
    """A GGUF file of llama.cpp."""

    def __init__(self, path: Path):
        self._file = GgufFile(path)
        self.files = [path]
        self.shapes = {name: tensor.shape for name, tensor in self._file.tensors.items()}

    @property
    def spec(self) -> ModelSpec:
        embedding = self.shapes.get("token_embd.weight")
        if embedding is None:
            raise CheckpointError(f"{self._file.path} has no tensor 'token_embd.weight'; it holds no model weights")
        return spec_from_gguf(self._file.metadata, embedding[0], str(self._file.path))

    def read(self, name: str) -> np.ndarray:
        return self._file.tensors[name].dequantize()


class SafetensorsReader(Reader):
    """A folder in Hugging Face layout: `config.json` and `model.safetensors`, or shards with their index."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._tensors: dict[str, _StoredTensor] = {}
        index = folder / HF_INDEX
        if (folder / HF_SINGLE).is_file():
            self.files = [folder / HF_SINGLE]
            self._tensors = _open_safetensors(self.files[0])
        elif index.is_file():
            self._open_shards(index)
        else:
            raise CheckpointError(f"{folder} has neither {HF_SINGLE} nor {HF_INDEX}; download the repository again")
        if any(name.startswith(_VISION) for name in self._tensors):
            self._keep_the_text_part()
        self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}

    def _keep_the_text_part(self) -> None:
        """Drops the vision arrays of a model that also sees, and names the others as in a text model."""
        self.skipped = sorted(name for name in self._tensors if name.startswith(_VISION))
        text = {name: tensor for name, tensor in self._tensors.items() if not name.startswith(_VISION)}
        self._tensors = {_text_name(name): tensor for name, tensor in text.items()}

    def _open_shards(self, index: Path) -> None:
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
            raise CheckpointError(f"{index} has no 'weight_map' of names to files; download the repository again")
        # A shard outside the folder would let an index read any file of the machine.
        if outside := sorted(file for file in set(weight_map.values()) if Path(file).name != file):
            raise CheckpointError(f"{index} names the shard {outside[0]!r}, expected a file name without a folder")
        self.files = [self._folder / file for file in sorted(set(weight_map.values()))]
        if missing := [path.name for path in self.files if not path.is_file()]:
            raise CheckpointError(
                f"{self._folder} lacks the shards {', '.join(missing)}; download the repository again"
            )
        for path in self.files:
            for name, tensor in _open_safetensors(path).items():
                if weight_map.get(name) != path.name:
                    raise CheckpointError(
                        f"{path} holds {name!r}, which {index.name} places in {weight_map.get(name)!r}; "
                        "the folder mixes two checkpoints, download the repository again"
                    )
                self._tensors[name] = tensor

    @property
    def spec(self) -> ModelSpec:
        config = self._folder / "config.json"
        if not config.is_file():
            raise CheckpointError(f"{self._folder} has no config.json; download the repository again")
        return spec_from_hf_config(read_json(config), str(config))

    def read(self, name: str) -> np.ndarray:
        return self._tensors[name].read()


# Parts of a multimodal Gemma 3, as the hub has them and as transformers 4.52 and later save them.
_VISION = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")


def _text_name(name: str) -> str:
    """`language_model.model.norm.weight` and `model.language_model.norm.weight` are `model.norm.weight`."""
    if name.startswith("model.language_model."):
        return "model." + name.removeprefix("model.language_model.")
    return name.removeprefix("language_model.")


class _StoredTensor:
    """Where one array of a safetensors file lies."""

    def __init__(self, path: Path, name: str, entry: Mapping[str, Any], data_start: int):
        self.path, self.name, self.kind = path, name, entry["dtype"]
        self.shape: tuple[int, ...] = tuple(entry["shape"])
        self._start = data_start + entry["data_offsets"][0]
        self._bytes = entry["data_offsets"][1] - entry["data_offsets"][0]

    def read(self) -> np.ndarray:
        if self.kind not in _STORED_DTYPES:
            raise CheckpointError(
                f"{self.path} holds {self.name!r} as {self.kind}, expected one of {', '.join(_STORED_DTYPES)}; "
                "use an unquantised checkpoint"
            )
        dtype = _STORED_DTYPES[self.kind]
        stored = np.fromfile(self.path, dtype, self._bytes // dtype.itemsize, offset=self._start).reshape(self.shape)
        return bfloat16_to_float32(stored) if self.kind == "BF16" else stored.astype(np.float32, copy=False)


_STORED_DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


def bfloat16_to_float32(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bit patterns (uint16) as float32: a bfloat16 is the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _open_safetensors(path: Path) -> dict[str, _StoredTensor]:
    from safetensors import SafetensorError, safe_open

    # safetensors checks the whole header (sizes, overlaps, shapes against bytes) in Rust; its NumPy side has no
    # bfloat16, so the checked header is read once more for the offsets.
    try:
        with safe_open(path, framework="numpy"), path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}); delete it and download it again"
        ) from error
    except OSError as error:
        raise FileError(f"{path} cannot be opened: {error.strerror or error}") from error
    header.pop("__metadata__", None)
    return {name: _StoredTensor(path, name, entry, 8 + length) for name, entry in header.items()}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file whose top level is an object; `CheckpointError` for anything else."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise FileError(f"{path} cannot be opened: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); download it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, expected a JSON object; download it again")
    return value
