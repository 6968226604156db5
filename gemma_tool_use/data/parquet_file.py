"""Rows of a parquet file, a few at a time, in memory that the file's author cannot choose.

    for number, row in parquet_rows(Path("train.parquet"), ("uuid", "messages")): ...
    # 0, {"uuid": "u1", "messages": "[...]"}

Columns hold text, numbers or booleans, or lists of such, or lists of objects of such (`conversations`, as the Hugging
Face hub stores `[{"from": ..., "value": ...}]`). Deeper structs are refused: Arrow fills what an object does not have
with nulls, so an absent argument would come back as one that is null.

A few hundred bytes of parquet can stand for hundreds of megabytes, in two ways. Pages that expand when decompressed
are known by the sizes in the footer; a value that is stored once and repeated is read once (as a dictionary), and the
expansion is counted. What a footer lies about is bounded only by the memory the process may have. No JAX.
"""

import collections
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gemma_tool_use.data.arrow_numbers import arrow_array, number_array
from gemma_tool_use.data.limits import MAX_ROW_BYTES, Expansion, cannot_read
from gemma_tool_use.data.rejects import ROW_TOO_LARGE, Reject
from gemma_tool_use.errors import DataError

Row = Mapping[str, Any] | Reject

BATCH_ROWS = 256
BATCH_BYTES = 8 * 1024 * 1024
TOGETHER_BYTES = 2 * 1024 * 1024
"""Of the rows that a batch gives at once; parsed, they take up to 25 times as much."""
# Below this many stored bytes per row, values repeat: read as a dictionary, which for others takes 2.5 times as long.
_REPEATS = 16


def parquet_columns(path: Path) -> dict[str, pa.DataType]:
    """Column names and Arrow types of a parquet file.

    Raises:
      FileError: the file cannot be opened.
      DataError: it is empty, truncated or not parquet.
    """
    with _open(path) as file:
        return {field.name: field.type for field in file.schema_arrow}


def plain_columns(columns: Mapping[str, pa.DataType]) -> list[str]:
    """Those of the columns that `parquet_rows` can read."""
    return [name for name, kind in columns.items() if _is_plain(kind)]


def group_rows(path: Path) -> list[int]:
    """The number of rows of each row group. Raises as `parquet_columns`."""
    with _open(path) as file:
        return [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]


def parquet_rows(
    path: Path, columns: Sequence[str], optional: Sequence[str] = (), start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, Row]]:
    """Number (from 0) and values of each row from `start` until before `stop`; a row over the limit is a `Reject`.

    Raises: as `parquet_batches`.
    """
    return itertools.chain.from_iterable(parquet_batches(path, columns, optional, start, stop))


def parquet_batches(
    path: Path,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    start: int = 0,
    stop: int | None = None,
    *,
    lazy: bool = False,
) -> Iterator[list[tuple[int, Row]]]:
    """The rows as `parquet_rows` gives them, up to 256 at a time: after the longest of them at most 2 MiB.

    Rows are dicts; with `lazy` mappings that decode a text when it is asked for, which may be a `UnicodeDecodeError`.

    Raises:
      FileError: the file cannot be opened.
      DataError: not a parquet file, damaged, expanding beyond measure, without one of `columns`, or one of them holds
        what is no text, number, or list of those.
    """
    with _open(path) as file:
        footer = file.metadata
        wanted = _wanted(path, file.schema_arrow, columns, optional)
        _check_sizes(path, footer, wanted)
        repeated = _repeated(file, wanted)
    expansion = Expansion(path)
    number = 0
    with _open(path, repeated, footer) as file:
        try:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if number + rows > start and (stop is None or number < stop):
                    first, last = max(start - number, 0), rows if stop is None else min(stop - number, rows)
                    for batch, before in _arrow_batches(file, group, wanted, (first, last)):
                        yield from _batches(batch, number + before, expansion, lazy=lazy)
                number += rows
        except pa.ArrowMemoryError as error:
            raise DataError(f"{path} needs more memory than there is ({error}); is it what it should be?") from None
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is damaged after row {number} ({error}); fetch the file again") from None


def _arrow_batches(
    file: pq.ParquetFile, group: int, columns: list[str], bounds: tuple[int, int]
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The rows of one row group within `bounds`, and how many of the group precede them."""
    start, stop = bounds
    done = 0
    size = _batch_rows(file.metadata.row_group(group))
    for whole in file.iter_batches(batch_size=size, row_groups=[group], columns=columns, use_threads=False):
        first = max(start - done, 0)
        yield whole.slice(first, max(min(stop - done, len(whole)) - first, 0)), done + first
        done += len(whole)
        if done >= stop:
            return


def _batches(
    batch: pa.RecordBatch, number: int, expansion: Expansion, *, lazy: bool
) -> Iterator[list[tuple[int, Row]]]:
    """The rows of a batch of Arrow's, cut where they are long; the first has this number."""
    sizes = _row_bytes(batch)
    expansion.add(int(sizes.sum()))
    values = {name: _values(batch.column(name), lazy=lazy) for name in batch.schema.names}
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // TOGETHER_BYTES)) + 1
    for start, stop in itertools.pairwise([0, *cuts.tolist(), len(batch)]):
        rows: list[tuple[int, Row]]
        if lazy:
            rows = [(number + i, LazyRow(values, i)) for i in range(start, stop)]
        else:
            rows = [(number + i, {name: column[i] for name, column in values.items()}) for i in range(start, stop)]
        for i in np.flatnonzero(sizes[start:stop] > MAX_ROW_BYTES).tolist():
            detail = f"{sizes[start + i]:,} bytes, more than {MAX_ROW_BYTES:,}"
            rows[i] = (number + start + i, Reject(reason=ROW_TOO_LARGE, detail=detail))
        yield rows


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """So many rows that a batch has about `BATCH_BYTES`, as far as the footer tells."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)))


class LazyRow(Mapping[str, Any]):
    """A row whose texts become Python's when they are asked for: most rows are left out by their short ones."""

    __slots__ = ("_columns", "_number")

    def __init__(self, columns: Mapping[str, Sequence[Any]], number: int) -> None:
        """`columns` holds the values of all rows of a batch, as Python's or as `_Texts`."""
        self._columns, self._number = columns, number

    def __getitem__(self, name: str) -> Any:
        return self._columns[name][self._number]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def get(self, name: str, default: Any = None) -> Any:
        column = self._columns.get(name)  # the inherited method takes three times as long
        return default if column is None else column[self._number]


class _Texts(Sequence[str | None]):
    """The values of a text column, each decoded when it is asked for: in a fifth of the time that Arrow takes."""

    def __init__(self, column: pa.Array) -> None:
        _, offsets, data = column.buffers()
        kind = np.int64 if pa.types.is_large_string(column.type) else np.int32
        self._offsets = np.frombuffer(offsets, kind)[column.offset : column.offset + len(column) + 1].tolist()
        self._data = memoryview(b"" if data is None else data)
        nulls = np.flatnonzero(number_array(column.is_null())) if column.null_count else ()
        self._nulls = frozenset(map(int, nulls))

    def __getitem__(self, number: Any) -> Any:
        if number in self._nulls:
            return None
        return str(self._data[self._offsets[number] : self._offsets[number + 1]], "utf-8")

    def __len__(self) -> int:
        return len(self._offsets) - 1


def _row_bytes(batch: pa.RecordBatch) -> np.ndarray:
    """About how many bytes the values of each row have, int64 [rows]."""
    total = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        if isinstance(column, pa.DictionaryArray):
            lengths = pc.binary_length(column.dictionary).take(column.indices)  # pyright: ignore[reportAttributeAccessIssue]
        elif _is_text(column.type):
            lengths = pc.binary_length(column)  # pyright: ignore[reportAttributeAccessIssue]
        elif pa.types.is_nested(column.type):
            total += [column.slice(i, 1).nbytes for i in range(len(column))]
            continue
        else:
            continue
        total += number_array(lengths)
    return total


def _values(column: pa.Array, *, lazy: bool) -> Sequence[Any]:
    """The values of a column. Those of a dictionary are made once, however often they occur."""
    if not isinstance(column, pa.DictionaryArray):
        kept = lazy and len(column) and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type))
        return _Texts(column) if kept else column.to_pylist()
    indices = column.indices
    places = indices.to_pylist() if indices.null_count else number_array(indices).tolist()
    used = sorted(set(places) - {None})
    known = dict(zip(used, column.dictionary.take(arrow_array(np.array(used, np.int64))).to_pylist(), strict=True))
    return [known.get(place) for place in places]


def _open(path: Path, dictionaries: Sequence[str] = (), footer: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """`footer` is the file's own, when it has been read."""
    try:
        # Without pre-buffering, one row group of a 300 MB shard is decoded piece by piece instead of held whole.
        return pq.ParquetFile(
            path, metadata=footer, pre_buffer=False, buffer_size=1024 * 1024, read_dictionary=list(dictionaries)
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not a whole parquet file ({error}); fetch the file again") from None
    except OSError as error:
        cannot_read(path, error)


def _wanted(path: Path, schema: pa.Schema, columns: Sequence[str], optional: Sequence[str]) -> list[str]:
    """The columns to read, all of them there and of a kind that keeps what was stored."""
    if missing := [name for name in columns if name not in schema.names]:
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))}; its columns are {', '.join(schema.names)}. "
            "Is this the right --source?"
        )
    wanted = [*columns, *(name for name in optional if name in schema.names and name not in columns)]
    if twice := [name for name, n in collections.Counter(schema.names).items() if n > 1 and name in wanted]:
        raise DataError(f"{path} has {len(twice)} columns of one name: {', '.join(twice)}")
    for name in wanted:
        kind = schema.field(name).type
        if not _is_plain(kind):
            raise DataError(
                f"{path}: column {name!r} is {kind}, expected text, or a list of objects with text. Store tools and "
                "messages as JSON strings: an Arrow struct fills every absent argument with null."
            )
    return wanted


def _is_plain(kind: pa.DataType) -> bool:
    """Text, number, boolean, null, or a list of those or of objects of those."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = kind.value_type
        return all(_is_scalar(field.type) for field in inner) if pa.types.is_struct(inner) else _is_scalar(inner)
    return _is_scalar(kind)


def _is_scalar(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    return _is_text(kind) or any(test(kind) for test in tests)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _chunks(metadata: pq.FileMetaData, wanted: Sequence[str]) -> Iterator[tuple[str, pq.ColumnChunkMetaData, int]]:
    """The stored pieces of the wanted columns, with the rows of their group."""
    for i, j in itertools.product(range(metadata.num_row_groups), range(metadata.num_columns)):
        group = metadata.row_group(i)
        chunk = group.column(j)
        if chunk.path_in_schema.partition(".")[0] in wanted:
            yield chunk.path_in_schema, chunk, group.num_rows


def _check_sizes(path: Path, metadata: pq.FileMetaData, wanted: Sequence[str]) -> None:
    for _, chunk, _ in _chunks(metadata, wanted):
        Expansion(path, chunk.total_compressed_size).add(chunk.total_uncompressed_size)


def _repeated(file: pq.ParquetFile, wanted: Sequence[str]) -> list[str]:
    """The text columns whose values repeat so much that reading them as a dictionary saves memory and time."""
    stored: dict[str, list[int]] = {}
    for name, chunk, rows in _chunks(file.metadata, wanted):
        if _is_text(file.schema_arrow.field(name.partition(".")[0]).type):
            stored.setdefault(name, []).append(chunk.total_compressed_size // max(rows, 1))
    return [name for name, sizes in stored.items() if min(sizes) < _REPEATS]
