"""A run killed at random moments, with all its processes, and given again ends with the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toucan_rows

from gemma_tool_use.data.prepare import PrepareConfig, prepare

KILLS = 3

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills a process group")


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    for i in range(8):
        name = f"train-{i:05d}-of-00008.parquet"
        toucan_rows.write(folder / name, toucan_rows.rows(120, seed=i, start=120 * i))
    return folder


def start(rows: Path, output: Path) -> subprocess.Popen[str]:
    flags = ["--source", "toucan-sft", "--input", rows, "--output", output, "--workers", 2, "--shard-rows", 100]
    return subprocess.Popen(
        [sys.executable, "-m", "gemma_tool_use.data.prepare", *map(str, flags), "--eval-share", "0.2"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def settings(rows: Path, output: Path) -> PrepareConfig:
    """The same as flags of `start`; without processes, which no byte depends on."""
    return PrepareConfig(
        input=(str(rows),), source=("toucan-sft",), output=output, eval_share=0.2, shard_rows=100, workers=0
    )


@pytest.fixture(scope="module")
def whole(rows, tmp_path_factory) -> dict[str, bytes]:
    """What a run that was not disturbed writes."""
    output = tmp_path_factory.mktemp("whole") / "out"
    prepare(settings(rows, output))
    return contents(output)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "run.json"}


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def kill(process: subprocess.Popen[str]) -> bool:
    """Whether there was something left to kill."""
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(rows, whole, tmp_path):
    draw = random.Random(1)
    output, killed = tmp_path / "out", 0
    while killed < KILLS and not output.exists():
        process = start(rows, output)
        wait_for(tmp_path / "out.partial" / "plan.json", process)
        time.sleep(draw.uniform(0, 2))
        killed += kill(process)
    if not output.exists():
        prepare(settings(rows, output))
    assert killed
    assert contents(output) == whole


@pytest.mark.parametrize("seen", ["units/00002.json", "decided.json", "result/rejects.jsonl"])
def test_a_run_killed_in_each_stage_ends_with_the_same_bytes(rows, whole, tmp_path, seen):
    output = tmp_path / "out"
    process = start(rows, output)
    wait_for(tmp_path / "out.partial" / seen, process)
    kill(process)
    if not output.exists():
        assert (tmp_path / "out.partial" / seen).exists()
        prepare(settings(rows, output))
    assert contents(output) == whole
