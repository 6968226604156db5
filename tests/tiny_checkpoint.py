"""A random model of a few layers, written in the file formats that real checkpoints have.

    params = tiny_params(tiny())
    write_hf(tmp_path / "hf", params, tiny())                      # config.json, model.safetensors
    write_gguf(tmp_path / "tiny.gguf", params, tiny(), "Q8_0")
    write_kaggle(tmp_path / "kaggle", params, tiny())              # kaggle/gemma-3-tiny/ is the Orbax folder

Every value is a small multiple of 1/64, which float32, float16 and bfloat16 all hold exactly.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import quantize
from safetensors.numpy import save_file

from gemma_tool_use.models.names import our_shapes, ours_to
from gemma_tool_use.models.spec import ModelSpec

Params = Mapping[str, np.ndarray]


def tiny_params(spec: ModelSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """float32 parameters under our names, values in [-1, 1)."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.integers(-64, 64, shape) / 64).astype(np.float32) for name, shape in sorted(our_shapes(spec).items())
    }


def hf_config(spec: ModelSpec) -> dict[str, Any]:
    """config.json as the first repositories of the family have it."""
    own = {"gemma3": _gemma3_config, "gemma2": _gemma2_config, "qwen3": _qwen3_config, "llama": _llama_config}
    return {
        "vocab_size": spec.vocab_size,
        "hidden_size": spec.embed_dim,
        "intermediate_size": spec.hidden_dim,
        "num_hidden_layers": spec.num_layers,
        "num_attention_heads": spec.num_heads,
        "num_key_value_heads": spec.num_kv_heads,
        "head_dim": spec.head_dim,
        "rope_theta": float(spec.global_rope_base),
        "rms_norm_eps": spec.norm_eps,
        "attention_bias": False,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": spec.tied,
    } | own[spec.family.name](spec)


def _gemma3_config(spec: ModelSpec) -> dict[str, Any]:
    linear = {"factor": spec.global_rope_factor, "rope_type": "linear"}
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "query_pre_attn_scalar": spec.query_scalar,
        "sliding_window": spec.sliding_window,
        "_sliding_window_pattern": 6,
        "rope_local_base_freq": float(spec.local_rope_base),
        "rope_scaling": linear if spec.global_rope_factor != 1 else None,
        "hidden_activation": "gelu_pytorch_tanh",
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    }


def _gemma2_config(spec: ModelSpec) -> dict[str, Any]:
    return {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "query_pre_attn_scalar": spec.query_scalar,
        "sliding_window": spec.sliding_window,
        "hidden_activation": "gelu_pytorch_tanh",
        "attn_logit_softcapping": spec.attention_softcap,
        "final_logit_softcapping": spec.final_softcap,
    }


def _qwen3_config(spec: ModelSpec) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_act": "silu",
        "rope_scaling": None,
        "sliding_window": None,
        "use_sliding_window": False,
        "max_window_layers": spec.num_layers,
    }


def _llama_config(spec: ModelSpec) -> dict[str, Any]:
    if spec.sliding_window is not None:
        window = {"sliding_window": spec.sliding_window}
        return {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_act": "silu"} | window
    bands = spec.llama3_rope and {
        "factor": spec.llama3_rope.factor,
        "low_freq_factor": spec.llama3_rope.low_frequency_factor,
        "high_freq_factor": spec.llama3_rope.high_frequency_factor,
        "original_max_position_embeddings": spec.llama3_rope.original_length,
        "rope_type": "llama3",
    }
    own = {"hidden_act": "silu", "mlp_bias": False, "pretraining_tp": 1, "rope_scaling": bands}
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama"} | own


def hf_tensors(params: Params, spec: ModelSpec) -> dict[str, np.ndarray]:
    """The arrays of a Hugging Face file, contiguous as safetensors wants them."""
    return {name: np.ascontiguousarray(array) for name, array in ours_to(params, spec, "hf").items()}


def write_hf(folder: Path, params: Params, spec: ModelSpec, dtype: Any = np.float32, shards: int = 1) -> Path:
    """A folder in Hugging Face layout, in one file or in several with their index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(hf_config(spec)))
    tensors = {name: array.astype(dtype) for name, array in hf_tensors(params, spec).items()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in list(tensors)[shard::shards]}
        save_file(part, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def gguf_writer(path: Path, spec: ModelSpec) -> gguf.GGUFWriter:
    """A writer with the metadata of a Gemma file."""
    writer = gguf.GGUFWriter(path, spec.family.name)
    writer.add_block_count(spec.num_layers)
    writer.add_embedding_length(spec.embed_dim)
    writer.add_feed_forward_length(spec.hidden_dim)
    writer.add_head_count(spec.num_heads)
    writer.add_head_count_kv(spec.num_kv_heads)
    writer.add_key_length(spec.head_dim)
    writer.add_value_length(spec.head_dim)
    writer.add_sliding_window(spec.sliding_window)
    if spec.family.name == "gemma3":
        writer.add_rope_freq_base(float(spec.global_rope_base))
    if spec.global_rope_factor != 1:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(spec.global_rope_factor)
    if spec.attention_softcap is not None and spec.final_softcap is not None:
        writer.add_attn_logit_softcapping(spec.attention_softcap)
        writer.add_final_logit_softcapping(spec.final_softcap)
    writer.add_array("tokenizer.ggml.tokens", [f"piece {number}" for number in range(spec.vocab_size)])
    return writer


def finish_gguf(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf(path: Path, params: Params, spec: ModelSpec, type_name: str = "F32") -> Path:
    """A GGUF file; norms stay float32, as llama.cpp writes them."""
    writer = gguf_writer(path, spec)
    kind = gguf.GGMLQuantizationType[type_name]
    for name, array in ours_to(params, spec, "gguf").items():
        if array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, quantize(np.ascontiguousarray(array), kind), raw_dtype=kind)
    finish_gguf(writer)
    return path


def write_kaggle(folder: Path, params: Params, spec: ModelSpec, name: str = "gemma-3-tiny") -> Path:
    """A folder as Kaggle's Flax models have it: an Orbax checkpoint in a folder of its own."""
    import jax.numpy as jnp
    import orbax.checkpoint as ocp

    tree: dict[str, dict[str, Any]] = {}
    for path, array in ours_to(params, spec, "flax").items():
        module, _, leaf = path.rpartition("/")
        tree.setdefault(module, {})[leaf] = jnp.asarray(array)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((folder / name).resolve(), tree)
    return folder
