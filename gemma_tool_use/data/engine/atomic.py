"""Files that are there whole or not at all, also when the process is killed or the power goes.

    with written(folder / "00001.kept.parquet") as temporary:
        pq.write_table(table, temporary)

The content goes under a name of its own, is flushed to the disk and takes its real name in one step. Two processes that
write the same file do not disturb each other, also on two machines: each has its own temporary name, and the later one
wins.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp-"


@contextlib.contextmanager
def written(path: Path, *, sync_name: bool = True) -> Iterator[Path]:
    """A name to write to; becomes `path` when the body ends, and goes away when it raises.

    Without `sync_name` the file may still be missing after the power went: for files that a later one names.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}-{path.name}")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        if sync_name:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Two-space indented JSON in the order of the keys; ASCII, because it may quote what has no UTF-8 form."""
    with written(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="ascii")


def sync(path: Path) -> None:
    """Flushes a file, or the names of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporary(folder: Path) -> None:
    """Removes what killed processes left half-written."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)
