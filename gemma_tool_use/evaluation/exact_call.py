"""The exact-call score: a reply counts when its calls are the expected ones, to the last argument, and nothing else.

    score(replies, expected)     # {"exact": 0.91, "count": 64, "by_kind": {"one_call": 0.95, ...}}

Order among several calls is free, values are compared as JSON (`1` is not `1.0`, `true` is not `1`). Where no call is
expected, a reply without any call or failed attempt at one counts.
"""

import collections
import json
from collections.abc import Sequence
from typing import Any

from gemma_tool_use.conversation import Conversation, Message, Reply, ToolCall
from gemma_tool_use.errors import DataError


def question_and_answer(conversation: Conversation) -> tuple[Conversation, Message]:
    """Splits off the last message, which must be the model's.

    Raises:
      DataError: the conversation does not end with an assistant message.
    """
    *before, last = conversation.messages
    if last.role != "assistant" or not before:
        raise DataError(f"conversation {conversation.id!r} does not end with an answer, so it cannot be scored")
    question = Conversation(
        messages=tuple(before), tools=conversation.tools, id=conversation.id, source=conversation.source
    )
    return question, last


def is_exact(reply: Reply, expected: Sequence[ToolCall]) -> bool:
    """Whether the reply makes exactly the expected calls."""
    return not reply.errors and _multiset(reply.calls) == _multiset(expected)


def score(replies: Sequence[Reply], expected: Sequence[Message], kinds: Sequence[str]) -> dict[str, Any]:
    """Share of exact replies, over all and by kind. The three sequences belong together by position."""
    hits: dict[str, list[bool]] = collections.defaultdict(list)
    for reply, message, kind in zip(replies, expected, kinds, strict=True):
        hits[kind].append(is_exact(reply, message.calls))
    flat = [hit for values in hits.values() for hit in values]
    return {
        "exact": sum(flat) / len(flat),
        "count": len(flat),
        "by_kind": {kind: {"exact": sum(v) / len(v), "count": len(v)} for kind, v in sorted(hits.items())},
    }


def _multiset(calls: Sequence[ToolCall]) -> collections.Counter[tuple[str, str]]:
    return collections.Counter((call.name, json.dumps(call.arguments, sort_keys=True)) for call in calls)
