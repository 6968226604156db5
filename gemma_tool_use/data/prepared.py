"""A folder that `gemma-tool-use prepare` wrote, as training reads it: which files, and that they are still the same.

    folder = open_prepared(Path("prepared/toucan"))      # None when it is no such folder
    folder.train                                         # (Shard(path=.../train-00000-of-00002.parquet, ...), ...)
    folder.held_out                                      # its eval-*.parquet; empty when everything is for training
    folder.fingerprint                                   # sha256 over the names and hashes of all of them

The manifest says what each file's sha256 is, so that a second run on a million rows need not read them to know that
they are the same rows: sizes are compared at every start, hashes where the rows are read or a file is newer than that.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gemma_tool_use.data.files import identity
from gemma_tool_use.errors import DataError, FileError

MANIFEST = "manifest.json"
EVAL_PREFIX = "eval-"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of conversations and what the manifest says of it."""

    path: Path
    bytes: int
    sha256: str

    def check(self) -> None:
        """
        Raises:
          DataError: the content is not what the manifest says.
        """
        if identity(self.path)["sha256"] != self.sha256:
            raise _changed(self.path, "its sha256 is not that of the manifest")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedFolder:
    """The files of a prepared folder, in the order in which they are read."""

    path: Path
    train: tuple[Shard, ...]
    held_out: tuple[Shard, ...]
    staged: bool
    """Whether the rows were given stages of a curriculum."""

    @property
    def fingerprint(self) -> str:
        """sha256 over the names and hashes of all files; equal exactly when their rows and their split are."""
        return fingerprint_of((*self.train, *self.held_out))


def fingerprint_of(shards: Sequence[Shard]) -> str:
    """sha256 over the names and hashes of files, in order."""
    return hashlib.sha256(json.dumps([[shard.path.name, shard.sha256] for shard in shards]).encode()).hexdigest()


def check_newer(shards: Sequence[Shard], than: Path) -> None:
    """Checks the files that were written after `than`, which was made from what they were then.

    Raises:
      DataError: one has other content than its manifest says.
    """
    made = than.stat().st_mtime
    for shard in shards:
        if shard.path.stat().st_mtime > made:
            shard.check()


def open_prepared(path: Path) -> PreparedFolder | None:
    """The folder's files; None when `path` is no folder with a manifest of `prepare`.

    Raises:
      FileError: the manifest or a file cannot be read.
      DataError: the manifest is damaged, or a file is missing or has another size.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path / MANIFEST} is damaged ({error}); write the folder again with prepare") from None
    except OSError as error:
        raise FileError(f"cannot read {path / MANIFEST}: {error.strerror or error}") from None
    entries = _entries(manifest)
    if entries is None:
        return None
    shards = [_shard(path, entry) for entry in entries]
    return PreparedFolder(
        path=path,
        train=tuple(shard for shard in shards if not shard.path.name.startswith(EVAL_PREFIX)),
        held_out=tuple(shard for shard in shards if shard.path.name.startswith(EVAL_PREFIX)),
        staged=bool(manifest.get("curriculum")),
    )


def _entries(manifest: Any) -> list[Any] | None:
    """The manifest's list of parquet files, the training shards first."""
    found = manifest.get("conversations") if isinstance(manifest, dict) else None
    return found if isinstance(found, list) else None


def _shard(folder: Path, entry: Any) -> Shard:
    try:
        shard = Shard(path=folder / Path(entry["file"]).name, bytes=int(entry["bytes"]), sha256=str(entry["sha256"]))
    except (TypeError, KeyError, ValueError):
        raise DataError(f"{folder / MANIFEST} does not say file, bytes and sha256 of {entry!r}") from None
    try:
        size = shard.path.stat().st_size
    except OSError as error:
        raise FileError(f"cannot read {shard.path}, which the manifest names: {error.strerror or error}") from None
    if size != shard.bytes:
        raise _changed(shard.path, f"it has {size} bytes, the manifest says {shard.bytes}")
    return shard


def _changed(path: Path, what: str) -> DataError:
    return DataError(f"{path} was changed after the folder was prepared: {what}. Write the folder again with prepare")
