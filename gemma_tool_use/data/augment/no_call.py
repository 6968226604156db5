"""Rows without a call made from rows with one: the called tools leave the offer, a short reply says that none fits.

    no_call(weather_row, settings, pool)       # offers roll_dice only; the answer is "None of my tools can do that."

Risk: the label is right only if no tool that stays could serve. So every tool that is like a called one, or has words
of the request, leaves as well, and tools of the pool without one word of the request take their places. `words.py`
judges by words and small topics; a paraphrase that shares none of them is not noticed. Natural rows without a call are
better; `mix` makes only as many as they fall short of `min_no_call_share`.
"""

import dataclasses
from typing import Any

from gemma_tool_use.conversation import (
    Conversation,
    Message,
    conversation_from_dict,
    conversation_to_dict,
    tool_from_dict,
    tool_to_dict,
)
from gemma_tool_use.data.augment.distractors import unlike, user_text
from gemma_tool_use.data.augment.draws import Draws
from gemma_tool_use.data.augment.pool import ToolPool
from gemma_tool_use.data.augment.records import Record, left, recorded
from gemma_tool_use.data.augment.settings import AugmentSettings
from gemma_tool_use.data.augment.words import ToolWords, alike, comparable, may_answer, words

STEP = "no_call"
NOT_CONVERTIBLE = "not a single request that is answered by calls"
NOTHING_LEFT = "no tool left to offer"

REPLIES = (
    "None of my tools can do that.",
    "I'm sorry, but none of the tools I have can help with that.",
    "I can't do that with the tools available to me.",
    "I don't have a tool for this request.",
    "Sorry, I have no function for that.",
    "That is outside of what my tools can do.",
    "I'm not able to help with this: the functions I can call do something else.",
    "Unfortunately, the available functions don't cover this request.",
    "I would need a different tool to answer this, and I don't have one.",
    "None of the available functions fits what you are asking for.",
    "I can't help with this one; my tools are made for other tasks.",
    "There is no tool here that could do this, so I can't complete the request.",
    "My tools don't offer a way to do that, sorry.",
    "I looked at the functions I can use, and none of them is right for this.",
    "This request needs a function that I don't have access to.",
    "I'm afraid I can't: no tool that I was given serves this purpose.",
)


def convertible(conversation: Conversation) -> bool:
    """Whether the row may become one without a call: one request in English, answered by declared calls."""
    roles = [message.role for message in conversation.messages]
    if roles.count("user") != 1 or "assistant" not in roles:
        return False
    at = _reply_at(conversation)
    names = {tool.name for tool in conversation.tools}
    calls = [call.name for message in conversation.messages for call in message.calls]
    return (
        roles[at - 1 : at] == ["user"]
        and bool(conversation.messages[at].calls)
        and names.issuperset(calls)
        and comparable(user_text(conversation))
    )


def no_call(conversation: Conversation, settings: AugmentSettings, pool: ToolPool) -> Conversation:
    """The conversation without calls; itself, with a record of why, when no tool could be offered."""
    if not convertible(conversation):
        return left(conversation, STEP, NOT_CONVERTIBLE)
    draws = Draws(seed=settings.seed, step=STEP, row=conversation.id)
    request = user_text(conversation)
    stay = _unlike_the_called(conversation, words(request))
    offered = max(len(stay), min(len(conversation.tools), settings.max_tools))
    added = unlike(conversation.tools, request, pool, offered - len(stay), draws, strict=True)
    tools = (*(conversation.tools[i] for i in stay), *added)
    if not tools:
        return left(conversation, STEP, NOTHING_LEFT)
    at = _reply_at(conversation)
    reply = Message(role="assistant", content=draws.pick(REPLIES, "reply"))
    stored = conversation_to_dict(conversation)
    record = {
        "step": STEP,
        "removed": [[i, tool_to_dict(t)] for i, t in enumerate(conversation.tools) if i not in stay],
        "added": [tool.name for tool in added],
        "messages": stored["messages"][at:],
    }
    changed = dataclasses.replace(conversation, tools=tools, messages=(*conversation.messages[:at], reply))
    return recorded(changed, record)


def undo_no_call(conversation: Conversation, record: Record) -> Conversation:
    """The conversation with its calls."""
    added = set(record["added"])
    tools = [tool for tool in conversation.tools if tool.name not in added]
    for index, tool in record["removed"]:
        tools.insert(index, tool_from_dict(tool))
    stored: dict[str, Any] = {"messages": record["messages"]}
    messages = conversation_from_dict(stored).messages
    at = _reply_at(conversation)
    return dataclasses.replace(conversation, tools=tuple(tools), messages=(*conversation.messages[:at], *messages))


def _unlike_the_called(conversation: Conversation, request: frozenset[str]) -> list[int]:
    """Positions of the tools that may stay; a called tool is like itself."""
    called = {call.name for message in conversation.messages for call in message.calls}
    own = [ToolWords.of(tool) for tool in conversation.tools]
    gone = [own[i] for i, tool in enumerate(conversation.tools) if tool.name in called]
    return [
        i
        for i in range(len(own))
        if not may_answer(own[i], request, strict=True) and not any(alike(own[i], other) for other in gone)
    ]


def _reply_at(conversation: Conversation) -> int:
    return next(i for i, message in enumerate(conversation.messages) if message.role == "assistant")
