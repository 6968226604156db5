"""The global stage: one decision for each row that its unit kept, from the keys of all of them.

    decide(units, settings, folder=work.path, workers=8)
    # folder/decisions.parquet     position, eval, ordinal within its side, of the rows that stay; with changes also
    #                              copies, no_call, and the leader and part of rows that are written as one
    # folder/late.parquet          position, reason, finished line of rejects.jsonl, of the rows left out here
    # folder/decided.json          counts by stage and reason, the split that was reached

The order is: the limit, exact duplicates, near duplicates, the mix, the split, the plan of merging. Everything is
sorted by position, so the decisions do not depend on how many processes or threads there were.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gemma_tool_use.data.arrow_numbers import number_array
from gemma_tool_use.data.augment import LEFT_OUT
from gemma_tool_use.data.engine import duplicates, merging
from gemma_tool_use.data.engine.atomic import write_json, written
from gemma_tool_use.data.engine.changes import Changes
from gemma_tool_use.data.engine.duplicates import query
from gemma_tool_use.data.engine.late import EXACT_DUPLICATE, NEAR_DUPLICATE, Late
from gemma_tool_use.data.engine.map_unit import ROWS_PER_UNIT, UnitJob
from gemma_tool_use.data.engine.mixture import draw
from gemma_tool_use.data.engine.split import Keys, assign, leaks
from gemma_tool_use.data.keys import NEAR, api_id
from gemma_tool_use.errors import DataError

DECISIONS, LATE, DECIDED, PARTNERS = "decisions.parquet", "late.parquet", "decided.json", "partners.parquet"
MEMORY = 768 << 20
"""What duckdb may hold; the rest goes to the work folder."""
PAST_EVERY_ROW = int(np.iinfo(np.int64).max)
_NO_CHANGES = Changes()


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlobalSettings:
    """What is decided about all rows together.

    Attributes:
      exact_duplicates: leave out rows that have question and tools in common with an earlier row.
      near_duplicates: leave out rows whose question is nearly that of an earlier row calling the same APIs.
      eval_share: share of the rows for evaluation.
      seed: of the split.
      weights: of each input in the result; None keeps every row.
      limit: rows kept by the rules after which the rest is not read; None for all.
    """

    exact_duplicates: bool = True
    near_duplicates: bool = True
    eval_share: float = 0.0
    seed: int = 0
    weights: tuple[float, ...] | None = None
    limit: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MappedUnit:
    """A unit whose files are there: its job, and the number of the input it is of."""

    job: UnitJob
    input: int


def decide(
    units: Sequence[MappedUnit],
    settings: GlobalSettings,
    changes: Changes = _NO_CHANGES,
    *,
    folder: Path,
    workers: int,
) -> dict[str, Any]:
    """Decides and writes; returns what `decided.json` holds. Done already, it is only read.

    Raises:
      DataError: an API or question would stand on both sides of the split, or the mix cannot be had.
    """
    if (folder / DECIDED).exists():
        return json.loads((folder / DECIDED).read_text(encoding="ascii"))
    kept = [str(unit.job.path(".kept.parquet")) for unit in units]
    late = Late()
    with duplicates.connect(folder / "spill", workers=workers, memory_bytes=MEMORY) as con:
        last = _last(con, kept, settings.limit)
        early = _early_counts(con, [str(unit.job.path(".rejects.parquet")) for unit in units], last)
        duplicates.load_keys(con, kept, last)
        if settings.exact_duplicates:
            late.add(EXACT_DUPLICATE, duplicates.exact_duplicates(con))
        if settings.near_duplicates:
            late.add(NEAR_DUPLICATE, duplicates.near_duplicates(con, kept, late.positions, NEAR))
        positions = number_array(query(con, "SELECT position FROM kept ORDER BY position")["position"])
        positions = np.setdiff1d(positions, late.positions, assume_unique=True)
        copies, no_call = np.ones(len(positions), np.uint16), np.zeros(len(positions), bool)
        if settings.weights is not None or not changes.mix.changes_nothing:
            drawn = draw(con, kept, positions, _inputs(units, positions), settings.weights, changes.mix)
            late.add(LEFT_OUT, {"position": positions[drawn.copies == 0]})
            taken = drawn.copies > 0
            positions, copies, no_call = positions[taken], drawn.copies[taken], drawn.no_call[taken]
        is_eval, split = _split(con, kept, positions, settings)
        columns: dict[str, np.ndarray] = {}
        if changes.rewrites:
            free = (copies == 1) & ~no_call
            leaders, parts = merging.plan(con, kept, positions, is_eval, free, changes.augment)
            columns = {"copies": copies, "no_call": no_call, "leader": leaders, "part": parts}
        late.write(con, kept, folder / LATE)
        con.register("chosen", pa.table({"position": positions}))
        sql = "SELECT count(*) AS n FROM read_parquet($files) SEMI JOIN chosen USING (position) WHERE shortened"
        shortened = query(con, sql, files=kept)["n"][0].as_py()
        _write_decisions(positions, is_eval, columns, folder / DECISIONS)
        if changes.augment.merge_share:
            merging.write_partners(con, kept, folder / DECISIONS, folder / PARTNERS)
    decided = {
        "last": last,
        "rows_read": sum(n for _, _, n in early) + len(positions) + len(late.positions),
        "unreadable": {reason: n for reason, bad, n in early if bad},
        "rules": {reason: n for reason, bad, n in early if not bad},
        "among_all": late.counts(),
        "train": int((~is_eval).sum()),
        "eval": int(is_eval.sum()),
        "split": split,
        "shortened": shortened,
    }
    write_json(folder / DECIDED, decided)
    return decided


def _last(con: duckdb.DuckDBPyConnection, kept: list[str], limit: int | None) -> int:
    """The position of the row with which the limit is reached; past every row without one."""
    if limit is None:
        return PAST_EVERY_ROW
    sql = "SELECT position FROM read_parquet($files) ORDER BY position LIMIT 1 OFFSET $before"
    found = query(con, sql, files=kept, before=limit - 1)["position"].to_pylist()
    return found[0] if found else PAST_EVERY_ROW


def _early_counts(con: duckdb.DuckDBPyConnection, files: list[str], last: int) -> list[tuple[str, bool, int]]:
    """Reason, whether it means unreadable, and number of the rows that their units left out; most frequent first."""
    sql = """
        SELECT reason, bad, count(*) AS n FROM read_parquet($files) WHERE position <= $last
        GROUP BY ALL ORDER BY n DESC, reason
    """
    return [(row["reason"], row["bad"], row["n"]) for row in query(con, sql, files=files, last=last).to_pylist()]


def _inputs(units: Sequence[MappedUnit], positions: np.ndarray) -> np.ndarray:
    """int64 [rows]: the number of the input that each row is from."""
    input_of = np.zeros(max(unit.job.number for unit in units) + 1, np.int64)
    for unit in units:
        input_of[unit.job.number] = unit.input
    return input_of[positions // ROWS_PER_UNIT]


def _split(
    con: duckdb.DuckDBPyConnection, kept: list[str], positions: np.ndarray, settings: GlobalSettings
) -> tuple[np.ndarray, dict[str, Any] | None]:
    """Which of the rows are for evaluation, and an account of it; None when no share was asked for."""
    if not settings.eval_share:
        return np.zeros(len(positions), bool), None
    con.register("chosen", pa.table({"position": positions}))
    sql = "SELECT question, apis FROM read_parquet($files) SEMI JOIN chosen USING (position) ORDER BY position"
    keys = _keys(query(con, sql, files=kept))
    split = assign(keys, share=settings.eval_share, seed=settings.seed)
    check_split(keys, split.is_eval, positions, kept)
    reached = float(split.is_eval.mean()) if len(positions) else 0.0
    account = {"asked": settings.eval_share, "reached": round(reached, 6)}
    return split.is_eval, {**account, "groups": split.groups, "largest_group": split.largest}


def _keys(table: pa.Table) -> Keys:
    apis = table["apis"].combine_chunks()
    return Keys(
        questions=number_array(table["question"]),
        apis=number_array(apis.flatten()),
        offsets=np.concatenate([[0], np.cumsum(number_array(apis.value_lengths()))]),
    )


def keys_of(con: duckdb.DuckDBPyConnection, files: list[str]) -> tuple[Keys, np.ndarray, np.ndarray]:
    """Keys, side (bool) and position (int64) of the rows of files that say it of each."""
    sql = "SELECT position, eval, question, apis FROM read_parquet($files) ORDER BY position"
    table = query(con, sql, files=files)
    return _keys(table), number_array(table["eval"]), number_array(table["position"])


def check_split(keys: Keys, is_eval: np.ndarray, positions: np.ndarray, kept: Sequence[str]) -> None:
    """
    Raises:
      DataError: a question or an API stands on both sides; names it, and a row of each side.
    """
    for kind, (value, train, held_out) in leaks(keys, is_eval).items():
        rows = [_stored_row(kept, int(positions[number])) for number in (train, held_out)]
        known = {api_id(name): name for row in rows for name in _tool_names(row)} if kind == "API" else {}
        raise DataError(
            f"the split leaks: {kind} {known.get(value, f'{value:016x}')!r} stands on both sides, in the train row "
            f"{rows[0]['id']!r} and in the eval row {rows[1]['id']!r}"
        )


def _stored_row(kept: Sequence[str], position: int) -> dict[str, Any]:
    found = pq.read_table(list(kept), columns=["id", "tools"], filters=[("position", "=", position)])
    return found.to_pylist()[0]


def _tool_names(row: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in json.loads(row["tools"])]


def _write_decisions(positions: np.ndarray, is_eval: np.ndarray, columns: dict[str, np.ndarray], path: Path) -> None:
    table = pa.table({"position": positions, "eval": is_eval, "ordinal": ordinals(is_eval), **columns})
    with written(path) as temporary:
        pq.write_table(table, temporary)


def ordinals(is_eval: np.ndarray) -> np.ndarray:
    """int64 [rows]: the number of each row within its side."""
    return np.where(is_eval, np.cumsum(is_eval), np.cumsum(~is_eval)) - 1
