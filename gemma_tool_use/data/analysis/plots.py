"""The plots of an analysis as SVG text. No text in them comes from a row.

plots(statistics)["fits_whole"].svg      # "<svg ...>"; the same bytes in every run
"""

import collections
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from gemma_tool_use.data.analysis.counting import Histogram
from gemma_tool_use.data.analysis.statistics import Statistics
from gemma_tool_use.data.analysis.table import grid, marginal
from gemma_tool_use.pages.plot import ACCENT, INK, SERIES, Plot, draw

LIMITS = tuple(2**n for n in range(6, 16))
MOST_BARS = 12
GRID_USED, GRID_OFFERED = 5, 10


def plots(statistics: Statistics) -> dict[str, Plot]:
    """Name to plot, in the order of the page."""
    shapes, rows = statistics.shapes_of(None), f"{statistics.rows:,} rows"
    measured = f"{statistics.measured:,} measured rows"
    whole = {name: lengths.whole for name, lengths in statistics.lengths.items()}
    first = {name: lengths.first_call for name, lengths in statistics.lengths.items()}
    turns, offered = marginal(shapes, "turns"), marginal(shapes, "offered")
    result = {
        "turns": Plot(
            "Turns", f"User messages of a row, of {rows}.", draw(lambda ax: _bars(ax, turns, "user messages"))
        ),
        "tools_offered": Plot(
            "Tools offered", f"Tools a row declares, of {rows}.", draw(lambda ax: _bars(ax, offered, "tools offered"))
        ),
        "used_x_offered": Plot(
            "Used and offered",
            f"Different tools in the calls of a row and tools it declares, of {rows}; percent in each field.",
            draw(lambda ax: _heat(ax, grid(shapes, "used"))),
        ),
    }
    if whole:
        result["fits_whole"] = Plot(
            "What fits, whole rows",
            f"Share of {measured} with at most so many tokens.",
            draw(lambda ax: _fits(ax, whole), 3.9),
        )
        result["fits_first_call"] = Plot(
            "What fits, cut after the first call",
            f"Share of {measured} with at most so many tokens when each ends after its first call.",
            draw(lambda ax: _fits(ax, first), 3.9),
        )
    return result


def _bars(ax: Axes, counts: "collections.Counter[int]", label: str) -> None:
    total = counts.total() or 1
    low = min(counts, default=0)
    values = list(range(low, min(max(counts, default=0), low + MOST_BARS - 1) + 1))
    heights = [counts[value] for value in values]
    names = [str(value) for value in values]
    if values and max(counts) > values[-1]:
        heights[-1] += sum(n for value, n in counts.items() if value > values[-1])
        names[-1] += "+"
    bars = ax.bar(names, [100 * height / total for height in heights], color=ACCENT)
    ax.bar_label(bars, [_percent(height, total) for height in heights], fontsize=9, color=INK)
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
            ax.add_patch(Rectangle((offered - 0.5, used - 0.5), 1, 1, color=ACCENT, alpha=0.85 * share / most, lw=0))
            if share:
                ax.text(
                    offered,
                    used,
                    "<1" if share < 0.5 else f"{share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=9,
                    color=INK,
                )
    ax.set(xlim=(-0.5, GRID_OFFERED + 0.5), ylim=(-0.5, GRID_USED + 0.5), xlabel="tools offered", ylabel="tools used")
    ax.set_xticks(range(GRID_OFFERED + 1), [*map(str, range(GRID_OFFERED)), f"{GRID_OFFERED}+"])
    ax.set_yticks(range(GRID_USED + 1), [*map(str, range(GRID_USED)), f"{GRID_USED}+"])
    ax.grid(visible=False)
    ax.tick_params(length=0)


def _fits(ax: Axes, histograms: Mapping[str, Histogram]) -> None:
    for colour, (name, histogram) in zip(SERIES * 2, histograms.items(), strict=False):
        total = histogram.count or 1
        shares = [100 * (1 - histogram.over(limit) / total) for limit in LIMITS]
        ax.plot(range(len(LIMITS)), shares, color=colour, lw=1.6, marker=".", label=name)
    ax.set_xticks(range(len(LIMITS)), [str(n) if n < 1024 else f"{n // 1024}k" for n in LIMITS])
    ax.set(ylim=(0, 103), xlabel="tokens", ylabel="% of rows that fit")
    ax.figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)  # pyright: ignore[reportAttributeAccessIssue]
