"""Tables and the plot of scores.json: every number of them is one of that file, or of the comparison with the base.

scores("bfcl", content["suites"]["bfcl"])      # Table("bfcl-scores", ...)
"""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from gemma_tool_use.evaluation.aggregate import share
from gemma_tool_use.evaluation.paired import PairedScore, PairedSuite
from gemma_tool_use.evaluation.records import FAILURES
from gemma_tool_use.pages.plot import ACCENT, INK, SERIES, Plot, draw
from gemma_tool_use.pages.table_parts import Cell, Line, Table, Tile
from gemma_tool_use.visible import one_line

TOTAL = "all"
_JUDGEMENTS = {"better": (1, "better"), "worse": (-1, "worse"), "unclear": (0, "not clear")}
Scores = Mapping[str, Any]
"""The part of scores.json that is about one suite."""


def tiles(suite: str, of: Scores, paired: PairedSuite | None) -> list[Tile]:
    """The overview of a suite."""
    total = of["total"]
    result = [
        Tile(
            f"{suite}-{rule}",
            total[rule]["value"],
            f"{suite}, {rule}",
            _of(total[rule]),
            _percent(total[rule]["value"]),
        )
        for rule in ("official", "strict")
    ]
    if paired is not None:
        score = paired.total
        interval = f"points, strict, {100 * score.low:+.1f} to {100 * score.high:+.1f}"
        difference = f"{100 * score.difference:+.1f}"
        result.append(Tile(f"{suite}-difference", score.difference, f"{suite}, against base", interval, difference))
    if total["errors"]:
        result.append(Tile(f"{suite}-errors", total["errors"], f"{suite}, without an answer", "counted as wrong"))
    return result


def scores(suite: str, of: Scores) -> Table:
    """Right answers of each category under both rules."""
    head = ("category", "items", "official", "95 %", "strict", "95 %", "with a call", "not readable", "no answer")
    caption = (
        f"{suite}: share of right answers with its 95 % Wilson interval. Strict: where no call is wanted, a call that "
        "cannot be read is wrong too. With a call, not readable: replies that hold one, or something that is none."
    )
    return Table(f"{suite}-scores", caption, head, [_line(name, score) for name, score in _all(of)])


def failures(suite: str, of: Scores) -> Table:
    """Why answers are wrong, by category."""
    names = [name for name in FAILURES if name in of["total"]["failures"]]
    lines = []
    for category, score in _all(of):
        counts = [score["failures"].get(name, {"count": 0})["count"] for name in names]
        cells = [
            Cell(name, n, f"{n:,}" if n else "", bar=n / score["count"]) for name, n in zip(names, counts, strict=True)
        ]
        lines.append(Line(category, cells))
    caption = f"{suite}: wrong answers under the strict rule, by the first reason found; colour: share of the category."
    return Table(f"{suite}-failures", caption, ("category", *map(_words, names)), lines, heat=True)


def measures(suite: str, of: Scores) -> Table:
    """The numbers that only this suite has."""
    lines = []
    for name, measure in of["measures"].items():
        interval = "" if measure["low"] is None else _interval(measure)
        cells = [
            Cell("value", measure["value"], _percent(measure["value"]), bar=measure["value"]),
            Cell("95 %", measure["value"] if measure["low"] is None else measure["low"], interval),
            Cell("of", measure["count"], f"{measure['count']:,}"),
        ]
        lines.append(Line(_words(name), cells))
    return Table(f"{suite}-measures", f"{suite}: further measures.", ("measure", "value", "95 %", "of"), lines)


def against(suite: str, paired: PairedSuite, base: str) -> Table:
    """The same items answered by the base."""
    rows = {**paired.categories, **({TOTAL: paired.total} if len(paired.categories) > 1 else {})}
    caption = (
        f"{suite}, strict rule, against {base} on the same items. Difference: in points, with its 95 % bootstrap "
        "interval; p: McNemar's exact test, over the categories after Holm; not clear: p is 0.05 or more."
    )
    head = ("category", "items", "base", "this", "difference", "95 %", "fixed", "broken", "p", "this is")
    return Table(f"{suite}-against", caption, head, [_paired_line(*row) for row in rows.items()])


def picture(suite: str, of: Scores, paired: PairedSuite | None) -> Plot:
    """Strict shares with their intervals, over those of the base where there is one."""
    rows = list(_all(of))
    base = {} if paired is None else {**paired.categories, TOTAL: paired.total}
    drawn = draw(lambda ax: _forest(ax, rows, base), 1.1 + 0.33 * len(rows))
    with_base = "; grey: base" if base else ""
    return Plot(f"{suite}, strict", f"Share of right answers, 95 % Wilson interval{with_base}.", drawn)


def _all(of: Scores) -> list[tuple[str, Scores]]:
    categories = list(of["categories"].items())
    return categories if len(categories) == 1 else [*categories, (TOTAL, of["total"])]


def _line(name: str, score: Scores) -> Line:
    shares = [
        cell
        for rule in ("official", "strict")
        for cell in (
            Cell(rule, score[rule]["value"], _percent(score[rule]["value"]), bar=score[rule]["value"]),
            Cell(f"{rule} 95 %", score[rule]["low"], _interval(score[rule])),
        )
    ]
    counts = [Cell(key, score[key], f"{score[key]:,}") for key in ("called", "broken", "errors")]
    return Line(name, [Cell("items", score["count"], f"{score['count']:,}"), *shares, *counts])


def _paired_line(name: str, score: PairedScore) -> Line:
    a, b = score.right_a / score.count, score.right_b / score.count
    interval = f"{100 * score.low:+.1f} to {100 * score.high:+.1f}"
    cells = [
        Cell("items", score.count, f"{score.count:,}"),
        Cell("base", a, _percent(a), bar=a),
        Cell("this", b, _percent(b), bar=b),
        Cell("difference", score.difference, f"{100 * score.difference:+.1f}"),
        Cell("95 %", score.low, interval),
        Cell("fixed", score.fixed, f"{score.fixed:,}"),
        Cell("broken", score.broken, f"{score.broken:,}"),
        Cell("p", score.adjusted, f"{score.adjusted:.3f}" if score.adjusted >= 0.001 else "< 0.001"),
        Cell("this is", *_JUDGEMENTS[score.judgement]),
    ]
    return Line(name, cells)


def _forest(ax: Axes, rows: list[tuple[str, Scores]], base: Mapping[str, PairedScore]) -> None:
    for y, (name, score) in enumerate(rows):
        strict = score["strict"]
        if name in base:
            before = share(base[name].right_a, base[name].count)
            _whisker(ax, y + 0.22, before.value, before.low, before.high, SERIES[-1])
        _whisker(ax, y, strict["value"], strict["low"], strict["high"], ACCENT)
        ax.text(102, y, f"{100 * strict['value']:.0f}", va="center", fontsize=9, color=INK)
    ax.set_yticks(range(len(rows)), [one_line(name, 24) for name, _ in rows])
    ax.set(xlim=(-2, 110), ylim=(len(rows) - 0.5, -0.5), xlabel="% right")
    ax.set_xticks(range(0, 101, 20))
    ax.grid(axis="y", visible=False)


def _whisker(ax: Axes, y: float, value: float, low: float, high: float, colour: str) -> None:
    ax.plot([100 * low, 100 * high], [y, y], color=colour, lw=2, solid_capstyle="butt")
    ax.plot([100 * value], [y], "o", color=colour, ms=4.5)


def _of(counted: Mapping[str, Any]) -> str:
    return f"right: {counted['right']:,} of {counted['count']:,}, {_interval(counted)}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _interval(counted: Mapping[str, Any]) -> str:
    return f"{100 * counted['low']:.1f} – {100 * counted['high']:.1f}"


def _words(name: str) -> str:
    return name.replace("_", " ")
