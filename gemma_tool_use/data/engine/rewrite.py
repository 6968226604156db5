"""The step between decisions and shards when rows are changed: rewrites the units, orders the rows, checks the split.

    rewritten = rewrite(units, changes, decided, work, pool, ...)
    rewritten["train"], rewritten["eval"]      # rows to write
    rewritten["done"]                          # {"distractors": 120, "names: left as it is, ...": 7, ...}
    # work/order.parquet                       position, eval, ordinal: what the shards are cut from

With a curriculum the rows of each side are ordered by stage, and within it as they were.
"""

import collections
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gemma_tool_use.data.arrow_numbers import number_array
from gemma_tool_use.data.engine import duplicates
from gemma_tool_use.data.engine.atomic import write_json, written
from gemma_tool_use.data.engine.changes import Changes
from gemma_tool_use.data.engine.decide import (
    DECISIONS,
    MEMORY,
    GlobalSettings,
    MappedUnit,
    check_split,
    keys_of,
    ordinals,
)
from gemma_tool_use.data.engine.duplicates import query
from gemma_tool_use.data.engine.pool import Workers
from gemma_tool_use.data.engine.rewrite_unit import RewriteJob, rewrite_unit
from gemma_tool_use.data.engine.split import SIDES
from gemma_tool_use.data.engine.tool_pool import write_pools

FOLDER, ORDER, REWRITTEN = "rewritten", "order.parquet", "rewritten.json"
NO_CALL_SHARE = 0.15
"""Of the rows of stage 2; the others are of stage 1, so that a model does not unlearn to call meanwhile."""
MOST_REHEARSED = 0.5


def rewrite(
    units: Sequence[MappedUnit],
    settings: GlobalSettings,
    changes: Changes,
    *,
    work: Path,
    workers: Workers,
) -> dict[str, Any]:
    """Does what is left to do and returns what `rewritten.json` holds.

    Raises:
      DataError: an API or question would stand on both sides of the split.
    """
    if (work / REWRITTEN).exists():
        return json.loads((work / REWRITTEN).read_text(encoding="ascii"))
    folder = work / FOLDER
    folder.mkdir(exist_ok=True)
    kept = [str(unit.job.path(".kept.parquet")) for unit in units]
    with duplicates.connect(work / "spill", workers=max(1, workers.count), memory_bytes=MEMORY) as con:
        if changes.adds_tools:
            write_pools(con, kept, work / DECISIONS, work, changes, share=settings.eval_share)
        rehearsed = _rehearsed(con, kept, work / DECISIONS) if changes.stages else 0.0
        jobs = [
            RewriteJob(
                number=unit.job.number,
                units=unit.job.folder,
                work=str(work),
                folder=str(folder),
                settings=changes.augment,
                staged=bool(changes.stages),
                rehearsed=rehearsed,
            )
            for unit in units
        ]
        done = collections.Counter[str]()
        for _, marker in workers.run(rewrite_unit, jobs, name=lambda job: f"rewriting unit {job.number}"):
            done.update(marker["done"])
        files = [str(job.path(".kept.parquet")) for job in jobs]
        is_eval, stages = _order(con, files, work / ORDER)
        if settings.eval_share:
            keys, sides, positions = keys_of(con, files)
            check_split(keys, sides, positions, files)
    found = {
        "train": int((~is_eval).sum()),
        "eval": int(is_eval.sum()),
        "done": dict(sorted(done.items())),
        "stages": {side: _counts(stages[is_eval == number]) for number, side in enumerate(SIDES)}
        if changes.stages
        else {},
    }
    write_json(work / REWRITTEN, found)
    return found


def _order(con: Any, files: list[str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Writes the order of the rows; returns bool and uint8 [rows], the side and stage of each."""
    table = query(con, "SELECT position, eval, stage FROM read_parquet($files) ORDER BY stage, position", files=files)
    is_eval = number_array(table["eval"])
    with written(path) as temporary:
        pq.write_table(
            pa.table({"position": table["position"], "eval": is_eval, "ordinal": ordinals(is_eval)}), temporary
        )
    return is_eval, number_array(table["stage"])


def _counts(stages: np.ndarray) -> dict[str, int]:
    found, counts = np.unique(stages, return_counts=True)
    return {str(stage): int(count) for stage, count in zip(found, counts, strict=True)}


def _rehearsed(con: Any, kept: list[str], decisions: Path) -> float:
    """The share of the rows of stage 1 that stage 2 needs beside its rows without a call."""
    sql = """
        SELECT count(*) FILTER (stage = 1) AS calls, count(*) FILTER (stage = 2) AS without
        FROM read_parquet($files) JOIN read_parquet($decisions) USING (position)
    """
    found = query(con, sql, files=kept, decisions=str(decisions)).to_pylist()[0]
    wanted = found["without"] * (1 - NO_CALL_SHARE) / NO_CALL_SHARE
    return min(MOST_REHEARSED, wanted / max(1, found["calls"]))
