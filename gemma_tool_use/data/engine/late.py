"""Rows that the global stage leaves out, and what `rejects.jsonl` says of them.

late = Late()
late.add(EXACT_DUPLICATE, {"position": ..., "first": ...})
late.write(con, kept, folder / "late.parquet")
# {"id": "u7", "reason": "exact duplicate", "detail": "of 'u2' (train.parquet row 2): ...", "where": "..."}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gemma_tool_use.data.augment import LEFT_OUT
from gemma_tool_use.data.engine.atomic import written
from gemma_tool_use.data.engine.duplicates import query_batches
from gemma_tool_use.data.engine.map_unit import REJECTS_SCHEMA, reject_line
from gemma_tool_use.data.rejects import Reject

EXACT_DUPLICATE, NEAR_DUPLICATE = "exact duplicate", "near duplicate"
_DETAILS = {
    EXACT_DUPLICATE: "of {first!r} ({first_place}): the same question and tools",
    NEAR_DUPLICATE: "of {first!r} ({first_place}): the same calls, question similarity {similarity:.2f}",
    LEFT_OUT: "a weight, a share of rows without a call or a number of rows asks for fewer of its kind",
}
_WRITE_ROWS = 8192


class Late:
    """Positions by reason; `first` is the earlier row that a duplicate repeats, `similarity` how much."""

    def __init__(self) -> None:
        self._found: dict[str, Mapping[str, np.ndarray]] = {}

    def add(self, reason: str, found: Mapping[str, np.ndarray]) -> None:
        if len(found["position"]):
            self._found[reason] = found

    @property
    def positions(self) -> np.ndarray:
        return self._joined("position", np.int64)

    def counts(self) -> dict[str, int]:
        return {reason: len(found["position"]) for reason, found in self._found.items()}

    def write(self, con: duckdb.DuckDBPyConnection, kept: list[str], path: Path) -> None:
        """Writes the rows by position, with the ids and places that the unit files know."""
        con.register("late", self._table())
        sql = """
            WITH names AS (
                SELECT position, id, place FROM read_parquet($files)
                SEMI JOIN (SELECT position FROM late UNION SELECT first FROM late) USING (position)
            )
            SELECT late.position, reason, own.id, own.place, other.id AS first, other.place AS first_place, similarity
            FROM late JOIN names AS own USING (position) JOIN names AS other ON other.position = late.first
            ORDER BY late.position
        """
        with written(path) as temporary, pq.ParquetWriter(temporary, REJECTS_SCHEMA) as file:
            for batch in query_batches(con, sql, _WRITE_ROWS, files=kept):
                rows = [
                    {"position": row["position"], "reason": row["reason"], "bad": False, "line": _line(row)}
                    for row in batch.to_pylist()
                ]
                file.write_batch(pa.RecordBatch.from_pylist(rows, schema=REJECTS_SCHEMA))

    def _table(self) -> pa.Table:
        reasons = [reason for reason, found in self._found.items() for _ in range(len(found["position"]))]
        return pa.table(
            {
                "position": self.positions,
                "reason": pa.array(reasons, pa.string()),
                "first": self._joined("first", np.int64, "position"),
                "similarity": self._joined("similarity", np.float32, "position"),
            }
        )

    def _joined(self, name: str, kind: type, default: str = "") -> np.ndarray:
        parts = [np.asarray(found.get(name, found.get(default))).astype(kind) for found in self._found.values()]
        return np.concatenate([np.zeros(0, kind), *parts])


def _line(row: Mapping[str, Any]) -> str:
    detail = _DETAILS[row["reason"]].format(**row)
    return reject_line(Reject(id=row["id"], reason=row["reason"], detail=detail, where=row["place"]))
