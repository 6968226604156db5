"""A whole model on disk in Hugging Face layout: what --method full leaves behind, and what `--model` reads again.

save_model_folder(run / "model", model, source=resolve("google/gemma-3-270m-it"))
run/model/config.json  run/model/model.safetensors      # float32: bfloat16 would round small updates away
"""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from gemma_tool_use.errors import CheckpointError, FileError
from gemma_tool_use.models.names import ours_to
from gemma_tool_use.models.readers import HF_SINGLE
from gemma_tool_use.models.resolve import LocalCheckpoint
from gemma_tool_use.models.sharding import to_host
from gemma_tool_use.models.spec import ModelSpec

CONFIG = "config.json"
# What a Hugging Face repository holds beside its weights and may be used with these ones.
_BESIDE = ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def save_model_folder(folder: Path, model: Any, *, source: LocalCheckpoint) -> list[Path]:
    """Writes the weights of `model` and their configuration; the tokenizer is the caller's.

    Args:
      folder: made if need be; files of the same names are replaced.
      model: a Tunix module without LoRA, with its `spec`.
      source: the checkpoint it was loaded from, whose small files come along.

    Returns:
      The files written by this process; of several all call this, and one writes.

    Raises:
      CheckpointError: a weight is not finite; nothing was written.
      FileError: a file cannot be written.
    """
    arrays = ours_to(_host_arrays(model), model.spec, "hf")
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        raise CheckpointError(f"{len(broken)} weights are not finite, first {broken[0]}; nothing was written")
    if jax.process_index() != 0:
        return []
    from safetensors.numpy import save_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
        weights, config = folder / HF_SINGLE, folder / CONFIG
        temporary = folder / f"{HF_SINGLE}.tmp"
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)
        temporary.replace(weights)
        config.write_text(json.dumps(_config(model.spec, source), indent=2) + "\n")
        copied = [source.path / name for name in _BESIDE if source.format == "hf" and (source.path / name).is_file()]
        return [weights, config, *(Path(shutil.copy(file, folder)) for file in copied)]
    except OSError as error:
        raise FileError(f"the model cannot be written to {folder} ({error.strerror}); free space there") from None


def _host_arrays(model: nnx.Module) -> dict[str, np.ndarray]:
    """Float32 weights under our names, whole also where they are spread over devices of other processes."""
    state = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {".".join(map(str, path)): to_host(value.get_value()).astype(np.float32) for path, value in state}


def _config(spec: ModelSpec, source: LocalCheckpoint) -> dict[str, Any]:
    """config.json of the source where it is one of this architecture alone, else written for Gemma.

    A repository of a model that also sees describes more than is saved here; GGUF and Kaggle checkpoints have none.
    """
    if source.format == "hf":
        config = json.loads((source.path / CONFIG).read_text(encoding="utf-8"))
        if "text_config" not in config:
            return {**config, "torch_dtype": "float32", "dtype": "float32"}
    common = {
        "dtype": "float32",
        "vocab_size": spec.vocab_size,
        "hidden_size": spec.embed_dim,
        "intermediate_size": spec.hidden_dim,
        "num_hidden_layers": spec.num_layers,
        "num_attention_heads": spec.num_heads,
        "num_key_value_heads": spec.num_kv_heads,
        "head_dim": spec.head_dim,
        "query_pre_attn_scalar": spec.query_scalar,
        "rms_norm_eps": spec.norm_eps,
        "rope_theta": float(spec.global_rope_base),
        "sliding_window": spec.sliding_window,
        "layer_types": [
            "sliding_attention" if spec.is_local(layer) else "full_attention" for layer in range(spec.num_layers)
        ],
        "hidden_activation": "gelu_pytorch_tanh",
        "attn_logit_softcapping": spec.attention_softcap,
        "final_logit_softcapping": spec.final_softcap,
        "attention_bias": False,
        "tie_word_embeddings": spec.tied,
        "max_position_embeddings": 32_768,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    own = {"gemma3": _gemma3_config, "gemma2": _gemma2_config}
    return common | own[spec.family.name](spec)


def _gemma3_config(spec: ModelSpec) -> dict[str, Any]:
    factor = spec.global_rope_factor
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "rope_local_base_freq": float(spec.local_rope_base),
        "rope_scaling": None if factor == 1 else {"rope_type": "linear", "factor": factor},
    }


def _gemma2_config(_: ModelSpec) -> dict[str, Any]:
    return {"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2"}
