"""A tiny Gemma 3 for tests of training and inference: checkpoint folder, model, and rows to train on."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from tiny_checkpoint import tiny_params, write_hf
from tiny_tokenizer import write_tiny_tokenizer

from gemma_tool_use.models.gemma3 import ModelSpec, tiny
from gemma_tool_use.models.load import load_base
from gemma_tool_use.models.resolve import resolve
from gemma_tool_use.models.sharding import place

# Two layers of which one is global, and a window shorter than the rows.
SPEC = tiny(num_layers=6, sliding_window=24, hidden_dim=96)


def write_tiny_model(folder: Path, spec: ModelSpec = SPEC, seed: int = 0) -> Path:
    """A Hugging Face folder with random weights and the tiny tokenizer. The embedding is small, as a trained one is."""
    params = tiny_params(spec, seed)
    params["embedder.input_embedding"] = (params["embedder.input_embedding"] / 8).astype(np.float32)
    write_hf(folder, params, spec)
    write_tiny_tokenizer(folder)
    return folder


def tiny_base(folder: Path) -> Any:
    """The model of `write_tiny_model`, in float32."""
    return load_base(resolve(str(write_tiny_model(folder))), dtype=jnp.float32)


def random_lora(model: Any, seed: int = 1) -> None:
    """Fills the LoRA arrays of a model, `b` included, so that the adapter changes its output."""
    import jax
    from flax import nnx

    state = nnx.state(model, nnx.LoRAParam)
    rng = np.random.default_rng(seed)
    nnx.update(model, jax.tree.map(lambda x: place(rng.normal(0, 0.05, x.shape).astype(x.dtype), x.sharding), state))
