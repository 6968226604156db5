"""A tiny architecture of each family, with everything that sets the family apart.

TINY["mistral"].sliding_window        # 24: every layer is local
tiny_family_base(tmp_path, "qwen3")   # the Tunix module with random weights, float32
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from tiny_checkpoint import tiny_params, write_hf

from gemma_tool_use.models.gemma2 import GEMMA2_2B
from gemma_tool_use.models.gemma3 import GEMMA3_4B, tiny
from gemma_tool_use.models.llama import LLAMA2_7B, LLAMA3_1_8B, LLAMA3_2_1B, MISTRAL_7B
from gemma_tool_use.models.load import load_base
from gemma_tool_use.models.qwen3 import QWEN3_0_6B
from gemma_tool_use.models.resolve import resolve
from gemma_tool_use.models.spec import Llama3Rope, ModelSpec


def shrunk(spec: ModelSpec, **changes: Any) -> ModelSpec:
    """The same arithmetic in 2 layers of width 32, with a vocabulary of 512 and a window of 24."""
    small = {"num_layers": 2, "embed_dim": 32, "hidden_dim": 48, "num_heads": 4, "num_kv_heads": 2, "head_dim": 16}
    window = {"sliding_window": 24} if spec.sliding_window else {}
    sizes = {**small, "vocab_size": 512, "query_scalar": 16, **window, **changes}
    name = f"{spec.family.name}-{sizes['num_layers']}x{sizes['embed_dim']}"
    return dataclasses.replace(spec, name=name, **sizes)


# Wavelengths of a head of 16 with base 500,000 are 6 to 600,000 tokens: some in each of the three bands.
_BANDS = Llama3Rope(factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_length=256)

TINY = {
    "gemma3": tiny(num_layers=6, sliding_window=24, hidden_dim=96, embed_dim=32, name="gemma3-6x32"),
    "gemma3_4b": shrunk(GEMMA3_4B, num_layers=6),
    "gemma2": shrunk(GEMMA2_2B, attention_softcap=2.0, final_softcap=3.0, query_scalar=24),
    "qwen3": shrunk(QWEN3_0_6B, num_layers=1),
    "qwen3_untied": shrunk(QWEN3_0_6B, tied=False, global_rope_base=5_000_000, local_rope_base=5_000_000),
    "llama2": shrunk(LLAMA2_7B, num_kv_heads=4),
    "llama3": shrunk(LLAMA3_1_8B, llama3_rope=_BANDS, num_layers=1),
    "llama3_tied": shrunk(LLAMA3_2_1B, llama3_rope=_BANDS),
    "mistral": shrunk(MISTRAL_7B),
}
"""One architecture for everything that is computed differently somewhere; one layer where the layers are alike and XLA
compiles the model in many tests."""


def family_params(spec: ModelSpec) -> dict[str, np.ndarray]:
    """Random parameters of the size that trained ones have, so that no soft-max or cap is saturated."""
    params = tiny_params(spec)
    for name, array in params.items():
        if array.ndim > 1:
            params[name] = (array / 4).astype(np.float32)
        elif not spec.family.norm_offset:
            params[name] = (1 + array / 4).astype(np.float32)
    return params


def write_family(folder: Path, spec: ModelSpec) -> Path:
    """A Hugging Face folder with random weights of this architecture."""
    return write_hf(folder, family_params(spec), spec)


def tiny_family_base(folder: Path, family: str) -> Any:
    """The Tunix module of `TINY[family]`, read from a Hugging Face folder, in float32."""
    return load_base(resolve(str(write_family(folder, TINY[family]))), dtype=jnp.float32)
