"""What mixing and augmentation ask of a row, as key columns of its unit file, so that no row is read to decide.

traits(row, cut_row)      # (True, True, False, 1): it has a call, could lose it, cannot be merged, is of stage 1
"""

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.augment import convertible, mergeable, stage_of

Traits = tuple[bool | None, bool | None, bool | None, int | None]
NO_TRAITS: Traits = (None, None, None, None)


def traits(read: Conversation, kept: Conversation) -> Traits:
    """`has_call`, `convertible`, `mergeable`, `stage` of a row as its source has it and as the rules leave it."""
    has_call = any(message.calls for message in kept.messages)
    # Of the whole row: cut after its first call, a row of several steps would look like one of a single step.
    return has_call, convertible(kept), mergeable(read), stage_of(kept)
