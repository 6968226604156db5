"""Whether a tool could answer what another tool, or a request, is about: judged by words, on the safe side.

    a = ToolWords.of(ToolSpec(name="get_weather", description="Current weather in a city"))
    b = ToolWords.of(ToolSpec(name="forecastLookup", description="The temperature of the next days"))
    alike(a, b)                                               # True: weather, forecast and temperature are one topic
    may_answer(b, words("Will it be cold? Check the climate in Oslo"))      # True

A wrong "alike" costs one distractor out of thousands, a wrong "different" makes a row whose label is wrong. So one
shared word between two names is enough, small groups of words count as one, and a tool that cannot be judged (no
description, another language than English) or that could do anything (web search, code execution) is never offered as a
distractor.
"""

import dataclasses
import functools

from gemma_tool_use.conversation import ToolSpec
from gemma_tool_use.data.augment.word_lists import ASKS_ANYBODY, GENERAL, STOP, TOPICS

SHARED_DESCRIPTION = 0.2
"""From this share of the shorter description's words on, two descriptions are about the same thing."""
SHARED_WITH_REQUEST = 2
MIN_WORDS = 4
LATIN_SHARE = 0.9
COMMON_SHARE = 0.08
"""English texts have at least this share of words such as "the", "for", "get"; most have twice as many or more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolWords:
    """Content words of a tool: of its name, and of its name, description and parameter names together."""

    name: frozenset[str]
    all: frozenset[str]

    @classmethod
    def of(cls, tool: ToolSpec) -> "ToolWords":
        properties = tool.parameters.get("properties")
        parameters = " ".join(properties) if isinstance(properties, dict) else ""
        name = words(tool.name)
        return cls(name=name, all=name | words(tool.description) | words(parameters))


def alike(a: ToolWords, b: ToolWords) -> bool:
    """Whether two tools may be for the same thing."""
    if a.name & b.name or not a.all or not b.all:
        return True
    return len(a.all & b.all) >= SHARED_DESCRIPTION * min(len(a.all), len(b.all))


def may_answer(tool: ToolWords, request: frozenset[str], *, strict: bool = False) -> bool:
    """Whether a tool may have to do with a request. `strict`, for rows without a call: one word in common is enough."""
    shared = tool.all & request
    return bool(shared) if strict else len(shared) >= SHARED_WITH_REQUEST or bool(tool.name & request)


def general_purpose(tool: ToolSpec) -> bool:
    """Whether the tool could answer nearly anything: `web_search_exa`, `run-python`, `search`, or it asks the web."""
    if not GENERAL.isdisjoint(split_words(tool.name)) or not words(tool.name):
        return True
    return not ASKS_ANYBODY.isdisjoint(split_words(tool.description.casefold()))


@functools.lru_cache(maxsize=8192)
def comparable(text: str) -> bool:
    """Whether a text seems to be English, so that its words can be compared with those of other texts."""
    letters = [char for char in text if char.isalpha()]
    if not letters or sum(char.isascii() for char in letters) < LATIN_SHARE * len(letters):
        return False
    found = split_words(text)
    # Shorter words, such as "a", "no" and "me", are as common in other languages.
    return sum(len(word) > 2 and word in STOP for word in found) >= COMMON_SHARE * len(found)


@functools.lru_cache(maxsize=8192)
def words(text: str) -> frozenset[str]:
    """Content words, singular, and the topics they belong to.

    `"Get the forecasts for Oslo"` gives `{"forecast", "oslo", "topic 0"}`.
    """
    found: set[str] = set()
    for word in split_words(text):
        stem = _singular(word)
        if len(word) < 3 or word in STOP or stem in STOP or word.isdigit():
            continue
        found.add(stem)
        found |= TOPICS.get(word, frozenset()) | TOPICS.get(stem, frozenset())
    return frozenset(found)


def split_words(text: str) -> list[str]:
    """Lower-case words, also of camelCase and snake_case: `"getUser_name2"` gives `["get", "user", "name2"]`."""
    result: list[str] = []
    start, previous = -1, ""
    for i, char in enumerate(text):
        inside = char.isalnum()
        if start >= 0 and (not inside or (char.isupper() and previous.islower())):
            result.append(text[start:i].casefold())
            start = -1
        if inside and start < 0:
            start = i
        previous = char
    if start >= 0:
        result.append(text[start:].casefold())
    return result


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
