"""What each method trains, counts and leaves behind."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_model import SPEC, tiny_base, write_tiny_model

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.formats.tokenizer import load_tokenizer
from gemma_tool_use.models.adapter import MANIFEST
from gemma_tool_use.models.load import load_params
from gemma_tool_use.models.quantize import dense_tree
from gemma_tool_use.models.resolve import resolve
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.methods import (
    count_parameters,
    describe_method,
    load_trainable,
    save_trained,
    trainable_type,
)

LORA_RANK_2 = 2 * SPEC.num_layers * (64 + 4 * 16 + 64 + 2 * 16 + 4 * 16 + 64 + 3 * (64 + 96))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return resolve(str(write_tiny_model(tmp_path_factory.mktemp("model"))))


def load(checkpoint, **settings) -> tuple[TrainConfig, Any]:
    config = TrainConfig(**({"rank": 2} if settings.get("method") != "full" else {}), **settings)
    return config, load_trainable(config, checkpoint, dtype=jnp.bfloat16, mesh=None)


def test_lora_trains_an_adapter_in_float32_on_weights_of_the_compute_dtype(checkpoint):
    _, model = load(checkpoint)
    counts = count_parameters(model)
    assert (counts.trained, counts.total) == (LORA_RANK_2, LORA_RANK_2 + SPEC.num_params)
    assert counts.frozen_bytes == 2 * SPEC.num_params
    assert trainable_type(model) is nnx.LoRAParam
    assert {str(value.get_value().dtype) for _, value in nnx.to_flat_state(nnx.state(model, nnx.LoRAParam))} == {
        "float32"
    }


def test_qlora_takes_a_third_of_the_memory_of_bfloat16_with_the_embedding(checkpoint):
    config, model = load(checkpoint, method="qlora")
    counts = count_parameters(model)
    assert (counts.trained, counts.total) == (LORA_RANK_2, LORA_RANK_2 + SPEC.num_params)
    assert counts.frozen_bytes <= 0.35 * 2 * SPEC.num_params
    assert describe_method(config, model).startswith("LoRA rank 2 over nf4 weights: 72 arrays, ")


def test_full_trains_every_weight_in_float32(checkpoint):
    config, model = load(checkpoint, method="full")
    counts = count_parameters(model)
    assert (counts.trained, counts.total, counts.frozen_bytes) == (SPEC.num_params, SPEC.num_params, 0)
    assert trainable_type(model) is nnx.Param
    assert model.embedder.input_embedding.dtype == jnp.float32
    assert (
        describe_method(config, model)
        == f"full fine-tuning: 74 arrays, {SPEC.num_params:,} of {SPEC.num_params:,} parameters"
    )


def test_packed_weights_stay_near_those_of_the_checkpoint(checkpoint):
    plain = nnx.to_flat_state(nnx.state(tiny_base(checkpoint.path)))
    _, packed = load(checkpoint, method="qlora", quantization="int8")
    unpacked = dict(nnx.to_flat_state(dense_tree(nnx.state(packed))))
    for path, value in plain:
        wanted, found = np.asarray(value.get_value()), np.asarray(unpacked[path].get_value(), np.float32)
        assert np.abs(wanted - found).max() <= np.abs(wanted).max() / 60, path


def test_an_adapter_is_saved_as_npy_files_and_a_whole_model_as_a_folder_that_loads_again(checkpoint, tmp_path):
    config, model = load(checkpoint)
    (tmp_path / "adapter").mkdir()
    save_trained(config, model, checkpoint, tmp_path / "adapter", details={})
    assert (tmp_path / "adapter" / MANIFEST).is_file()

    config, model = load(checkpoint, method="full")
    norm = model.final_norm.scale
    norm.set_value(norm.get_value() + 1e-6)  # less than bfloat16 can tell
    files = save_trained(config, model, checkpoint, tmp_path, details={})
    assert all(file.is_file() and file.parent == tmp_path / "model" for file in files)
    saved = resolve(str(tmp_path / "model"))
    spec, params = load_params(saved)
    assert spec == model.spec
    np.testing.assert_array_equal(params["final_norm.scale"], norm.get_value())
    assert (
        load_tokenizer(saved.require_tokenizer()).fingerprint == load_tokenizer(checkpoint.tokenizer_path).fingerprint
    )


def test_a_whole_model_with_a_value_that_is_not_finite_is_not_written(checkpoint, tmp_path):
    config, model = load(checkpoint, method="full")
    model.final_norm.scale.set_value(model.final_norm.scale.get_value() * jnp.nan)
    with pytest.raises(CheckpointError, match=r"1 weights are not finite, first model\.norm\.weight"):
        save_trained(config, model, checkpoint, tmp_path, details={})
    assert not (tmp_path / "model").exists()
