"""Maps one unit of an input file into files of its own: the step that runs on every core, and under Apache Beam.

    map_unit(UnitJob(number=7, unit=unit, task=task, folder="out.partial/units"))
    # out.partial/units/00007.kept.parquet       text of the kept rows, and the keys the global stage needs
    #                   00007.rejects.parquet    position, reason and the finished line of rejects.jsonl
    #                   00007.json               the marker, written last: names, sizes, number of rows

A unit whose marker is there is not mapped again. The files depend on nothing but the job, and each appears whole or not
at all, so a unit may be mapped by two processes at once, or again after one of them was killed.

The position of a row is `unit number * 2**32 + row in the unit`: the order of the rows over all inputs.
"""

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.arrow_numbers import arrow_array
from gemma_tool_use.data.engine.atomic import write_json, written
from gemma_tool_use.data.engine.traits import NO_TRAITS, traits
from gemma_tool_use.data.files import Row, Unit, read_batches
from gemma_tool_use.data.keys import row_keys
from gemma_tool_use.data.minhash import SIGNATURE_SIZE, bands, signatures
from gemma_tool_use.data.rejects import NOT_UNICODE, Reject
from gemma_tool_use.data.row_task import RowTask
from gemma_tool_use.data.row_text import json_text, messages_text, tools_text
from gemma_tool_use.errors import DataError

ROWS_PER_UNIT = 2**32
TEXT_COLUMNS = ("id", "source", "license", "tools", "messages", "meta")
SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        *((name, pa.string()) for name in TEXT_COLUMNS),
        ("place", pa.string()),
        ("shortened", pa.bool_()),
        ("question", pa.uint64()),
        ("exact", pa.uint64()),
        ("apis", pa.list_(pa.uint64())),
        ("bands", pa.list_(pa.uint64())),
        ("signature", pa.binary(4 * SIGNATURE_SIZE)),
        *((name, pa.bool_()) for name in ("has_call", "convertible", "mergeable")),
        ("stage", pa.uint8()),
    ]
)
REJECTS_SCHEMA = pa.schema(
    [("position", pa.int64()), ("reason", pa.string()), ("bad", pa.bool_()), ("line", pa.string())]
)
_BANDS, _SIGNATURE = SCHEMA.get_field_index("bands"), SCHEMA.get_field_index("signature")
# Rows held before they are written: some ten MB of the longest conversations.
WRITE_ROWS = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnitJob:
    """One unit and what is done to its rows.

    Attributes:
      number: of the unit, over all inputs; names its files.
      unit: the part of a file.
      task: maps a row.
      folder: where the unit's files go.
      near: whether the keys of near duplicates are written; they take a third of the time of a kept row.
      traits: whether what mixing and augmentation ask of a row is found out (see `traits.py`).
    """

    number: int
    unit: Unit
    task: RowTask
    folder: str
    near: bool = True
    traits: bool = False

    def path(self, suffix: str) -> Path:
        return Path(self.folder, f"{self.number:05d}{suffix}")

    @property
    def name(self) -> str:
        return f"{self.unit.path.name} (unit {self.number})"

    def marker(self) -> dict[str, Any] | None:
        """What the unit's marker says; None when there is none or the files beside it are not those it names."""
        try:
            marker = json.loads(self.path(".json").read_text(encoding="ascii"))
            sizes = {name: Path(self.folder, name).stat().st_size for name in marker["files"]}
        except FileNotFoundError:
            return None
        return marker if sizes == marker["files"] else None


def map_unit(job: UnitJob) -> dict[str, Any]:
    """Reads, filters and writes one unit; returns its marker.

    Raises:
      FileError: the input or the folder cannot be read or written.
      DataError: the file is damaged, has not the columns of the source, or needs more memory than a worker has.
    """
    if (marker := job.marker()) is not None:
        return marker
    source = job.task.definition
    rows = kept = 0
    first_bad: str | None = None
    try:
        with (
            _KeptWriter(job.path(".kept.parquet"), SCHEMA) as keep,
            RowWriter(job.path(".rejects.parquet"), REJECTS_SCHEMA) as no,
        ):
            lazy = source.subset is not None  # then most rows are left out without a look at their long texts
            for batch in read_batches(job.unit, source.columns, source.optional, lazy=lazy):
                for columns in _mapped(job, batch):
                    position = job.number * ROWS_PER_UNIT + rows
                    rows += 1
                    if not isinstance(columns, Reject):
                        kept += 1
                        keep.add((position, *columns))
                        continue
                    line = reject_line(columns)
                    no.add((position, columns.reason, columns.bad, line))
                    if columns.bad and first_bad is None:
                        first_bad = line
    except MemoryError:
        raise DataError(
            f"{job.name} needs more memory than a worker may use: a row of it is huge, or the file is made to expand"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{job.name} is damaged ({error}); fetch the file again") from None
    files = {path.name: path.stat().st_size for path in (job.path(".kept.parquet"), job.path(".rejects.parquet"))}
    marker = {"rows": rows, "kept": kept, "first_bad": first_bad, "files": files}
    write_json(job.path(".json"), marker)
    return marker


def reject_line(reject: Reject) -> str:
    """A line of `rejects.jsonl`. ASCII, because the detail may quote a lone surrogate that UTF-8 has no form for."""
    text = json.encoder.encode_basestring_ascii  # json.dumps makes an encoder for each call
    return (
        f'{{"id": {text(reject.id)}, "reason": {text(reject.reason)}, '
        f'"detail": {text(reject.detail)}, "where": {text(reject.where)}}}'
    )


def _mapped(job: UnitJob, batch: Sequence[tuple[str, Row]]) -> Iterator[tuple[Any, ...] | Reject]:
    """What becomes of each row; the rules look at all of them together."""
    task = job.task
    read = [row if isinstance(row, Reject) else task.read(row, where) for where, row in batch]
    good = [(where, row) for (where, _), row in zip(batch, read, strict=True) if isinstance(row, Conversation)]
    decided = iter(task.decide_all(good))
    for (where, _), row in zip(batch, read, strict=True):
        if isinstance(row, Reject):
            yield row
        else:
            outcome = next(decided)
            yield outcome if isinstance(outcome, Reject) else _kept(job, row, outcome, where)


def _kept(job: UnitJob, read: Conversation, kept: Conversation, where: str) -> tuple[Any, ...] | Reject:
    """The values of a kept row in the order of `SCHEMA`, without its position.

    For its bands stands the hash they are made with, for its signature the text it is made of.
    """
    licence = job.task.definition.licence
    try:
        texts = [tools_text(kept.tools), messages_text(kept.messages), json_text(kept.meta)]
    except UnicodeEncodeError as error:
        return Reject(id=kept.id, reason=NOT_UNICODE, detail=str(error), where=where)
    keys = row_keys(kept, near=False)
    shortened = len(kept.messages) < len(read.messages)
    found = traits(read, kept) if job.traits else NO_TRAITS
    return (
        *(kept.id, kept.source, "" if licence is None else licence.name, *texts, where),
        *(shortened, keys.question, keys.exact, keys.apis, keys.called, keys.text if job.near else None),
        *found,
    )


class RowWriter(contextlib.AbstractContextManager["RowWriter"]):
    """A parquet file written a few rows at a time, which appears when the body ends without an error."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema, self._rows = schema, []
        self._stack = contextlib.ExitStack()
        # The marker is written after it, into the same folder, and does not count without the files it names.
        temporary = self._stack.enter_context(written(path, sync_name=False))
        # Zstandard level 1 writes as fast as Snappy and LZ4, and half as much.
        how: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "use_dictionary": False}
        how["write_statistics"] = ["position"]  # PyArrow's stubs know True and False only
        self._file = self._stack.enter_context(pq.ParquetWriter(temporary, schema, **how))

    def add(self, values: tuple[Any, ...]) -> None:
        self._rows.append(values)
        if len(self._rows) == WRITE_ROWS:
            self._flush()

    def _columns(self) -> list[Sequence[Any]]:
        return list(zip(*self._rows, strict=True))

    def _flush(self) -> None:
        arrays = [_array(column, field.type) for column, field in zip(self._columns(), self._schema, strict=True)]
        self._file.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows = []

    def __exit__(self, *error: Any) -> bool | None:
        if error[0] is None and self._rows:
            self._flush()
        return self._stack.__exit__(*error)


class _KeptWriter(RowWriter):
    """The writer of kept rows: finds signatures and bands of all rows that it writes at once, in half of the time."""

    def _columns(self) -> list[Sequence[Any]]:
        columns = super()._columns()
        groups, texts = np.array(columns[_BANDS], np.uint64), columns[_SIGNATURE]
        if texts[0] is None:
            columns[_BANDS] = [()] * len(groups)
        else:
            values = signatures(texts)
            columns[_BANDS], columns[_SIGNATURE] = bands(values, groups=groups), [row.tobytes() for row in values]
        return columns


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """An Arrow array, by way of NumPy, since `pa.array` imports pandas.

    Raises:
      MemoryError: texts of more than 2 GiB.
    """
    if pa.types.is_list(kind):
        flat = values.ravel() if isinstance(values, np.ndarray) else np.fromiter(itertools.chain(*values), np.uint64)
        return pa.ListArray.from_arrays(arrow_array(_offsets(map(len, values))), arrow_array(flat), type=kind)
    if values[0] is None:  # the signature or the traits of every row or of none
        return pa.nulls(len(values), kind)
    if pa.types.is_string(kind):
        texts = [value.encode() for value in values]
        offsets = pa.py_buffer(_offsets(map(len, texts)))
        return pa.StringArray.from_buffers(len(texts), offsets, pa.py_buffer(b"".join(texts)))
    if pa.types.is_fixed_size_binary(kind):
        return pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, pa.py_buffer(b"".join(values))])
    return arrow_array(np.array(values, kind.to_pandas_dtype()))


def _offsets(lengths: Iterable[int]) -> np.ndarray:
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    if offsets[-1] > np.iinfo(np.int32).max:
        raise MemoryError
    return offsets.astype(np.int32)
