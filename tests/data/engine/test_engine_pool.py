"""The pool: every job once, a deadly one named, memory refused, and no worker that outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gemma_tool_use.data.engine.pool import Workers, default_workers
from gemma_tool_use.errors import DataError


def run_jobs(function, jobs, *, workers, name, **limits):
    with Workers(workers, **limits) as pool:
        yield from pool.run(function, jobs, name=name)


def square(job):
    return job * job


def die(job):
    if job[1] == "always" or (job[1] == "once" and not _seen(job)):
        os.kill(os.getpid(), signal.SIGKILL)
    return job[0]


def _seen(job):
    """Whether this is not the first attempt; the first leaves a file behind."""
    path = Path(job[2], f"{job[0]}")
    if path.exists():
        return True
    path.touch()
    return False


def fill(size):
    try:
        return len(bytearray(size))
    except MemoryError:
        return "refused"


def fail(job):
    raise DataError(f"job {job} is bad")


@pytest.mark.parametrize("workers", [0, 2])
def test_each_job_is_done_once(workers):
    done = dict(run_jobs(square, iter(range(20)), workers=workers, name=str))
    assert done == {n: n * n for n in range(20)}


def test_jobs_are_taken_a_few_at_a_time():
    taken = []

    def jobs():
        for n in range(50):
            taken.append(n)
            yield n

    results = run_jobs(square, jobs(), workers=1, name=str)
    next(results)
    assert len(taken) <= 3
    results.close()


def test_a_worker_that_dies_once_loses_no_job(tmp_path):
    jobs = [(n, "once" if n == 3 else "never", str(tmp_path)) for n in range(8)]
    with pytest.warns(UserWarning, match=r"a worker process died; trying again: .*job 3"):
        done = list(run_jobs(die, iter(jobs), workers=2, name=lambda job: f"job {job[0]}"))
    assert sorted(result for _, result in done) == list(range(8))


def test_a_job_that_kills_its_worker_twice_is_named():
    with (
        pytest.warns(UserWarning, match="a worker process died"),
        pytest.raises(DataError, match=r"job 1: .*died twice"),
    ):
        list(run_jobs(die, iter([(1, "always")]), workers=1, name=lambda job: f"job {job[0]}"))


def test_an_error_of_the_function_reaches_the_caller():
    with pytest.raises(DataError, match="job 5 is bad"):
        list(run_jobs(fail, iter([5]), workers=1, name=str))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts private memory against RLIMIT_DATA")
def test_a_worker_is_refused_more_memory_than_its_share():
    jobs = [1 << 20, 3 << 30]
    assert dict(run_jobs(fill, iter(jobs), workers=1, name=str, memory_bytes=1 << 30)) == {
        1 << 20: 1 << 20,
        3 << 30: "refused",
    }


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from gemma_tool_use.data.engine.pool import Workers\n"
        "def wait(job):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    with Workers(1) as pool:\n"
        "        list(pool.run(wait, [1], name=str))\n"
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(worker)


def _alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_there_is_a_worker_for_each_core():
    assert 1 <= default_workers() <= (os.cpu_count() or 1)
