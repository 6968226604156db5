"""Whether an answer uses what the tool returned.

    use = result_use(question, right_answer, reply)
    use.facts, use.found                # 2, 1: of two facts in the right answer that only the tool told, one is given

A fact is a word or number that the tool results hold, that the messages before them do not, and that the right answer
repeats: `{"temp": 21, "sky": "clear"}` and "It is 21 degrees" have the one fact `21`. Words are compared without case
and punctuation, numbers by value (`1,000` is `1000.0`).
"""

import dataclasses
import re
from collections.abc import Iterable

from gemma_tool_use.conversation import Conversation

_WORD = re.compile(r"\d[\d,]*\.?\d*|[^\W\d_]{3,}")
# Words that tool results have as keys and that answers use anyway.
_COMMON = frozenset(
    {
        *(
            "and",
            "are",
            "can",
            "data",
            "description",
            "error",
            "false",
            "for",
            "from",
            "has",
            "have",
            "message",
            "name",
        ),
        *("not", "null", "result", "results", "status", "success", "successful", "successfully", "that", "the", "this"),
        *("name", "there", "true", "type", "value", "was", "were", "will", "with", "you", "your"),
    }
)


@dataclasses.dataclass(frozen=True)
class ResultUse:
    """How many facts the right answer takes from the tool results, and how many of them the reply gives."""

    facts: int
    found: int


def result_use(question: Conversation, right_answer: str, text: str) -> ResultUse:
    """
    Args:
      question: ends with the tool messages that are to be used; any other end has no facts.
      right_answer: the answer of the row.
      text: what the model answered.
    """
    last = len(question.messages)
    while last and question.messages[last - 1].role == "tool":
        last -= 1
    told = _words(message.content for message in question.messages[last:])
    known = _words(message.content for message in question.messages[:last])
    facts = (told - known - _COMMON) & _words([right_answer])
    return ResultUse(len(facts), len(facts & _words([text])))


def _words(texts: Iterable[str]) -> set[str]:
    return {_normal(word) for text in texts for word in _WORD.findall(text)}


def _normal(word: str) -> str:
    if not word[0].isdecimal():
        return word.casefold()
    number = word.replace(",", "").rstrip(".")
    whole, _, fraction = number.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole.lstrip('0') or '0'}{'.' if fraction else ''}{fraction}"
