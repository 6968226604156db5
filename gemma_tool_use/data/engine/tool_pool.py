"""The tools that rows may be offered as well, for each side of the split its own.

    write_pools(con, kept, decisions, folder, changes, share=0.05)
    # folder/pool-train.jsonl, folder/pool-eval.jsonl      one OpenAI tool a line
    read_pool(folder, "train")                              # a ToolPool

An API of one side is never offered on the other. Tools of a file that no row offers are shared out between the sides by
a hash, so that they do not become common to both.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from gemma_tool_use.conversation import ToolSpec, tool_from_dict
from gemma_tool_use.data.arrow_numbers import number_array
from gemma_tool_use.data.augment import Reservoir, ToolPool, read_tools, write_tools
from gemma_tool_use.data.engine.atomic import written
from gemma_tool_use.data.engine.changes import Changes
from gemma_tool_use.data.engine.duplicates import query, query_batches
from gemma_tool_use.data.engine.split import SIDES, mixed
from gemma_tool_use.data.keys import api_id

POOL_TOOLS = 5000
"""Most tools of the rows that are offered to others."""
# Many tools are unsuitable: too long, without a description, or fit for anything.
_CANDIDATES = 4 * POOL_TOOLS
_ROWS = 256


def write_pools(
    con: duckdb.DuckDBPyConnection, kept: list[str], decisions: Path, folder: Path, changes: Changes, *, share: float
) -> None:
    """Writes the pool of each side, unless it is there.

    Raises:
      FileError, DataError: the file with tools cannot be read.
    """
    paths = {side: _path(folder, side) for side in SIDES}
    if all(path.exists() for path in paths.values()):
        return
    sql = """
        SELECT eval, api, min(position) AS position
        FROM (SELECT position, unnest(apis) AS api FROM read_parquet($files))
        JOIN read_parquet($decisions) USING (position) GROUP BY ALL ORDER BY eval, api
    """
    table = query(con, sql, files=kept, decisions=str(decisions))
    is_eval, apis, positions = (number_array(table[name]) for name in ("eval", "api", "position"))
    seed = changes.augment.seed
    if changes.tools_pool is not None:
        given = read_tools(changes.tools_pool)
        on_eval = _on_eval(given, apis[is_eval], apis[~is_eval], share, seed)
        pools = [[tool for tool, out in zip(given, on_eval, strict=True) if out == side] for side in (False, True)]
    else:
        pools = [_own(con, kept, apis[is_eval == side], positions[is_eval == side], seed) for side in (False, True)]
    for path, tools in zip(paths.values(), pools, strict=True):
        with written(path) as temporary:
            write_tools(temporary, tools)


def read_pool(folder: Path, side: str) -> ToolPool:
    """The pool of a side; empty when none was written."""
    path = _path(folder, side)
    try:
        status = path.stat()
    except FileNotFoundError:
        return ToolPool()
    return _pool(path, status.st_mtime_ns) if status.st_size else ToolPool()


@functools.lru_cache(maxsize=2)
def _pool(path: Path, written_at: int) -> ToolPool:
    """A worker rewrites many units with the same pools."""
    return ToolPool.of(read_tools(path))


def _path(folder: Path, side: str) -> Path:
    return folder / f"pool-{side}.jsonl"


def _on_eval(
    tools: Sequence[ToolSpec], on_eval: np.ndarray, on_train: np.ndarray, share: float, seed: int
) -> Sequence[bool]:
    ids = np.array([api_id(tool.name) for tool in tools], np.uint64)
    hashed = (mixed(ids, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share
    return np.where(np.isin(ids, on_eval), True, np.where(np.isin(ids, on_train), False, hashed)).tolist()


def _own(
    con: duckdb.DuckDBPyConnection, kept: list[str], apis: np.ndarray, positions: np.ndarray, seed: int
) -> Sequence[ToolSpec]:
    """Tools of the rows of a side; of each API the one that its first row offers."""
    chosen = np.argsort(mixed(apis, seed), kind="stable")[:_CANDIDATES]
    first = dict(zip(apis[chosen].tolist(), positions[chosen].tolist(), strict=True))
    con.register("first", pa.table({"position": np.unique(positions[chosen])}))
    sql = "SELECT position, apis, tools FROM read_parquet($files) SEMI JOIN first USING (position)"
    reservoir = Reservoir(size=POOL_TOOLS, seed=seed)
    for batch in query_batches(con, sql, _ROWS, files=kept):
        for row in batch.to_pylist():
            for api, stored in zip(row["apis"], json.loads(row["tools"]), strict=True):
                tool = tool_from_dict(stored)
                # A name that was made writable is another API than the one it stands for.
                if first.get(api) == row["position"] and api_id(tool.name) == api:
                    reservoir.add([tool])
    return reservoir.tools()
