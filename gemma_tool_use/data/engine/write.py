"""Writes the result from the unit files and the decisions: shards of conversations, and the rejects.

    write_shard(ShardJob(side="train", number=0, total=3, ...))      # train-00000-of-00003.parquet
    write_rejects(RejectsJob(numbers=(0, 1), ...))                   # rejects.jsonl

Each file appears whole or not at all, and is written by a process of its own: a shard is a range of the rows of its
side. After a kill only the missing shards are written.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gemma_tool_use.data.arrow_numbers import arrow_array, number_array
from gemma_tool_use.data.engine.atomic import write_json, written
from gemma_tool_use.data.engine.decide import DECISIONS
from gemma_tool_use.data.engine.map_unit import ROWS_PER_UNIT, TEXT_COLUMNS
from gemma_tool_use.data.engine.split import EVAL

SCHEMA = pa.schema([(name, pa.string()) for name in TEXT_COLUMNS])
REJECTS_FILE = "rejects.jsonl"
# Rows that a reader has to decode for one of them; some ten MB of the longest conversations.
GROUP_ROWS = 1000
_LINES = 65_536


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardJob:
    """One file of conversations.

    Attributes:
      side: `train` or `eval`.
      number: of the shard, from 0.
      total: shards of the side.
      rows: most rows of a shard.
      units: the folder of the unit files.
      work: the folder with the decisions; the shard's marker goes there.
      result: where the shard goes.
      order: the file in `work` that says which rows are written, in which order.
    """

    side: str
    number: int
    total: int
    rows: int
    units: str
    work: str
    result: str
    order: str = DECISIONS

    @property
    def name(self) -> str:
        return f"{self.side}-{self.number:05d}-of-{self.total:05d}.parquet"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RejectsJob:
    """The file of all rows left out.

    Attributes:
      numbers: of the units, in order.
      units: the folder of their files.
      late: the file of the rows that the global stage left out.
      path: the file to write.
      last: the position after which nothing counts as read.
    """

    numbers: tuple[int, ...]
    units: str
    late: str
    path: str
    last: int

    @property
    def name(self) -> str:
        return Path(self.path).name


def shard_jobs(counts: dict[str, int], rows: int, **folders: str) -> list[ShardJob]:
    """The shards of both sides: `{"train": 25, "eval": 0}` with 10 rows a shard gives three."""
    totals = {side: -(-n // rows) for side, n in counts.items()}
    return [
        ShardJob(side=side, number=number, total=total, rows=rows, **folders)
        for side, total in totals.items()
        for number in range(total)
    ]


def write_shard(job: ShardJob) -> dict[str, Any]:
    """Writes the shard unless it is there; returns its name, size, sha256 and number of rows."""
    marker, path = Path(job.work, f"{job.name}.json"), Path(job.result, job.name)
    if marker.exists() and path.exists():
        return json.loads(marker.read_text(encoding="ascii"))
    positions = _positions(job)
    with (
        written(path) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd", compression_level=3, use_dictionary=False) as file,
    ):
        held: list[pa.RecordBatch] = []
        for batch in _stored(positions, Path(job.units)):
            held.append(batch)
            if sum(part.num_rows for part in held) >= GROUP_ROWS:
                held = _write_groups(file, held)
        if held:
            file.write_table(pa.Table.from_batches(held))
        file.close()
        identity = _identity(temporary)
    found = {"file": job.name, **identity, "rows": len(positions)}
    write_json(marker, found)
    return found


def write_file(job: ShardJob | RejectsJob) -> dict[str, Any]:
    """Writes a file of the result; returns its name, size, sha256 and number of rows."""
    return write_shard(job) if isinstance(job, ShardJob) else write_rejects(job)


def write_rejects(job: RejectsJob) -> dict[str, Any]:
    """Writes one line for every row left out, by position; returns name, size, sha256 and number of rows."""
    later = pq.read_table(job.late, columns=["position", "line"])
    rows, digest = 0, hashlib.sha256()
    with written(Path(job.path)) as temporary, temporary.open("wb") as file:
        for number in job.numbers:
            mapped = pq.read_table(Path(job.units, f"{number:05d}.rejects.parquet"), columns=["position", "line"])
            table = pa.concat_tables([_between(mapped, 0, job.last + 1), _of_unit(later, number)])
            for batch in table.sort_by("position").select(["line"]).to_batches(max_chunksize=_LINES):
                text = _joined(batch.column(0))
                file.write(text)
                digest.update(text)
                rows += batch.num_rows
        size = file.tell()
    return {"file": job.name, "bytes": size, "sha256": digest.hexdigest(), "rows": rows}


def _joined(lines: pa.StringArray) -> bytes:
    """The lines as they stand in a file, in a twentieth of the time that Python strings take."""
    whole = pa.ListArray.from_arrays(arrow_array(np.array([0, len(lines)], np.int32)), lines)
    return pc.binary_join(whole, "\n")[0].as_py().encode("ascii") + b"\n"  # pyright: ignore[reportAttributeAccessIssue]


def _positions(job: ShardJob) -> np.ndarray:
    """int64 [rows of the shard], in the order of the shard."""
    table = pq.read_table(Path(job.work, job.order), columns=["position", "eval", "ordinal"])
    ordinal, is_eval = number_array(table["ordinal"]), number_array(table["eval"])
    first = job.number * job.rows
    mine = (is_eval == (job.side == EVAL)) & (ordinal >= first) & (ordinal < first + job.rows)
    return number_array(table["position"])[mine]


def _stored(positions: np.ndarray, units: Path) -> Iterator[pa.RecordBatch]:
    """The text columns of the rows at these positions, a few hundred at a time."""
    # Positions rise within a stage of a curriculum, and start again with the next.
    for rising in np.split(positions, np.flatnonzero(np.diff(positions) < 0) + 1):
        yield from _stored_rising(rising, units)


def _stored_rising(positions: np.ndarray, units: Path) -> Iterator[pa.RecordBatch]:
    numbers, starts = np.unique(positions // ROWS_PER_UNIT, return_index=True)
    for number, wanted in zip(numbers, np.split(positions, starts[1:]), strict=True):
        with pq.ParquetFile(units / f"{number:05d}.kept.parquet", pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                batch = file.read_row_group(group, columns=["position", *TEXT_COLUMNS], use_threads=False)
                chosen = np.isin(number_array(batch["position"]), wanted, assume_unique=True)
                if chosen.any():
                    yield from batch.select(list(TEXT_COLUMNS)).filter(arrow_array(chosen)).to_batches()


def _write_groups(file: pq.ParquetWriter, held: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Writes full row groups and returns the rest."""
    table = pa.Table.from_batches(held)
    full = table.num_rows - table.num_rows % GROUP_ROWS
    file.write_table(table.slice(0, full), row_group_size=GROUP_ROWS)
    return table.slice(full).to_batches()


def _between(table: pa.Table, start: int, stop: int) -> pa.Table:
    first, end = np.searchsorted(number_array(table["position"]), [start, stop])
    return table.slice(int(first), int(end - first))


def _of_unit(table: pa.Table, number: int) -> pa.Table:
    return _between(table, number * ROWS_PER_UNIT, (number + 1) * ROWS_PER_UNIT)


def _identity(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
