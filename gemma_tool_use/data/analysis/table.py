"""The tables of turns and tools as CSV: subset, filter_type, filter_value, sample_count, percentage, notes.

    subset,filter_type,filter_value,sample_count,percentage,notes
    all,rows,all,119287,100.00,conversations of this subset
    all,used x offered,used=1 offered=3,11234,9.42,different tools in the row's calls x tools it declares
    single-turn-original,project filter by calls,used=1..2 offered=1..3 single-turn,9876,34.95,...

`percentage` is `sample_count` in percent of the subset's rows. Only combinations that occur are listed.
"""

import collections
import csv
import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gemma_tool_use.data.analysis.statistics import MOST_COUNTED, Shape, Statistics

COLUMNS = ("subset", "filter_type", "filter_value", "sample_count", "percentage", "notes")
ALL = "all"
MOST_USED, MOST_OFFERED = 2, 3
"""The project's filter: at most two tools used, three offered."""

_BY_CALLS = "different tools in the row's calls"
_BY_COLUMN = "tools named by the annotation column target_tools"
_OFFERED = "tools the row declares"


class Row(NamedTuple):
    """One line of the CSV; `percentage` has two decimals."""

    subset: str
    filter_type: str
    filter_value: str
    sample_count: int
    percentage: str
    notes: str


def rows(statistics: Statistics) -> list[Row]:
    """Every line: of all rows first, then of each subset, by name."""
    result = list(_of_subset(ALL, statistics.shapes_of(None)))
    for subset in sorted(statistics.shapes):
        result += _of_subset(subset, statistics.shapes[subset])
    return result


def as_csv(lines: list[Row]) -> str:
    """The text of the file. A cell that a spreadsheet would take for a formula gets an apostrophe in front."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_plain(str(cell)) for cell in line] for line in lines)
    return text.getvalue()


def percentage(count: int, of: int) -> str:
    """`percentage(1, 3)` gives `33.33`; of nothing, `0.00`."""
    return f"{100 * count / of if of else 0:.2f}"


def marginal(shapes: "collections.Counter[Shape]", field: str) -> "collections.Counter[int]":
    """Rows by one number of their shape; rows that have none (no annotation column) are not counted."""
    result: collections.Counter[int] = collections.Counter()
    for shape, n in shapes.items():
        value = getattr(shape, field)
        if value is not None:
            result[value] += n
    return result


def grid(shapes: "collections.Counter[Shape]", field: str) -> "collections.Counter[tuple[int, int]]":
    """Rows by (tools used or annotated, tools offered)."""
    result: collections.Counter[tuple[int, int]] = collections.Counter()
    for shape, n in shapes.items():
        value = getattr(shape, field)
        if value is not None:
            result[value, shape.offered] += n
    return result


def passing(
    shapes: "collections.Counter[Shape]", field: str, *, used: range, offered: range, single_turn: bool = False
) -> int:
    """Rows whose number of tools used (or annotated) and offered lie in the ranges."""

    def passes(shape: Shape) -> bool:
        return getattr(shape, field) in used and shape.offered in offered and (shape.turns == 1 or not single_turn)

    return sum(n for shape, n in shapes.items() if passes(shape))


def number(n: int) -> str:
    """The number, or `100 or more`: nothing is counted apart beyond that."""
    return f"{n} or more" if n >= MOST_COUNTED else str(n)


def _of_subset(subset: str, shapes: "collections.Counter[Shape]") -> Iterator[Row]:
    total = shapes.total()

    def row(filter_type: str, filter_value: str, count: int, notes: str) -> Row:
        return Row(subset, filter_type, filter_value, count, percentage(count, total), notes)

    yield row("rows", ALL, total, "conversations of this subset")
    for field, name, notes in (
        ("turns", "turns", "user messages"),
        ("used", "tools used", _BY_CALLS),
        ("annotated", "tools annotated", _BY_COLUMN),
        ("offered", "tools offered", _OFFERED),
        ("calls", "calls", "calls in the whole row"),
        ("parallel", "parallel calls", "most calls in one message"),
    ):
        for value, n in sorted(marginal(shapes, field).items()):
            yield row(name, number(value), n, notes)
    for field, name, notes in _grids(shapes):
        for (used, offered), n in sorted(grid(shapes, field).items()):
            label = f"{name.partition(' ')[0]}={number(used)} offered={number(offered)}"
            yield row(name, label, n, notes)
    yield from _filters(shapes, row)


def _grids(shapes: "collections.Counter[Shape]") -> Iterator[tuple[str, str, str]]:
    yield "used", "used x offered", f"{_BY_CALLS} x {_OFFERED}"
    if marginal(shapes, "annotated"):
        yield "annotated", "annotated x offered", f"{_BY_COLUMN} x {_OFFERED}"


def _filters(shapes: "collections.Counter[Shape]", row: Callable[[str, str, int, str], Row]) -> Iterator[Row]:
    by = {"used": ("by calls", _BY_CALLS), "annotated": ("by annotation", _BY_COLUMN)}
    for field, _, _ in _grids(shapes):
        name, counted = by[field]
        for most_used in (1, 2, 3):
            for most_offered in (1, 2, 3, 5, 10):
                n = passing(shapes, field, used=range(most_used + 1), offered=range(most_offered + 1))
                yield row(f"at most, {name}", f"used<={most_used} offered<={most_offered}", n, f"{counted}; 0 included")
        for least, text in ((0, f"used<={MOST_USED} offered<={MOST_OFFERED}"), (1, "used=1..2 offered=1..3")):
            used, offered = range(least, MOST_USED + 1), range(least, MOST_OFFERED + 1)
            n = passing(shapes, field, used=used, offered=offered, single_turn=True)
            yield row(f"project filter {name}", f"{text} single-turn", n, f"{counted}; exactly one user message")


def _plain(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
