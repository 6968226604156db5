"""The sizes of Gemma 3 and their recognition from each kind of checkpoint."""

import dataclasses
from typing import Any

import pytest
from tiny_checkpoint import hf_config

from gemma_tool_use.errors import CheckpointError, ConfigError
from gemma_tool_use.models.families import spec_from_flax_shapes, spec_from_gguf, spec_from_hf_config
from gemma_tool_use.models.gemma3 import GEMMA3_1B, GEMMA3_4B, GEMMA3_270M, tiny, tunix_config
from gemma_tool_use.models.names import foreign_shapes
from gemma_tool_use.models.spec import ModelSpec

GGUF_270M = {
    "general.architecture": "gemma3",
    "gemma3.embedding_length": 640,
    "gemma3.block_count": 18,
    "gemma3.feed_forward_length": 2048,
    "gemma3.attention.head_count": 4,
    "gemma3.attention.head_count_kv": 1,
    "gemma3.attention.key_length": 256,
    "gemma3.attention.value_length": 256,
    "gemma3.attention.sliding_window": 512,
    "gemma3.rope.freq_base": 1_000_000.0,
}


# The beginning of google/gemma-3-4b-it's config.json: what is missing are the defaults of Gemma3TextConfig.
CONFIG_4B = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "text_config": {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    },
    "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model"},
}


def test_the_text_part_of_a_model_that_also_sees_is_read_with_the_defaults_its_file_leaves_out():
    assert spec_from_hf_config(CONFIG_4B) == GEMMA3_4B
    wide = CONFIG_4B["text_config"] | {"num_attention_heads": 16, "num_key_value_heads": 8}
    assert spec_from_hf_config(CONFIG_4B | {"text_config": wide}).num_kv_heads == 8


@pytest.mark.parametrize("spec", [GEMMA3_270M, GEMMA3_1B, GEMMA3_4B], ids=lambda spec: spec.name)
def test_our_configuration_equals_the_one_tunix_has_for_the_size(spec: ModelSpec):
    from tunix.models.gemma3.model import ModelConfig

    sizes = {
        "gemma-3-270m": ModelConfig.gemma3_270m,
        "gemma-3-1b": ModelConfig.gemma3_1b_it,
        "gemma-3-4b": ModelConfig.gemma3_4b_it,
    }
    theirs = sizes[spec.name]()
    theirs.num_embed = spec.vocab_size  # the checkpoint of 4B has 64 rows that no token uses
    assert tunix_config(spec, param_dtype=theirs.param_dtype) == theirs


@pytest.mark.parametrize("spec", [GEMMA3_270M, GEMMA3_1B, GEMMA3_4B], ids=lambda spec: spec.name)
def test_every_kind_of_checkpoint_names_the_same_architecture(spec: ModelSpec):
    assert spec_from_hf_config(hf_config(spec)) == spec
    assert spec_from_flax_shapes(foreign_shapes(spec, "flax")) == spec
    assert spec_from_gguf(GGUF_270M, 262_144) == GEMMA3_270M


def test_an_unknown_size_is_read_and_named_by_its_shape():
    config = hf_config(tiny(num_layers=7))
    assert spec_from_hf_config(config) == tiny(num_layers=7, name="gemma3-7x64")


def test_the_rope_parameters_of_transformers_5_are_read():
    config = hf_config(GEMMA3_270M)
    del config["rope_theta"], config["rope_local_base_freq"], config["rope_scaling"]
    config["rope_parameters"] = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
    }
    config["layer_types"] = (["sliding_attention"] * 5 + ["full_attention"]) * 3
    assert spec_from_hf_config(config) == GEMMA3_270M
    config["rope_parameters"]["full_attention"] = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0}
    assert spec_from_hf_config(config) == dataclasses.replace(GEMMA3_270M, name="gemma3-18x640", global_rope_factor=8.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "gemma3"}, "text_config = None, expected an object"),
        ({"model_type": "phi3"}, "model_type 'phi3', expected 'gemma3_text' or 'gemma3' or 'gemma2' or 'qwen3' or"),
        ({"quantization_config": {"quant_method": "awq"}}, "has a quantization_config"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings = False, expected True"),
        ({"hidden_size": None}, "hidden_size = None, expected a whole number"),
        ({"num_hidden_layers": 1e300}, "num_layers is 1"),
        ({"num_hidden_layers": 0}, "num_layers is 0, expected at least 1"),
        ({"num_key_value_heads": 4}, "num_heads is 4 with num_kv_heads 4"),
        ({"head_dim": 15, "query_pre_attn_scalar": 15}, "expected an even number"),
        ({"rope_scaling": {"factor": 8.0, "rope_type": "yarn"}}, "rope_scaling = {'factor': 8.0"),
        ({"rope_scaling": {"factor": 0.5, "rope_type": "linear"}}, "global_rope_factor is 0.5, expected at least 1"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "rope_parameters.sliding_attention = None"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping = 30.0, expected None"),
        ({"query_pre_attn_scalar": 0}, "query_scalar is 0, expected above 0"),
        ({"layer_types": ["full_attention"] * 2}, "layer_types = "),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention = True"),
    ],
)
def test_a_configuration_we_would_compute_wrongly_is_refused_by_key(changes: dict[str, Any], reason: str):
    with pytest.raises(CheckpointError) as caught:
        spec_from_hf_config(hf_config(tiny()) | changes, "here/config.json")
    assert reason in str(caught.value)


def test_a_gguf_of_another_model_is_refused():
    with pytest.raises(CheckpointError, match=r"general.architecture 'llama', expected 'gemma3' or 'gemma2'"):
        spec_from_gguf(GGUF_270M | {"general.architecture": "llama"}, 262_144)
    with pytest.raises(CheckpointError, match=r"gemma3\.rope\.scaling\.type = 'yarn'"):
        spec_from_gguf(GGUF_270M | {"gemma3.rope.scaling.type": "yarn"}, 262_144)
    with pytest.raises(CheckpointError, match=r"gemma3.block_count = \[1, 2\], expected a whole number"):
        spec_from_gguf(GGUF_270M | {"gemma3.block_count": [1, 2]}, 262_144)


def test_flax_shapes_of_no_known_size_are_refused():
    with pytest.raises(CheckpointError, match=r"embedding of shape \(512, 64\).*gemma-3-270m or google/gemma-3-1b"):
        spec_from_flax_shapes(foreign_shapes(tiny(), "flax"))
    with pytest.raises(CheckpointError, match="has 0 layers"):
        spec_from_flax_shapes({})


def test_a_spec_reports_every_problem_at_once():
    with pytest.raises(ConfigError, match=r"num_layers is 0.*embed_dim is -1.*head_dim is 3"):
        dataclasses.replace(tiny(), num_layers=0, embed_dim=-1, head_dim=3)
