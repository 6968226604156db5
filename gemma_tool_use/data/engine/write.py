"""Writes the result from the unit files and the decisions: shards of conversations, and the rejects.

    write_shard(ShardJob(side="train", number=0, total=3, ...))      # train-00000-of-00003.parquet
    write_rejects(units, late, folder / "rejects.jsonl", last)       # every row left out, in the order of the inputs

Each file appears whole or not at all. A shard is a range of the rows of its side, so shards are written by several
processes, and only the missing ones after a kill.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gemma_tool_use.data.engine.atomic import write_json, written
from gemma_tool_use.data.engine.decide import DECISIONS
from gemma_tool_use.data.engine.map_unit import ROWS_PER_UNIT, TEXT_COLUMNS
from gemma_tool_use.data.engine.split import EVAL

SCHEMA = pa.schema([(name, pa.string()) for name in TEXT_COLUMNS])
REJECTS_FILE = "rejects.jsonl"
# Rows that a reader has to decode for one of them; some ten MB of the longest conversations.
GROUP_ROWS = 1000


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


def write_rejects(numbers: Sequence[int], units: Path, late: Path, path: Path, last: int) -> dict[str, Any]:
    """Writes one line for every row left out, by position; returns name, size, sha256 and number of rows.

    Args:
      numbers: of the units, in order.
      units: the folder of their files.
      late: the rows that the global stage left out.
      path: the file to write.
      last: the position after which nothing counts as read.
    """
    later = pq.read_table(late, columns=["position", "line"])
    rows, digest = 0, hashlib.sha256()
    with written(path) as temporary, temporary.open("wb") as file:
        for number in numbers:
            mapped = pq.read_table(units / f"{number:05d}.rejects.parquet", columns=["position", "line"])
            table = pa.concat_tables([_between(mapped, 0, last + 1), _of_unit(later, number)])
            lines = table.sort_by("position")["line"].to_pylist()
            text = "".join(f"{line}\n" for line in lines).encode("ascii")
            file.write(text)
            digest.update(text)
            rows += len(lines)
        size = file.tell()
    return {"file": path.name, "bytes": size, "sha256": digest.hexdigest(), "rows": rows}


def _positions(job: ShardJob) -> np.ndarray:
    """int64 [rows of the shard], in the order of the shard."""
    table = pq.read_table(Path(job.work, job.order), columns=["position", "eval", "ordinal"])
    ordinal, is_eval = table["ordinal"].to_numpy(), table["eval"].to_numpy()
    first = job.number * job.rows
    mine = (is_eval == (job.side == EVAL)) & (ordinal >= first) & (ordinal < first + job.rows)
    return table["position"].to_numpy()[mine]


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
                chosen = np.isin(batch["position"].to_numpy(), wanted, assume_unique=True)
                if chosen.any():
                    yield from batch.select(list(TEXT_COLUMNS)).filter(pa.array(chosen)).to_batches()


def _write_groups(file: pq.ParquetWriter, held: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Writes full row groups and returns the rest."""
    table = pa.Table.from_batches(held)
    full = table.num_rows - table.num_rows % GROUP_ROWS
    file.write_table(table.slice(0, full), row_group_size=GROUP_ROWS)
    return table.slice(full).to_batches()


def _between(table: pa.Table, start: int, stop: int) -> pa.Table:
    first, end = np.searchsorted(table["position"].to_numpy(), [start, stop])
    return table.slice(int(first), int(end - first))


def _of_unit(table: pa.Table, number: int) -> pa.Table:
    return _between(table, number * ROWS_PER_UNIT, (number + 1) * ROWS_PER_UNIT)


def _identity(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
