"""Builds a store: units encoded by worker processes, their accounts written in the order of the units.

At most two units for each process are on their way, so memory does not grow with the rows, and the files are the same
for any number of processes.
"""

import collections
import contextlib
import multiprocessing
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from gemma_tool_use.data.counts import KEPT
from gemma_tool_use.data.store.encode_unit import Recipe, UnitResult, encode_in_worker, encode_unit, start_worker
from gemma_tool_use.data.store.folder import file_entry
from gemma_tool_use.data.store.units import Unit
from gemma_tool_use.errors import DataError

# Processes take some three seconds to start, in which one encodes 6,000 rows.
POOL_FROM_UNITS = 4
INDEX, REJECTS = "index.parquet", "rejects.jsonl"
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "question")),
        *((name, pa.int32()) for name in ("length", "targets")),
        ("stage", pa.uint8()),
    ]
)


def build(folder: Path, units: Sequence[Unit], recipe: Recipe, *, processes: int) -> dict[str, Any]:
    """Writes the files of a store into `folder` and returns what its manifest says of them.

    Raises:
      DataError: damaged input, a mask that trains nothing or everything, no row left, or a worker process was killed.
      OSError: a file cannot be written.
    """
    files: list[dict[str, Any]] = []
    reasons: collections.Counter[str] = collections.Counter()
    kept = rejected = 0
    total = sum(unit.rows for unit in units)
    try:
        with (
            pq.ParquetWriter(folder / INDEX, _SCHEMA, compression="zstd") as index,
            (folder / REJECTS).open("w", encoding="utf-8") as rejects,
            tqdm(total=total, unit=" rows", desc="tokenising", disable=None, leave=False) as bar,
            contextlib.closing(_results(folder, units, recipe, processes)) as results,
        ):
            for result in results:
                if result.file is not None:
                    files.append(result.file)
                    columns = [result.ids, result.questions, result.lengths, result.targets, result.stages]
                    index.write_table(pa.table(columns, schema=_SCHEMA))
                rejects.write(result.rejects)
                reasons.update(result.reasons)
                kept, rejected = kept + len(result.ids), rejected + sum(result.reasons.values())
                bar.update(result.read)
    except pa.ArrowException as error:
        raise OSError(str(error)) from None
    if not kept:
        found = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common()) or "none were given"
        raise DataError(f"none of {total} conversations can be trained on ({found})")
    return {
        "rows": kept,
        "rejects": rejected,
        "counts": {KEPT: kept, **dict(reasons.most_common())},
        "files": [*files, file_entry(folder / INDEX), file_entry(folder / REJECTS)],
    }


def _results(folder: Path, units: Sequence[Unit], recipe: Recipe, processes: int) -> Generator[UnitResult, None, None]:
    """The account of each unit, in order."""
    tasks = [(unit, folder / f"rows-{number:05}.arrayrecord") for number, unit in enumerate(units)]
    if processes <= 1 or len(units) < POOL_FROM_UNITS:
        yield from (encode_unit(unit, path, recipe) for unit, path in tasks)
        return
    pool = ProcessPoolExecutor(
        min(processes, len(units)),
        mp_context=multiprocessing.get_context("spawn"),  # a fork of a process with JAX's threads can hang
        initializer=start_worker,
        initargs=(recipe,),
    )
    waiting: collections.deque[Future[UnitResult]] = collections.deque()
    try:
        for unit, path in tasks:
            waiting.append(pool.submit(encode_in_worker, unit, path))
            if len(waiting) >= 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise DataError(
            "a process that tokenises was killed, most likely for lack of memory; start again with --workers 1"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
