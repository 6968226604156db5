"""Runs functions over many jobs in worker processes, and names the job that kills its worker.

    with Workers(8) as workers:
        for job, result in workers.run(map_unit, jobs, name=str): ...

At most a few jobs are handed over at a time, so a million of them cost no memory. A worker that dies takes only its job
with it: the jobs that were under way are tried once more, one at a time, and the one that dies again is named.
"""

import concurrent.futures
import contextlib
import gc
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from gemma_tool_use.errors import DataError

Job = TypeVar("Job")
Result = TypeVar("Result")

DEFAULT_MEMORY = 2 << 30
"""Bytes of its own that a worker may hold; a file that needs more is refused by name."""


def default_workers() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


class Workers(contextlib.AbstractContextManager["Workers"]):
    """Worker processes that start with the first job and end with the body."""

    def __init__(self, count: int, *, memory_bytes: int = DEFAULT_MEMORY) -> None:
        """
        Args:
          count: processes; 0 runs the jobs in this one, without a limit on memory.
          memory_bytes: what each may hold, where the system can limit it.
        """
        self.count, self._memory_bytes = count, memory_bytes
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool = None

    def run(
        self, function: Callable[[Job], Result], jobs: Iterable[Job], *, name: Callable[[Job], str]
    ) -> Iterator[tuple[Job, Result]]:
        """Each job with its result, in the order in which they finish.

        Args:
          function: a module-level function; jobs and results can be pickled.
          jobs: taken a few at a time.
          name: what an error calls a job.

        Raises:
          DataError: a job killed its worker twice.
          Others as `function`.
        """
        if not self.count:
            for job in jobs:
                yield job, function(job)
            return
        rest = iter(jobs)
        while True:
            under_way: dict[concurrent.futures.Future[Result], Job] = {}
            self._pool = self._pool or _start(self.count, self._memory_bytes)
            try:
                yield from _feed(self._pool, function, rest, under_way, 2 * self.count)
                return
            except BrokenProcessPool:
                self.__exit__()
            suspects = list(under_way.values())
            warnings.warn(f"a worker process died; trying again: {', '.join(map(name, suspects))}", stacklevel=2)
            for job in suspects:
                yield job, _alone(function, job, name(job), self._memory_bytes)


def _feed(
    pool: concurrent.futures.ProcessPoolExecutor,
    function: Callable[[Job], Result],
    jobs: Iterator[Job],
    under_way: "dict[concurrent.futures.Future[Result], Job]",
    most: int,
) -> Iterator[tuple[Job, Result]]:
    """Keeps `most` jobs with the pool; `under_way` holds those without a result, also when the pool breaks."""
    while True:
        while len(under_way) < most and (job := next(jobs, None)) is not None:
            under_way[_submit(pool, function, job, under_way)] = job
        if not under_way:
            return
        done, _ = concurrent.futures.wait(under_way, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in sorted(done, key=lambda one: one.exception() is not None):
            result = future.result()
            yield under_way.pop(future), result


def _submit(
    pool: concurrent.futures.ProcessPoolExecutor,
    function: Callable[[Job], Result],
    job: Job,
    under_way: "dict[concurrent.futures.Future[Result], Job]",
) -> "concurrent.futures.Future[Result]":
    try:
        return pool.submit(function, job)
    except BrokenProcessPool:
        under_way[concurrent.futures.Future()] = job  # taken from the iterator, so it has to be tried again
        raise


def _alone(function: Callable[[Job], Result], job: Job, name: str, memory_bytes: int) -> Result:
    try:
        with _start(1, memory_bytes) as pool:
            return pool.submit(function, job).result()
    except BrokenProcessPool:
        raise DataError(
            f"{name}: the process that worked on it died twice. It was killed from outside (out of memory?) or the "
            "file is damaged in a way that crashes its reader; give the other files without it"
        ) from None


def _start(count: int, memory_bytes: int) -> concurrent.futures.ProcessPoolExecutor:
    # Spawned, not forked: pyarrow and duckdb have threads, and a fork copies their locks without them.
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(
        count, mp_context=context, initializer=start_worker, initargs=(memory_bytes,)
    )


def start_worker(memory_bytes: int) -> None:
    """Prepares a worker process: deaf to Ctrl-C, gone when its parent is, bounded in memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_memory(memory_bytes)
    # Rows leave no cycles behind, so to look for some after every 700 new objects only takes time.
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)


def _end_with_parent() -> None:
    """A pool's workers do not notice that their parent was killed; they would wait for jobs for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def limit_memory(memory_bytes: int) -> None:
    """Refuses this process more private memory than that: a reader gets a MemoryError, the machine goes on.

    RLIMIT_DATA counts private writable memory (Linux 4.7 and later), not the libraries and files that RLIMIT_AS counts.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
