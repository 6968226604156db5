"""What was done to a row, kept in `conversation.meta["augment"]`: one record for each step, in order.

    {"augment": [{"step": "distractors", "added": ["roll_dice"]},
                 {"step": "names", "left": "a tool without a description"}]}

A record with `left` says why the row was chosen and yet left as it is; any other holds what `undo` needs.
"""

import dataclasses
from typing import Any

from gemma_tool_use.conversation import Conversation

AUGMENT = "augment"
Record = dict[str, Any]


def records(conversation: Conversation) -> list[Record]:
    """The records of a conversation, oldest first; none for a row as its source gave it."""
    found = conversation.meta.get(AUGMENT)
    return [record for record in found if isinstance(record, dict)] if isinstance(found, list) else []


def recorded(conversation: Conversation, record: Record) -> Conversation:
    """The conversation with one more record."""
    meta = {**conversation.meta, AUGMENT: [*records(conversation), record]}
    return dataclasses.replace(conversation, meta=meta)


def left(conversation: Conversation, step: str, reason: str) -> Conversation:
    """The conversation as it is, with the reason why a step that had chosen it did nothing."""
    return recorded(conversation, {"step": step, "left": reason})


def outcomes(conversation: Conversation) -> list[str]:
    """What to count of a row: `["distractors", "names: left as it is, a tool without a description"]`."""
    return [
        f"{record['step']}: left as it is, {record['left']}" if "left" in record else str(record["step"])
        for record in records(conversation)
    ]
