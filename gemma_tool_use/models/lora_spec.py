"""The shape of an adapter: `LoraSpec(rank=16, alpha=16.0)`. No JAX, so that `--help` stays fast."""

import dataclasses
import re
from typing import Literal

from gemma_tool_use.errors import ConfigError

Quantization = Literal["nf4", "int8", "int4"]
"""How the frozen base weights under an adapter may be packed."""

AUTO = "auto"
DEFAULT_MODULES = (AUTO,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraSpec:
    """Shape of an adapter.

    Attributes:
      rank: width of the low-rank product.
      alpha: scale; the product is multiplied by alpha / rank.
      modules: regular expressions; each must match the end of at least one module path (`layers/0/attn/q_einsum`).
        "auto", alone, stands for every linear projection of the model's family.
    """

    rank: int = 16
    alpha: float = 16.0
    modules: tuple[str, ...] = DEFAULT_MODULES

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"rank must be at least 1, got {self.rank}")
        if self.alpha <= 0:
            raise ConfigError(f"alpha must be above 0, got {self.alpha}")
        if not self.modules:
            raise ConfigError("modules is empty: nothing would be trained")
        if AUTO in self.modules and len(self.modules) > 1:
            raise ConfigError(f"modules is {' '.join(self.modules)}: auto is all linear projections, give it alone")
        for pattern in self.modules:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"module pattern {pattern!r} is not a regular expression: {error}") from None

    def resolved(self, projections: tuple[str, ...]) -> "LoraSpec":
        """The same with "auto" written out as `projections`, the linear projections of a family."""
        return dataclasses.replace(self, modules=projections) if self.modules == DEFAULT_MODULES else self

    @property
    def module_path(self) -> str:
        """One expression for Qwix, which matches it against the whole path."""
        return ".*(?:" + "|".join(f"(?:{pattern})" for pattern in self.modules) + ")"
