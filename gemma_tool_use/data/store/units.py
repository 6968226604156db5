"""The rows to tokenise, cut into units that one process reads and encodes at a time.

    list_units(conversations)                  # 2,048 conversations each
    parquet_units([Path("train-00000.parquet")], limit=None)
    for conversation in unit.read(): ...       # a Conversation, or the Reject of a row that cannot be read

A unit of a file names row groups, so nothing is read before the process that needs it does. Units depend on the rows
only, never on the number of processes.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from gemma_tool_use.conversation import Conversation, conversation_from_dict
from gemma_tool_use.data.rejects import UNREADABLE_MESSAGE, Reject
from gemma_tool_use.errors import DataError, FileError

UNIT_ROWS = 2048
_READ_ROWS = 256
_COLUMNS = ("id", "source", "tools", "messages", "meta")


class Unit(Protocol):
    """Rows in a fixed order."""

    @property
    def name(self) -> str:
        """What an error calls it."""
        ...

    @property
    def rows(self) -> int:
        """How many `read` yields."""
        ...

    def read(self) -> Iterator[Conversation | Reject]:
        """The rows, in order."""
        ...


@dataclasses.dataclass(frozen=True)
class ListUnit:
    """Conversations that are in memory."""

    conversations: tuple[Conversation, ...]

    @property
    def name(self) -> str:
        return f"the rows from {self.conversations[0].id!r} on"

    @property
    def rows(self) -> int:
        return len(self.conversations)

    def read(self) -> Iterator[Conversation | Reject]:
        return iter(self.conversations)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParquetUnit:
    """Neighbouring row groups of a file of conversations, as `prepare` writes it.

    Attributes:
      path: the file.
      groups: numbers of the row groups.
      first: number of the first row within the file.
      rows: how many rows to read of them.
    """

    path: Path
    groups: tuple[int, ...]
    first: int
    rows: int

    @property
    def name(self) -> str:
        return f"{self.path} from row {self.first} on"

    def read(self) -> Iterator[Conversation | Reject]:
        with _open(self.path) as file:
            batches = file.iter_batches(batch_size=_READ_ROWS, row_groups=list(self.groups), columns=list(_COLUMNS))
            for number, row in enumerate(itertools.islice(_rows(batches, self.path), self.rows), self.first):
                yield _conversation(row, f"{self.path.name} row {number}")


def list_units(conversations: Sequence[Conversation]) -> list[Unit]:
    """Units of `UNIT_ROWS` conversations."""
    starts = range(0, len(conversations), UNIT_ROWS)
    return [ListUnit(tuple(conversations[start : start + UNIT_ROWS])) for start in starts]


def parquet_units(paths: Sequence[Path], *, limit: int | None = None) -> "list[ParquetUnit]":
    """Units of about `UNIT_ROWS` rows, whole row groups; with a `limit` of the first rows only.

    Raises:
      FileError: a file cannot be opened.
      DataError: a file is not parquet, or lacks a column of conversations.
    """
    units: list[ParquetUnit] = []
    left = limit
    for path in paths:
        if left == 0:
            break
        with _open(path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        for unit in _cut(path, sizes):
            if left is not None:
                unit = dataclasses.replace(unit, rows=min(unit.rows, left))
                left -= unit.rows
            if unit.rows:
                units.append(unit)
    return units


def _cut(path: Path, sizes: Sequence[int]) -> Iterator[ParquetUnit]:
    groups, rows, first = [], 0, 0
    for number, size in enumerate(sizes):
        groups.append(number)
        rows += size
        if rows >= UNIT_ROWS or number == len(sizes) - 1:
            yield ParquetUnit(path=path, groups=tuple(groups), first=first, rows=rows)
            groups, rows, first = [], 0, first + rows


def _open(path: Path) -> pq.ParquetFile:
    try:
        # Without pre-buffering, a large row group is decoded piece by piece instead of held whole.
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1024 * 1024)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not a whole parquet file ({error}); write the folder again with prepare") from None
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from None
    if missing := [name for name in _COLUMNS if name not in file.schema_arrow.names]:
        file.close()
        raise DataError(f"{path} has no column {', '.join(missing)}; was it written by prepare?")
    return file


def _rows(batches: Iterator[pa.RecordBatch], path: Path) -> Iterator[dict[str, Any]]:
    try:
        for batch in batches:
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged ({error}); write the folder again with prepare") from None


def _conversation(row: dict[str, Any], where: str) -> Conversation | Reject:
    try:
        return conversation_from_dict(row)
    except DataError as error:
        return Reject(id=str(row.get("id") or where), reason=UNREADABLE_MESSAGE, detail=str(error), where=where)
