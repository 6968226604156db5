"""The name table: literal rows, both directions, and agreement with the Tunix module."""

import numpy as np
import pytest
from tiny_checkpoint import tiny_params
from tiny_families import TINY

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.models.families import build_module
from gemma_tool_use.models.gemma3 import GEMMA3_270M, tiny
from gemma_tool_use.models.names import FORMATS, Format, entries, foreign_shapes, our_shapes, ours_from, ours_to
from gemma_tool_use.models.spec import ModelSpec

SPECS = [tiny(), tiny(num_layers=7, num_kv_heads=2, head_dim=8)]
ALL = {"270m": GEMMA3_270M, "grouped": SPECS[1]} | TINY


@pytest.mark.parametrize("name", ALL)
def test_our_names_and_shapes_are_those_of_the_tunix_module(name: str):
    from flax import nnx

    spec = ALL[name]
    model = nnx.eval_shape(lambda: build_module(spec, dtype=np.float32))
    theirs = {".".join(map(str, path)): leaf.get_value().shape for path, leaf in nnx.to_flat_state(nnx.state(model))}
    assert our_shapes(spec) == theirs


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.num_kv_heads} key heads")
@pytest.mark.parametrize("format", FORMATS)
def test_to_a_format_and_back_gives_the_same_arrays(spec: ModelSpec, format: Format):
    params = tiny_params(spec)
    foreign = ours_to(params, spec, format)
    assert {name: array.shape for name, array in foreign.items()} == foreign_shapes(spec, format)
    back = ours_from(foreign, spec, format)
    assert set(back) == set(params)
    for name, array in params.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


def test_the_names_of_layer_3_of_the_real_model():
    assert {name: shape for name, shape in foreign_shapes(GEMMA3_270M, "hf").items() if ".3." in name} == {
        "model.layers.3.input_layernorm.weight": (640,),
        "model.layers.3.self_attn.q_proj.weight": (1024, 640),
        "model.layers.3.self_attn.k_proj.weight": (256, 640),
        "model.layers.3.self_attn.v_proj.weight": (256, 640),
        "model.layers.3.self_attn.q_norm.weight": (256,),
        "model.layers.3.self_attn.k_norm.weight": (256,),
        "model.layers.3.self_attn.o_proj.weight": (640, 1024),
        "model.layers.3.post_attention_layernorm.weight": (640,),
        "model.layers.3.pre_feedforward_layernorm.weight": (640,),
        "model.layers.3.mlp.gate_proj.weight": (2048, 640),
        "model.layers.3.mlp.up_proj.weight": (2048, 640),
        "model.layers.3.mlp.down_proj.weight": (640, 2048),
        "model.layers.3.post_feedforward_layernorm.weight": (640,),
    }
    assert set(foreign_shapes(tiny(num_layers=1), "gguf")) == {
        *("token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight"),
        *("blk.0.attn_k.weight", "blk.0.attn_v.weight", "blk.0.attn_q_norm.weight", "blk.0.attn_k_norm.weight"),
        *("blk.0.attn_output.weight", "blk.0.post_attention_norm.weight", "blk.0.ffn_norm.weight"),
        *("blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight", "blk.0.post_ffw_norm.weight"),
    }
    assert foreign_shapes(GEMMA3_270M, "flax")["transformer/layer_17/mlp/gating_einsum/w"] == (2, 2048, 640)
    assert foreign_shapes(GEMMA3_270M, "flax")["transformer/layer_17/attn/kv_einsum/w"] == (2, 1, 640, 256)


def test_a_head_s_row_lands_where_the_head_is():
    # Row 5 of q_proj is head 1, component 1 when a head has 4 components.
    spec = tiny(num_layers=1, num_heads=2, head_dim=4, embed_dim=3)
    params = {name: np.zeros(shape, np.float32) for name, shape in our_shapes(spec).items()}
    params["layers.0.attn.q_einsum.w"][1, 2, 1] = 7
    params["layers.0.attn.kv_einsum.w"][1, 0, 2, 3] = 8
    params["layers.0.attn.attn_vec_einsum.w"][1, 3, 2] = 9
    params["layers.0.mlp.up_proj.kernel"][2, 100] = 10
    params["final_norm.scale"][0] = 0.5
    hf, gguf, flax = (ours_to(params, spec, format) for format in FORMATS)
    assert hf["model.layers.0.self_attn.q_proj.weight"][5, 2] == 7
    assert hf["model.layers.0.self_attn.v_proj.weight"][3, 2] == 8
    assert hf["model.layers.0.self_attn.o_proj.weight"][2, 7] == 9
    assert gguf["blk.0.ffn_up.weight"][100, 2] == 10
    assert gguf["output_norm.weight"].tolist() == [1.5, 1, 1]
    assert flax["transformer/layer_0/mlp/gating_einsum/w"][1, 100, 2] == 10


def test_every_foreign_name_appears_once():
    for format in FORMATS:
        names = [name for entry in entries(tiny(num_layers=3), format) for name in entry.foreign]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", TINY)
def test_every_family_goes_to_hugging_face_and_back_unchanged(name: str):
    spec = TINY[name]
    params = tiny_params(spec)
    back = ours_from(ours_to(params, spec, "hf"), spec, "hf")
    assert set(back) == set(params)
    for array_name, array in params.items():
        np.testing.assert_array_equal(back[array_name], array, err_msg=array_name)


def test_where_queries_and_keys_are_apart_a_head_s_row_lands_where_the_head_is():
    spec = TINY["llama3"]
    params = {name: np.zeros(shape, np.float32) for name, shape in our_shapes(spec).items()}
    params["layers.0.attn.q_proj.w"][7, 3, 5] = 1
    params["layers.0.attn.v_proj.w"][7, 1, 5] = 2
    params["layers.0.attn.o_proj.w"][3, 5, 7] = 3
    params["lm_head.w"][7, 500] = 4
    hf = ours_to(params, spec, "hf")
    assert hf["model.layers.0.self_attn.q_proj.weight"][3 * 16 + 5, 7] == 1
    assert hf["model.layers.0.self_attn.v_proj.weight"][16 + 5, 7] == 2
    assert hf["model.layers.0.self_attn.o_proj.weight"][7, 3 * 16 + 5] == 3
    assert hf["lm_head.weight"][500, 7] == 4


def test_a_family_is_refused_in_a_format_it_is_not_read_from():
    with pytest.raises(CheckpointError, match="Qwen3 is read from hf checkpoints, not from gguf"):
        foreign_shapes(TINY["qwen3"], "gguf")
