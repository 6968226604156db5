"""Finds exact and near duplicates among the kept rows, in duckdb and on their keys only.

Exact duplicates have the question and the set of tools in common; near duplicates (`data/keys.py` says what they are)
share a band of their MinHash signatures and most of its values. The earliest row stays. A row is compared with the
earliest row of each of its buckets, at most 16 comparisons a row: rows written from one template fill a bucket with
thousands, and comparing all pairs of them would take the square of that.
"""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from gemma_tool_use.data.arrow_numbers import number_array
from gemma_tool_use.data.minhash import SIGNATURE_SIZE

PAIRS_AT_ONCE = 16_384


def connect(folder: Path, *, workers: int, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """A database in memory that uses `folder` when its memory is spent."""
    return duckdb.connect(
        config={
            "memory_limit": f"{memory_bytes // 2**20}MiB",
            "temp_directory": str(folder),
            "threads": max(1, workers),
            "preserve_insertion_order": False,
        }
    )


def query(con: duckdb.DuckDBPyConnection, sql: str, **parameters: Any) -> pa.Table:
    """The answer to a query as an Arrow table."""
    return con.sql(sql, params=parameters).to_arrow_table()


def query_batches(con: duckdb.DuckDBPyConnection, sql: str, rows: int, **parameters: Any) -> pa.RecordBatchReader:
    """The answer a number of rows at a time."""
    return con.sql(sql, params=parameters).to_arrow_reader(rows)


def load_keys(con: duckdb.DuckDBPyConnection, files: list[str], last: int) -> None:
    """Makes the table `kept` of the rows up to the position `last`. The paths are parameters, never part of the SQL."""
    con.execute(
        "CREATE TABLE kept AS SELECT position, exact FROM read_parquet($files) WHERE position <= $last",
        {"files": files, "last": last},
    )


def exact_duplicates(con: duckdb.DuckDBPyConnection) -> dict[str, np.ndarray]:
    """`position` of each row that an earlier one equals, `first` of that row, and `similarity` 1; by position."""
    sql = """
        SELECT position, first FROM kept
        JOIN (SELECT exact, min(position) AS first FROM kept GROUP BY exact HAVING count(*) > 1) USING (exact)
        WHERE position > first ORDER BY position
    """
    found = query(con, sql)
    position, first = (number_array(found[name]) for name in ("position", "first"))
    return {"position": position, "first": first, "similarity": np.ones(len(position), np.float32)}


def near_duplicates(
    con: duckdb.DuckDBPyConnection, files: list[str], without: np.ndarray, threshold: float
) -> dict[str, np.ndarray]:
    """The same for near duplicates, without the rows at some positions; `first` is the earliest row near enough."""
    con.register("without", pa.table({"position": without}))
    con.execute(
        """
        CREATE TABLE bands AS
        SELECT position, unnest(bands) AS band FROM read_parquet($files)
        SEMI JOIN (SELECT position FROM kept ANTI JOIN without USING (position)) USING (position)
        """,
        {"files": files},
    )
    con.execute("""
        CREATE TABLE pairs AS
        SELECT DISTINCT position, first FROM bands
        JOIN (SELECT band, min(position) AS first FROM bands GROUP BY band HAVING count(*) > 1) USING (band)
        WHERE position > first
    """)
    con.execute("DROP TABLE bands")
    con.execute(
        """
        CREATE TABLE signatures AS
        SELECT position, signature FROM read_parquet($files)
        SEMI JOIN (SELECT position FROM pairs UNION SELECT first FROM pairs) USING (position)
        """,
        {"files": files},
    )
    found = _verified(con, threshold)
    con.execute("DROP TABLE signatures")
    return found


def _verified(con: duckdb.DuckDBPyConnection, threshold: float) -> dict[str, np.ndarray]:
    sql = """
        SELECT pairs.position, pairs.first, own.signature AS own, other.signature AS other
        FROM pairs JOIN signatures AS own USING (position) JOIN signatures AS other ON other.position = pairs.first
    """
    reader = query_batches(con, sql, PAIRS_AT_ONCE)
    parts = [_near_enough(batch, threshold) for batch in reader]
    position, first, similarity = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else _nothing()
    order = np.lexsort((first, position))
    position, first, similarity = position[order], first[order], similarity[order]
    _, earliest = np.unique(position, return_index=True)
    return {"position": position[earliest], "first": first[earliest], "similarity": similarity[earliest]}


def _near_enough(batch: pa.RecordBatch, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    own, other = (_values(batch.column(name)) for name in ("own", "other"))
    similarity = np.count_nonzero(own == other, axis=1).astype(np.float32) / SIGNATURE_SIZE
    near = similarity >= threshold
    return number_array(batch.column("position"))[near], number_array(batch.column("first"))[near], similarity[near]


def _values(column: pa.Array) -> np.ndarray:
    """uint32 [rows, 128] of a column of binary signatures."""
    offsets, data = column.buffers()[1:]
    start = np.frombuffer(offsets, np.int32)[column.offset]
    count = len(column) * SIGNATURE_SIZE
    return np.frombuffer(data, np.uint32, count, offset=int(start)).reshape(-1, SIGNATURE_SIZE)


def _nothing() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
