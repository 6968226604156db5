"""What a reply decides to do: call a tool, ask back, refuse, or answer in words.

    decision(Reply(raw="...", calls=(call,)))                                   # "call"
    decision(Reply(raw="...", text="Which city do you mean?"))                  # "ask"
    decision(Reply(raw="...", text="I'm sorry, I cannot order pizza."))         # "refuse"
    decision(Reply(raw="...", text="Paris has two million inhabitants."))       # "answer"

The four are those of When2Call (https://arxiv.org/abs/2504.18851), which has a large model decide what a text is. Here
English words decide, so that a score needs no second model: a text asks when a sentence matches `ASKS` or one of its
last two is a question, else it refuses when one of its first three matches `REFUSES`. Sentences of courtesy ("Is there
anything else I can help you with?", "If you need ..., let me know") do not count.
"""

import re
from typing import Literal, get_args

from gemma_tool_use.conversation import Reply

Decision = Literal["call", "ask", "refuse", "answer"]
DECISIONS: tuple[str, ...] = get_args(Decision)

_MOST_CHARACTERS = 4000
"""A decision stands at the start of a text; a model that never stops writes more."""

_COURTESY = re.compile(
    r"anything else|else (?:i|we) can|^(?:but |however, )?(?:if|should) you (?:need|have|want|would|require)|"
    r"would you like|feel free|happy to help|glad to help|how (?:can|may) i (?:help|assist)|let me know if"
)
ASKS = re.compile(
    r"(?:(?:could|can|would|will) you|please)[^.?!]{0,40}\b(?:provide|specify|tell|share|clarify|confirm|give)\b|"
    r"\b(?:i|we)(?:'ll| will|'d| would)? (?:also |still )?(?:need|require)\b"
    r"[^.?!]{0,80}\b(?:know|information|details)\b|"
    r"\b(?:may|can|could) i (?:have|know|get)\b|\bsufficient information\b|"
    r"\b(?:lacks?|missing|without|requires)\b[^.?!]{0,60}\b(?:required|parameters?|arguments?)\b"
)
REFUSES = re.compile(
    r"\b(?:can ?not|can't|unable|not able|couldn't|won't be able|not possible|impossible)\b|"
    r"\bdo(?:n't| not|es not|esn't) (?:have|include|support|provide|contain|offer|allow)\b|"
    r"\b(?:no|none of the) (?:\w+ )?(?:tools?|functions?)\b|beyond (?:my|the)|outside (?:of )?my|"
    r"\bnot (?:supported|available|equipped|capable|designed)\b|\bi(?:'m| am) (?:so )?sorry\b|\bapologi[sz]e\b"
)
_SENTENCE = re.compile(r"(?<=[.?!])\s+|\n+")


def decision(reply: Reply) -> Decision:
    """What the reply does. A failed attempt at a call is a call: something would have been done."""
    return "call" if reply.calls or reply.errors else text_decision(reply.text)


def text_decision(text: str) -> Decision:
    """What an answer in words does. Time is linear in the text."""
    plain = text[:_MOST_CHARACTERS].casefold().replace("\u2019", "'")
    sentences = [part for part in _SENTENCE.split(plain) if part and not _COURTESY.search(part)]
    if any(ASKS.search(sentence) for sentence in sentences) or any(part.endswith("?") for part in sentences[-2:]):
        return "ask"
    return "refuse" if any(REFUSES.search(sentence) for sentence in sentences[:3]) else "answer"
