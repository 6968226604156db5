"""Scores on a terminal: a line for each category of each model, with intervals."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gemma_tool_use.evaluation.held_out import NAME as HELD_OUT

_WIDE = 160
# What one looks at first; scores.json has them all.
_SHOWN_MEASURES = (
    *("exact_call", "function_names", "argument_values", "argument_value_precision", "argument_value_recall"),
    *("schema_valid", "under_call", "over_call", "decision", "uses_tool_result"),
    *("tool_call_accuracy", "parameter_accuracy", "common_run", "unigram_overlap", "rouge1", "rouge_l"),
)


def score_table(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    """One table for several evaluations: label to the content of its scores.json."""
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in ("items", "official", "strict", "errors"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("most frequent failures")
    for label, content in scores.items():
        table.add_row(Text(label, "bold"))
        for suite, found in content["suites"].items():
            for cells in _rows(suite, found):
                table.add_row(*cells)
    return table


def print_scores(scores: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Prints `score_table`; into a file or pipe as wide as it is, for those who search in it."""
    print_wide(score_table(scores), console)


def print_wide(table: Table, console: Console) -> None:
    """Prints a table; where there is no terminal to fit, no column is cut."""
    (console if console.is_terminal else Console(file=console.file, width=_WIDE)).print(table)


def percent(share: Mapping[str, Any]) -> str:
    """`55.0 % [48.1, 61.7]`"""
    interval = "" if share["low"] is None else f" [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"
    return f"{100 * share['value']:.1f} %{interval}"


def _rows(suite: str, found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for category, score in found["categories"].items():
        yield _score_cells(f"  {suite}/{category}", score)
    if len(found["categories"]) > 1:
        yield _score_cells(f"  {suite}, all", found["total"])
    if suite == HELD_OUT:
        shown = {name: found["measures"][name] for name in _SHOWN_MEASURES if name in found["measures"]}
        for name, measure in shown.items():
            yield f"    {name}", f"{measure['count']:,}", "", percent(measure), "", ""


def _score_cells(name: str, score: Mapping[str, Any]) -> tuple[str, ...]:
    failures = sorted(score["failures"].items(), key=lambda pair: -pair[1]["count"])
    told = ", ".join(f"{found['count']:,} {failure}" for failure, found in failures[:2])
    return name, f"{score['count']:,}", percent(score["official"]), percent(score["strict"]), str(score["errors"]), told
