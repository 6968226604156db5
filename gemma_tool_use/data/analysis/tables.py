"""The tables of the page: what each number counts, and of how many.

turns(statistics).rows[0]     # Line("1", (Cell("rows", 299, "299"), Cell("share", 299, "100.0 %", bar=1.0)))
"""

import collections
import dataclasses
from typing import Any

from gemma_tool_use.data.analysis.faults import REMEDIES
from gemma_tool_use.data.analysis.statistics import DUPLICATE_KINDS, Shape, Statistics
from gemma_tool_use.data.analysis.table import MOST_OFFERED, MOST_USED, grid, marginal, number, passing
from gemma_tool_use.pages.table_parts import (
    MOST_LINES,
    Cell,
    Line,
    Table,
    Tile,
    by_count,
    count_and_share,
    count_lines,
    most_frequent,
    share_cell,
    share_of,
)

LIMITS = (256, 512, 768, 1024, 1536, 2048, 4096, 8192, 16384)
GRID_USED, GRID_OFFERED = 5, 10


def tiles(statistics: Statistics, dialect: str) -> list[Tile]:
    """The overview."""
    shapes, rows = statistics.shapes_of(None), statistics.rows
    single = marginal(shapes, "turns")[1]
    calling = passing(shapes, "used", used=range(1, 1000), offered=range(1000))
    simple = passing(shapes, "used", used=range(MOST_USED + 1), offered=range(MOST_OFFERED + 1), single_turn=True)
    result = [
        Tile("rows-read", statistics.rows_read, "rows read", "of the files below"),
        Tile("rows", rows, "conversations counted", share_of(rows, statistics.rows_read, "rows read")),
        Tile(
            "single-turn",
            single,
            "single-turn",
            share_of(single, rows, "rows"),
        ),
        Tile("calling", calling, "with a call", share_of(calling, rows, "rows")),
        Tile(
            "project-filter",
            simple,
            f"single-turn, ≤ {MOST_USED} tools used, ≤ {MOST_OFFERED} offered",
            share_of(simple, rows, "rows"),
        ),
    ]
    if lengths := statistics.lengths.get(dialect):
        of = f"of {lengths.whole.count:,} rows, {dialect}"
        result.append(Tile("median-whole", lengths.whole.quantile(0.5), "tokens, median", of))
        result.append(Tile("median-first", lengths.first_call.quantile(0.5), "tokens up to the first call, median", of))
    return result


def outcomes(statistics: Statistics) -> Table:
    counts = {"counted": statistics.rows, **dict(by_count(statistics.rejects))}
    remarks = {reason: text[:200] for reason, text in statistics.first_reject.items()}
    caption = f"Of {statistics.rows_read:,} rows read; a row that is not counted is in no other table."
    lines = [
        dataclasses.replace(line, remark=remarks.get(line.label, ""))
        for line in count_lines(counts.items(), statistics.rows_read)
    ]
    return Table("outcomes", caption, ("outcome", "rows", "share", "first"), lines, remark=True)


def subsets(statistics: Statistics) -> Table:
    lines = []
    for name, shapes in sorted(statistics.shapes.items(), key=lambda item: (-item[1].total(), item[0])):
        total = shapes.total()
        simple = passing(shapes, "used", used=range(MOST_USED + 1), offered=range(MOST_OFFERED + 1), single_turn=True)
        calling = passing(shapes, "used", used=range(1, 1000), offered=range(1000))
        single = marginal(shapes, "turns")[1]
        cells = [*count_and_share(total, statistics.rows)]
        cells += [
            share_cell(column, n, total)
            for column, n in (("single-turn", single), ("calling", calling), ("simple", simple))
        ]
        lines.append(Line(name, cells))
    head = ("subset", "rows", "share", "single-turn", "with a call", "simple")
    caption = (
        f"Of {statistics.rows:,} rows. The last three columns are percent of the subset's rows; simple: single-turn, "
        f"at most {MOST_USED} tools used and {MOST_OFFERED} offered."
    )
    return Table("subsets", caption, head, lines)


def turns(statistics: Statistics) -> Table:
    return _numbers(statistics, "turns", "turns", "user messages")


def roles(statistics: Statistics) -> Table:
    total = statistics.roles.total()
    caption = f"Messages by role, of {total:,}."
    return Table("roles", caption, ("role", "messages", "share"), count_lines(by_count(statistics.roles), total))


def tool_counts(statistics: Statistics) -> list[Table]:
    result = [
        _numbers(statistics, "used", "used", "tools used"),
        _numbers(statistics, "offered", "offered", "tools offered"),
        _numbers(statistics, "calls", "calls", "calls in the row"),
        _numbers(statistics, "parallel", "parallel", "most calls in one message"),
    ]
    if _annotated(statistics):
        result.append(_numbers(statistics, "annotated", "annotated", "tools annotated"))
    return result


def filters(statistics: Statistics) -> list[Table]:
    """What the project's filter keeps, by calls and by the annotation column, of each subset."""
    fields = {"used": "calls", "annotated": "annotation"} if _annotated(statistics) else {"used": "calls"}
    lines = []
    for subset in [None, *sorted(statistics.shapes)]:
        shapes, cells = statistics.shapes_of(subset), []
        for field, name in fields.items():
            for least in (0, 1):
                used, offered = range(least, MOST_USED + 1), range(least, MOST_OFFERED + 1)
                n = passing(shapes, field, used=used, offered=offered, single_turn=True)
                cells.append(Cell(f"{name} from {least}", n, f"{n:,}"))
        lines.append(Line(subset or "all", cells))
    head = ["subset"]
    for name in fields.values():
        head += [f"0-2 by {name}, 0-3 offered", f"1-2 by {name}, 1-3 offered"]
    caption = f"Single-turn rows (exactly one user message) by tools used and offered, of {statistics.rows:,} rows."
    return [Table("filters", caption, head, lines)]


def grids(statistics: Statistics) -> list[Table]:
    result = [_grid("grid-used", "all rows, used by calls", statistics.shapes_of(None), "used")]
    if _annotated(statistics):
        result.append(_grid("grid-annotated", "all rows, used by annotation", statistics.shapes_of(None), "annotated"))
    return result


def subset_grids(statistics: Statistics) -> list[Table]:
    if len(statistics.shapes) < 2:
        return []
    fields = {"used": "calls", "annotated": "annotation"} if _annotated(statistics) else {"used": "calls"}
    return [
        _grid(f"grid-{field}/{subset}", f"{subset}, used by {name}", statistics.shapes[subset], field)
        for subset in sorted(statistics.shapes)[:10]
        for field, name in fields.items()
    ]


def lengths(statistics: Statistics) -> Table:
    lines = []
    for name, item in statistics.lengths.items():
        cells = [Cell("rows", item.whole.count, f"{item.whole.count:,}")]
        for column, share in (("median", 0.5), ("p90", 0.9), ("p99", 0.99)):
            value = item.whole.quantile(share)
            cells.append(Cell(column, value, f"{value:,}"))
        cells.append(Cell("longest", item.whole.most, f"{item.whole.most:,}"))
        for column, share in (("first median", 0.5), ("first p90", 0.9)):
            value = item.first_call.quantile(share)
            cells.append(Cell(column, value, f"{value:,}"))
        cells.append(share_cell("trained", item.trained, item.whole.total))
        cells.append(Cell("not writable", item.not_writable, f"{item.not_writable:,}"))
        lines.append(Line(name, cells))
    head = [
        "dialect",
        "rows",
        "median",
        "90 %",
        "99 %",
        "longest",
        "cut: median",
        "cut: 90 %",
        "trained",
        "not writable",
    ]
    caption = (
        "Tokens of a row: half, 90 % and 99 % of the rows have at most so many. Cut: up to the first call. Trained: "
        "share of all tokens of whole rows that contribute to the loss. Not writable: rows the dialect has no form for."
    )
    return Table("lengths", caption, head, lines)


def limits(statistics: Statistics, *, first_call: bool) -> Table:
    lines = []
    for name, item in statistics.lengths.items():
        histogram = item.first_call if first_call else item.whole
        cells = [share_cell(str(limit), histogram.over(limit), histogram.count, bar=True) for limit in LIMITS]
        lines.append(Line(name, cells))
    caption = "Cut after the first call." if first_call else "Whole rows."
    head = ["dialect", *(f"{limit:,}" for limit in LIMITS)]
    return Table("limits-first-call" if first_call else "limits-whole", caption, head, lines, heat=True)


def duplicates(statistics: Statistics) -> Table:
    caption = (
        f"Of {statistics.rows:,} rows, compared by 64-bit hashes. Questions: all user messages of a row, without case, "
        "spacing and punctuation around words. Tools: names and parameters. Extra: rows beyond the first of their kind."
    )
    lines = []
    for kind, what in DUPLICATE_KINDS.items():
        found = statistics.duplicates(kind)
        cells = [Cell(field, value, f"{value:,}") for field, value in found._asdict().items()]
        lines.append(Line(what, [*cells, share_cell("share", found.extra, statistics.rows)]))
    head = ("rows with the", "different", "repeated", "extra", "of all")
    return Table("duplicates", caption, head, lines)


def languages(statistics: Statistics) -> Table:
    names = {language or "no letters": n for language, n in statistics.languages.items()}
    caption = (
        f"Language of the first question as py3langid judges it, of {statistics.rows:,} rows; short ones are guesses."
    )
    return most_frequent("languages", caption, "language", "rows", by_count(names), statistics.rows)


def argument_types(statistics: Statistics) -> Table:
    total = statistics.argument_types.total()
    caption = f"JSON type of the arguments in calls, of {total:,} arguments."
    head = ("type", "arguments", "share")
    return Table("argument-types", caption, head, count_lines(by_count(statistics.argument_types), total))


def parameter_types(statistics: Statistics) -> Table:
    total = statistics.parameter_types.total()
    caption = f"Declared type of the parameters of offered tools, counted in each row, of {total:,} parameters."
    items = by_count(statistics.parameter_types)
    return most_frequent("parameter-types", caption, "type", "parameters", items, total)


def called(statistics: Statistics) -> Table:
    counter = statistics.called
    caption = f"Calls by tool, of {counter.total:,} calls of {_different(counter)} tools."
    return most_frequent("called", caption, "tool", "calls", counter.top(MOST_LINES + 1), counter.total)


def offered(statistics: Statistics) -> Table:
    counter = statistics.offered
    caption = f"Rows that offer the tool, of {statistics.rows:,} rows; {_different(counter)} tools in all."
    items = counter.top(MOST_LINES)
    return Table("offered-names", caption, ("tool", "rows", "share"), count_lines(items, statistics.rows))


def faults(statistics: Statistics) -> Table:
    items = by_count({kind: statistics.faults[kind] for kind in statistics.faults})
    lines = [dataclasses.replace(line, remark=REMEDIES[line.label]) for line in count_lines(items, statistics.rows)]
    caption = "None found." if not lines else "A row may have several."
    return Table("faults", caption, ("fault", "rows", "share", "remedy"), lines, remark=True)


def _different(counter: Any) -> str:
    return f"{len(counter.counts):,}" + (f" or more ({counter.others:,} not told apart)" if counter.others else "")


def _annotated(statistics: Statistics) -> bool:
    return bool(marginal(statistics.shapes_of(None), "annotated"))


def _numbers(statistics: Statistics, field: str, name: str, what: str) -> Table:
    counts = marginal(statistics.shapes_of(None), field)
    items = [(number(value), n) for value, n in sorted(counts.items())]
    return most_frequent(name, f"Rows by {what}, of {counts.total():,}.", what, "rows", items, counts.total())


def _grid(name: str, what: str, shapes: "collections.Counter[Shape]", field: str) -> Table:
    counts = grid(shapes, field)
    total = counts.total()
    cells: collections.Counter[tuple[int, int]] = collections.Counter()
    for (used, offered), n in counts.items():
        cells[min(used, GRID_USED), min(offered, GRID_OFFERED)] += n
    most = max(cells.values(), default=1)
    lines = []
    for used in range(GRID_USED + 1):
        values = [cells[used, offered] for offered in range(GRID_OFFERED + 1)]
        line = [Cell(str(i), n, f"{n:,}" if n else "·", bar=n / most) for i, n in enumerate(values)]
        lines.append(Line(f"{used}{' or more' if used == GRID_USED else ''} used", line))
    head = ["", *(f"{i}{'+' if i == GRID_OFFERED else ''}" for i in range(GRID_OFFERED + 1))]
    return Table(
        name, f"Rows by tools used (down) and offered (across): {what}, of {total:,} rows.", head, lines, heat=True
    )
