"""LoRA, QLoRA and full fine-tuning of the real Gemma 3 270M: memory of the base weights, evaluation loss, peak memory.

    uv run python benchmarks/methods.py --data rows/*.parquet --steps 60     # writes benchmarks/methods.json
    uv run python benchmarks/methods.py                                      # synthetic rows

Each method trains in a process of its own with the flags' defaults, on the same rows in the same order with the same
seeds, 2,048 tokens a step. QLoRA packs every matrix of the base, the embedding included, which is two thirds of the
parameters. Give real rows with --data to compare losses: on the synthetic ones they fall to nearly nothing.
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
FULL_RATE = "1e-5"
LEAST_EVAL_ROWS = 64
COMMAND = "gemma_tool_use.training.train_gemma3_270m_tool_calling"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["lora", "qlora:nf4", "full"], choices=METHODS)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--full-steps", type=int, default=20, help="steps of full fine-tuning, here for its memory")
    parser.add_argument("--data", nargs="+", type=Path, help="files of rows to train on; synthetic ones without them")
    parser.add_argument(
        "--eval-share", type=float, default=0.08, help=f"at least {LEAST_EVAL_ROWS} rows must be held out"
    )
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    arguments = parser.parse_args()
    results = {method: train(method, arguments) for method in arguments.methods}
    report: dict[str, Any] = {
        # Where the files lie is nobody's business; their names follow below.
        "command": " ".join(["uv run python benchmarks/methods.py", *map(_without_folder, sys.argv[1:])]),
        "machine": {"processor": platform.machine(), "ram_gb": round(psutil.virtual_memory().total / 1e9, 1)},
        "rows": [file.name for file in arguments.data] if arguments.data else "synthetic",
        "methods": results,
    }
    for method in results:
        if method.startswith("qlora") and "lora" in results:
            ratio = results[method]["eval_loss"] / results["lora"]["eval_loss"]
            report[f"eval_loss_of_{method}_over_lora"] = round(ratio, 4)
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def _without_folder(word: str) -> str:
    return f"rows/{Path(word).name}" if Path(word).is_file() else word


def train(method: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run of the train command, and what its run.json and metrics.jsonl say."""
    name, _, packing = method.partition(":")
    steps = min(arguments.steps, arguments.full_steps) if name == "full" else arguments.steps
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        flags = ["--model", "embedded:gemma-3-270m", "--dialect", "gemma_json_compact", "--dtype", arguments.dtype]
        flags += ["--method", name, "--output-dir", str(run), "--max-steps", str(steps)]
        flags += ["--quantization", packing] if packing else []
        flags += ["--learning-rate", FULL_RATE] if name == "full" else []
        flags += rows(arguments.data, Path(folder) / "rows")
        flags += ["--eval-share", str(arguments.eval_share), "--eval-every", str(max(1, steps // 2))]
        flags += ["--save-every", "10000"]
        subprocess.run([sys.executable, "-m", COMMAND, *flags], check=True, stdout=sys.stderr)
        content = json.loads((run / "run.json").read_text())
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return _result(name, content, metrics)


def rows(files: list[Path] | None, folder: Path) -> list[str]:
    """Flags for rows of up to 512 tokens; files are gathered in `folder`, as the train command takes one place."""
    if not files:
        return ["--source", "synthetic", "--synthetic-rows", "1000"]
    folder.mkdir()
    for file in files:
        (folder / file.name).symlink_to(file.resolve())
    return ["--data", str(folder), "--max-tools-offered", "8", "--max-bad-share", "0.9"]


def _result(name: str, content: dict[str, Any], metrics: list[dict[str, Any]]) -> dict[str, Any]:
    held_out = content["data"]["held_out_rows"]
    if held_out < LEAST_EVAL_ROWS:
        raise SystemExit(f"{held_out} rows held out, fewer than {LEAST_EVAL_ROWS}: raise --eval-share")
    parameters = content["parameters"]
    base = parameters["total"] - (parameters["trained"] if name != "full" else 0)
    result = {
        "architecture": content["base"]["architecture"],
        "train_rows": content["data"]["train_rows"],
        "eval_rows": held_out,
        "compute_dtype": content["compute_dtype"],
        "steps": content["steps"],
        "first_loss": content["first_loss"],
        "eval_losses": {line["step"]: line["eval/loss"] for line in metrics if "eval/loss" in line},
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
