"""Distractor tools: a row is offered further tools, none of which could answer its request.

    distractors(weather_row, settings, pool)    # also offers roll_dice; its call and its answer stay as they are

A row is chosen with probability `distractor_share`; then it gets one to as many tools as `max_tools` has room for. A
tool of the pool is only taken when `words.py` finds it unlike every offered tool and foreign to everything users say
in the row (for a row without a call: without one word in common).
"""

import dataclasses
from collections.abc import Iterable, Sequence

from gemma_tool_use.conversation import Conversation, ToolSpec
from gemma_tool_use.data.augment.draws import Draws
from gemma_tool_use.data.augment.pool import ToolPool
from gemma_tool_use.data.augment.records import Record, left, recorded
from gemma_tool_use.data.augment.settings import AugmentSettings
from gemma_tool_use.data.augment.words import ToolWords, alike, comparable, may_answer, words

STEP = "distractors"
TRIES = 100
"""Tools of the pool looked at for each one wanted."""

NO_ROOM = "it offers max_tools tools already"
NOT_COMPARABLE = "its request is too unusual to be compared with tools by words"
NOTHING_FITS = "no tool of the pool is unlike it"


def distractors(conversation: Conversation, settings: AugmentSettings, pool: ToolPool) -> Conversation:
    """The conversation with more tools behind its own; itself when it is not chosen."""
    draws = Draws(seed=settings.seed, step=STEP, row=conversation.id)
    if not settings.distractor_share or draws.unit() >= settings.distractor_share:
        return conversation
    room = settings.max_tools - len(conversation.tools)
    if room < 1:
        return left(conversation, STEP, NO_ROOM)
    request = user_text(conversation)
    if not comparable(request):
        return left(conversation, STEP, NOT_COMPARABLE)
    calls = any(message.calls for message in conversation.messages)
    found = unlike(conversation.tools, request, pool, 1 + draws.below(room, "count"), draws, strict=not calls)
    if not found:
        return left(conversation, STEP, NOTHING_FITS)
    offered = dataclasses.replace(conversation, tools=(*conversation.tools, *found))
    return recorded(offered, {"step": STEP, "added": [tool.name for tool in found]})


def undo_distractors(conversation: Conversation, record: Record) -> Conversation:
    """The conversation without the tools that were added."""
    added = set(record["added"])
    return dataclasses.replace(conversation, tools=tuple(tool for tool in conversation.tools if tool.name not in added))


def unlike(
    tools: Iterable[ToolSpec], request: str, pool: ToolPool, count: int, draws: Draws, *, strict: bool
) -> Sequence[ToolSpec]:
    """Up to `count` tools of the pool that are unlike `tools` and each other, and foreign to the request."""
    asked = words(request)
    taken = [ToolWords.of(tool) for tool in tools]
    found: list[ToolSpec] = []
    for attempt in range(TRIES * count if len(pool) else 0):
        tool, own = pool.entries[draws.below(len(pool), "tool", attempt)]
        # A tool is like every other one of its name.
        if may_answer(own, asked, strict=strict) or any(alike(own, other) for other in taken):
            continue
        found.append(tool)
        taken.append(own)
        if len(found) == count:
            break
    return found


def user_text(conversation: Conversation) -> str:
    """Everything that users say in the row."""
    return "\n".join(message.content for message in conversation.messages if message.role == "user")
