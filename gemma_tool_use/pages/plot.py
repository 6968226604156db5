"""Plots of pages as SVG text: narrow, so that they are read at their own size on a phone, and deterministic.

    draw(lambda ax: ax.plot([1, 2], [3, 4], color=ACCENT))      # "<svg ...>"; the same bytes in every run

Colours of text and lines are CSS variables of the page with a value of their own, so a plot follows the page's light or
dark scheme and can also be opened alone.
"""

import dataclasses
import io
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.9, 3.1  # inches of 72 CSS pixels: 353 pixels fit a phone without scaling

# Written by matplotlib, then replaced by the page's variables.
INK, LINE, ACCENT = "#010203", "#040506", "#070809"
_VARIABLES = {INK: "var(--ink, #1f2328)", LINE: "var(--line, #d0d7de)", ACCENT: "var(--accent, #2f6fde)"}
SERIES = ("#2f6fde", "#d1742b", "#2f9e6e", "#c2497f", "#8a63d2", "#8c8c2a", "#2aa0b8", "#a0522d", "#7a8088")


@dataclasses.dataclass(frozen=True)
class Plot:
    """A picture and the sentence that says what it counts."""

    title: str
    caption: str
    svg: str


def draw(paint: Callable[[Axes], None], height: float = HEIGHT) -> str:
    """An SVG element of what `paint` draws; `height` in inches of 72 CSS pixels."""
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
        "grid.color": LINE,
        "axes.edgecolor": LINE,
        **{f"{name}color": INK for name in ("text.", "axes.label", "xtick.", "ytick.")},
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
