"""What a run is given, the plan made of it, and the manifest of its result.

    plan_of(inputs, settings)     # inputs with sha256, settings, versions: what every byte of the result depends on
    manifest_of(plan, ...)        # the same with counts and the name, size and sha256 of each file

Neither holds a time or a folder, so two equal runs in two places write the same manifest.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gemma_tool_use.data.engine.changes import Changes
from gemma_tool_use.data.engine.decide import GlobalSettings
from gemma_tool_use.data.engine.funnel import STAGES, counts
from gemma_tool_use.data.engine.versions import versions
from gemma_tool_use.data.files import identity
from gemma_tool_use.data.rules import RuleSettings
from gemma_tool_use.data.sources.source import Source

MANIFEST_FORMAT = 2
MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
    """Files of one source, in the order in which they are read; `name` is what the manifest calls them."""

    name: str
    source: Source
    files: tuple[Path, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What the result depends on, beside the inputs."""

    rules: RuleSettings
    among_all: GlobalSettings
    changes: Changes = dataclasses.field(default_factory=Changes)
    shard_rows: int = 50_000
    """Most rows of an output file."""
    unit_rows: int = 5_000
    """About how many rows are read in one piece: what a killed worker loses."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How many rows or files may be unreadable before the run stops."""

    max_bad_share: float = 0.1
    skip_bad_files: bool = False


def plan_of(inputs: Sequence[Input], settings: RunSettings) -> dict[str, Any]:
    """What decides about every byte of the result: inputs with sha256, settings, versions. No folders, no times."""
    paths = [path for each in inputs for path in each.files] + list(settings.rules.files())
    with ThreadPoolExecutor() as threads:
        known = dict(zip(paths, threads.map(identity, paths), strict=True))
    return {
        "format": MANIFEST_FORMAT,
        "inputs": [_input(each, known) for each in inputs],
        "rules": _without_folders(settings.rules.to_dict()),
        "rule_files": [_named(known[path], path.name) for path in settings.rules.files()],
        "among_all": dataclasses.asdict(settings.among_all),
        **({} if settings.changes.nothing else {"changes": settings.changes.plan()}),
        "shard_rows": settings.shard_rows,
        "unit_rows": settings.unit_rows,
        "versions": versions(),
    }


def _input(each: Input, known: Mapping[Path, dict[str, Any]]) -> dict[str, Any]:
    licence = each.source.licence
    return {
        "name": each.name,
        "source": each.source.name,
        "licence": None if licence is None else dataclasses.asdict(licence),
        "files": [_named(known[path], path.name) for path in each.files],
    }


def _named(found: dict[str, Any], name: str) -> dict[str, Any]:
    return {**found, "file": name}


def _without_folders(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with file names for paths, so that the same files in another folder give the same manifest."""
    paths = {name: values[name] for name in ("quality", "tokenizer") if values.get(name)}
    names = {name: Path(path).name for name, path in paths.items()}
    return {**values, **names, "keep_out": [Path(path).name for path in values.get("keep_out", ())]}


def manifest_of(
    plan: Mapping[str, Any],
    decided: Mapping[str, Any],
    rewritten: Mapping[str, Any] | None,
    files: Sequence[dict[str, Any]],
    skipped: Sequence[dict[str, str]],
) -> dict[str, Any]:
    """What `manifest.json` holds. `train` and `eval` are rows of the files, the counts are rows of the inputs."""
    final = decided if rewritten is None else rewritten
    return {
        **plan,
        "skipped": list(skipped),
        "rows_read": decided["rows_read"],
        "counts": counts(decided),
        "stages": {stage: decided[stage] for stage, _ in STAGES},
        "train": final["train"],
        "eval": final["eval"],
        **({} if rewritten is None else {"done": rewritten["done"], "curriculum": rewritten["stages"]}),
        "split": decided["split"],
        "shortened": decided["shortened"],
        "conversations": [row for row in files if row["file"].endswith(".parquet")],
        "others": [row for row in files if not row["file"].endswith(".parquet")],
    }
