"""What an architecture is: the one description that readers, name tables, the forward pass and the sampler share.

    GEMMA3_270M.num_layers                       # 18
    GEMMA3_270M.num_params                       # 268098176
    GEMMA3_270M.is_local(5)                      # False: every sixth layer attends to all tokens
    QWEN3_0_6B.family.activation                 # "silu"

A `Family` holds what all sizes of a family have in common, a `ModelSpec` one size. Nothing here knows of JAX.
"""

import dataclasses
from typing import Literal

from gemma_tool_use.errors import ConfigError

_MAX_LAYERS = 1_000  # the largest known has 126; a damaged file must not make us build a table of 10**9 names

FamilyName = Literal["gemma3", "gemma2", "qwen3", "llama"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """What every size of a family computes alike.

    Attributes:
      name: the family.
      title: its name for messages.
      norm_offset: norms multiply by `norm_offset + scale`; Gemma stores the distance from 1.
      layer_norms: the Tunix module's norms before and after the attention, before and after the MLP. The ones after,
        where there are some, come before the addition to the stream.
      head_norms: the norms of queries and keys before the rotary embedding; None where there are none.
      fused: the Tunix module keeps keys with values (`q_einsum`, `kv_einsum`, `attn_vec_einsum`), else all apart.
      scales_embedding: the embedding is multiplied by sqrt(width).
      activation: of the gated MLP; "gelu" is the tanh approximation.
      norm: last part of a norm's name in the Tunix module, "scale" or "w".
      lora_modules: the linear projections, as module names; what LoRA attaches to by default.
    """

    name: FamilyName
    title: str
    norm_offset: Literal[0, 1]
    layer_norms: tuple[str, str | None, str, str | None]
    head_norms: tuple[str, str] | None
    fused: bool
    scales_embedding: bool
    activation: Literal["gelu", "silu"]
    norm: Literal["scale", "w"]
    lora_modules: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Llama3Rope:
    """The frequency bands of Llama 3.1's rotary embedding.

    Wavelengths above `original_length / low_frequency_factor` are stretched by `factor`, those below
    `original_length / high_frequency_factor` are kept, those between are blended
    (https://github.com/meta-llama/llama-models, `apply_scaling` in models/llama3/model.py).
    """

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_length: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One architecture. Letters used for shapes elsewhere: V vocabulary, D width, F hidden width of the MLP, N query
    heads, K key/value heads, H size of one head.

    Attributes:
      sliding_window: local layers see this many tokens, their own included; None when no layer is local.
      layers_per_global: every such layer attends to all tokens, the others locally; 1: all do, 0: none does.
      local_rope_base, global_rope_base: bases of the rotary embedding.
      global_rope_factor: positions of global layers are divided by it.
      llama3_rope: scaling by frequency bands, of every layer.
      query_scalar: queries are divided by its square root.
      attention_softcap, final_softcap: c in c * tanh(x / c) of attention scores and of logits; None for none.
      tied: the embedding is also the output head.
    """

    name: str
    family: Family
    num_layers: int
    embed_dim: int
    hidden_dim: int
    num_heads: int
    head_dim: int
    num_kv_heads: int
    vocab_size: int
    query_scalar: float
    sliding_window: int | None
    layers_per_global: int
    local_rope_base: float
    global_rope_base: float
    global_rope_factor: float = 1.0
    llama3_rope: Llama3Rope | None = None
    norm_eps: float = 1e-6
    attention_softcap: float | None = None
    final_softcap: float | None = None
    tied: bool = True

    def __post_init__(self):
        if problems := [*self._size_problems(), *self._arithmetic_problems()]:
            raise ConfigError(f"the architecture {self.name!r} is not usable: {'; '.join(problems)}")

    def _size_problems(self) -> list[str]:
        sizes = {name: getattr(self, name) for name in _SIZES}
        problems = [f"{name} is {value}, expected at least 1" for name, value in sizes.items() if value < 1]
        if self.num_layers > _MAX_LAYERS:
            problems.append(f"num_layers is {self.num_layers}, expected at most {_MAX_LAYERS}")
        if self.head_dim % 2:
            problems.append(f"head_dim is {self.head_dim}, expected an even number (rotary positions use pairs)")
        if self.num_kv_heads > 0 and self.num_heads % self.num_kv_heads:
            problems.append(f"num_heads is {self.num_heads} with num_kv_heads {self.num_kv_heads}, expected a multiple")
        # Tunix's Gemma modules keep queries, keys and values in one array when their numbers are equal.
        if self.num_heads == self.num_kv_heads and self.family.fused:
            problems.append(
                f"num_heads is {self.num_heads} with num_kv_heads {self.num_kv_heads}, expected a larger multiple"
            )
        return problems

    def _arithmetic_problems(self) -> list[str]:
        problems = [
            f"{name} is {getattr(self, name)}, expected above 0"
            for name in ("query_scalar", "local_rope_base", "global_rope_base", "norm_eps")
            if not getattr(self, name) > 0
        ]
        if self.global_rope_factor < 1:
            problems.append(f"global_rope_factor is {self.global_rope_factor}, expected at least 1")
        problems += [
            f"{name} is {getattr(self, name)}, expected None or above 0"
            for name in ("attention_softcap", "final_softcap", "sliding_window")
            if getattr(self, name) is not None and not getattr(self, name) > 0
        ]
        if (self.sliding_window is None) != (self.layers_per_global == 1):
            problems.append(
                f"sliding_window is {self.sliding_window} with layers_per_global {self.layers_per_global}, expected a "
                "window exactly where some layers are local"
            )
        return problems

    @property
    def dims(self) -> dict[str, int]:
        """The letters used in shape strings, with their sizes."""
        return {
            "V": self.vocab_size,
            "D": self.embed_dim,
            "F": self.hidden_dim,
            "N": self.num_heads,
            "K": self.num_kv_heads,
            "H": self.head_dim,
        }

    def is_local(self, layer: int) -> bool:
        """Whether this layer sees the sliding window only."""
        return self.layers_per_global == 0 or (layer + 1) % self.layers_per_global != 0

    @property
    def num_params(self) -> int:
        """Number of values in a checkpoint of this architecture; a tied embedding is counted once."""
        attention = self.embed_dim * self.head_dim * 2 * (self.num_heads + self.num_kv_heads)
        of_layer = sum(name is not None for name in self.family.layer_norms)
        norms = of_layer * self.embed_dim + len(self.family.head_norms or ()) * self.head_dim
        layer = attention + 3 * self.embed_dim * self.hidden_dim + norms
        tables = 1 if self.tied else 2
        return tables * self.vocab_size * self.embed_dim + self.num_layers * layer + self.embed_dim


_SIZES = ("num_layers", "embed_dim", "hidden_dim", "num_heads", "head_dim", "num_kv_heads", "vocab_size")
