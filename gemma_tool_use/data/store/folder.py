"""The folder of a store: whole or not there, and known to be undamaged before it is read.

with new_folder(cache, name) as partial:       # tokens/.3f9c0a.partial-x7f3: goes away if the body raises
    write files, then write_manifest(partial, {...})
    publish(partial, cache / name, identity)   # takes its name, unless another run was first
manifest = read_manifest(cache / name, identity)      # DamagedStore says what is wrong
"""

import contextlib
import errno
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gemma_tool_use.errors import FileError

MANIFEST = "manifest.json"
# A build writes a file every few seconds; what nothing was added to for a day belongs to a run that was killed.
_ABANDONED_SECONDS = 24 * 3600
_HASH_THREADS = 8


class DamagedStore(Exception):
    """What is wrong with a store; the store is built again, so this reaches nobody but in a warning."""


def file_entry(path: Path) -> dict[str, Any]:
    """`{"file": name, "bytes": size, "sha256": hex}` of a file of the store."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes the manifest, which holds its own checksum."""
    text = json.dumps({**content, "checksum": _checksum(content)}, indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest of a store, once every file is known to be as it was written; None when there is no such store.

    Raises:
      DamagedStore: a file is missing or has other bytes, or the store was made from something else.
      FileError: the folder cannot be read.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if not isinstance(manifest, dict) or manifest.pop("checksum", None) != _checksum(manifest):
            raise DamagedStore(f"{MANIFEST} has another checksum")
        if manifest["identity"] != identity:
            raise DamagedStore("it was made from other rows or settings")
        with ThreadPoolExecutor(_HASH_THREADS) as threads:  # hashing leaves Python's lock
            for problem in threads.map(lambda entry: _problem(folder, entry), manifest["files"]):
                if problem:
                    raise DamagedStore(problem)
    except FileNotFoundError:
        if folder.exists():
            raise DamagedStore(f"{MANIFEST} is missing") from None
        return None
    except (ValueError, RecursionError) as error:
        raise DamagedStore(f"{MANIFEST} is not JSON ({error})") from None
    except OSError as error:
        raise FileError(
            f"cannot read the tokenised rows in {folder}: {error.strerror or error}. Choose another --cache-dir"
        ) from None
    return manifest


@contextlib.contextmanager
def new_folder(cache: Path, name: str) -> Iterator[Path]:
    """A folder in the cache to build a store in; whatever is left of it goes away.

    Raises:
      FileError: the cache cannot be written, or the disk is full.
    """
    partial: Path | None = None
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(cache)
        partial = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=cache))
        yield partial
    except FileError:  # of the rows that are read
        raise
    except OSError as error:
        raise FileError(
            f"cannot keep tokenised rows in {cache}: {error.strerror or error}. "
            "Free some space, or choose another --cache-dir"
        ) from None
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, folder: Path, identity: Mapping[str, Any]) -> None:
    """Gives a whole store its name. A sound one that is there stays; a damaged one makes way."""
    while True:
        try:
            partial.rename(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        try:
            if read_manifest(folder, identity) is not None:
                return
        except DamagedStore:
            _set_aside(folder, partial)


def _set_aside(folder: Path, partial: Path) -> None:
    """Moves a damaged store into the partial folder, which goes away; another run may have done so first."""
    away = partial.with_name(f"{partial.name}.damaged")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(away)
        shutil.rmtree(away) if away.is_dir() else away.unlink()


def _remove_abandoned(cache: Path) -> None:
    for path in cache.glob(".*.partial-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _problem(folder: Path, entry: Mapping[str, Any]) -> str | None:
    path = folder / Path(entry["file"]).name
    try:
        if path.stat().st_size != entry["bytes"]:
            return f"{path.name} has {path.stat().st_size} bytes, expected {entry['bytes']}"
        return (
            None if file_entry(path)["sha256"] == entry["sha256"] else f"{path.name} has other bytes than were written"
        )
    except FileNotFoundError:
        return f"{path.name} is missing"


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
