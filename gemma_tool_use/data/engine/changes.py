"""What is done to rows beyond filtering: the mix, augmentation, and the stages of a curriculum; nothing by default.

Changes(mix=MixSettings(max_no_call_share=0.2), augment=AugmentSettings(mask_share=0.33), stages=("single-turn",))
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma_tool_use.data.augment import AugmentSettings, MixSettings
from gemma_tool_use.data.files import identity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changes:
    """What is done to the rows that the rules keep.

    Attributes:
      mix: how many of which rows are taken.
      augment: what is changed in them.
      tools_pool: a file with the tools that may be added; None for those of the rows themselves.
      stages: names of the stages whose rows are kept, in the order of which they are written; none for no curriculum.
    """

    mix: MixSettings = dataclasses.field(default_factory=MixSettings)
    augment: AugmentSettings = dataclasses.field(default_factory=AugmentSettings)
    tools_pool: Path | None = None
    stages: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether rows are neither drawn nor changed."""
        return self.mix.changes_nothing and not self.rewrites

    @property
    def rewrites(self) -> bool:
        """Whether rows are written other than their units kept them: changed, several times, or in another order."""
        more = self.mix.make_no_call or self.mix.max_copies > 1
        return bool(more or self.stages or not self.augment.changes_nothing)

    @property
    def adds_tools(self) -> bool:
        """Whether a row may be offered tools that it did not have."""
        return bool(self.augment.distractor_share or self.mix.make_no_call)

    @property
    def traits(self) -> bool:
        """Whether the key columns of `traits.py` are needed."""
        return not self.nothing

    def plan(self) -> dict[str, Any]:
        """What the manifest says of it: settings, and the file by name, size and sha256."""
        pool = self.tools_pool
        known: Mapping[str, Any] | None = None if pool is None else identity(pool)
        return {
            "mix": dataclasses.asdict(self.mix),
            "augment": dataclasses.asdict(self.augment),
            "tools_pool": None if pool is None or known is None else {**known, "file": pool.name},
            "stages": list(self.stages),
        }
