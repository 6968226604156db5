"""LoRA attachment, the adapter on disk, and the merge."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qwix
from flax import nnx
from tiny_checkpoint import write_hf
from tiny_model import SPEC, random_lora, tiny_base

from gemma_tool_use.errors import CheckpointError, ConfigError
from gemma_tool_use.models.adapter import adapter_arrays, load_adapter, merge_adapter, read_manifest, save_adapter
from gemma_tool_use.models.gemma3 import GEMMA_MODULES
from gemma_tool_use.models.load import load_params
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.resolve import resolve

TOKENS = np.arange(300, 340, dtype=np.int32).reshape(2, 20)


def logits(model):
    positions = np.broadcast_to(np.arange(20), (2, 20))
    return np.asarray(model(TOKENS, positions, None, np.tril(np.ones((2, 20, 20), bool)))[0])


@pytest.fixture
def base(tmp_path):
    return tiny_base(tmp_path / "model")


def test_a_fresh_adapter_changes_nothing(base):
    model = attach_lora(base, LoraSpec(rank=4), seed=0)
    np.testing.assert_allclose(logits(model), logits(base), rtol=1e-5, atol=1e-5)


def test_every_default_module_of_every_layer_gets_its_two_float32_arrays(base):
    arrays = adapter_arrays(attach_lora(base, LoraSpec(rank=4), seed=0))
    assert len(arrays) == SPEC.num_layers * 6 * 2
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    assert arrays["model.layers.0.attn.q_einsum.lora_a"].shape == (64, 4)
    assert arrays["model.layers.0.attn.q_einsum.lora_b"].shape == (4, 4, 16)
    assert not any(array.any() for name, array in arrays.items() if name.endswith("lora_b"))
    assert all(array.any() for name, array in arrays.items() if name.endswith("lora_a"))


def test_an_adapter_loads_with_plain_qwix_as_well(base):
    """Same names, shapes and logits."""
    model = attach_lora(base, LoraSpec(rank=4, alpha=8.0), seed=0)
    random_lora(model)
    modules = LoraSpec().resolved(base.spec.family.lora_modules).module_path
    provider = qwix.LoraProvider(module_path=modules, rank=4, alpha=8.0)
    plain: Any = qwix.apply_lora_to_model(base, provider, rngs=nnx.Rngs(0), **base.get_model_input())
    nnx.update(plain, nnx.state(model, nnx.LoRAParam))
    assert adapter_arrays(plain).keys() == adapter_arrays(model).keys()
    np.testing.assert_allclose(logits(model), logits(plain), rtol=1e-4, atol=1e-4)


def test_the_base_model_is_not_changed_by_attaching(base):
    before = logits(base)
    random_lora(attach_lora(base, LoraSpec(rank=4), seed=0))
    np.testing.assert_array_equal(logits(base), before)


def test_the_seed_decides_the_arrays(base):
    one, same, other = (
        adapter_arrays(attach_lora(base, LoraSpec(rank=2), seed=s))["model.layers.0.mlp.up_proj.lora_a"]
        for s in (0, 0, 1)
    )
    assert (one == same).all()
    assert not (one == other).all()


def test_modules_are_chosen_by_expression(base):
    arrays = adapter_arrays(attach_lora(base, LoraSpec(rank=2, modules=(r"layers/[01]/attn/q_einsum",)), seed=0))
    assert sorted(arrays) == [f"model.layers.{i}.attn.q_einsum.lora_{x}" for i in (0, 1) for x in "ab"]


def test_a_pattern_that_matches_nothing_raises_with_the_nearest_name(base):
    with pytest.raises(ConfigError, match=r"'q_einsun': Did you mean 'q_einsum'"):
        attach_lora(base, LoraSpec(rank=2, modules=("q_einsun", "up_proj")), seed=0)


@pytest.mark.parametrize(
    "problem", [{"rank": 0}, {"alpha": 0.0}, {"modules": ()}, {"modules": ("(",)}, {"modules": ("auto", "q")}]
)
def test_an_impossible_spec_is_refused(problem):
    with pytest.raises(ConfigError):
        LoraSpec(**problem)


@pytest.fixture
def saved(base, tmp_path):
    model = attach_lora(base, LoraSpec(rank=4, alpha=8.0), seed=0)
    random_lora(model)
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(folder, model, LoraSpec(rank=4, alpha=8.0), details={"dialect": "gemma_json"})
    return base, model, folder


def test_an_adapter_loaded_through_qwix_gives_the_live_logits(saved):
    base, model, folder = saved
    np.testing.assert_allclose(logits(load_adapter(base, folder)), logits(model), rtol=1e-6, atol=1e-6)


def test_merged_weights_give_the_live_logits(saved, tmp_path):
    _, model, folder = saved
    spec, params = load_params(resolve(str(tmp_path / "model")))
    merged = merge_adapter(params, folder)
    write_hf(tmp_path / "merged", merged, spec)
    from gemma_tool_use.models.load import load_base

    plain = load_base(resolve(str(tmp_path / "merged")), dtype=jnp.float32)
    np.testing.assert_allclose(logits(plain), logits(model), rtol=1e-3, atol=1e-4)
    assert not np.array_equal(params["layers.0.attn.q_einsum.w"], merged["layers.0.attn.q_einsum.w"])


def test_the_manifest_says_what_is_needed_to_load_it(saved):
    manifest = read_manifest(saved[2])
    assert (manifest["rank"], manifest["alpha"], manifest["dialect"]) == (4, 8.0, "gemma_json")
    assert manifest["modules"] == list(GEMMA_MODULES)
    assert manifest["arrays"]["model.layers.0.mlp.up_proj.lora_b"] == [4, 96]


def test_files_are_plain_float32_arrays(saved):
    files = sorted(saved[2].glob("*.npy"))
    assert len(files) == 72
    assert all(np.load(file, allow_pickle=False).dtype == np.float32 for file in files)


def test_a_missing_array_is_named(saved):
    base, _, folder = saved
    (folder / "model.layers.3.mlp.up_proj.lora_a.npy").unlink()
    with pytest.raises(CheckpointError, match=r"layers\.3\.mlp\.up_proj\.lora_a\.npy is missing"):
        load_adapter(base, folder)


def test_a_header_that_promises_more_than_the_file_holds_is_refused(saved):
    base, _, folder = saved
    file = folder / "model.layers.3.mlp.up_proj.lora_a.npy"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="not a readable"):
        load_adapter(base, folder)


def test_an_array_of_python_objects_is_never_unpickled(saved):
    base, _, folder = saved
    np.save(folder / "model.layers.3.mlp.up_proj.lora_a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(CheckpointError, match="not a readable"):
        load_adapter(base, folder)


def test_values_that_are_not_finite_are_neither_saved_nor_loaded(saved):
    base, model, folder = saved
    name = "model.layers.3.mlp.up_proj.lora_a"
    np.save(folder / f"{name}.npy", np.full_like(np.load(folder / f"{name}.npy"), np.nan))
    with pytest.raises(CheckpointError, match="not finite"):
        load_adapter(base, folder)
    state = nnx.state(model, nnx.LoRAParam)
    nnx.update(model, jax.tree.map(lambda x: x * jnp.nan, state))
    with pytest.raises(CheckpointError, match="not finite"):
        save_adapter(folder, model, LoraSpec(rank=4), details={})


def test_a_folder_without_manifest_is_no_adapter(base, tmp_path):
    with pytest.raises(CheckpointError, match=r"has no adapter\.json"):
        load_adapter(base, tmp_path)
