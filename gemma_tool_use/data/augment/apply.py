"""`augment` and `undo`: every change to a row, in one order, and back."""

import dataclasses

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.augment import distractors, names, no_call, order, parallel
from gemma_tool_use.data.augment.pool import ToolPool
from gemma_tool_use.data.augment.records import AUGMENT, recorded, records
from gemma_tool_use.data.augment.settings import AugmentSettings

COPY = "copy"
_UNDO = {
    distractors.STEP: distractors.undo_distractors,
    names.STEP: names.undo_names,
    no_call.STEP: no_call.undo_no_call,
    order.STEP: order.undo_order,
}


def augment(
    conversation: Conversation, settings: AugmentSettings, pool: ToolPool, *, make_no_call: bool = False
) -> Conversation:
    """The conversation as the settings say: calls taken away, distractors, names, order; each recorded in its meta.

    Args:
      conversation: a row, or several merged by `merge`.
      settings: what is done.
      pool: tools of the row's own side of the split.
      make_no_call: what `mix` decided for the row.
    """
    if make_no_call:
        conversation = no_call.no_call(conversation, settings, pool)
    conversation = distractors.distractors(conversation, settings, pool)
    conversation = names.mask_names(conversation, settings)
    return order.shuffle_tools(conversation, settings)


def copy(conversation: Conversation, number: int) -> Conversation:
    """The row once more, as `mix` may ask for: copy 2 of `a` has the id `a#2`; copy 1 is the row itself."""
    if number == 1:
        return conversation
    renamed = dataclasses.replace(conversation, id=f"{conversation.id}#{number}")
    return recorded(renamed, {"step": COPY, "of": conversation.id})


def undo(conversation: Conversation) -> tuple[Conversation, ...]:
    """The row as its source gave it; of a merged row, all its parts."""
    done = records(conversation)
    meta = {key: value for key, value in conversation.meta.items() if key != AUGMENT}
    conversation = dataclasses.replace(conversation, meta=meta)
    for record in reversed(done):
        if "left" in record:
            continue
        if record["step"] == parallel.STEP:
            return parallel.undo_merge(conversation, record)
        if record["step"] == COPY:
            conversation = dataclasses.replace(conversation, id=record["of"])
        else:
            conversation = _UNDO[record["step"]](conversation, record)
    return (conversation,)
