"""Tool order: the tools of a row in an order given by its id, so that a model cannot learn to call the first one.

shuffle_tools(row_with_tools_a_b_c, settings)    # offers c, a, b; meta: {"step": "order", "from": [2, 0, 1]}
"""

import dataclasses

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.augment.draws import Draws
from gemma_tool_use.data.augment.records import Record, recorded
from gemma_tool_use.data.augment.settings import AugmentSettings

STEP = "order"


def shuffle_tools(conversation: Conversation, settings: AugmentSettings) -> Conversation:
    """The conversation with its tools shuffled; itself when it offers fewer than two."""
    if not settings.shuffle_tools or len(conversation.tools) < 2:
        return conversation
    order = Draws(seed=settings.seed, step=STEP, row=conversation.id).order(len(conversation.tools))
    shuffled = dataclasses.replace(conversation, tools=tuple(conversation.tools[i] for i in order))
    return recorded(shuffled, {"step": STEP, "from": order})


def undo_order(conversation: Conversation, record: Record) -> Conversation:
    """The conversation with its tools in their first order."""
    tools = dict(zip(record["from"], conversation.tools, strict=True))
    return dataclasses.replace(conversation, tools=tuple(tools[i] for i in range(len(tools))))
