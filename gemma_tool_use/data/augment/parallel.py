"""Rows merged into one request for several calls.

    plan = merge_plan(keys, settings)                    # {"a": ("a", "b")}: key columns only, before any row is read
    merge((row_a, row_b), settings)                      # (one conversation with the id "a+b",)
    # user:      "What is the weather in Oslo? Also, roll two dice."
    # assistant: get_weather(city="Oslo"), roll_dice(count=2)

Only rows of one source and one side of a split are merged, only short requests that stand by themselves, each answered
by one call, and only when no tool of one row has to do with the other's request. `merge` gives the
rows back one by one, with the reason in their records, when their texts speak against it.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from gemma_tool_use.conversation import Conversation, Message
from gemma_tool_use.data.augment.distractors import user_text
from gemma_tool_use.data.augment.draws import Draws
from gemma_tool_use.data.augment.records import Record, left, recorded, records
from gemma_tool_use.data.augment.settings import AugmentSettings
from gemma_tool_use.data.augment.word_lists import LEANING, PLAIN_STARTS
from gemma_tool_use.data.augment.words import (
    ToolWords,
    alike,
    comparable,
    general_purpose,
    may_answer,
    split_words,
    words,
)
from gemma_tool_use.errors import DataError

STEP = "merge"
MAX_REQUEST = 240
WINDOW = 64
"""Rows after a leader, in the order of their hashes, that are looked at for a partner."""

ALIKE = "a tool of one row may answer the request of another"
NOT_CUT = "a row goes on after its call"
TOO_MANY_TOOLS = "together they offer more than max_tools"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MergeRow:
    """The keys of a mergeable row: one for which `mergeable` is true.

    Attributes:
      id: of the row.
      source: of the row; only rows of the same one are merged, so that their licence is the same.
      side: of the split: "train" or "eval".
      tools: names or ids of the tools it offers.
    """

    id: str
    source: str
    side: str
    tools: tuple[str | int, ...]


def mergeable(conversation: Conversation) -> bool:
    """Whether the row is one short request that stands by itself, answered by one call and no more.

    To be asked of the row before a rule cuts it after its first call: a second call later on means that the request
    needs several steps, and its first call alone would be half an answer beside another request.
    """
    messages = conversation.messages
    if [message.role for message in messages[:2]] != ["user", "assistant"] or messages[1].reasoning:
        return False
    if any(message.role in ("system", "user") for message in messages[2:]):
        return False
    calls = [call.name for message in messages for call in message.calls]
    if len(calls) != 1 or not messages[1].calls or calls[0] not in {tool.name for tool in conversation.tools}:
        return False
    request = messages[0].content
    return (
        len(request.split()) >= 3
        and len(request) <= MAX_REQUEST
        and request == request.strip()
        and "\n" not in request
        and request.count('"') % 2 == 0
        and request[0].isalnum()
        and comparable(request)
        and LEANING.isdisjoint(split_words(request))
        and not any(general_purpose(tool) or not comparable(tool.description) for tool in conversation.tools)
    )


def merge_plan(rows: Iterable[MergeRow], settings: AugmentSettings) -> dict[str, tuple[str, ...]]:
    """Which rows are merged: the id of the first of each group to the ids of all, in order.

    Uses up `merge_share` of the rows of each side and source, as far as partners are found. The order of `rows` does
    not matter. Rows with a tool in common, or too many tools together, are not put into one group.
    """
    groups: dict[tuple[str, str], list[MergeRow]] = {}
    for row in rows:
        groups.setdefault((row.side, row.source), []).append(row)
    plan: dict[str, tuple[str, ...]] = {}
    for group in groups.values():
        draws = Draws(seed=settings.seed, step=STEP)
        ranked = sorted(group, key=lambda row: (draws.bits(row.id), row.id))
        for parts in _groups(ranked, round(settings.merge_share * len(ranked)), settings, draws):
            plan[parts[0].id] = tuple(part.id for part in parts)
    return plan


def _groups(
    ranked: Sequence[MergeRow], wanted: int, settings: AugmentSettings, draws: Draws
) -> Iterable[list[MergeRow]]:
    used: set[str] = set()
    for i, leader in enumerate(ranked):
        room = wanted - len(used)
        if room < 2:
            return
        if leader.id in used:
            continue
        size = min(room, 2 + draws.below(settings.merge_up_to - 1, "size", leader.id))
        parts, tools = [leader], set(leader.tools)
        for other in ranked[i + 1 : i + 1 + WINDOW]:
            fits = other.id not in used and tools.isdisjoint(other.tools)
            if len(parts) < size and fits and len(tools) + len(other.tools) <= settings.max_tools:
                parts.append(other)
                tools.update(other.tools)
        if len(parts) > 1:
            used.update(part.id for part in parts)
            yield parts


def merge(parts: Sequence[Conversation], settings: AugmentSettings) -> tuple[Conversation, ...]:
    """One conversation of all parts, or the parts themselves with the reason in their records; one part is itself.

    The merged row has the ids joined by `+`, the tools of all parts, their requests as one, and their calls in order.
    Text beside a call ("Let me look that up") is left out; the record keeps it.
    """
    if len(parts) < 2:
        return tuple(parts)
    if reason := _against(parts, settings):
        return tuple(left(part, STEP, reason) for part in parts)
    row_id = "+".join(part.id for part in parts)
    request = join([user_text(part) for part in parts], Draws(seed=settings.seed, step=STEP, row=row_id))
    merged = Conversation(
        id=row_id,
        source=parts[0].source,
        tools=tuple(tool for part in parts for tool in part.tools),
        messages=(
            Message(role="user", content=request),
            Message(role="assistant", calls=tuple(part.messages[1].calls[0] for part in parts)),
        ),
    )
    return (recorded(merged, {"step": STEP, "parts": [_part(part) for part in parts]}),)


def undo_merge(conversation: Conversation, record: Record) -> tuple[Conversation, ...]:
    """The rows that were merged."""
    tools, calls = {tool.name: tool for tool in conversation.tools}, conversation.messages[1].calls
    return tuple(
        Conversation(
            id=part["id"],
            source=conversation.source,
            tools=tuple(tools[name] for name in part["tools"]),
            messages=(
                Message(role="user", content=part["request"]),
                Message(role="assistant", content=part["text"], calls=(call,)),
            ),
            meta=part["meta"],
        )
        for part, call in zip(record["parts"], calls, strict=True)
    )


def join(requests: Sequence[str], draws: Draws) -> str:
    """Several requests as one. `["Weather in Oslo?", "Roll a die."]` gives `"Weather in Oslo? Also, roll a die."`."""
    requests = [requests[0], *map(_without_greeting, requests[1:])]
    ended = [request if request[-1] in ".?!" else request + "." for request in requests]
    way = draws.below(6, "join")
    if way == 0:
        return " ".join(ended)
    if way == 1:
        return "\n".join(f"{i}. {request}" for i, request in enumerate(ended, 1))
    if way == 2:
        return " ".join([ended[0], *(f"Also, {_lower(request)}" for request in ended[1:])])
    if way == 3:
        return (
            "I need a few things done. " + " ".join(ended)
            if len(ended) > 2
            else "Two things, please. " + " ".join(ended)
        )
    bare = [request.rstrip(".?! ") for request in ended]
    if way == 4 and all(_lower(request) != request for request in bare[1:]):
        return ", and ".join([bare[0], *map(_lower, bare[1:])]) + ended[-1][-1]
    return "\n".join(ended)


def _lower(request: str) -> str:
    """The request with a small first letter where that cannot damage a name."""
    first = request.split()[0].casefold().strip(",")
    return request[0].lower() + request[1:] if first in PLAIN_STARTS else request


def _without_greeting(request: str) -> str:
    """`"Hi, find a film."` and `"Hi! Find a film."` give `"Find a film."`: a greeting has no place amid a request."""
    first, _, rest = request.partition(" ")
    if first[-1:] not in (",", "!", ".") or first[:-1].casefold() not in ("hi", "hello", "hey") or not rest.strip():
        return request
    return rest.strip()[0].upper() + rest.strip()[1:]


def _against(parts: Sequence[Conversation], settings: AugmentSettings) -> str:
    if any(len(part.messages) != 2 for part in parts):
        return NOT_CUT
    if sum(len(part.tools) for part in parts) > settings.max_tools:
        return TOO_MANY_TOOLS
    own = [[ToolWords.of(tool) for tool in part.tools] for part in parts]
    requests = [words(user_text(part)) for part in parts]
    for i, request in enumerate(requests):
        for k, tools in enumerate(own):
            if i != k and any(
                may_answer(tool, request) or any(alike(tool, other) for other in own[i]) for tool in tools
            ):
                return ALIKE
    return ""


def _part(part: Conversation) -> dict[str, Any]:
    if records(part):
        raise DataError(f"row {part.id!r} was augmented already; merge rows before anything else is done to them")
    return {
        "id": part.id,
        "request": part.messages[0].content,
        "text": part.messages[1].content,
        "tools": [tool.name for tool in part.tools],
        "meta": part.meta,
    }
