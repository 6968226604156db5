"""How the parent of `train_throughput.py` and its contenders talk: one line in, one step, one line of JSON out.

    serve(lambda: {"loss": 1.5, "tokens": 900})       # in the contender, after its start

Needs only the standard library: one contender runs in an environment of its own.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEP_LIMIT_SECONDS = 900.0


class Answers:
    """The contender's side. Whatever its libraries print goes to stderr instead."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def next(self) -> bool:
        """Waits for the word to go; False at the end."""
        return sys.stdin.readline().strip() == "step"

    def send(self, seconds: float, **found: Any) -> None:
        print(json.dumps({"seconds": seconds, "peak_gb": peak_gb(), **found}), file=self._out, flush=True)


def serve(step: Callable[[], dict[str, Any]]) -> None:
    """Takes a step at each word, until the end."""
    answers = Answers()
    while answers.next():
        start = time.perf_counter()
        found = step()
        answers.send(time.perf_counter() - start, **found)


def peak_gb() -> float:
    """Largest resident memory of this process so far, in GB (10^9 bytes). Linux."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) * 1024 / 1e9, 2)


class Contender:
    """The parent's side: a running contender that computes only when told to."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log.open("a")
        self._path = log
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )

    def step(self) -> dict[str, Any]:
        """One step of the contender, timed by itself.

        Raises:
          RuntimeError: it ended, or took longer than `STEP_LIMIT_SECONDS`.
        """
        assert self._process.stdin and self._process.stdout
        timer = threading.Timer(STEP_LIMIT_SECONDS, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write("step\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            tail = self._path.read_text()[-2000:]
            raise RuntimeError(f"{self._process.args} ended with {self._process.wait()}:\n{tail}")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)
        self._log.close()
