"""The plots of an analysis as SVG text: narrow, so that they are read at their own size on a phone, and deterministic.

    plots(statistics)["fits"].svg      # "<svg ...>"; the same bytes in every run

Colours of text and lines are CSS variables of the page with a value of their own, so a plot follows the page's light or
dark scheme and can also be opened alone. No text in them comes from a row.
"""

import collections
import dataclasses
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gemma_tool_use.data.analysis.counting import Histogram
from gemma_tool_use.data.analysis.statistics import Statistics
from gemma_tool_use.data.analysis.table import grid, marginal

WIDTH, HEIGHT = 4.9, 3.1  # inches of 72 CSS pixels: 353 pixels fit a phone without scaling
LIMITS = tuple(2**n for n in range(6, 16))
MOST_BARS = 12
GRID_USED, GRID_OFFERED = 5, 10

# Written by matplotlib, then replaced by the page's variables.
_INK, _LINE, _ACCENT = "#010203", "#040506", "#070809"
_VARIABLES = {_INK: "var(--ink, #1f2328)", _LINE: "var(--line, #d0d7de)", _ACCENT: "var(--accent, #2f6fde)"}
_SERIES = ("#2f6fde", "#d1742b", "#2f9e6e", "#c2497f", "#8a63d2", "#8c8c2a", "#2aa0b8", "#a0522d", "#7a8088")


@dataclasses.dataclass(frozen=True)
class Plot:
    """A picture and the sentence that says what it counts."""

    title: str
    caption: str
    svg: str


def plots(statistics: Statistics) -> dict[str, Plot]:
    """Name to plot, in the order of the page."""
    shapes, rows = statistics.shapes_of(None), f"{statistics.rows:,} rows"
    measured = f"{statistics.measured:,} measured rows"
    whole = {name: lengths.whole for name, lengths in statistics.lengths.items()}
    first = {name: lengths.first_call for name, lengths in statistics.lengths.items()}
    turns, offered = marginal(shapes, "turns"), marginal(shapes, "offered")
    result = {
        "turns": Plot(
            "Turns", f"User messages of a row, of {rows}.", _draw(lambda ax: _bars(ax, turns, "user messages"))
        ),
        "tools_offered": Plot(
            "Tools offered", f"Tools a row declares, of {rows}.", _draw(lambda ax: _bars(ax, offered, "tools offered"))
        ),
        "used_x_offered": Plot(
            "Used and offered",
            f"Different tools in the calls of a row and tools it declares, of {rows}; percent in each field.",
            _draw(lambda ax: _heat(ax, grid(shapes, "used"))),
        ),
    }
    if whole:
        result["fits_whole"] = Plot(
            "What fits, whole rows",
            f"Share of {measured} with at most so many tokens.",
            _draw(lambda ax: _fits(ax, whole), 3.9),
        )
        result["fits_first_call"] = Plot(
            "What fits, cut after the first call",
            f"Share of {measured} with at most so many tokens when each ends after its first call.",
            _draw(lambda ax: _fits(ax, first), 3.9),
        )
    return result


def _draw(paint: Callable[[Axes], None], height: float = HEIGHT) -> str:
    style: dict[Any, Any] = {
        "svg.hashsalt": "gemma-tool-use",
        "svg.fonttype": "none",
        "font.size": 10,
        "font.family": "sans-serif",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.linewidth": 0.6,
        "grid.color": _LINE,
        "axes.edgecolor": _LINE,
        **{f"{name}color": _INK for name in ("text.", "axes.label", "xtick.", "ytick.")},
    }
    file = io.StringIO()
    with mpl.rc_context(style), warnings.catch_warnings():
        # A Figure of its own has the Agg canvas and leaves the process's pyplot state, and any display, alone.
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        paint(figure.add_subplot())
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text[text.index("<svg") :]


def _bars(ax: Axes, counts: "collections.Counter[int]", label: str) -> None:
    total = counts.total() or 1
    low = min(counts, default=0)
    values = list(range(low, min(max(counts, default=0), low + MOST_BARS - 1) + 1))
    heights = [counts[value] for value in values]
    names = [str(value) for value in values]
    if values and max(counts) > values[-1]:
        heights[-1] += sum(n for value, n in counts.items() if value > values[-1])
        names[-1] += "+"
    bars = ax.bar(names, [100 * height / total for height in heights], color=_ACCENT)
    ax.bar_label(bars, [_percent(height, total) for height in heights], fontsize=9, color=_INK)
    ax.set_xlim(-0.7, max(len(names), MOST_BARS // 2) - 0.3)
    ax.grid(axis="x", visible=False)
    ax.set_xlabel(label)
    ax.set_ylabel("% of rows")


def _percent(n: int, total: int) -> str:
    return "" if not n else "<1" if n / total < 0.005 else f"{100 * n / total:.0f}"


def _heat(ax: Axes, counts: "collections.Counter[tuple[int, int]]") -> None:
    total = counts.total() or 1
    table = [[0.0] * (GRID_OFFERED + 1) for _ in range(GRID_USED + 1)]
    for (used, offered), n in counts.items():
        table[min(used, GRID_USED)][min(offered, GRID_OFFERED)] += 100 * n / total
    most = max(map(max, table)) or 1
    for used, line in enumerate(table):
        for offered, share in enumerate(line):
            ax.add_patch(Rectangle((offered - 0.5, used - 0.5), 1, 1, color=_ACCENT, alpha=0.85 * share / most, lw=0))
            if share:
                ax.text(
                    offered,
                    used,
                    "<1" if share < 0.5 else f"{share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=9,
                    color=_INK,
                )
    ax.set(xlim=(-0.5, GRID_OFFERED + 0.5), ylim=(-0.5, GRID_USED + 0.5), xlabel="tools offered", ylabel="tools used")
    ax.set_xticks(range(GRID_OFFERED + 1), [*map(str, range(GRID_OFFERED)), f"{GRID_OFFERED}+"])
    ax.set_yticks(range(GRID_USED + 1), [*map(str, range(GRID_USED)), f"{GRID_USED}+"])
    ax.grid(visible=False)
    ax.tick_params(length=0)


def _fits(ax: Axes, histograms: Mapping[str, Histogram]) -> None:
    for colour, (name, histogram) in zip(_SERIES * 2, histograms.items(), strict=False):
        total = histogram.count or 1
        shares = [100 * (1 - histogram.over(limit) / total) for limit in LIMITS]
        ax.plot(range(len(LIMITS)), shares, color=colour, lw=1.6, marker=".", label=name)
    ax.set_xticks(range(len(LIMITS)), [str(n) if n < 1024 else f"{n // 1024}k" for n in LIMITS])
    ax.set(ylim=(0, 103), xlabel="tokens", ylabel="% of rows that fit")
    ax.figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)  # pyright: ignore[reportAttributeAccessIssue]
