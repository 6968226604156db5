"""What each method trains, counts and leaves behind."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_checkpoint import tiny_params, write_hf
from tiny_model import random_lora
from tiny_tokenizer import write_tiny_tokenizer

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.formats.tokenizer import load_tokenizer
from gemma_tool_use.models.adapter import MANIFEST
from gemma_tool_use.models.gemma3 import tiny
from gemma_tool_use.models.load import load_base, load_params
from gemma_tool_use.models.quantize import dense_tree
from gemma_tool_use.models.resolve import resolve
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.loss import token_loss_sum
from gemma_tool_use.training.methods import (
    count_parameters,
    describe_method,
    load_trainable,
    save_trained,
    trainable_type,
)

SPEC = tiny(num_layers=1, sliding_window=8)
LORA_RANK_2 = 2 * (64 + 4 * 16 + 64 + 2 * 16 + 4 * 16 + 64 + 3 * (64 + 128))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    params = {name: array / 8 for name, array in tiny_params(SPEC).items()}
    write_hf(folder, params, SPEC)
    write_tiny_tokenizer(folder)
    return resolve(str(folder))


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
    assert describe_method(config, model).startswith("LoRA rank 2 over nf4 weights: 12 arrays, ")


def test_full_trains_every_weight_in_float32(checkpoint):
    config, model = load(checkpoint, method="full")
    counts = count_parameters(model)
    assert (counts.trained, counts.total, counts.frozen_bytes) == (SPEC.num_params, SPEC.num_params, 0)
    assert trainable_type(model) is nnx.Param
    assert model.embedder.input_embedding.dtype == jnp.float32
    assert (
        describe_method(config, model)
        == f"full fine-tuning: 14 arrays, {SPEC.num_params:,} of {SPEC.num_params:,} parameters"
    )


def test_packed_weights_stay_near_those_of_the_checkpoint(checkpoint):
    plain = nnx.to_flat_state(nnx.state(load_base(checkpoint, dtype=jnp.float32)))
    packed = load_base(checkpoint, dtype=jnp.bfloat16, quantization="int8")
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


def batch() -> dict[str, Any]:
    """Two rows of one segment each, the second with padding."""
    tokens = np.random.default_rng(0).integers(5, SPEC.vocab_size, (2, 20)).astype(np.int32)
    positions = np.broadcast_to(np.arange(20), (2, 20))
    real = positions < np.array([[20], [13]])
    arrays = {"tokens": tokens, "loss_mask": real & (positions > 4), "positions": positions, "segment_ids": real * 1}
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def gradients(model: Any, loss: Any) -> dict[Any, np.ndarray]:
    graphdef, trained, frozen = nnx.split(model, trainable_type(model), ...)
    found = jax.jit(jax.grad(lambda trained: loss(nnx.merge(graphdef, trained, frozen))))(trained)
    return {path: np.asarray(value.get_value()) for path, value in nnx.to_flat_state(found)}


def assert_same(found: dict[Any, np.ndarray], wanted: dict[Any, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for path, array in found.items():
        assert array.any(), path
        np.testing.assert_allclose(array, wanted[path], rtol=1e-3, atol=1e-5 * np.abs(wanted[path]).max(), err_msg=path)


def textbook_loss(model: Any) -> jax.Array:
    """Full logits of Tunix's own forward pass."""
    tokens, mask = batch()["tokens"], batch()["loss_mask"]
    causal = jnp.broadcast_to(jnp.tril(jnp.ones((20, 20), bool)), (2, 20, 20))
    logits, _ = model(tokens, batch()["positions"], None, causal)
    losses = jnp.take_along_axis(jax.nn.log_softmax(logits[:, :-1]), tokens[:, 1:, None], axis=-1)[..., 0]
    return -jnp.sum(losses * mask[:, 1:])


def test_full_fine_tuning_gives_every_weight_the_gradient_of_full_logits(checkpoint):
    """The embedding has two parts of it: from the rows that are read, and from all rows as the output projection."""
    _, model = load(checkpoint, method="full")
    assert_same(gradients(model, lambda model: token_loss_sum(model, **batch())), gradients(model, textbook_loss))


def test_qlora_gives_the_adapter_the_gradient_that_it_has_on_unpacked_weights(checkpoint):
    config = TrainConfig(rank=2, method="qlora")
    model = load_trainable(config, checkpoint, dtype=jnp.float32, mesh=None)
    random_lora(model)
    graphdef, state = nnx.split(model)
    unpacked = nnx.merge(graphdef, dense_tree(state))
    found = gradients(model, lambda model: token_loss_sum(model, **batch()))
    assert len(found) == 12
    assert_same(found, gradients(unpacked, lambda model: token_loss_sum(model, **batch())))
