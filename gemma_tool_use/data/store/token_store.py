"""The token store: encoded rows in a folder of the cache, named by what they were made from.

    store = open_or_build(
        parquet_units([Path("prepared/train-00000-of-00001.parquet")]),
        content="sha256 of the conversations",       # anything else is another store
        recipe=Recipe(dialect=dialect, tokenizer=tokenizer, max_length=512),
        cache=settings.cache_dir / "tokens",
        processes=8,
    )
    store.built, store.seconds                       # True 31.2 the first time, False 0.1 after that
    store.encoded                                    # EncodedRows, as encode_rows gives them, but read when asked for

    tokens/3f9c0a.../manifest.json                   # what it was made from, counts, sha256 of the other files, its own
                     rows-00000.arrayrecord          # record.py says what a record is
                     index.parquet                   # id, question, length, targets, stage of each row
                     rejects.jsonl                   # every row left out, as in a run folder

A store appears under its name when it is whole, and is never changed. Every start compares all checksums; a store that
is damaged is named and built again. Two runs may build the same one: the first to finish gives it, the other reads it.
Nothing else refers to a store, so any may be deleted while no run reads it.
"""

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gemma_tool_use.data.rows import EncodedRows, RowSizes
from gemma_tool_use.data.store.build import INDEX, REJECTS, build
from gemma_tool_use.data.store.encode_unit import Recipe
from gemma_tool_use.data.store.folder import DamagedStore, new_folder, publish, read_manifest, write_manifest
from gemma_tool_use.data.store.identity import identity, name_of
from gemma_tool_use.data.store.stored_rows import StoredRejects, StoredRows, StoredTexts
from gemma_tool_use.data.store.units import Unit
from gemma_tool_use.errors import ConfigError, FileError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenStore:
    """An open store.

    Attributes:
      path: its folder.
      encoded: its rows and their account.
      built: whether this start built it.
      seconds: how long it took to build or to check.
    """

    path: Path
    encoded: EncodedRows
    built: bool
    seconds: float


def open_or_build(
    units: Callable[[], Sequence[Unit]], *, content: str, recipe: Recipe, cache: Path, processes: int
) -> TokenStore:
    """The store of these rows; built when there is none, or a damaged one.

    Args:
      units: gives the rows; called when they have to be read.
      content: names the conversations and their order; equal names must mean equal rows.
      recipe: how they are encoded.
      cache: folder of all stores; made when missing.
      processes: how many encode when there is more than one unit.

    Raises:
      ConfigError: `recipe.max_length` is below 2.
      DataError: as `encode_rows`, or a damaged input.
      FileError: the cache cannot be read or written, or the disk is full; nothing is left behind then.
    """
    if recipe.max_length < 2:
        raise ConfigError(f"max_length must be 2 or more, got {recipe.max_length}")
    start = time.monotonic()
    wanted = identity(content, recipe)
    folder = cache / name_of(wanted)
    manifest = _read(folder, wanted)
    built = manifest is None
    if manifest is None:
        with new_folder(cache, folder.name) as partial:
            made = build(partial, units(), recipe, processes=processes)
            write_manifest(partial, {"identity": wanted, **made})
            publish(partial, folder, wanted)
        manifest = _read(folder, wanted)
        if manifest is None:
            raise FileError(f"the tokenised rows in {folder} went away while they were read; start again")
    encoded = _encoded(folder, manifest)
    return TokenStore(path=folder, encoded=encoded, built=built, seconds=time.monotonic() - start)


def _read(folder: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return read_manifest(folder, wanted)
    except DamagedStore as damage:
        warnings.warn(f"the tokenised rows in {folder} are damaged ({damage}); tokenising again", stacklevel=3)
        return None


def _encoded(folder: Path, manifest: Mapping[str, Any]) -> EncodedRows:
    index, places = folder / INDEX, range(manifest["rows"])
    table = pq.read_table(index, columns=["length", "targets", "stage"])
    sizes = RowSizes(lengths=table.column("length").to_numpy(), targets=table.column("targets").to_numpy())
    files = [folder / entry["file"] for entry in manifest["files"] if entry["file"].endswith(".arrayrecord")]
    return EncodedRows(
        rows=StoredRows(files, sizes),
        ids=StoredTexts(index, "id", places),
        groups=StoredTexts(index, "question", places),
        counts=dict(manifest["counts"]),
        rejects=StoredRejects(folder / REJECTS, manifest["rejects"]),
        stages=table.column("stage").to_numpy(),
    )
