"""From a GGUF file to float32 arrays: the `gguf` library's reader against ours, in one run.

    uv run python benchmarks/load_weights.py          # writes benchmarks/load_weights.json

Says where the time of the plain way goes: opening the file (three arrays of 262,144 elements, a NumPy view for each
element) and dequantising tensor by tensor. Then times a whole process from its start to a model in memory.
"""

import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import gguf

from gemma_tool_use.models.load import load_params
from gemma_tool_use.models.resolve import resolve

WHOLE = """
import jax.numpy as jnp
from gemma_tool_use.models.load import load_base
from gemma_tool_use.models.resolve import resolve
load_base(resolve("embedded:gemma-3-270m"), dtype=jnp.float32)
"""


def main() -> None:
    local = resolve("embedded:gemma-3-270m")
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    reader = gguf.GGUFReader(local.path)
    seconds["plain_open"] = time.perf_counter() - start
    start = time.perf_counter()
    for tensor in reader.tensors:
        gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    seconds["plain_dequantize"] = time.perf_counter() - start
    start = time.perf_counter()
    load_params(local)
    seconds["ours_open_and_dequantize"] = time.perf_counter() - start
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", WHOLE], check=True)
    seconds["process_start_to_model_in_memory"] = time.perf_counter() - start
    plain = seconds["plain_open"] + seconds["plain_dequantize"]
    result = {
        "command": "uv run python benchmarks/load_weights.py",
        "machine": {"processor": platform.machine(), "python": platform.python_version()},
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "ratio_plain_to_ours": round(plain / seconds["ours_open_and_dequantize"], 1),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
