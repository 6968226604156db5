"""What tables of the page are made of: numbers that say what they count.

count_lines([("user", 3), ("assistant", 1)], 4)[0]
# Line("user", [Cell("rows", 3, "3"), Cell("share", 3, "75.0 %", bar=0.75)])
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

MOST_LINES = 15


@dataclasses.dataclass(frozen=True)
class Cell:
    """A number: its column, its exact value, how it is written, and a bar of that share of the cell."""

    column: str
    value: float
    text: str
    bar: float | None = None


@dataclasses.dataclass(frozen=True)
class Line:
    """One row of a table: what it is about, its numbers, and a remark."""

    label: str
    cells: Sequence[Cell]
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table. `caption` says what is counted and of how many; `heat` colours cells instead of drawing bars."""

    name: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Line]
    heat: bool = False
    remark: bool = False

    @property
    def wide(self) -> bool:
        """Whether it needs the whole width of the page."""
        return len(self.head) > 4 or self.remark


@dataclasses.dataclass(frozen=True)
class Tile:
    """One number of the overview: its name, exact value, what it is, of what; `text` when it is not a whole number."""

    name: str
    value: float
    label: str
    of: str
    text: str = ""

    @property
    def shown(self) -> str:
        return self.text or f"{self.value:,}"


def by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def count_lines(items: Iterable[tuple[str, int]], total: int) -> list[Line]:
    return [Line(label, count_and_share(n, total)) for label, n in items]


def count_and_share(n: int, total: int) -> list[Cell]:
    return [Cell("rows", n, f"{n:,}"), share_cell("share", n, total, bar=True)]


def share_cell(column: str, n: int, total: int, *, bar: bool = False) -> Cell:
    share = n / total if total else 0.0
    return Cell(column, n, percent(n, total), bar=share if bar else None)


def percent(n: int, total: int) -> str:
    """`0.0 %` and `100.0 %` are written only when they are exact."""
    share = 100 * n / total if total else 0.0
    if 0 < share < 0.05:
        return "< 0.1 %"
    return "> 99.9 %" if 99.95 <= share < 100 else f"{share:.1f} %"


def share_of(n: int, total: int, what: str) -> str:
    return f"{percent(n, total)} of {total:,} {what}"


def most_frequent(name: str, caption: str, what: str, unit: str, items: Sequence[tuple[str, int]], total: int) -> Table:
    """The first lines, and one for all the others, so that the table adds up to `total`."""
    shown = list(items) if len(items) <= MOST_LINES else list(items[: MOST_LINES - 1])
    if rest := total - sum(n for _, n in shown):
        shown.append(("all others", rest))
    return Table(name, caption, (what, unit, "share"), count_lines(shown, total))
