"""Kills `gemma-tool-use train` with SIGKILL at random moments, resumes it, and compares what it ends with.

    uv run python benchmarks/kill_train.py --scratch scratch

One run of 60 steps of a tiny random Gemma 3 is left alone. Others are killed at random steps, at a random moment of the
step, and resumed; a resumed run may be killed again. This goes on until `--kills` kills; the runs that were killed end
by themselves. Every bit of each adapter, every logged number but the speed, and the TensorBoard curve must be those of
the run that was left alone. Writes benchmarks/kill_train.json.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from tiny_model import write_tiny_model

from gemma_tool_use.conversation import conversation_to_dict
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.models.adapter import read_adapter
from gemma_tool_use.models.gemma3 import tiny

STEPS, SAVE_EVERY = 60, 4
FLAGS = (
    f"--max-length 1200 --no-packing --batch-size 1 --rank 4 --epochs 3 --learning-rate 0.01 --eval-share 0.2 "
    f"--eval-every 15 --save-every {SAVE_EVERY} --keep 2 --log-every 1 --dialect gemma_json_compact"
)


def write_inputs(scratch: Path) -> list[str]:
    """A model and 25 rows, of which 20 are trained on. Returns the flags of every run."""
    write_tiny_model(scratch / "model", tiny(sliding_window=24))
    rows = generate(count=25, seed=3, kinds={"one_call": 1.0})
    text = "".join(json.dumps(conversation_to_dict(row)) + "\n" for row in rows)
    (scratch / "rows.jsonl").write_text(text)
    return ["--model", str(scratch / "model"), "--data", str(scratch / "rows.jsonl"), *FLAGS.split()]


def start(flags: list[str], folder: Path) -> subprocess.Popen[str]:
    resume = ["--resume"] if (folder / "run.json").exists() else []
    command = [sys.executable, "-m", "gemma_tool_use.cli", "train", *flags, "--output-dir", str(folder), *resume]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def steps_told(process: subprocess.Popen[str], said: list[str]) -> Iterator[int]:
    """The step of each line that the run prints."""
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if line.startswith("step ") and "/" in line:
            yield int(line.split("/")[0].removeprefix("step "))


def finish(process: subprocess.Popen[str]) -> None:
    _, error = process.communicate()
    if process.returncode:
        raise SystemExit(f"train ended with {process.returncode}: {error}")


def kill(flags: list[str], folder: Path, draw: random.Random) -> dict[str, Any] | None:
    """Starts or resumes the run and kills it at a random step after the newest checkpoint; None if it ended before."""
    began, said = newest(folder), list[str]()
    wanted, wait = draw.randint(began, min(began + 30, STEPS - 1)), draw.uniform(0, 0.2)
    process = start(flags, folder)
    if wanted == 0:
        time.sleep(draw.uniform(0, 10))  # before there is any step
    else:
        next((step for step in steps_told(process, said) if step >= wanted), None)
        time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"train ended with {process.returncode}: {''.join(said)}")
    if process.returncode == 0:
        return None
    half = len(list((folder / "checkpoints").glob("*.orbax-checkpoint-tmp*")))
    return {
        "resumed_after": began,
        "killed_after_step": wanted,
        "newest_checkpoint": newest(folder),
        "half_written_checkpoints": half,
    }


def newest(folder: Path) -> int:
    """Step of the newest whole checkpoint."""
    checkpoints = folder / "checkpoints"
    found = [int(path.name) for path in checkpoints.iterdir() if path.name.isdigit()] if checkpoints.exists() else []
    return max(found, default=0)


def logged(folder: Path) -> list[tuple[int, str, Any]]:
    """Every number but the speed, sorted; one that is logged twice is there twice."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    clock = ("step", "train/tokens_per_second")
    return sorted((line["step"], name, value) for line in lines for name, value in line.items() if name not in clock)


def curve(folder: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("train/loss")]


def check(folder: Path, whole: Path) -> int:
    """Returns the number of arrays compared."""
    arrays, expected = read_adapter(folder)[1], read_adapter(whole)[1]
    same = arrays.keys() == expected.keys() and all(
        np.array_equal(array.view(np.uint32), expected[name].view(np.uint32)) for name, array in arrays.items()
    )
    if not same:
        raise SystemExit(f"the adapter of {folder} differs from that of {whole}")
    if logged(folder) != logged(whole):
        raise SystemExit(f"metrics.jsonl of {folder} differs from that of {whole}")
    if curve(folder) != curve(whole):
        raise SystemExit(f"the TensorBoard curve of {folder} differs from that of {whole}")
    return len(arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="new folder for the runs; removed at the end")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.scratch.mkdir(parents=True)
    os.environ["GEMMA_TOOL_USE_CACHE"] = str(given.scratch / "cache")
    flags = write_inputs(given.scratch.resolve())
    began = time.perf_counter()
    whole = given.scratch / "whole"
    finish(start(flags, whole))
    undisturbed = time.perf_counter() - began
    draw, kills, runs = random.Random(given.seed), list[dict[str, Any]](), 0
    while len(kills) < given.kills:
        runs += 1
        folder = given.scratch / f"killed-{runs}"
        for _ in range(min(3, given.kills - len(kills))):
            killed = kill(flags, folder, draw)
            if killed is None:
                break
            kills.append(killed | {"run": runs})
            print(json.dumps(kills[-1]), flush=True)
        finish(start(flags, folder))
        arrays = check(folder, whole)
    report = {
        "command": "uv run python benchmarks/kill_train.py --scratch scratch",
        "steps": STEPS,
        "checkpoint_every": SAVE_EVERY,
        "undisturbed_seconds": round(undisturbed, 1),
        "seconds": round(time.perf_counter() - began, 1),
        "kills": kills,
        "runs_completed_after_kills": runs,
        "adapter_arrays_compared": arrays,
        "numbers_compared": len(logged(whole)),
        "identical": True,
    }
    shutil.rmtree(given.scratch)
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
