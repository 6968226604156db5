"""The shape of the wordings for one tool, and the joins for two requests in one message.

A wording is text with the tool's parameters in braces; an optional parameter is an argument of the call exactly when
the wording mentions it:

    "How warm is it in {location}, in {unit}?"   ->   get_weather(location=..., unit=...)

The two splits have modules of their own, and no wording may stand in both: held-out scores are about wordings that were
never trained on.
"""

import dataclasses
from collections.abc import Mapping

from gemma_tool_use.data.synthetic.values import Split


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wordings:
    """What users say to one tool, in one split.

    Attributes:
      requests: whole messages that ask for one call.
      clauses: lower-case imperatives without an end mark, joined in pairs for two calls.
      pairs: messages that ask the same tool twice; the second value of a parameter is `{name_2}`.
      missing: requests that leave out what the tool requires.
    """

    requests: tuple[str, ...]
    clauses: tuple[str, ...]
    pairs: tuple[str, ...]
    missing: tuple[str, ...]


# {a}, {b}: clauses as they are; {A}, {B}: with a capital letter.
JOINS: Mapping[Split, tuple[str, ...]] = {
    "train": (
        "{A}, and also {b}.",
        "First {a}. Then {b}.",
        "1) {A} 2) {B}",
        "Please {a} and {b}.",
        "{A}. Also, {b}.",
        "I need two things: {a}, and {b}.",
        "Could you {a} and then {b}?",
        "{A} and {b}, please.",
        "- {A}\n- {B}",
        "Can you {a}? And {b}, too.",
        "{A}; {b}",
        "Two tasks for you. One: {a}. Two: {b}.",
    ),
    "heldout": (
        "{A}, then {b}.",
        "Would you {a}, and after that {b}?",
        "a) {A}\nb) {B}",
        "Start by doing this: {a}. Next, {b}.",
        "{A}. When that is done, {b}.",
        "Do both of these for me: {a}, and {b}.",
    ),
}
