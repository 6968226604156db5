"""Draws rows by the weights of their inputs or sources, the share of rows without a call, and the number asked for.

    drawn = draw(con, kept, positions, inputs, (2.0, 1.0), MixSettings(seed=0))
    drawn.copies          # uint16 [rows]: how often each is taken; 0 leaves it out

The drawing itself is `augment.mix`; here its columns are read, and the inputs become the sources that it knows.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from gemma_tool_use.data.augment import Mixed, MixRow, MixSettings, mix
from gemma_tool_use.data.engine.duplicates import query_batches

_READ_ROWS = 65_536


def draw(
    con: duckdb.DuckDBPyConnection,
    kept: list[str],
    positions: np.ndarray,
    inputs: np.ndarray,
    weights: Sequence[float] | None,
    settings: MixSettings,
) -> Mixed:
    """How often each row is taken.

    Args:
      con: the database.
      kept: the unit files.
      positions: int64 [rows], rising.
      inputs: int [rows], the number of each row's input.
      weights: of each input; one of 0 leaves its rows out, one without rows does not limit the others. None draws by
        the weights of the settings, if it has any.
      settings: the rest.

    Raises:
      DataError: as `augment.mix`.
    """
    if weights is None:
        return mix(_rows(con, kept, positions, None), settings)
    have = np.bincount(inputs, minlength=len(weights))
    present = {str(i): weight for i, weight in enumerate(weights) if weight > 0 and have[i]}
    wanted = np.isin(inputs, [int(name) for name in present])
    drawn = mix(_rows(con, kept, positions[wanted], inputs[wanted]), dataclasses.replace(settings, weights=present))
    copies, no_call = np.zeros(len(positions), np.uint16), np.zeros(len(positions), bool)
    copies[wanted], no_call[wanted] = drawn.copies, drawn.no_call
    return dataclasses.replace(drawn, copies=copies, no_call=no_call)


def _rows(
    con: duckdb.DuckDBPyConnection, kept: list[str], positions: np.ndarray, inputs: np.ndarray | None
) -> Iterator[MixRow]:
    con.register("drawn_from", pa.table({"position": positions}))
    sql = """
        SELECT id, source, has_call, convertible FROM read_parquet($files)
        SEMI JOIN drawn_from USING (position) ORDER BY position
    """
    number = 0
    for batch in query_batches(con, sql, _READ_ROWS, files=kept):
        for row in batch.to_pylist():
            source = row["source"] if inputs is None else str(inputs[number])
            number += 1
            yield MixRow(
                id=row["id"], source=source, has_call=bool(row["has_call"]), convertible=bool(row["convertible"])
            )
