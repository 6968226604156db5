"""The rows of the name tables: which of our parameters is which array of a checkpoint, and how its layout changes.

Two tables, because Tunix writes decoders in two ways. Gemma's modules keep queries by head and keys with values:

    attn.q_einsum.w  N D H        attn.kv_einsum.w  2 K D H        norms: scale, distance from 1

the others keep three arrays with the width in front:

    attn.q_proj.w    D N H        attn.k_proj.w     D K H          norms: w

GGUF has the Hugging Face layouts under other names; llama.cpp's converter stores Gemma's norms as weight + 1.
Kaggle/Flax has our layouts for Gemma, except that `mlp/gating_einsum` (2 F D) holds gate and up together, transposed.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from gemma_tool_use.models.spec import ModelSpec

Format = Literal["hf", "gguf", "flax"]
FORMATS: tuple[Format, ...] = ("hf", "gguf", "flax")

_Convert = Callable[[Sequence[np.ndarray], ModelSpec], list[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the arrays of one row change between a foreign format (`to_ours`) and ours (`from_ours`)."""

    to_ours: _Convert
    from_ours: _Convert


@dataclasses.dataclass(frozen=True)
class Side:
    """One foreign format's names for a row, their shape, and the layout."""

    names: tuple[str, ...]
    shape: str
    layout: Layout


@dataclasses.dataclass(frozen=True)
class Row:
    """Parameters that convert together: our names with their shape, and each foreign side."""

    ours: tuple[str, ...]
    shape: str
    sides: Mapping[Format, Side]


def table(spec: ModelSpec) -> tuple[Row, ...]:
    """The rows of one architecture, embedding first; "{i}" stands for the layer."""
    if spec.family.name == "gemma3":
        return _GEMMA3
    if spec.family.name == "gemma2":
        return _GEMMA2
    rows = _QWEN3 if spec.family.head_norms else _LLAMA
    return rows if spec.tied else (*rows, _HEAD)


def _heads_from_rows(matrix: np.ndarray, head_dim: int) -> np.ndarray:
    """(heads*H, D) -> (heads, D, H)"""
    return matrix.reshape(-1, head_dim, matrix.shape[-1]).transpose(0, 2, 1)


def _rows_from_heads(heads: np.ndarray) -> np.ndarray:
    """(heads, D, H) -> (heads*H, D)"""
    return heads.transpose(0, 2, 1).reshape(-1, heads.shape[1])


_SAME = Layout(lambda arrays, spec: list(arrays), lambda arrays, spec: list(arrays))
_TRANSPOSED = Layout(lambda arrays, spec: [a.T for a in arrays], lambda arrays, spec: [a.T for a in arrays])
_PLUS_ONE = Layout(
    lambda arrays, spec: [(a - 1).astype(a.dtype) for a in arrays],
    lambda arrays, spec: [(a + 1).astype(a.dtype) for a in arrays],
)
_QUERY = Layout(
    lambda arrays, spec: [_heads_from_rows(a, spec.head_dim) for a in arrays],
    lambda arrays, spec: [_rows_from_heads(a) for a in arrays],
)
_KEY_VALUE = Layout(
    lambda arrays, spec: [np.stack([_heads_from_rows(a, spec.head_dim) for a in arrays])],
    lambda arrays, spec: [_rows_from_heads(half) for half in arrays[0]],
)
# (heads*H, D) <-> (D, heads, H)
_WIDTH_FIRST = Layout(
    lambda arrays, spec: [a.T.reshape(spec.embed_dim, -1, spec.head_dim) for a in arrays],
    lambda arrays, spec: [a.reshape(spec.embed_dim, -1).T for a in arrays],
)
_ATTENTION_OUTPUT = Layout(
    lambda arrays, spec: [a.T.reshape(spec.num_heads, spec.head_dim, spec.embed_dim) for a in arrays],
    lambda arrays, spec: [a.reshape(-1, spec.embed_dim).T for a in arrays],
)
_GATING = Layout(
    lambda arrays, spec: [half.T for half in arrays[0]],
    lambda arrays, spec: [np.stack([a.T for a in arrays])],
)


def _gemma_norm(ours: str, hf: str, gguf: str, size: str, *, flax: bool) -> Row:
    """The row of a Gemma norm: one in every layer when `ours` starts with "layers.{i}.", else the one at the end."""
    in_layer = ours.startswith("layers.{i}.")
    path = ours.replace("layers.{i}.", "layer_{i}/").replace(".", "/")
    sides: dict[Format, Side] = {
        "hf": Side((("model.layers.{i}." if in_layer else "model.") + f"{hf}.weight",), size, _SAME),
        "gguf": Side((("blk.{i}." if in_layer else "") + f"{gguf}.weight",), size, _PLUS_ONE),
    }
    if flax:
        sides["flax"] = Side((f"transformer/{path}/scale",), size, _SAME)
    return Row((f"{ours}.scale",), size, sides)


def _matrices(
    *,
    ours: list[str],
    shape: str,
    hf: list[str],
    gguf: list[str],
    foreign_shape: str,
    layout: Layout,
    flax: Side | None,
) -> Row:
    """A row of layer matrices of Gemma; GGUF differs from Hugging Face in the names only."""
    sides: dict[Format, Side] = {
        "hf": Side(tuple(f"model.layers.{{i}}.{name}.weight" for name in hf), foreign_shape, layout),
        "gguf": Side(tuple(f"blk.{{i}}.{name}.weight" for name in gguf), foreign_shape, layout),
    }
    if flax:
        sides["flax"] = flax
    return Row(tuple(f"layers.{{i}}.{name}" for name in ours), shape, sides)


def _gemma(*, post_attention_norm: str, head_norms: bool, flax: bool) -> tuple[Row, ...]:
    """The table of a Gemma. `flax`: whether Kaggle's layout of it is read."""
    embedding: dict[Format, Side] = {
        "hf": Side(("model.embed_tokens.weight",), "V D", _SAME),
        "gguf": Side(("token_embd.weight",), "V D", _SAME),
    }
    if flax:
        embedding["flax"] = Side(("transformer/embedder/input_embedding",), "V D", _SAME)
    norms = (
        ("layers.{i}.pre_attention_norm", "input_layernorm", "attn_norm"),
        (f"layers.{{i}}.{post_attention_norm}", "post_attention_layernorm", "post_attention_norm"),
        ("layers.{i}.pre_ffw_norm", "pre_feedforward_layernorm", "ffn_norm"),
        ("layers.{i}.post_ffw_norm", "post_feedforward_layernorm", "post_ffw_norm"),
        ("final_norm", "norm", "output_norm"),
    )
    of_heads = (
        ("layers.{i}.attn._query_norm", "self_attn.q_norm", "attn_q_norm"),
        ("layers.{i}.attn._key_norm", "self_attn.k_norm", "attn_k_norm"),
    )
    return (
        Row(("embedder.input_embedding",), "V D", embedding),
        *_gemma_attention(flax),
        *_gemma_mlp(flax),
        *(_gemma_norm(*norm, "D", flax=flax) for norm in norms),
        *(_gemma_norm(*norm, "H", flax=flax) for norm in (of_heads if head_norms else ())),
    )


def _gemma_attention(flax: bool) -> tuple[Row, ...]:
    return (
        _matrices(
            ours=["attn.q_einsum.w"],
            shape="N D H",
            hf=["self_attn.q_proj"],
            gguf=["attn_q"],
            foreign_shape="N*H D",
            layout=_QUERY,
            flax=_flax_as_ours("attn/q_einsum", "N D H") if flax else None,
        ),
        _matrices(
            ours=["attn.kv_einsum.w"],
            shape="2 K D H",
            hf=["self_attn.k_proj", "self_attn.v_proj"],
            gguf=["attn_k", "attn_v"],
            foreign_shape="K*H D",
            layout=_KEY_VALUE,
            flax=_flax_as_ours("attn/kv_einsum", "2 K D H") if flax else None,
        ),
        _matrices(
            ours=["attn.attn_vec_einsum.w"],
            shape="N H D",
            hf=["self_attn.o_proj"],
            gguf=["attn_output"],
            foreign_shape="D N*H",
            layout=_ATTENTION_OUTPUT,
            flax=_flax_as_ours("attn/attn_vec_einsum", "N H D") if flax else None,
        ),
    )


def _gemma_mlp(flax: bool) -> tuple[Row, ...]:
    return (
        _matrices(
            ours=["mlp.gate_proj.kernel", "mlp.up_proj.kernel"],
            shape="D F",
            hf=["mlp.gate_proj", "mlp.up_proj"],
            gguf=["ffn_gate", "ffn_up"],
            foreign_shape="F D",
            layout=_TRANSPOSED,
            flax=Side(("transformer/layer_{i}/mlp/gating_einsum/w",), "2 F D", _GATING) if flax else None,
        ),
        _matrices(
            ours=["mlp.down_proj.kernel"],
            shape="F D",
            hf=["mlp.down_proj"],
            gguf=["ffn_down"],
            foreign_shape="D F",
            layout=_TRANSPOSED,
            flax=_flax_as_ours("mlp/linear", "F D") if flax else None,
        ),
    )


def _flax_as_ours(name: str, shape: str) -> Side:
    return Side((f"transformer/layer_{{i}}/{name}/w",), shape, _SAME)


def _hf(ours: str, shape: str, hf: str, foreign_shape: str, layout: Layout) -> Row:
    """A row of a family that is read from Hugging Face folders only."""
    return Row((ours,), shape, {"hf": Side((f"{hf}.weight",), foreign_shape, layout)})


def _split(*, head_norms: bool) -> tuple[Row, ...]:
    """The table of a decoder with queries, keys and values apart."""
    ours, theirs = "layers.{i}.", "model.layers.{i}."
    norms = (
        _hf(f"{ours}attn.q_norm.w", "H", f"{theirs}self_attn.q_norm", "H", _SAME),
        _hf(f"{ours}attn.k_norm.w", "H", f"{theirs}self_attn.k_norm", "H", _SAME),
    )
    return (
        _hf("embedder.input_embedding", "V D", "model.embed_tokens", "V D", _SAME),
        _hf(f"{ours}input_layernorm.w", "D", f"{theirs}input_layernorm", "D", _SAME),
        _hf(f"{ours}attn.q_proj.w", "D N H", f"{theirs}self_attn.q_proj", "N*H D", _WIDTH_FIRST),
        _hf(f"{ours}attn.k_proj.w", "D K H", f"{theirs}self_attn.k_proj", "K*H D", _WIDTH_FIRST),
        _hf(f"{ours}attn.v_proj.w", "D K H", f"{theirs}self_attn.v_proj", "K*H D", _WIDTH_FIRST),
        *(norms if head_norms else ()),
        _hf(f"{ours}attn.o_proj.w", "N H D", f"{theirs}self_attn.o_proj", "D N*H", _ATTENTION_OUTPUT),
        _hf(f"{ours}post_attention_layernorm.w", "D", f"{theirs}post_attention_layernorm", "D", _SAME),
        _hf(f"{ours}mlp.gate_proj.kernel", "D F", f"{theirs}mlp.gate_proj", "F D", _TRANSPOSED),
        _hf(f"{ours}mlp.up_proj.kernel", "D F", f"{theirs}mlp.up_proj", "F D", _TRANSPOSED),
        _hf(f"{ours}mlp.down_proj.kernel", "F D", f"{theirs}mlp.down_proj", "D F", _TRANSPOSED),
        _hf("final_norm.w", "D", "model.norm", "D", _SAME),
    )


_GEMMA3 = _gemma(post_attention_norm="post_attention_norm", head_norms=True, flax=True)
_GEMMA2 = _gemma(post_attention_norm="post_attn_norm", head_norms=False, flax=False)
_QWEN3 = _split(head_norms=True)
_LLAMA = _split(head_norms=False)
_HEAD = _hf("lm_head.w", "D V", "lm_head", "V D", _TRANSPOSED)
