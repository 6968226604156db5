"""LoRA, QLoRA and full fine-tuning of the real Gemma 3 270M: memory of the base weights, evaluation loss, peak memory.

    uv run python benchmarks/methods.py               # writes benchmarks/methods.json
    uv run python benchmarks/methods.py --data rows.jsonl --steps 60 --methods lora qlora:nf4

Each method trains in a process of its own, on the same rows in the same order with the same seeds. QLoRA packs every
matrix of the base, the embedding included, which is two thirds of the parameters. Full fine-tuning takes few steps: it
is here for its memory. Give real rows with --data to compare losses: on the synthetic ones they fall to nearly nothing.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

METHODS = ("lora", "qlora:nf4", "qlora:int4", "qlora:int8", "full")
FULL_STEPS = 5
COMMAND = "gemma_tool_use.training.train_gemma3_270m_tool_calling"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["lora", "qlora:nf4", "full"], choices=METHODS)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--data", help="rows to train on; synthetic ones without it")
    arguments = parser.parse_args()
    results = {method: train(method, arguments.steps, arguments.data) for method in arguments.methods}
    report: dict[str, Any] = {
        "command": " ".join(["uv run python benchmarks/methods.py", *sys.argv[1:]]),
        "machine": {"processor": platform.machine(), "ram_gb": round(psutil.virtual_memory().total / 1e9, 1)},
        "rows": arguments.data or "synthetic",
        "methods": results,
    }
    for method in results:
        if method.startswith("qlora") and "lora" in results:
            ratio = results[method]["eval_loss"] / results["lora"]["eval_loss"]
            report[f"eval_loss_of_{method}_over_lora"] = round(ratio, 4)
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def train(method: str, steps: int, data: str | None) -> dict[str, Any]:
    """One run of the train command, and what its run.json says."""
    name, _, packing = method.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        flags = ["--preset", "quickstart", "--method", name, "--output-dir", str(run), "--compare-requests", "0"]
        flags += ["--quantization", packing] if packing else []
        flags += ["--data", data, "--source", "auto", "--max-length", "640", "--learning-rate", "2e-4"] if data else []
        flags += ["--eval-share", "0.1", "--eval-every", "10000", "--save-every", "10000"]
        if name == "full":
            flags += ["--learning-rate", "1e-5"]
        flags += ["--max-steps", str(min(steps, FULL_STEPS) if name == "full" else steps)]
        subprocess.run([sys.executable, "-m", COMMAND, *flags], check=True, stdout=sys.stderr)
        content = json.loads((run / "run.json").read_text())
        parameters, architecture = content["parameters"], content["base"]["architecture"]
    base = parameters["total"] - (parameters["trained"] if name != "full" else 0)
    result = {
        "architecture": architecture,
        "steps": content["steps"],
        "first_loss": content["first_loss"],
        "eval_loss": content["eval_loss"],
        "trained_parameters": parameters["trained"],
        "peak_rss_gb": content["peak_rss_gb"],
        "seconds_training": content["seconds_training"],
    }
    if name != "full":
        result["base_weight_bytes"] = parameters["frozen_bytes"]
        result["share_of_bfloat16"] = round(parameters["frozen_bytes"] / (2 * base), 4)
    return result


if __name__ == "__main__":
    main()
