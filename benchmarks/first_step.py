"""Seconds from typing the train command to its first optimizer step, with nothing compiled before and with everything.

    uv run python benchmarks/first_step.py            # writes benchmarks/first_step.json

Each start is a process of its own with the default batch on synthetic rows, the embedded weights joined already. The
cold one has an empty folder of compiled programs, the warm ones the folder that it left. What is counted is
`seconds_to_first_step` of run.json: from the start of the process, so imports, rows, weights and compilation included.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from gemma_tool_use.models.resolve import resolve

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "gemma_tool_use" / "training" / "train_gemma3_270m_tool_calling.py"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded:gemma-3-270m")
    parser.add_argument("--warm", type=int, default=3, help="starts with everything compiled")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        resolve(arguments.model, cache_dir=folder / "cache")
        seconds = [start(folder, arguments.model, number) for number in range(1 + arguments.warm)]
    result = {
        "command": "uv run python benchmarks/first_step.py",
        "machine": {"cores": os.cpu_count(), "jax": metadata.version("jax")},
        "cold": seconds[0],
        "warm": seconds[1:],
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0


def start(folder: Path, model: str, number: int) -> float:
    """Trains two steps in a new process; seconds until the first of them was done."""
    run = folder / f"run{number}"
    flags = f"--source synthetic --synthetic-rows 300 --max-steps 2 --eval-share 0 --output-dir {run}"
    subprocess.run(
        [sys.executable, str(SCRIPT), "--model", model, *flags.split()],
        check=True,
        stdout=sys.stderr,
        env=os.environ | {"GEMMA_TOOL_USE_CACHE": str(folder / "cache")},
    )
    return json.loads((run / "run.json").read_text())["seconds_to_first_step"]


if __name__ == "__main__":
    sys.exit(main())
