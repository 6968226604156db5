"""The curves of a run from its metrics.jsonl: losses, and every accuracy that was measured on the way.

curves(read_metrics(run / "metrics.jsonl"))      # [Plot("Loss", ...), Plot("Accuracy", ...)]
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from gemma_tool_use.errors import DataError, FileError
from gemma_tool_use.pages.plot import ACCENT, SERIES, Plot, draw
from gemma_tool_use.visible import one_line

MOST_POINTS = 400
_LOSSES = {"train/loss": "train", "eval/loss": "held out"}
_ACCURACIES = ("/exact", "accuracy")

Series = Mapping[str, Sequence[tuple[int, float]]]
"""Metric name to its (step, value) pairs."""


def read_metrics(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Every finite number of every whole line; the half line of a killed run ends the file.

    Raises:
      FileError: the file cannot be read.
      DataError: a line of another shape.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from None
    series: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        try:
            content = json.loads(line)
        except ValueError:
            break
        if not isinstance(content, dict) or not isinstance(content.get("step"), int):
            raise DataError(f"{path} holds a line without a step, so no run wrote it: {line[:80]!r}")
        for name, value in content.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                series.setdefault(name, []).append((content["step"], float(value)))
    return series


def curves(series: Series) -> list[Plot]:
    """Losses and accuracies; a plot without points is left out."""
    losses = {label: series[name] for name, label in _LOSSES.items() if name in series}
    accuracies = {name: points for name, points in series.items() if name.endswith(_ACCURACIES)}
    plots = []
    if losses:
        caption = f"Mean loss of a trained token at each step{_thinned(losses)}."
        plots.append(Plot("Loss", caption, draw(lambda ax: _lines(ax, losses, "loss"))))
    if accuracies:
        shares = {name: [(step, 100 * value) for step, value in points] for name, points in accuracies.items()}
        caption = "Share of held-out requests answered rightly, while training."
        plots.append(Plot("Accuracy", caption, draw(lambda ax: _lines(ax, shares, "% right"))))
    return plots


def mean(points: Sequence[tuple[int, float]]) -> float:
    """Mean of the values."""
    return math.fsum(value for _, value in points) / len(points)


def thin(points: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Means of neighbours, so that no more than `most` points are drawn.

    `thin([(1, 4.0), (2, 2.0), (3, 1.0)], 2)` gives `[(1.5, 3.0), (3.0, 1.0)]`.
    """
    size = math.ceil(len(points) / most)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(math.fsum(step for step, _ in group) / len(group), mean(group)) for group in groups]


def _thinned(series: Mapping[str, Sequence[Any]]) -> str:
    longest = max(map(len, series.values()))
    return "" if longest <= MOST_POINTS else f", {math.ceil(longest / MOST_POINTS)} neighbouring steps averaged"


def _lines(ax: Axes, series: Series, label: str) -> None:
    for colour, (name, points) in zip((ACCENT, *SERIES[1:]) * 2, series.items(), strict=False):
        steps, values = zip(*thin(points), strict=True)
        few = len(points) <= 30
        ax.plot(steps, values, color=colour, lw=1.5, marker="o" if few else "", ms=3.5, label=one_line(name, 40))
    values = [value for points in series.values() for _, value in points]
    if min(values) > 0 and max(values) / min(values) > 100:
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    ax.set(xlabel="step", ylabel=label)
    ax.legend(fontsize=9, frameon=False)
