"""Held-out rows as a suite: the last answer of each conversation is the expected one.

    suite, left_out = held_out_suite(conversations, check_arguments=check)
    suite.judge(item, reply)                       # Verdict(official=True, strict=True): exactly the expected calls
    measures(results, check_arguments=check)       # {"argument_value_recall": Measure(value=0.81, count=96), ...}

Categories: `one_call`, `several_calls`, `no_call` (an answer in words to a user), `after_result` (in words, to what a
tool returned). Where calls are expected a reply is right when it makes exactly these. Where none is, it is right under
the official rule when no call can be read in it, and under the strict one when it has no broken attempt at one either.
"""

import collections
import dataclasses
from collections.abc import Sequence

from gemma_tool_use.conversation import Conversation, Message, Reply
from gemma_tool_use.errors import DataError
from gemma_tool_use.evaluation.call_scores import failure_of
from gemma_tool_use.evaluation.records import Item, Verdict

NAME = "held-out"
NO_ANSWER = "no answer to expect"
BAD_CALL = "expects a call of a tool it does not offer"


@dataclasses.dataclass(frozen=True)
class HeldOutSuite:
    """Questions from conversations; `question` splits the conversations off their expected answers."""

    rows: tuple[Item, ...]
    name: str = NAME

    def items(self) -> Sequence[Item]:
        return self.rows

    def judge(self, item: Item, reply: Reply) -> Verdict:
        """Compares the calls; a text is not judged, only that it is one."""
        found = failure_of(item.expected_calls, reply)
        if found is None:
            return Verdict(official=True, strict=True)
        failure, detail = found
        refrained = not item.expected_calls and not reply.calls
        return Verdict(official=refrained, strict=False, failure=failure, detail=detail)


def held_out_suite(
    conversations: Sequence[Conversation], *, first_call: bool = False
) -> tuple[HeldOutSuite, dict[str, int]]:
    """The suite, and how many conversations were left out, by reason.

    Args:
      conversations: rows of any source.
      first_call: expect the first reply with calls instead of the last reply, where there is one.

    Raises:
      DataError: no conversation can be asked.
    """
    items: list[Item] = []
    left_out: collections.Counter[str] = collections.Counter()
    seen: collections.Counter[str] = collections.Counter()
    for number, conversation in enumerate(conversations, 1):
        at = expected_at(conversation, first_call=first_call)
        if at is None:
            left_out[NO_ANSWER] += 1
            continue
        right = conversation.messages[at]
        offered = {tool.name for tool in conversation.tools}
        if any(call.name not in offered for call in right.calls):
            left_out[BAD_CALL] += 1
            continue
        id = conversation.id or f"row_{number}"
        seen[id] += 1
        items.append(_item(conversation, at, id if seen[id] == 1 else f"{id}#{seen[id]}"))
    if not items:
        raise DataError(f"none of {len(conversations)} held-out rows can be asked: {dict(left_out)}")
    return HeldOutSuite(tuple(items)), dict(left_out)


def expected_at(conversation: Conversation, *, first_call: bool) -> int | None:
    """The number of the message that is expected; None when there is no answer with something before it."""
    answers = [i for i, message in enumerate(conversation.messages) if message.role == "assistant" and i > 0]
    with_calls = [i for i in answers if conversation.messages[i].calls]
    if first_call and with_calls:
        return with_calls[0]
    return answers[-1] if answers else None


def _item(conversation: Conversation, at: int, id: str) -> Item:
    before, right = conversation.messages[:at], conversation.messages[at]
    return Item(
        id=id,
        suite=NAME,
        category=_category(before, right),
        conversation=dataclasses.replace(conversation, id=id, messages=before, meta={}),
        expected={"content": right.content, "reasoning": right.reasoning},
        expected_calls=right.calls,
    )


def _category(before: Sequence[Message], right: Message) -> str:
    if right.calls:
        return "one_call" if len(right.calls) == 1 else "several_calls"
    return "after_result" if before[-1].role == "tool" else "no_call"
