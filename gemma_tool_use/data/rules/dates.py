"""The rule about "tomorrow": where no date is known, a call that states one teaches the model to invent dates.

    user: What's the weather in Oslo tomorrow?      call: get_weather(city="Oslo", date="2024-05-03")   left out
    system: Today is 2024-05-02.  user: ... tomorrow?   same call                                       kept
    user: ... tomorrow?                             call: get_weather(city="Oslo", date="tomorrow")     kept

Words are looked up one by one, in English; nothing here searches with a pattern.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from gemma_tool_use.conversation import Conversation, ToolSpec
from gemma_tool_use.data.keys import normalise
from gemma_tool_use.data.rejects import short
from gemma_tool_use.data.rules import reasons
from gemma_tool_use.data.rules.settings import RuleSettings
from gemma_tool_use.data.rules.shape import Problem


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_RELATIVE = _words("today tonight tomorrow yesterday nowadays today's tomorrow's yesterday's tonight's")
_WEEKDAYS = _words("monday tuesday wednesday thursday friday saturday sunday")
_UNITS = _words(
    "day week weekend month quarter year morning afternoon evening night "
    "days weeks weekends months quarters years mornings afternoons evenings nights"
)
_POINTERS = _words("next last this past coming upcoming previous following current")
_MONTHS = _words(
    "january february march april may june july august september october november december "
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
_DATE_NAMES = _words(
    "date dates datetime day month year deadline timestamp checkin checkout departure arrival since until"
)
_DATE_FORMATS = ("date", "date-time")
_DATE_HINTS = ("yyyy-mm-dd", "iso 8601", "iso8601", "yyyy/mm/dd", "mm/dd/yyyy", "dd/mm/yyyy")


def relative_dates(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    """Looks at the words of the user before each call, the date-like arguments of the call, and all text before it."""
    if settings.relative_dates or not any(message.calls for message in conversation.messages):
        return None
    tools = {tool.name: tool for tool in conversation.tools}
    asked: list[str] = []
    relative, known = None, False
    for message in conversation.messages:
        # What the model says of the date itself is no source of it.
        words = [] if message.role == "assistant" else normalise(message.content).split()
        if message.role == "user":
            asked += words
            relative = relative or relative_expression(words)
        if relative and not known:
            for call in message.calls:
                name = _invented(call.arguments, tools.get(call.name), " ".join(asked))
                if name:
                    value = short(call.arguments[name], 60)
                    return reasons.RELATIVE_DATE, f"{relative!r}, and {call.name} is called with {name}={value}"
        known = known or states_date(words)
    return None


def relative_expression(words: Sequence[str]) -> str | None:
    """The first relative date in normalised words: `tomorrow`, `next monday`, `in 3 days`, `2 weeks ago`."""
    for i, word in enumerate(words):
        after = words[i + 1] if i + 1 < len(words) else ""
        if word in _RELATIVE or word in _WEEKDAYS:
            return f"{words[i - 1]} {word}" if i and words[i - 1] in _POINTERS else word
        if word in _POINTERS and after in _UNITS:
            return f"{word} {after}"
        if word.isdecimal() and after in _UNITS:
            before, then = words[i - 1] if i else "", words[i + 2] if i + 2 < len(words) else ""
            if before in ("in", "next", "last", "past") or then == "ago":
                return f"{word} {after}"
    return None


def states_date(words: Sequence[str]) -> bool:
    """Whether a date with its year stands among the words: `2024-05-02`, `2 may 2024`, `05/02/2024`."""
    for i, word in enumerate(words):
        parts = word.replace("/", "-").replace(".", "-").replace("t", "-").split("-")
        if len(parts) >= 3 and sum(part.isdecimal() for part in parts[:3]) == 3 and any(map(_is_year, parts[:3])):
            return True
        if _is_year(word.strip(",")) and any(near.strip(",") in _MONTHS for near in words[max(0, i - 3) : i]):
            return True
    return False


def _is_year(word: str) -> bool:
    return len(word) == 4 and word.isdecimal() and word[:2] in ("19", "20")


def _invented(arguments: dict[str, Any], tool: ToolSpec | None, question: str) -> str | None:
    """The first date-like argument that states a date the user did not say; `"in 5 days"` and `1` state none."""
    properties = tool.parameters.get("properties") if tool else None
    for name, value in arguments.items():
        schema = properties.get(name) if isinstance(properties, dict) else None
        if isinstance(value, str | int) and not isinstance(value, bool) and _is_date_like(name, schema):
            text = normalise(str(value))
            digits = sum(character.isdigit() for character in text)
            relative = not _UNITS.isdisjoint(text.split()) or not _RELATIVE.isdisjoint(text.split())
            if digits >= 3 and not relative and text not in question:
                return name
    return None


def _is_date_like(name: str, schema: Any) -> bool:
    if isinstance(schema, dict):
        description = schema.get("description")
        described = description.casefold() if isinstance(description, str) else ""
        if any(schema.get("format") == known for known in _DATE_FORMATS) or any(
            hint in described for hint in _DATE_HINTS
        ):
            return True
    return any(word in _DATE_NAMES for word in _name_words(name))


def _name_words(name: str) -> Iterator[str]:
    """`startDate_utc` gives start, date, utc."""
    word = ""
    for character in name:
        if character.isupper() or not character.isalnum():
            if word:
                yield word
            word = ""
        if character.isalnum():
            word += character.lower()
    if word:
        yield word
