"""Every family: published sizes, configurations read and refused by key, weights loaded into Tunix's module."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_checkpoint import finish_gguf, gguf_writer, hf_config, hf_tensors, write_gguf, write_hf
from tiny_families import TINY, family_params, tiny_family_base, write_family

from gemma_tool_use.errors import CheckpointError, ConfigError
from gemma_tool_use.models.families import SPECS, spec_from_hf_config
from gemma_tool_use.models.load import load_params, read_spec
from gemma_tool_use.models.names import our_shapes
from gemma_tool_use.models.resolve import resolve

# Values in the checkpoints on the hub; of Gemma 3 4B the text part.
PUBLISHED = {
    "gemma-3-270m": 268_098_176,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 3_880_263_168,
    "gemma-2-2b": 2_614_341_888,
    "qwen3-0.6b": 596_049_920,
    "llama-2-7b": 6_738_415_616,
    "mistral-7b-v0.1": 7_241_732_096,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.2-1b": 1_235_814_400,
}


def test_the_parameter_counts_are_those_of_the_published_checkpoints():
    assert {name: spec.num_params for name, spec in SPECS.items()} == PUBLISHED
    for spec in SPECS.values():
        assert sum(int(np.prod(shape)) for shape in our_shapes(spec).values()) == spec.num_params


@pytest.mark.parametrize("name", [*SPECS, *TINY])
def test_a_configuration_is_read_as_the_architecture_it_states(name: str):
    spec = {**SPECS, **TINY}[name]
    assert spec_from_hf_config(hf_config(spec)) == spec


def test_the_flat_rope_parameters_of_transformers_5_are_read():
    spec = TINY["llama3"]
    config = hf_config(spec)
    parameters = {**config.pop("rope_scaling"), "rope_theta": config.pop("rope_theta")}
    assert spec_from_hf_config(config | {"rope_parameters": parameters}) == spec


def test_sizes_that_old_llama_configurations_leave_out_follow_from_the_others():
    config = hf_config(SPECS["llama-2-7b"])
    for key in ("head_dim", "num_key_value_heads", "attention_bias", "mlp_bias", "rope_scaling"):
        del config[key]
    assert spec_from_hf_config(config) == SPECS["llama-2-7b"]


def test_a_mistral_without_a_window_attends_to_all_tokens():
    spec = spec_from_hf_config(hf_config(TINY["mistral"]) | {"sliding_window": None})
    assert (spec.sliding_window, spec.is_local(0)) == (None, False)


@pytest.mark.parametrize(
    ("family", "changes", "reason"),
    [
        ("qwen3", {"use_sliding_window": True}, "use_sliding_window = True, expected False"),
        ("qwen3", {"model_type": "qwen3_moe"}, "model_type 'qwen3_moe', expected "),
        ("qwen3", {"attention_bias": True}, "attention_bias = True"),
        ("qwen3", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling = {'rope_type': 'yarn'"),
        ("qwen3", {"layer_types": ["sliding_attention"]}, "layer_types = "),
        ("llama3", {"hidden_act": "gelu"}, "hidden_act = 'gelu', expected 'silu'"),
        ("llama3", {"mlp_bias": True}, "mlp_bias = True"),
        ("llama3", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling = {'type': 'dynamic'"),
        ("llama3", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "has low_freq_factor = None"),
        ("llama3", {"rope_scaling": 8}, "rope_scaling = 8, expected null or an object"),
        ("llama3", {"quantization_config": {"bits": 4}}, "has a quantization_config"),
        ("llama3", {"rope_theta": None}, "rope_theta = None"),
        ("mistral", {"sliding_window": 0}, "sliding_window is 0"),
        ("gemma2", {"hidden_activation": "relu"}, "hidden_activation = 'relu'"),
        ("gemma2", {"layer_types": ["full_attention"] * 2}, "layer_types = "),
        ("gemma2", {"attn_logit_softcapping": -1.0}, "attention_softcap is -1.0"),
    ],
)
def test_what_we_would_compute_wrongly_is_refused_by_key(family: str, changes: dict[str, Any], reason: str):
    with pytest.raises(CheckpointError) as caught:
        spec_from_hf_config(hf_config(TINY[family]) | changes, "here/config.json")
    assert reason in str(caught.value)


def test_a_gemma_2_that_does_not_state_its_caps_is_refused():
    config = hf_config(TINY["gemma2"])
    del config["final_logit_softcapping"]
    with pytest.raises(CheckpointError, match="has no final_logit_softcapping"):
        spec_from_hf_config(config)


def test_a_window_and_its_pattern_belong_together():
    with pytest.raises(ConfigError, match="sliding_window is 8 with layers_per_global 1"):
        dataclasses.replace(TINY["qwen3"], sliding_window=8)


@pytest.mark.parametrize("family", TINY)
def test_the_weights_of_a_folder_arrive_in_tunix_s_module(family: str, tmp_path: Path):
    from flax import nnx

    model = tiny_family_base(tmp_path, family)
    assert model.spec == TINY[family]
    loaded = {".".join(map(str, path)): leaf.get_value() for path, leaf in nnx.to_flat_state(nnx.state(model))}
    for name, array in family_params(TINY[family]).items():
        np.testing.assert_array_equal(loaded[name], array, err_msg=name)


@pytest.mark.parametrize("style", ["language_model.model.", "model.language_model."])
def test_the_vision_arrays_of_a_model_that_also_sees_are_left_out_and_counted(
    style: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    spec = TINY["gemma3_4b"]
    folder = write_hf(tmp_path, family_params(spec), spec)
    text = {name.replace("model.", style, 1): array for name, array in hf_tensors(family_params(spec), spec).items()}
    tower = "vision_tower." if style.startswith("language") else "model.vision_tower."
    save_file(text | {f"{tower}embeddings.weight": np.ones(3, np.float32)}, folder / "model.safetensors")
    with caplog.at_level(logging.WARNING):
        found, params = load_params(resolve(str(folder)))
    assert found == spec
    assert "1 arrays of the vision part are left out" in caplog.text
    np.testing.assert_array_equal(params["final_norm.scale"], family_params(spec)["final_norm.scale"])


@pytest.mark.parametrize("family", ["gemma2", "gemma3_4b"])
def test_a_gguf_of_a_gemma_states_its_architecture_and_holds_its_weights(family: str, tmp_path: Path):
    spec = TINY[family]
    spec = dataclasses.replace(spec, query_scalar=spec.head_dim)  # a GGUF does not state it
    path = write_gguf(tmp_path / "tiny.gguf", family_params(spec), spec)
    found, params = load_params(resolve(str(path)))
    assert found == spec
    for name, array in family_params(spec).items():
        np.testing.assert_allclose(params[name], array, atol=1e-7, err_msg=name)


def test_a_gguf_of_gemma_2_27b_is_refused(tmp_path: Path):
    spec = dataclasses.replace(TINY["gemma2"], num_layers=46)
    writer = gguf_writer(tmp_path / "tiny.gguf", spec)
    writer.add_tensor("token_embd.weight", np.zeros((512, 32), np.float32))
    finish_gguf(writer)
    with pytest.raises(CheckpointError, match="Gemma 2 27B"):
        read_spec(resolve(str(tmp_path / "tiny.gguf")))


def test_an_untied_model_needs_its_head_and_a_tied_one_takes_a_copy(tmp_path: Path):
    spec = TINY["llama3"]
    tensors = hf_tensors(family_params(spec), spec)
    folder = write_family(tmp_path / "untied", spec)
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 missing: lm_head\.weight"):
        load_params(resolve(str(folder)))

    tied = TINY["qwen3"]
    tensors = hf_tensors(family_params(tied), tied)
    folder = write_family(tmp_path / "tied", tied)
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}, folder / "model.safetensors")
    assert "lm_head.w" not in load_params(resolve(str(folder)))[1]
