"""How many rows are left after each step, as steps, as a table and as a drawing.

    steps = funnel(decided)      # (Step("rows read", 300, 300), Step("subset not asked for", 180, 120), ...)
    svg(steps)                   # text of an SVG file

The drawing has no date and no font of its own, so the same counts always give the same bytes.
"""

import dataclasses
import html
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

ROWS_READ, KEPT = "rows read", "kept"
STAGES = (
    ("unreadable", "could not be read"),
    ("rules", "left out by a rule"),
    ("among_all", "left out among all rows"),
)
_COLOURS = {"unreadable": "#b3403a", "rules": "#c98a2b", "among_all": "#6d7fb3", "": "#2f7d5b"}
_LINE, _LABEL, _BAR, _MARGIN = 26, 300, 420, 16


@dataclasses.dataclass(frozen=True)
class Step:
    """One line of the funnel: what happened, to how many rows, and how many are left after it."""

    name: str
    lost: int
    left: int
    stage: str = ""


def funnel(decided: Mapping[str, Any]) -> tuple[Step, ...]:
    """The steps from the counts of the global stage: the rows read, each reason, the rows kept."""
    left = decided["rows_read"]
    steps = [Step(ROWS_READ, 0, left)]
    for stage, _ in STAGES:
        for reason, lost in decided[stage].items():
            left -= lost
            steps.append(Step(reason, lost, left, stage))
    return (*steps, Step(KEPT, 0, left))


def counts(decided: Mapping[str, Any]) -> dict[str, int]:
    """`{"kept": 153, "not single-turn": 2}`: every row once; `kept` first, then the reasons by stage."""
    return {
        KEPT: decided["train"] + decided["eval"],
        **{reason: n for stage, _ in STAGES for reason, n in decided[stage].items()},
    }


def table(steps: Sequence[Step]) -> Table:
    """The funnel for a terminal."""
    result = Table("rows", "outcome", "left")
    result.columns[0].justify = result.columns[2].justify = "right"
    for step in steps:
        result.add_row(f"-{step.lost:,}" if step.lost else f"{step.left:,}", step.name, f"{step.left:,}")
    return result


def svg(steps: Sequence[Step]) -> str:
    """One bar for each step: what is left, and in front of it what the step took away."""
    most = max(1, steps[0].left)
    width, height = _LABEL + _BAR + 130 + 2 * _MARGIN, _LINE * (len(steps) + 1) + 2 * _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="13" role="img" aria-label="Rows left after each step">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, step in enumerate(steps):
        lines.extend(_bar(step, _MARGIN + number * _LINE, most))
    x, y = _MARGIN, _MARGIN + len(steps) * _LINE + 16
    for stage, label in (("", "left"), *STAGES):
        lines.append(f'<rect x="{x}" y="{y - 10}" width="11" height="11" fill="{_COLOURS[stage]}"/>')
        lines.append(f'<text x="{x + 16}" y="{y}" fill="#333333">{label}</text>')
        x += 16 + 8 * len(label) + 16
    return "\n".join([*lines, "</svg>", ""])


def _bar(step: Step, top: int, most: int) -> list[str]:
    left, lost = (round(_BAR * rows / most, 1) for rows in (step.left, step.lost))
    x = _MARGIN + _LABEL
    label = html.escape(step.name if len(step.name) <= 42 else step.name[:39] + "...")
    numbers = f"{step.left:,}" + (f" (-{step.lost:,})" if step.lost else "")
    result = [
        f'<text x="{x - 10}" y="{top + 14}" text-anchor="end" fill="#222222">{label}</text>',
        f'<rect x="{x}" y="{top + 2}" width="{left}" height="{_LINE - 8}" fill="{_COLOURS[""]}"/>',
    ]
    if step.lost:
        colour = _COLOURS[step.stage]
        result.append(f'<rect x="{x + left}" y="{top + 2}" width="{lost}" height="{_LINE - 8}" fill="{colour}"/>')
    end = x + left + lost + 8
    return [*result, f'<text x="{end}" y="{top + 14}" fill="#222222">{numbers}</text>']
