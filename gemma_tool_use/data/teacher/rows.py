"""One scenario made into rows: ask for requests, then for the answer to each; check all, repair once.

    items = await write_rows(plan[3], ask, seen, batch=4)
    items[1].outcome       # Conversation(id="teacher:0:3.1:one_call", ...) or Reject(reason="value is not ...")

What comes out is a function of the answers alone, so answers read back from a journal give the same rows.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from gemma_tool_use.conversation import Conversation, Message
from gemma_tool_use.data.keys import normalise
from gemma_tool_use.data.rejects import Reject, short
from gemma_tool_use.data.teacher import prompts
from gemma_tool_use.data.teacher.answers import (
    NOT_JSON,
    WRONG_FORM,
    AnswerError,
    AssistantTurn,
    read_calls,
    read_requests,
)
from gemma_tool_use.data.teacher.checks import REPAIRABLE, check_request, check_turn
from gemma_tool_use.data.teacher.exchange import Answer
from gemma_tool_use.data.teacher.plan import Scenario

SOURCE = "teacher"
DUPLICATE = "same request as an earlier row"
TOO_FEW = "fewer requests than asked for"
TOO_MANY = "more requests than asked for"
_REPAIRABLE = REPAIRABLE | {NOT_JSON, WRONG_FORM}

Ask = Callable[[str, prompts.Chat, dict[str, Any]], Awaitable[Answer]]
"""Asks one step of the journal: its name, what is said, the JSON Schema of the answer."""
Place = tuple[int, int]
"""Scenario and index of a request in it."""
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One request and what became of it. `key` is the normalised request, empty when there is none."""

    place: Place
    outcome: Conversation | Reject
    key: str = ""


class Seen:
    """The first place of each request, in the order of the plan, not in the order in which answers happen to come."""

    def __init__(self) -> None:
        self._first: dict[str, Place] = {}

    def add(self, key: str, place: Place) -> None:
        self._first[key] = min(place, self._first.get(key, place))

    def is_first(self, key: str, place: Place) -> bool:
        """Whether no earlier place is known to have the same request. A "no" is final, a "yes" is not."""
        return self._first.get(key, place) >= place


async def write_rows(scenario: Scenario, ask: Ask, seen: Seen, *, batch: int, repair: bool = True) -> list[Item]:
    """Every request of the scenario, with its row or the reason why there is none.

    Raises:
      Whatever `ask` raises; nothing about the content of an answer.
    """
    step = str(scenario.job)
    chat = prompts.request_chat(scenario, batch)
    try:
        texts = await _asked(ask, step, chat, prompts.REQUESTS_SHAPE, read_requests, repair)
    except AnswerError as error:
        return [Item(place=(scenario.job, 0), outcome=_reject(scenario, 0, error))]
    drafts: list[Item | str] = []
    for index, text in enumerate(texts[:batch]):
        place = (scenario.job, index)
        try:
            request = check_request(text, scenario)
        except AnswerError as error:
            drafts.append(Item(place=place, outcome=_reject(scenario, index, error)))
            continue
        seen.add(normalise(request), place)
        drafts.append(request)
    items = await _all(
        _answered(scenario, index, draft, ask, seen, repair) if isinstance(draft, str) else _ready(draft)
        for index, draft in enumerate(drafts)
    )
    if len(texts) != batch:
        error = AnswerError(TOO_FEW if len(texts) < batch else TOO_MANY, f"{len(texts)} instead of {batch}")
        items.append(Item(place=(scenario.job, batch), outcome=_reject(scenario, batch, error)))
    return items


def duplicate(item: Item, scenario: Scenario) -> Item:
    """The item as a reject, because an earlier one has the same request."""
    error = AnswerError(DUPLICATE, short(item.key, 120))
    return dataclasses.replace(item, outcome=_reject(scenario, item.place[1], error))


async def _answered(scenario: Scenario, index: int, request: str, ask: Ask, seen: Seen, repair: bool) -> Item:
    place, key = (scenario.job, index), normalise(request)
    item = Item(place=place, key=key, outcome=Reject(reason=DUPLICATE))
    if not seen.is_first(key, place):
        return duplicate(item, scenario)

    def read(text: str) -> AssistantTurn:
        turn = read_calls(text)
        check_turn(turn, request, scenario)
        return turn

    chat, shape = prompts.call_chat(scenario.offered, request), prompts.calls_shape(scenario.offered)
    try:
        turn = await _asked(ask, f"{scenario.job}.{index}", chat, shape, read, repair)
    except AnswerError as error:
        return dataclasses.replace(item, outcome=_reject(scenario, index, error))
    return dataclasses.replace(item, outcome=_conversation(scenario, index, request, turn))


async def _asked(
    ask: Ask, step: str, chat: prompts.Chat, shape: dict[str, Any], read: Callable[[str], T], repair: bool
) -> T:
    """The answer as `read` returns it, after a second try where telling the problem can help."""
    answer = await ask(step, chat, shape)
    try:
        return _read(answer, read)
    except AnswerError as error:
        if not repair or error.reason not in _REPAIRABLE:
            raise
        again = prompts.repair_chat(chat, answer.text, f"{error.reason} ({error.detail})")
    return _read(await ask(f"{step}.repair", again, shape), read)


def _read(answer: Answer, read: Callable[[str], T]) -> T:
    if answer.fault:
        raise AnswerError(answer.fault, "")
    return read(answer.text)


def _conversation(scenario: Scenario, index: int, request: str, turn: AssistantTurn) -> Conversation:
    # A text beside calls is left out: it was asked to be empty, and nothing has checked it.
    reply = Message(role="assistant", calls=turn.calls, content="" if turn.calls else turn.reply)
    return Conversation(
        id=_id(scenario, index),
        source=SOURCE,
        tools=scenario.offered,
        messages=(Message(role="user", content=request), reply),
        meta={"kind": scenario.kind, "language": scenario.language},
    )


def _reject(scenario: Scenario, index: int, error: AnswerError) -> Reject:
    where = f"journal.jsonl step {scenario.job}.{index}"
    return Reject(id=_id(scenario, index), reason=error.reason, detail=error.detail, where=where)


def _id(scenario: Scenario, index: int) -> str:
    return f"{SOURCE}:{scenario.seed}:{scenario.job}.{index}:{scenario.kind}"


async def _ready(item: Item) -> Item:
    return item


async def _all(steps: Any) -> list[Item]:
    """All of them, also when one fails: answers under way are paid for and belong into the journal."""
    done = await asyncio.gather(*steps, return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
    return [result for result in done if isinstance(result, Item)]
