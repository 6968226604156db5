"""One set of random weights through every file format, and every way in which a checkpoint can be wrong."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_checkpoint import hf_config, hf_tensors, tiny_params, write_gguf, write_hf, write_kaggle

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.models.gemma3 import tiny
from gemma_tool_use.models.load import identity, load_base, load_params, read_spec
from gemma_tool_use.models.resolve import LocalCheckpoint, resolve
from gemma_tool_use.models.sharding import AXES

SPEC = tiny(num_layers=3, name="gemma3-3x64")
PARAMS = tiny_params(SPEC)

WRITERS: dict[str, Callable[[Path], Path]] = {
    "hf float32": lambda folder: write_hf(folder / "hf", PARAMS, SPEC),
    "hf float16": lambda folder: write_hf(folder / "hf", PARAMS, SPEC, np.float16),
    "hf bfloat16": lambda folder: write_hf(folder / "hf", PARAMS, SPEC, ml_dtypes.bfloat16),
    "hf three shards": lambda folder: write_hf(folder / "hf", PARAMS, SPEC, shards=3),
    "hf three shards of bfloat16": lambda folder: write_hf(folder / "hf", PARAMS, SPEC, ml_dtypes.bfloat16, shards=3),
    "gguf F32": lambda folder: write_gguf(folder / "tiny.gguf", PARAMS, SPEC, "F32"),
    "gguf F16": lambda folder: write_gguf(folder / "tiny.gguf", PARAMS, SPEC, "F16"),
    "gguf BF16": lambda folder: write_gguf(folder / "tiny.gguf", PARAMS, SPEC, "BF16"),
    "kaggle": lambda folder: write_kaggle(folder / "kaggle", PARAMS, SPEC),
}


def local(path: Path) -> LocalCheckpoint:
    return resolve(str(path))


def with_tensors(folder: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> LocalCheckpoint:
    """A Hugging Face folder whose arrays `change` has altered."""
    write_hf(folder, PARAMS, SPEC)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / "model.safetensors")
    return local(folder)


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_every_format_gives_the_same_arrays(tmp_path: Path, kind: str):
    spec, params = load_params(local(WRITERS[kind](tmp_path)), spec=SPEC if kind == "kaggle" else None)
    assert spec == SPEC
    assert set(params) == set(PARAMS)
    for name, array in PARAMS.items():
        assert params[name].dtype == np.float32
        np.testing.assert_array_equal(params[name], array, err_msg=name)


def test_a_quantised_file_gives_values_within_its_step(tmp_path: Path):
    _, params = load_params(local(write_gguf(tmp_path / "q.gguf", PARAMS, SPEC, "Q8_0")))
    for name, array in PARAMS.items():
        # A block's largest value is at most 1, in 127 steps; norms are stored exactly.
        np.testing.assert_allclose(params[name], array, atol=0 if name.endswith("scale") else 0.5 / 127 + 1e-3)


def test_params_come_in_the_dtype_asked_for(tmp_path: Path):
    _, params = load_params(local(write_hf(tmp_path, PARAMS, SPEC)), dtype=ml_dtypes.bfloat16)
    assert {array.dtype for array in params.values()} == {np.dtype(ml_dtypes.bfloat16)}
    name = "layers.2.mlp.down_proj.kernel"
    np.testing.assert_array_equal(params[name].astype(np.float32), PARAMS[name])


def test_a_head_equal_to_the_embedding_is_accepted(tmp_path: Path):
    def add_head(tensors: dict[str, np.ndarray]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()

    _, params = load_params(with_tensors(tmp_path, add_head))
    assert set(params) == set(PARAMS)


def test_a_head_of_its_own_is_refused(tmp_path: Path):
    def add_head(tensors: dict[str, np.ndarray]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1

    with pytest.raises(CheckpointError, match=r"'lm_head.weight' that differs from its embedding"):
        load_params(with_tensors(tmp_path, add_head))


def test_missing_and_unexpected_names_are_all_counted_and_the_first_listed(tmp_path: Path):
    def rename(tensors: dict[str, np.ndarray]) -> None:
        for name in [name for name in tensors if "layers.1." in name]:
            tensors[name.replace("layers.1.", "layers.9.")] = tensors.pop(name)

    with pytest.raises(CheckpointError) as caught:
        load_params(with_tensors(tmp_path, rename))
    message = str(caught.value)
    assert "13 missing: model.layers.1.input_layernorm.weight, model.layers.1.mlp.down_proj.weight" in message
    assert "13 unexpected: model.layers.9.input_layernorm.weight" in message
    assert message.count("and 8 more") == 2


def test_a_wrong_shape_is_named_with_both_shapes(tmp_path: Path):
    def cut(tensors: dict[str, np.ndarray]) -> None:
        tensors["model.layers.2.mlp.up_proj.weight"] = tensors["model.layers.2.mlp.up_proj.weight"][:100]

    with pytest.raises(CheckpointError, match=r"up_proj.weight' with shape \(100, 64\), expected \(128, 64\)"):
        load_params(with_tensors(tmp_path, cut))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(tmp_path: Path, value: float):
    def spoil(tensors: dict[str, np.ndarray]) -> None:
        tensors["model.layers.0.self_attn.q_proj.weight"][3, 5:7] = value

    with pytest.raises(CheckpointError, match=r"2 values in 'model.layers.0.self_attn.q_proj.weight' .*not finite"):
        load_params(with_tensors(tmp_path, spoil))


def test_a_configuration_of_another_size_is_noticed(tmp_path: Path):
    write_hf(tmp_path, PARAMS, SPEC)
    (tmp_path / "config.json").write_text(json.dumps(hf_config(dataclasses.replace(SPEC, hidden_dim=256))))
    with pytest.raises(CheckpointError, match="belong to different models"):
        load_params(local(tmp_path))


def test_a_truncated_safetensors_file_is_refused(tmp_path: Path):
    write_hf(tmp_path, PARAMS, SPEC)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"model.safetensors is not a whole safetensors file"):
            load_params(local(tmp_path))


def test_a_quantised_safetensors_file_is_refused_by_its_type(tmp_path: Path):
    def quantise(tensors: dict[str, np.ndarray]) -> None:
        name = "model.layers.0.mlp.up_proj.weight"
        tensors[name] = tensors[name].astype(np.int8)

    with pytest.raises(CheckpointError, match=r"up_proj.weight' as I8, expected one of F32, F16, BF16"):
        load_params(with_tensors(tmp_path, quantise))


def test_broken_and_missing_files_of_a_folder_are_named(tmp_path: Path):
    write_hf(tmp_path, PARAMS, SPEC, shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").rename(tmp_path / "away")
    with pytest.raises(CheckpointError, match=r"lacks the shards model-00002-of-00003.safetensors"):
        load_params(local(tmp_path))
    (tmp_path / "away").rename(tmp_path / "model-00002-of-00003.safetensors")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json is not valid JSON"):
        load_params(local(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"config.json holds a list, expected a JSON object"):
        load_params(local(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config.json"):
        load_params(local(tmp_path))


def test_an_index_cannot_point_outside_its_folder_or_mix_checkpoints(tmp_path: Path):
    write_hf(tmp_path, PARAMS, SPEC, shards=2)
    index = tmp_path / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    name, file = next(iter(weight_map.items()))
    index.write_text(json.dumps({"weight_map": weight_map | {name: "../secret.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"names the shard '../secret.safetensors'"):
        load_params(local(tmp_path))
    other = next(other for other in weight_map.values() if other != file)
    index.write_text(json.dumps({"weight_map": weight_map | {name: other}}))
    with pytest.raises(CheckpointError, match="mixes two checkpoints"):
        load_params(local(tmp_path))
    index.write_text(json.dumps({"weight_map": 3}))
    with pytest.raises(CheckpointError, match="has no 'weight_map'"):
        load_params(local(tmp_path))


def test_a_damaged_orbax_folder_is_refused(tmp_path: Path):
    checkpoint = local(write_kaggle(tmp_path, PARAMS, SPEC))
    metadata = checkpoint.path / "_METADATA"
    saved = metadata.read_text()
    metadata.write_text("{")
    with pytest.raises(CheckpointError, match="is not a whole Orbax checkpoint"):
        load_params(checkpoint, spec=SPEC)
    metadata.write_text(saved)
    with pytest.raises(CheckpointError, match=r"3 layers, an embedding of shape \(512, 64\)"):
        load_params(checkpoint)


def test_a_gguf_without_weights_is_refused(tmp_path: Path):
    from tiny_checkpoint import finish_gguf, gguf_writer

    writer = gguf_writer(tmp_path / "vocabulary.gguf", SPEC)
    finish_gguf(writer)
    with pytest.raises(CheckpointError, match=r"has no tensor 'token_embd.weight'"):
        load_params(local(tmp_path / "vocabulary.gguf"))


def test_the_architecture_is_read_without_the_weights(tmp_path: Path):
    assert read_spec(local(write_gguf(tmp_path / "tiny.gguf", PARAMS, SPEC))) == SPEC


def logits(model: Any) -> np.ndarray:
    import jax.numpy as jnp

    tokens = jnp.arange(1, 11)[None]
    mask = jnp.tril(jnp.ones((1, 10, 10), bool))
    return np.asarray(model(tokens, jnp.arange(10)[None], None, mask)[0])


def test_the_tunix_model_holds_the_arrays_and_runs(tmp_path: Path):
    model = load_base(local(write_hf(tmp_path / "hf", PARAMS, SPEC)), dtype=np.float32)
    from flax import nnx

    held = {".".join(map(str, path)): leaf.get_value() for path, leaf in nnx.to_flat_state(nnx.state(model))}
    assert set(held) == set(PARAMS)
    for name, array in PARAMS.items():
        np.testing.assert_array_equal(np.asarray(held[name]), array, err_msg=name)
    from_gguf = load_base(local(write_gguf(tmp_path / "tiny.gguf", PARAMS, SPEC)), dtype=np.float32)
    assert logits(model).shape == (1, 10, 512)
    np.testing.assert_array_equal(logits(model), logits(from_gguf))


def test_the_model_is_laid_out_over_a_mesh_in_the_dtype_asked_for(tmp_path: Path):
    import jax
    import jax.numpy as jnp

    mesh = jax.make_mesh((1, 1, 1), AXES, axis_types=(jax.sharding.AxisType.Auto,) * 3)
    model = load_base(local(write_hf(tmp_path, PARAMS, SPEC)), dtype=jnp.bfloat16, mesh=mesh)
    embedding = model.embedder.input_embedding.get_value()
    assert embedding.dtype == jnp.bfloat16
    assert embedding.sharding == jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("tensor", "fsdp"))
    np.testing.assert_array_equal(np.asarray(embedding, np.float32), PARAMS["embedder.input_embedding"])


def test_the_identity_is_what_sha256sum_prints(tmp_path: Path):
    import hashlib

    single = identity(local(write_hf(tmp_path / "single", PARAMS, SPEC)))
    expected = hashlib.sha256((tmp_path / "single" / "model.safetensors").read_bytes()).hexdigest()
    assert single.sha256 == expected
    assert single.files == {"model.safetensors": expected}
    assert single.architecture == "gemma3-3x64"
    assert single.source == str(tmp_path / "single")

    sharded = identity(local(write_hf(tmp_path / "sharded", PARAMS, SPEC, shards=2)))
    assert list(sharded.files) == [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    lines = "".join(f"{digest}  {name}\n" for name, digest in sharded.files.items())
    assert sharded.sha256 == hashlib.sha256(lines.encode()).hexdigest()


def test_tensors_written_from_ours_are_those_that_are_read(tmp_path: Path):
    folder = write_hf(tmp_path, PARAMS, SPEC)
    for name, array in load_file(folder / "model.safetensors").items():
        np.testing.assert_array_equal(array, hf_tensors(PARAMS, SPEC)[name])
