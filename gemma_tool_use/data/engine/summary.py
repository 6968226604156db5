"""What `gemma-tool-use prepare` says at its end: licences, the funnel, the split, and what was done to rows.

print_result(manifest, Console())
"""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from gemma_tool_use.data.engine.funnel import funnel, table
from gemma_tool_use.data.sources.registry import SOURCES, licence_note


def print_result(manifest: Mapping[str, Any], console: Console) -> None:
    """Prints licences, the funnel, the split, and what was changed."""
    for name in dict.fromkeys(each["source"] for each in manifest["inputs"]):
        console.print(licence_note(SOURCES[name]), highlight=False, markup=False)
    console.print(table(funnel({**manifest, **manifest["stages"]})))
    for each in manifest["skipped"]:
        console.print(f"left out: {each['part']}: {each['problem']}", highlight=False, markup=False)
    if manifest["shortened"]:
        console.print(f"{manifest['shortened']} of the kept conversations end after their first call.", highlight=False)
    if split := manifest["split"]:
        console.print(
            f"{manifest['eval']} conversations ({split['reached']:.1%}, {split['asked']:.1%} asked for) are for "
            f"evaluation. Rows that share a question or an API stay together: {split['groups']} groups, the largest of "
            f"{split['largest_group']} rows.",
            highlight=False,
        )
    if "changes" in manifest:
        _print_changes(manifest, console)


def _print_changes(manifest: Mapping[str, Any], console: Console) -> None:
    """What was done to how many rows, and why some that were chosen stayed as they are."""
    console.print(f"{manifest['train']} rows for training and {manifest['eval']} for evaluation.", highlight=False)
    for what, rows in manifest.get("done", {}).items():
        console.print(f"    {rows:,} {what}", highlight=False, markup=False)
    for side, stages in manifest.get("curriculum", {}).items():
        for stage, rows in stages.items():
            console.print(f"    {rows:,} {side} rows of stage {stage}", highlight=False, markup=False)
