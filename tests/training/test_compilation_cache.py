"""Compiled programs survive the process, and a folder that is not safe or not whole does no harm."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
from pathlib import Path
import jax
from gemma_tool_use.training.compilation_cache import keep_compiled

folder = keep_compiled(Path(sys.argv[1]))
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))

@jax.jit
def program(x):
    for _ in range(80):  # takes long enough to compile to be worth keeping
        x = jax.numpy.cumsum(jax.numpy.sort(jax.numpy.cos(x)))
    return x

value = float(program(jax.numpy.ones(8))[0])
hits = sum(event.endswith("cache_hits") for event in events)
print(json.dumps({"folder": folder and str(folder), "hits": hits, "value": value}))
"""


def start(folder: Path) -> tuple[dict, str]:
    """What a process that keeps its programs in `folder` says, and what it printed on stderr."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], capture_output=True, text=True, check=True, env=environment
    )
    return json.loads(done.stdout), done.stderr


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_the_second_start_compiles_nothing_and_a_torn_program_is_replaced(tmp_path):
    folder = tmp_path / "cache" / "compiled"
    first, _ = start(folder)
    assert first["hits"] == 0
    assert folder.stat().st_mode & 0o777 == 0o700
    second, stderr = start(folder)
    assert second == first | {"hits": 1}
    assert not stderr

    (program,) = folder.glob("jit_program-*-cache")
    whole = program.read_bytes()
    program.write_bytes(whole[:100])
    program.with_name(program.name.removesuffix("cache") + "atime").unlink()
    torn, stderr = start(folder)
    assert torn == first
    assert not stderr
    assert len(program.read_bytes()) > 100


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path):
    tmp_path.chmod(0o777)
    said, stderr = start(tmp_path)
    assert said["folder"] is None
    assert "chmod go-w" in stderr
    assert not list(tmp_path.iterdir())
