"""Kills `gemma-tool-use prepare` at random moments, with all its processes, and compares what it ends with.

    uv run python benchmarks/kill_prepare.py --data toucan-shaped --scratch scratch

`--data` is a folder of `benchmarks/toucan_shaped.py` (10,000 rows run for some seconds). One run is left alone. The
same command is then given again and again, each time killed with SIGKILL after a random part of the time the first run
took, until it was killed `--kills` times; the last one ends by itself. Every file but run.json must have the same
bytes. Writes benchmarks/kill_prepare.json.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def start(data: Path, output: Path, workers: int) -> subprocess.Popen[bytes]:
    flags = ["--source", "toucan-sft", "--input", str(data), "--output", str(output), "--eval-share", "0.05"]
    command = [sys.executable, "-m", "gemma_tool_use.cli", "prepare", *flags, "--shard-rows", "1000"]
    # A group of its own, so that the kill reaches the workers as well.
    return subprocess.Popen([*command, "--workers", str(workers)], start_new_session=True, stdout=subprocess.DEVNULL)


def finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise SystemExit(f"prepare ended with {process.returncode}")


def contents(folder: Path) -> dict[str, str]:
    """The sha256 of every file that two equal runs share."""
    files = (path for path in sorted(folder.iterdir()) if path.name != "run.json")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def progress(partial: Path) -> str:
    """What a killed run had done."""
    units = len(list((partial / "units").glob("[0-9]*.json"))) if partial.exists() else 0
    shards = len(list((partial / "result").glob("*.parquet"))) if partial.exists() else 0
    decided = ", decided" if (partial / "decided.json").exists() else ""
    return f"{units} units{decided}, {shards} shards"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True, help="new folder for the outputs; removed")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.scratch.mkdir(parents=True)
    began = time.perf_counter()
    finish(start(given.data, given.scratch / "whole", given.workers))
    seconds = time.perf_counter() - began
    draw, kills, rounds = random.Random(given.seed), [], 0
    output = given.scratch / "killed-0"
    while len(kills) < given.kills:
        process = start(given.data, output, given.workers)
        wait = draw.uniform(0, seconds)
        try:
            finish_code = process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills.append({"after_seconds": round(wait, 2), "done": progress(Path(f"{output}.partial"))})
            continue
        if finish_code:
            raise SystemExit(f"prepare ended with {finish_code}")
        check(output, given.scratch / "whole")  # it was faster than the kill: the next kills begin anew
        rounds += 1
        output = given.scratch / f"killed-{rounds}"
    if not output.exists():
        finish(start(given.data, output, given.workers))
    check(output, given.scratch / "whole")
    report = {
        "command": "uv run python benchmarks/kill_prepare.py --data toucan-shaped --scratch scratch",
        "workers": given.workers,
        "undisturbed_seconds": round(seconds, 2),
        "kills": kills,
        "runs_completed_after_kills": rounds + 1,
        "files_compared": len(contents(output)),
        "identical": True,
    }
    shutil.rmtree(given.scratch)
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def check(output: Path, whole: Path) -> None:
    if contents(output) != contents(whole):
        raise SystemExit(f"{output} differs from {whole}")


if __name__ == "__main__":
    main()
