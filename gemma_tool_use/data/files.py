"""Rows from parquet, JSONL and JSON array files, whole or in units, and a clear word when a file is not what it seems.

    for where, row in read_rows(Path("train.parquet"), ("uuid", "messages")): ...
    # "train.parquet row 0", {"uuid": "u1", "messages": "[...]"}
    for unit in units(Path("rows.jsonl"), rows_per_unit=5000):      # to be read in any order, by several processes
        for where, row in read_unit(unit, ("messages",)): ...       # together exactly the rows of the file

JSONL and JSON arrays may be gzipped (`.gz`). A row that cannot be read is a `Reject` at its place; a file that cannot
be read further is an error. Memory is bounded whatever the file holds: see `parquet_file.py` and `json_file.py`.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from gemma_tool_use.data.json_file import (
    jsonl_lines,
    line_cuts,
    read_array,
    read_lines,
    starts_with,
    strict_json,
)
from gemma_tool_use.data.limits import cannot_read
from gemma_tool_use.data.parquet_file import (
    Row,
    group_rows,
    parquet_batches,
    parquet_columns,
    parquet_rows,
    plain_columns,
)
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.errors import DataError

__all__ = (
    "SUFFIXES",
    "Unit",
    "existing",
    "identity",
    "jsonl_lines",
    "parquet_columns",
    "parquet_rows",
    "plain_columns",
    "read_batches",
    "read_rows",
    "read_unit",
    "strict_json",
    "units",
)

Kind = Literal["parquet", "lines", "array"]
_JSON = (".jsonl", ".json", ".ndjson")
SUFFIXES = (".parquet", *_JSON, *(f"{suffix}.gz" for suffix in _JSON))
"""Of the files that hold rows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
    """A part of a file that can be read by itself.

    Attributes:
      path: the file.
      kind: how its rows are stored.
      start: the first row of a parquet file, or the byte at which a line of JSONL starts.
      stop: the row or byte before which it ends; None for the end of the file.
      number: the number that `where` gives to the first line; only JSONL needs it.
    """

    path: Path
    kind: Kind
    start: int = 0
    stop: int | None = None
    number: int = 1


def read_rows(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[str, Row]]:
    """The place and the row of each row of a file, in order; see `read_unit`."""
    return read_unit(Unit(path=path, kind=kind_of(path)), columns, optional)


def units(path: Path, rows_per_unit: int) -> list[Unit]:
    """The parts of a file, in order; reading them all gives exactly what `read_rows` gives, at the same places.

    A parquet file is cut between row groups, and inside those that hold more than twice `rows_per_unit`, since a cut
    inside means that what precedes it is decoded again. JSONL is cut between lines. A gzipped file and a JSON array can
    be read only from the start: they are one unit of any size, so hold no unit's rows together.

    Raises: as `read_unit`; JSONL is read through once to find the lines.
    """
    kind = kind_of(path)
    if kind == "parquet":
        cuts = [(start, 1) for start in _row_cuts(group_rows(path), rows_per_unit)]
    elif kind == "lines" and path.suffix != ".gz":
        cuts = list(line_cuts(path, rows_per_unit))
    else:
        return [Unit(path=path, kind=kind)]
    stops = [*(start for start, _ in cuts[1:]), None]
    return [
        Unit(path=path, kind=kind, start=start, stop=stop, number=number)
        for (start, number), stop in zip(cuts, stops, strict=False)  # an empty file has no cut
    ]


def read_unit(unit: Unit, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[str, Row]]:
    """The place and the row of each row of a unit.

    The place is `rows.jsonl:3`, lines counted from 1, or `rows.parquet row 2`, rows counted from 0, as those of a JSON
    array. A row of parquet has `columns` and those of `optional` that the file has; a row of JSON has whatever it has.

    Raises: as `read_batches`.
    """
    return itertools.chain.from_iterable(read_batches(unit, columns, optional))


def read_batches(
    unit: Unit, columns: Sequence[str], optional: Sequence[str] = (), *, lazy: bool = False
) -> Iterator[list[tuple[str, Row]]]:
    """The same, some hundred rows of parquet at a time, of other files one; their memory is bounded.

    With `lazy` a row of parquet is a mapping that decodes a text when it is asked for, else a dict.

    Raises:
      FileError: the file cannot be opened.
      DataError: it is damaged, not what its name says, of another suffix than `SUFFIXES`, or without one of `columns`;
        or it expands beyond measure, or has an endless line.
    """
    before = f"{unit.path.name}:" if unit.kind == "lines" else f"{unit.path.name} row "
    for batch in _numbered(unit, columns, optional, lazy):
        yield [
            (at := f"{before}{number}", dataclasses.replace(row, where=at) if isinstance(row, Reject) else row)
            for number, row in batch
        ]


def kind_of(path: Path) -> Kind:
    """How the rows of a file are stored, by its suffix and first characters.

    Raises:
      FileError: the file cannot be opened.
      DataError: another suffix than `SUFFIXES`, or a content that does not fit it.
    """
    if path.suffix == ".parquet":
        return "parquet"
    if not path.name.endswith(SUFFIXES):
        raise DataError(f"{path} is none of the files that hold rows: {', '.join(SUFFIXES)}")
    return "array" if starts_with(path) == "[" else "lines"


def existing(location: str | Path) -> Path:
    """The path, once it is known to exist.

    Raises:
      FileError: no such file or folder.
    """
    path = Path(location).expanduser()
    try:
        path.stat()
    except OSError as error:
        cannot_read(path, error)
    return path


def identity(path: Path) -> dict[str, Any]:
    """`{"file": name, "bytes": size, "sha256": hex}` of a file."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"file": str(path), "bytes": path.stat().st_size, "sha256": digest}
    except OSError as error:
        cannot_read(path, error)


def _numbered(
    unit: Unit, columns: Sequence[str], optional: Sequence[str], lazy: bool
) -> Iterator[list[tuple[int, Row]]]:
    if unit.kind == "parquet":
        return parquet_batches(unit.path, columns, optional, unit.start, unit.stop, lazy=lazy)
    rows = read_array(unit.path) if unit.kind == "array" else read_lines(unit.path, unit.start, unit.stop, unit.number)
    return ([row] for row in rows)


def _row_cuts(groups: Sequence[int], rows_per_unit: int) -> Iterator[int]:
    """The first row of each unit: groups of 3, 3 and 10 rows, cut for 4 rows a unit, give 0, 6, 10 and 13..."""
    row, cut = 0, 0
    yield cut
    for rows in groups:
        if row > cut and row - cut + rows > rows_per_unit:
            cut = row
            yield cut
        if rows > 2 * rows_per_unit:
            for start in range(row + rows_per_unit, row + rows, rows_per_unit):
                cut = start
                yield cut
        row += rows
