"""The training step of Gemma 3 270M compiled for TPUs that are not here: memory, arithmetic, traffic, least time.

    uv run --extra tpu python benchmarks/tpu_step.py                    # writes benchmarks/tpu_step.json
    uv run --extra tpu python benchmarks/tpu_step.py v5e:2x4            # one of them, printed only

v5e 2x4 is Kaggle's TPU, one v5e Colab's. LoRA of rank 16 on all six kinds of modules, bfloat16, adapter and AdamW in
float32, 8 rows of 1,024 tokens per chip, a tenth of the tokens trained. A compilation takes minutes.

What is counted, and what is not, stands in `gemma_tool_use/training/ahead_of_time.py`. Nothing here ran on a TPU.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

# The program runs nowhere, so this machine's own devices are of no use.
os.environ["JAX_PLATFORMS"] = "cpu"

import jax

from gemma_tool_use.training.ahead_of_time import StepCost, compile_ahead

TOPOLOGIES = ("v5e:2x4", "v5e:1x1", "v6e:2x4")
ROWS, LENGTH = 8, 1024


def main() -> None:
    wanted = sys.argv[1:]
    results = []
    for topology in wanted or TOPOLOGIES:
        cost = compile_ahead(topology, rows=ROWS, length=LENGTH)
        print("\n".join(_lines(cost)), flush=True)
        results.append(_record(cost))
    if not wanted:
        result = {
            "command": "uv run --extra tpu python benchmarks/tpu_step.py",
            "jax": jax.__version__,
            "model": "Gemma 3 270M, LoRA rank 16 on six kinds of modules, bfloat16, AdamW",
            "per_chip": results,
        }
        Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


def _lines(cost: StepCost) -> list[str]:
    chip = cost.chip
    return [
        f"{cost.topology}: {cost.chips} chips, {cost.rows} x {cost.length} tokens each, "
        f"{cost.trained_share:.0%} of them trained",
        f"  memory      arguments {cost.argument_bytes / 1e9:.2f} GB, temporaries {cost.temporary_bytes / 1e9:.2f} GB, "
        f"output {cost.output_bytes / 1e9:.3f} GB of {chip.memory / 1e9:.0f}",
        f"  arithmetic  {cost.flops / 1e12:.2f} TFLOP ({cost.flops / cost.tokens / 1e6:.0f} MFLOP a token), "
        f"{cost.flops / chip.flops * 1e3:.1f} ms; {cost.unseen_flops / 1e12:.2f} of it by formula",
        f"  traffic     {cost.bytes_accessed / 1e9:.1f} GB ({cost.bytes_accessed / cost.tokens / 1e6:.2f} MB a token), "
        f"{cost.bytes_accessed / chip.bandwidth * 1e3:.1f} ms; {cost.unseen_bytes / 1e9:.2f} of it by formula",
        f"  least time  {cost.seconds * 1e3:.1f} ms, {cost.tokens * cost.chips / cost.seconds:,.0f} tokens a second; "
        f"compiled in {cost.compile_seconds:.0f} s",
    ]


def _record(cost: StepCost) -> dict[str, float | int | str]:
    return {
        **{name: _rounded(value) for name, value in dataclasses.asdict(cost).items()},
        "flops_per_token": round(cost.flops / cost.tokens),
        "bytes_per_token": round(cost.bytes_accessed / cost.tokens),
        "least_milliseconds": round(cost.seconds * 1e3, 1),
    }


def _rounded(value: float | int | str) -> float | int | str:
    return round(value) if isinstance(value, float) and value > 1 else value


if __name__ == "__main__":
    main()
