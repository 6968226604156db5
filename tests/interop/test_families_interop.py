"""Tiny models of every family in Hugging Face transformers: equal logits, from our weights and from theirs."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file
from tiny_checkpoint import hf_config, hf_tensors
from tiny_families import TINY, family_params

from gemma_tool_use.models.decoder import hidden_states, logits_of
from gemma_tool_use.models.load import load_base, load_params, read_spec
from gemma_tool_use.models.resolve import resolve

torch = pytest.importorskip(
    "torch", reason="install a CPU build of torch beside the project for the comparison, as .ci/run does"
)
transformers = pytest.importorskip("transformers", reason="run `pip install transformers` for the comparison")

pytestmark = pytest.mark.interop

LENGTH = 60  # beyond the window of 24
LARGEST_DIFFERENCE = 2e-4


@nnx.jit
def our_logits(model: Any, tokens: Any) -> Any:
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return logits_of(model, hidden_states(model, tokens, positions, jnp.ones_like(tokens)))


def their_model(folder: Path) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def write(folder: Path, family: str) -> Path:
    spec = TINY[family]
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(hf_config(spec)))
    save_file(hf_tensors(family_params(spec), spec), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def largest_difference(folder: Path, theirs: Any) -> float:
    tokens = np.random.default_rng(0).integers(3, 500, (2, LENGTH))
    ours = np.asarray(our_logits(load_base(resolve(str(folder)), dtype=np.float32), jnp.asarray(tokens, jnp.int32)))
    with torch.inference_mode():
        expected = theirs(torch.tensor(tokens)).logits.numpy()
    np.testing.assert_array_equal(ours.argmax(-1), expected.argmax(-1))
    return float(np.abs(ours - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("family", TINY)
def test_our_weights_give_the_logits_of_transformers(family: str, tmp_path: Path):
    folder = write(tmp_path / "ours", family)
    assert largest_difference(folder, their_model(folder)) <= LARGEST_DIFFERENCE


@pytest.mark.parametrize("family", TINY)
def test_what_transformers_saves_is_what_we_load(family: str, tmp_path: Path):
    their_model(write(tmp_path / "ours", family)).save_pretrained(tmp_path / "theirs")
    found, loaded = load_params(resolve(str(tmp_path / "theirs")))
    assert found == TINY[family]
    for name, array in family_params(found).items():
        np.testing.assert_array_equal(loaded[name], array, err_msg=name)


def test_the_text_part_of_a_model_that_also_sees_is_that_of_transformers(tmp_path: Path):
    spec = TINY["gemma3_4b"]
    text = {name: value for name, value in hf_config(spec).items() if name != "architectures"}
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "image_size": 28,
        "patch_size": 14,
    }
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    torch.manual_seed(0)
    model = transformers.Gemma3ForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path / "theirs")
    local = resolve(str(tmp_path / "theirs"))
    assert read_spec(local) == spec
    assert largest_difference(tmp_path / "theirs", model) <= LARGEST_DIFFERENCE
