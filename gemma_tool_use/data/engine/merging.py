"""Which rows are merged into one, planned on key columns; and the rows that join others, in a file of their own.

    leaders, parts = plan(con, kept, positions, is_eval, free, settings)   # the row that each one is written with
    write_partners(con, kept, decisions, folder / "partners.parquet")      # the rows of other leaders, by leader
    partners_of(folder / "partners.parquet", first, end)                   # {leader: [row, ...]} of a range

A partner may lie in any unit, so they are brought together once, by a sort that spills to the disk.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gemma_tool_use.data.augment import AugmentSettings, MergeRow, merge_plan
from gemma_tool_use.data.engine.atomic import written
from gemma_tool_use.data.engine.duplicates import query_batches
from gemma_tool_use.data.engine.map_unit import TEXT_COLUMNS
from gemma_tool_use.data.engine.split import SIDES

_ROWS = 512
_TEXTS = [(name, pa.string()) for name in TEXT_COLUMNS]
_SCHEMA = pa.schema([("leader", pa.int64()), ("part", pa.int64()), *_TEXTS])


def plan(
    con: duckdb.DuckDBPyConnection,
    kept: list[str],
    positions: np.ndarray,
    is_eval: np.ndarray,
    free: np.ndarray,
    settings: AugmentSettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the position of the row it is written with, mostly its own, and its place there: int64 [rows] each.

    Args:
      con: the database.
      kept: the unit files.
      positions: int64 [rows], rising.
      is_eval: bool [rows].
      free: bool [rows], which of them may be merged as far as the mix is concerned.
      settings: how many, and how many into one.
    """
    leaders, places = positions.copy(), np.zeros(len(positions), np.int64)
    if not settings.merge_share:
        return leaders, places
    con.register("free", pa.table({"position": positions[free], "eval": is_eval[free]}))
    sql = """
        SELECT position, eval, id, source, apis FROM read_parquet($files) JOIN free USING (position)
        WHERE mergeable ORDER BY position
    """
    rows: dict[str, MergeRow] = {}
    at: dict[str, int] = {}
    for batch in query_batches(con, sql, _ROWS, files=kept):
        for row in batch.to_pylist():
            # The plan knows rows by their ids. Of two rows of one id the second stays as it is.
            if at.setdefault(row["id"], row["position"]) == row["position"]:
                rows[row["id"]] = MergeRow(
                    id=row["id"], source=row["source"], side=SIDES[row["eval"]], tools=tuple(row["apis"])
                )
    for ids in merge_plan(rows.values(), settings).values():
        group = np.searchsorted(positions, [at[each] for each in ids])
        leaders[group], places[group] = positions[group[0]], np.arange(len(ids))
    return leaders, places


def write_partners(con: duckdb.DuckDBPyConnection, kept: list[str], decisions: Path, path: Path) -> None:
    """Writes the rows that are written with another one, in the order of the others."""
    sql = f"""
        SELECT leader, part, {", ".join(f'texts."{name}"' for name in TEXT_COLUMNS)}
        FROM read_parquet($files) AS texts JOIN read_parquet($decisions) AS decisions USING (position)
        WHERE part > 0 ORDER BY leader, part
    """
    with written(path) as temporary, pq.ParquetWriter(temporary, _SCHEMA, compression="zstd") as file:
        for batch in query_batches(con, sql, _ROWS, files=kept, decisions=str(decisions)):
            file.write_batch(batch.cast(_SCHEMA))


def partners_of(path: Path, first: int, end: int) -> dict[int, Sequence[dict[str, Any]]]:
    """The rows that are written with the rows from position `first` up to, but not, `end`."""
    found: dict[int, list[dict[str, Any]]] = {}
    if path.exists():
        table = pq.read_table(path, filters=[("leader", ">=", first), ("leader", "<", end)])
        for row in table.to_pylist():
            found.setdefault(row["leader"], []).append(row)
    return {**found}
