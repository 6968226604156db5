"""An adapter of both ways of writing a decoder: all projections, saved, loaded, merged, and asked for tokens."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_checkpoint import write_hf
from tiny_families import TINY, tiny_family_base
from tiny_model import random_lora

from gemma_tool_use.inference.sampler import Sampler, SamplingConfig
from gemma_tool_use.models.adapter import adapter_arrays, load_adapter, merge_adapter, read_manifest, save_adapter
from gemma_tool_use.models.decoder import hidden_states, logits_of
from gemma_tool_use.models.load import load_base, load_params
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.resolve import resolve

SPEC = LoraSpec(rank=4, alpha=8.0)
PROMPTS = [list(range(3, 33)), [5, 6, 7]]  # the first is longer than the window of 24
LENGTH = 34  # of all rows, so that XLA compiles once


@nnx.jit
def _logits(model, tokens):
    positions = jnp.arange(LENGTH)[None]
    return logits_of(model, hidden_states(model, tokens, positions, jnp.ones_like(tokens)))[0]


def logits(model, tokens):
    """Those of the tokens; the padding behind them is not seen."""
    return _logits(model, jnp.asarray([[*tokens, *[0] * (LENGTH - len(tokens))]], jnp.int32))[: len(tokens)]


@pytest.mark.parametrize("family", ["gemma2", "llama3"])
def test_all_projections_are_adapted_saved_loaded_merged_and_sampled_from(family, tmp_path):
    base = tiny_family_base(tmp_path / "model", family)
    model = attach_lora(base, SPEC, seed=0)
    random_lora(model)
    modules = TINY[family].family.lora_modules
    assert len(adapter_arrays(model)) == 2 * len(modules) * TINY[family].num_layers
    (tmp_path / "run").mkdir()
    save_adapter(tmp_path / "run", model, SPEC, details={})
    assert read_manifest(tmp_path / "run")["modules"] == list(modules)

    live = logits(model, PROMPTS[0])
    np.testing.assert_array_equal(logits(load_adapter(base, tmp_path / "run"), PROMPTS[0]), live)
    spec, params = load_params(resolve(str(tmp_path / "model")))
    write_hf(tmp_path / "merged", merge_adapter(params, tmp_path / "run"), spec)
    merged = load_base(resolve(str(tmp_path / "merged")), dtype=jnp.float32)
    np.testing.assert_allclose(logits(merged, PROMPTS[0]), live, rtol=1e-4, atol=1e-4)
    assert not np.allclose(logits(base, PROMPTS[0]), live, atol=1e-2)

    replies = Sampler(model).generate(PROMPTS, stop_ids=[511], pad_id=0, config=SamplingConfig(max_new_tokens=3))
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        predicted = logits(model, [*prompt, *reply]).argmax(-1)[len(prompt) - 1 : -1]
        assert predicted.tolist() == reply
        assert len(reply) == 3
