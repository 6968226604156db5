"""What augmentation does to rows, as flags of `gemma-tool-use prepare`; everything is off by default."""

import dataclasses

from gemma_tool_use.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentFlags:
    """Changes made to rows. Shares are of the rows, each chosen by a hash of the seed and its id."""

    distractor_share: float = 0.0
    """Share of rows that are offered tools of other rows as well, which cannot answer the request."""
    max_tools: int = 5
    """Most tools a row offers once distractors were added or rows were merged; a row that offers more keeps them."""
    shuffle_tools: bool = False
    """Offer the tools of each row in another order."""
    mask_share: float = 0.0
    """Share of rows whose function and parameter names become random strings, so that descriptions must be read."""
    merge_share: float = 0.0
    """Share of the short one-call rows that are merged with another into one request for several calls."""
    merge_up_to: int = 2
    """Most rows merged into one request."""

    def __post_init__(self) -> None:
        shares = ("distractor_share", "mask_share", "merge_share")
        values = {name: getattr(self, name) for name in shares}
        problems = [
            f"{name} is a share from 0 to 1, got {value}" for name, value in values.items() if not 0 <= value <= 1
        ]
        if self.max_tools < 1:
            problems.append(f"max_tools must be 1 or more, got {self.max_tools}")
        if not 2 <= self.merge_up_to <= 4:
            problems.append(f"merge_up_to must be from 2 to 4, got {self.merge_up_to}")
        if problems:
            raise ConfigError("; ".join(problems))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentSettings(AugmentFlags):
    """The flags with the seed, which a command has only one of."""

    seed: int = 0
    """Of every choice; the same seed and row always give the same result."""

    @property
    def changes_nothing(self) -> bool:
        """Whether every row stays as it is."""
        return not (self.distractor_share or self.shuffle_tools or self.mask_share or self.merge_share)
