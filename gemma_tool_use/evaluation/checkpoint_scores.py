"""Scores of a run's checkpoints side by side: which is best, a table, a plot.

points = [point(400, finished.scores, finished.results, eval_loss=0.41), ...]
best(points).step                          # 400
write_checkpoints(folder, points, provenance)       # checkpoints.json and checkpoints.png
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from gemma_tool_use.errors import FileError
from gemma_tool_use.evaluation.aggregate import Share, share
from gemma_tool_use.evaluation.held_out_measures import script_accuracy
from gemma_tool_use.evaluation.records import Result
from gemma_tool_use.evaluation.tables import percent

JSON_NAME, PLOT_NAME = "checkpoints.json", "checkpoints.png"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One checkpoint.

    Attributes:
      step: optimizer steps taken; 0 is the model before training.
      exact: rows that are right under the strict rule, of all; errors are not right.
      tool_call_accuracy, parameter_accuracy: as the tool-using script defines them, of `total_tool_calls` rows.
      errors: rows without an answer.
      eval_loss: that training logged at this step.
      folder: where its answers are.
    """

    step: int
    exact: Share
    tool_call_accuracy: float
    parameter_accuracy: float
    total_tool_calls: int
    errors: int
    eval_loss: float | None = None
    folder: str = ""


def point(step: int, results: Sequence[Result], *, eval_loss: float | None = None, folder: str = "") -> Point:
    """The scores of one checkpoint from its judged answers."""
    answered = [result for result in results if result.answer.error is None]
    named, filled, called = script_accuracy([(result.item.expected_calls, result.reply) for result in answered])
    return Point(
        step=step,
        exact=share(sum(result.verdict.strict for result in results), len(results)),
        # The script's own: 0 of nothing is 0.
        tool_call_accuracy=named / called if called else 0.0,
        parameter_accuracy=filled / called if called else 0.0,
        total_tool_calls=called,
        errors=len(results) - len(answered),
        eval_loss=eval_loss,
        folder=folder,
    )


def best(points: Sequence[Point]) -> Point:
    """The one with most exact rows, of equals the earliest."""
    return min(points, key=lambda one: (-one.exact.right, one.step))


def write_checkpoints(folder: Path, points: Sequence[Point], provenance: Mapping[str, Any]) -> None:
    """Writes checkpoints.json and checkpoints.png into an existing folder.

    Raises:
      FileError: they cannot be written.
    """
    found = best(points)
    content = {
        "provenance": dict(provenance),
        "best": {"step": found.step, "by": "exact", "value": found.exact.value},
        "checkpoints": [
            {**dataclasses.asdict(one), "exact": {**dataclasses.asdict(one.exact), "value": one.exact.value}}
            for one in points
        ],
    }
    try:
        temporary = folder / f".tmp-{JSON_NAME}"
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="ascii")
        temporary.replace(folder / JSON_NAME)
        _plot(points, folder / PLOT_NAME)
    except OSError as error:
        raise FileError(f"cannot write into {folder}: {error.strerror or error}") from None


def checkpoint_table(points: Sequence[Point]) -> Table:
    """A line for each checkpoint; the best one is marked."""
    table = Table(box=None, pad_edge=False)
    for column in ("step", "exact", "tool_call_accuracy", "parameter_accuracy", "rows with a call", "errors", "loss"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    found = best(points)
    for one in points:
        table.add_row(
            str(one.step),
            percent({**dataclasses.asdict(one.exact), "value": one.exact.value}),
            f"{100 * one.tool_call_accuracy:.1f} %",
            f"{100 * one.parameter_accuracy:.1f} %",
            str(one.total_tool_calls),
            str(one.errors),
            "" if one.eval_loss is None else f"{one.eval_loss:.4f}",
            "best" if one is found else "",
        )
    return table


def _plot(points: Sequence[Point], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    steps = [one.step for one in points]
    exact = [100 * one.exact.value for one in points]
    axes.fill_between(
        steps,
        [100 * one.exact.low for one in points],
        [100 * one.exact.high for one in points],
        alpha=0.2,
        label="95 % interval of exact",
    )
    axes.plot(steps, exact, marker="o", label="exact, all rows")
    axes.plot(
        steps, [100 * one.tool_call_accuracy for one in points], "--", label="tool_call_accuracy, rows with a call"
    )
    axes.plot(
        steps, [100 * one.parameter_accuracy for one in points], ":", label="parameter_accuracy, rows with a call"
    )
    found = best(points)
    axes.annotate(
        f"best: step {found.step}, {100 * found.exact.value:.1f} %",
        (found.step, 100 * found.exact.value),
        textcoords="offset points",
        xytext=(0, 8),
        ha="center",
    )
    axes.set(xlabel="optimizer step", ylabel="% of rows", ylim=(0, 105))
    axes.legend(loc="lower right", fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, format="png")
