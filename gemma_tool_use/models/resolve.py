"""Turns what a user writes after `--model` into files on disk.

    embedded:gemma-3-270m                           the weights that come as a Python package
    google/gemma-3-270m-it                          a Hugging Face repository (also hf:..., and ...@revision)
    kaggle:google/gemma-3/flax/gemma-3-270m-it      a Kaggle model (also with /VERSION)
    /models/gemma-3-270m-it                         a folder in one of the two hubs' layouts
    /models/gemma-3-270m.gguf                       a GGUF file

A path that exists is always taken as a path; `hf:` in front asks for the hub.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from gemma_tool_use.errors import CheckpointError, ConfigError, FileError, suggest
from gemma_tool_use.models.embedded import EMBEDDED, embedded_gguf
from gemma_tool_use.models.hub import download_hf, download_kaggle
from gemma_tool_use.models.names import Format
from gemma_tool_use.models.readers import HF_INDEX, HF_SINGLE

_GEMMA3_NAMES = ("gemma-3-270m-it", "gemma-3-270m", "gemma-3-1b-it", "gemma-3-1b-pt", "gemma-3-4b-it", "gemma-3-4b-pt")

KNOWN_REPOS = (
    *(f"google/{name}" for name in (*_GEMMA3_NAMES, "gemma-2-2b-it", "gemma-2-2b")),
    *("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B-Base", "meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-1B"),
    *("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-2-7b-hf", "mistralai/Mistral-7B-v0.1"),
)
"""The Hugging Face repositories of the supported sizes."""

KNOWN_HANDLES = tuple(f"google/gemma-3/flax/{name}" for name in _GEMMA3_NAMES)
"""The Kaggle handles of the supported sizes."""

_TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json")
_ORBAX_MARKS = ("_METADATA", "manifest.ocdbt")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalCheckpoint:
    """A checkpoint whose files are on this machine.

    `source`: what the user wrote. `format`: which names the arrays have. `path`: the folder ("hf", "flax") or the file
    ("gguf"). `tokenizer_path`: the tokenizer that came with it, None when there is none. `sha256`: of the weights file
    where it was just verified, else None.
    """

    source: str
    format: Format
    path: Path
    tokenizer_path: Path | None
    sha256: str | None = None

    def require_tokenizer(self) -> Path:
        """`tokenizer_path`, or `CheckpointError` saying what to add."""
        if self.tokenizer_path is None:
            raise CheckpointError(
                f"{self.source} has no {' or '.join(_TOKENIZER_FILES)} beside its weights; "
                "copy the one of the original model there"
            )
        return self.tokenizer_path


def resolve(spec: str, *, cache_dir: Path | None = None, token: str | None = None) -> LocalCheckpoint:
    """The files that `spec` means (see the top of this module), downloaded or assembled if necessary.

    `cache_dir` holds assembled embedded weights (default `~/.cache/gemma-tool-use`); downloads go to the hubs' own
    caches. `token` is a Hugging Face token, by default the one that `HF_TOKEN` or `hf auth login` provides.

    Raises `ConfigError` when `spec` has no meaning, `HubError` when a hub refuses or cannot be reached, `FileError` and
    `CheckpointError` when the files are not there or not a checkpoint.
    """
    scheme, _, rest = spec.partition(":")
    if scheme == "embedded":
        path, sha256 = embedded_gguf(rest, cache_dir or Path.home() / ".cache" / "gemma-tool-use")
        return LocalCheckpoint(source=spec, format="gguf", path=path, tokenizer_path=path, sha256=sha256)
    if scheme == "kaggle":
        return _in_folder(spec, download_kaggle(rest, KNOWN_HANDLES))
    if scheme == "hf":
        return _from_hf(spec, rest, token)
    if not spec.strip():
        raise ConfigError(f"the model is empty; {_forms()}")
    path = Path(spec).expanduser()
    if path.is_dir():
        return _in_folder(spec, path)
    if path.is_file():
        return _from_file(spec, path)
    return _not_a_path(spec, token)


def tokenizer_file(spec: str, *, cache_dir: Path | None = None) -> Path:
    """The tokenizer that `spec` means: a checkpoint as `resolve` takes it, or a tokenizer file or a folder with one.

    Raises: as `resolve`, and `CheckpointError` when the checkpoint has none.
    """
    path = Path(spec).expanduser()
    if path.is_file() or any((path / name).is_file() for name in _TOKENIZER_FILES):
        return path
    return resolve(spec, cache_dir=cache_dir).require_tokenizer()


def _not_a_path(spec: str, token: str | None) -> LocalCheckpoint:
    parts = spec.split("/")
    if spec.startswith((".", "/", "~")) or spec.endswith((".gguf", ".safetensors")):
        raise FileError(f"{spec} does not exist; {_forms()}")
    if len(parts) == 2 and all(parts):
        return _from_hf(spec, spec, token)
    if len(parts) in (4, 5) and all(parts):
        raise ConfigError(f"{spec!r} is neither a path nor a Hugging Face repository; for Kaggle write 'kaggle:{spec}'")
    known = [f"embedded:{name}" for name in EMBEDDED] + list(KNOWN_REPOS)
    named = [name for name in known if spec.lower() in (name, name.partition("/")[2], name.partition(":")[2])]
    hint = f"Did you mean {' or '.join(map(repr, named))}?" if named else suggest(spec, known)
    raise ConfigError(f"{spec!r} is neither a path nor a Hugging Face repository. {hint} Or {_forms()}")


def _forms() -> str:
    kinds = "a folder, a .gguf file, 'owner/repository', 'kaggle:owner/model/flax/variation'"
    return f"give {kinds} or 'embedded:gemma-3-270m'"


def _from_hf(spec: str, repository: str, token: str | None) -> LocalCheckpoint:
    name, _, revision = repository.partition("@")
    return _in_folder(spec, download_hf(name, revision or None, token, KNOWN_REPOS))


def _from_file(spec: str, path: Path) -> LocalCheckpoint:
    with path.open("rb") as file:
        is_gguf = file.read(4) == b"GGUF"
    if is_gguf or path.suffix == ".gguf":
        return LocalCheckpoint(source=spec, format="gguf", path=path, tokenizer_path=path)
    if path.suffix == ".safetensors":
        raise ConfigError(f"{spec} is one file of a checkpoint; give its folder {path.parent}")
    raise CheckpointError(f"{spec} is not a GGUF file; {_forms()}")


def _in_folder(spec: str, folder: Path) -> LocalCheckpoint:
    """The one checkpoint in `folder`: safetensors, Orbax (itself or a folder in it, as Kaggle has it), or a GGUF."""
    found: list[tuple[Format, Path]] = []
    if (folder / HF_SINGLE).is_file() or (folder / HF_INDEX).is_file():
        found.append(("hf", folder))
    inner = [folder] if _is_orbax(folder) else [path for path in sorted(folder.iterdir()) if _is_orbax(path)]
    for path in inner:
        found.append(("flax", path))
    for path in sorted(folder.glob("*.gguf")):
        found.append(("gguf", path))
    if not found:
        other = sorted(path.name for path in folder.iterdir())[:8]
        raise CheckpointError(
            f"{spec} ({folder}) holds no {HF_SINGLE}, {HF_INDEX}, Orbax folder or .gguf file; it holds "
            f"{', '.join(other) or 'nothing'}. To download a repository of that name write 'hf:{spec}'"
        )
    if len(found) > 1:
        raise ConfigError(
            f"{spec} holds {len(found)} checkpoints: {', '.join(str(path) for _, path in found)}; give one of them"
        )
    format, path = found[0]
    return LocalCheckpoint(source=spec, format=format, path=path, tokenizer_path=_tokenizer(format, path))


def _is_orbax(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _ORBAX_MARKS)


def _tokenizer(format: Format, path: Path) -> Path | None:
    """Beside the weights: in the folder, for Kaggle's layout one folder up; a GGUF file holds its own."""
    if format == "gguf":
        return path
    folders: Iterable[Path] = (path,) if format == "hf" else (path, path.parent)
    candidates = [folder / name for folder in folders for name in _TOKENIZER_FILES]
    return next((candidate for candidate in candidates if candidate.is_file()), None)
