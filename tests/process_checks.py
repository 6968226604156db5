"""One of two processes that check how processes agree; run by test_distributed.py.

python tests/process_checks.py 127.0.0.1:1234 0 agree FOLDER       prints one JSON object
python tests/process_checks.py 127.0.0.1:1234 1 die                dies; process 0 with "wait" is ended by JAX
"""

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from gemma_tool_use.errors import DataError, GemmaToolUseError
from gemma_tool_use.training.distributed import (
    StopVote,
    broadcast_text,
    check_same,
    check_shared,
    is_writer,
    leave_together,
    start,
    together,
)
from gemma_tool_use.training.mesh import build_mesh, parse_mesh

HEARTBEAT = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Launch:
    coordinator: str
    num_processes: int
    process_id: int


def said(check: Callable[[], Any]) -> str:
    try:
        return str(check())
    except GemmaToolUseError as error:
        return f"{type(error).__name__}: {error}"


def fail_in(process: int) -> None:
    with together("reading rows"):
        if jax.process_index() == process:
            raise DataError("row 7 is broken")


def agree(folder: Path) -> dict[str, Any]:
    me = jax.process_index()
    vote = StopVote(build_mesh(parse_mesh(f"data={jax.device_count()}")))
    return {
        "writer": is_writer(),
        "broadcast": broadcast_text("of zero" if me == 0 else "of one, and longer"),
        "same": said(lambda: check_same({"--rank": "4", "rows": "abc"}, remedy="Look.")),
        "different": said(lambda: check_same({"--rank": str(me), "rows": "abc"}, remedy="Look.")),
        "failed": said(lambda: fail_in(1)),
        "shared": said(lambda: check_shared(folder)),
        "unshared": said(lambda: check_shared(folder if me == 0 else folder / "elsewhere")),
        "left": [path.name for path in folder.iterdir()],
        # Process 1 is asked to stop before its second step.
        "votes": [vote(signal.SIGTERM if me == 1 and step == 2 else 0) for step in range(1, 5)],
    }


def main(coordinator: str, process: int, do: str, *folder: str) -> None:
    launch = Launch(coordinator=coordinator, num_processes=2, process_id=process)
    start(launch, launcher=None, heartbeat_seconds=HEARTBEAT if do != "agree" else 60)
    if do == "agree":
        print(json.dumps(agree(Path(folder[0]))))
        leave_together()
    elif do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        time.sleep(120)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
