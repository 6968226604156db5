"""Mixing and augmentation: which rows are taken, how often, and what is changed in them. Seeded, recorded, reversible.

Whoever drives it (`engine/decide.py`, `engine/rewrite.py`) goes in this order:

    1  per row       mergeable(conversation)                   a key column with the ids of the APIs; of the uncut row
                     convertible(conversation)                 a key column, with id, source, has_call
    2  key columns   mixed = mix(mix_rows, mix_settings)
                     plan = merge_plan(merge_rows, settings)   of rows taken once and with their calls, after the split
    3  per row       pool = ToolPool.of(tools of this side of the split)
                     for row in merge(parts, settings):        parts = (row,) unless the plan has it
                         for number in range(1, copies + 1):
                             augment(copy(row, number), settings, pool, make_no_call=no_call)
                     counts.update(outcomes(row)); meta["stage"] = stage_of(row)

The shares of a mix are those before merging, which turns two rows with calls into one; it comes after the split,
because it would tie the APIs of its parts together.

Everything is a function of the seed and the row's id, so order, workers and restarts change nothing. `merge` with one
part is that row itself; when parts do not fit together it gives them all back. What was done stands in
`meta["augment"]` (see `records.py`), and `undo(conversation)` gives the rows as their source had them.

Where a label could become wrong, the row is left as it is, and counted with the reason.
"""

from gemma_tool_use.data.augment.apply import augment, copy, undo
from gemma_tool_use.data.augment.mix import LEFT_OUT, Mixed, MixFlags, MixRow, MixSettings, mix
from gemma_tool_use.data.augment.no_call import convertible
from gemma_tool_use.data.augment.parallel import MergeRow, merge, merge_plan, mergeable
from gemma_tool_use.data.augment.pool import Reservoir, ToolPool, read_tools, write_tools
from gemma_tool_use.data.augment.records import outcomes
from gemma_tool_use.data.augment.settings import AugmentFlags, AugmentSettings
from gemma_tool_use.data.augment.stages import STAGES, Stage, curriculum_order, stage_of

__all__ = [
    "LEFT_OUT",
    "STAGES",
    "AugmentFlags",
    "AugmentSettings",
    "MergeRow",
    "MixFlags",
    "MixRow",
    "MixSettings",
    "Mixed",
    "Reservoir",
    "Stage",
    "ToolPool",
    "augment",
    "convertible",
    "copy",
    "curriculum_order",
    "merge",
    "merge_plan",
    "mergeable",
    "mix",
    "outcomes",
    "read_tools",
    "stage_of",
    "undo",
    "write_tools",
]
