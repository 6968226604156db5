"""Whether an argument value comes from the request. What the teacher made up must not be learnt.

    ungrounded({"city": "Oslo", "unit": "celsius"}, "Weather in Oslo?", fixed={"celsius"})     # None
    ungrounded({"city": "Bergen"}, "Weather in Oslo?", fixed=set())                           # ("city", "Bergen")

The rule, for every string and number in the arguments, however deep:

1. A string that the schema itself lists (`enum`, `const`) may be chosen without being quoted: "in °F" is `fahrenheit`.
2. A string of digits and date or time signs (`2026-03-05T17:30`) is grounded when its year, day, hour and minute are
   numbers of the request; the month may be a word there, hours may be counted to twelve, seconds and zeros are free.
3. Any other string is grounded when the request contains it, or each of its words, in any order. Case, width,
   punctuation around words and spacing do not count.
4. A number is grounded when the request has it: in digits (`1,500`, `50%` for 0.5), or as an English word up to ninety,
   dozen, hundred, half. Requests in other languages may write out whole numbers up to 20.

True, false and null say nothing that could be looked up; the schema decides on them.
"""

import itertools
import unicodedata
from collections.abc import Iterator
from typing import Any

from gemma_tool_use.conversation import ToolSpec
from gemma_tool_use.data.keys import normalise

# fmt: off
_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on
_NUMBER_WORDS: dict[str, float] = {
    **{word: i for i, word in enumerate(_UNITS)},
    **{word: 10 * i for i, word in enumerate(_TENS, 2)},
    "a": 1,
    "an": 1,
    "once": 1,
    "single": 1,
    "twice": 2,
    "couple": 2,
    "both": 2,
    "pair": 2,
    "dozen": 12,
    "half": 0.5,
    "quarter": 0.25,
    "hundred": 100,
    "thousand": 1000,
    "million": 1_000_000,
}  # fmt: skip
_DATE_SIGNS = frozenset("0123456789-:/.TtZz+ ")
_MOST_WRITTEN_OUT = 20
ENGLISH = frozenset(("en", "english"))


def ungrounded(
    arguments: dict[str, Any], request: str, *, fixed: set[str], language: str = "en"
) -> tuple[str, object] | None:
    """Path and value of the first string or number that the request does not give; None when all are there.

    Args:
      arguments: those of one call.
      request: what the user wrote.
      fixed: strings that the schema lists (`fixed_values`).
      language: the request's; number words are known in English only.
    """
    seen = _Request(request, english=language.lower() in ENGLISH)
    for path, value in _leaves(arguments, ""):
        if isinstance(value, str) and value not in fixed and not seen.has_text(value):
            return path, value
        if isinstance(value, int | float) and not isinstance(value, bool) and not seen.has_number(value):
            return path, value
    return None


def fixed_values(tool: ToolSpec) -> set[str]:
    """Every string that the tool's schema lists under `enum` or `const`."""
    found: set[str] = set()
    waiting: list[Any] = [tool.parameters]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            listed = node.get("enum")
            listed = [*(listed if isinstance(listed, list) else []), node.get("const")]
            found.update(value for value in listed if isinstance(value, str))
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return found


class _Request:
    def __init__(self, text: str, *, english: bool) -> None:
        self._text = normalise(text)
        self._packed = self._text.replace(" ", "")
        self._words = set(_words(text))
        self._numbers = set(_numbers(text))
        self._english = english
        if english:
            self._numbers |= set(_spelled(text))

    def has_text(self, value: str) -> bool:
        wanted = normalise(value)
        if not wanted or f" {wanted} " in f" {self._text} ":
            return True
        if _is_moment(value):
            return self._has_moment(value)
        if not wanted.isascii() and wanted.replace(" ", "") in self._packed:
            return True  # scripts that put no spaces between words
        words = _words(value)
        return bool(words) and all(word in self._words for word in words)

    def has_number(self, value: float) -> bool:
        if any(abs(value - known) <= 1e-9 * max(1.0, abs(value)) for known in self._numbers):
            return True
        return not self._english and value == int(value) and 0 <= value <= _MOST_WRITTEN_OUT

    def _has_moment(self, value: str) -> bool:
        """Rule 2. The parts of `2026-03-05T17:30:00Z` are 2026, 3, 5, 17, 30, 0."""
        parts = _digit_runs(value)
        is_date = "-" in value[1:] or "/" in value or "." in value
        date, time = (parts[:3], parts[3:]) if is_date else ([], parts)
        if len(date) > 1 and len(date[0]) == 4:  # only year-month-day says which part is the month
            month = date.pop(1)
            if int(month) not in self._numbers and not any(word.isalpha() for word in self._words):
                return False
        if any(int(part) not in self._numbers for part in date):
            return False
        hours, rest = time[:1], time[1:2]
        known = {*self._numbers, *((n + 12) % 24 for n in self._numbers), 0}
        return all(int(h) in known for h in hours) and all(int(m) in {*self._numbers, 0} for m in rest)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value that is no object or list, with its path; iterative, as an answer decides how deep it goes."""
    waiting = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{path}.{key}".lstrip("."), item) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(f"{path}[{i}]", item) for i, item in reversed(list(enumerate(value)))]
        else:
            yield path, value


def _words(text: str) -> list[str]:
    """Runs of letters and digits: `"Jean-Luc's"` gives `["jean", "luc", "s"]`."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c if c.isalnum() or unicodedata.combining(c) else " " for c in folded).split()


def _digit_runs(text: str) -> list[str]:
    return "".join(c if c in "0123456789" else " " for c in text).split()


def _numbers(text: str) -> Iterator[float]:
    """Numbers in digits: `"1,500.50 at 50%"` gives 1500.5, 50, 0.5, and every run of digits by itself."""
    text = unicodedata.normalize("NFKC", text)
    shaped = "".join(c if c.isdecimal() or c in ".,%-" else " " for c in text)
    for piece in shaped.split():
        runs = _digit_runs(piece)
        yield from (float(int(run)) for run in runs if len(run) <= 300)
        bare = piece.strip(".,-%")
        signs = (1, -1) if piece.startswith("-") else (1,)
        for plain in (bare.replace(",", ""), bare.replace(".", "").replace(",", "."), bare.replace(",", ".")):
            if len(plain) <= 300 and plain.count(".") <= 1 and plain.replace(".", "").isdecimal():
                for sign in signs:
                    yield sign * float(plain)
                if "%" in piece:
                    yield float(plain) / 100
    yield from _scaled(text)


def _scaled(text: str) -> Iterator[float]:
    """`"20k"`, `"3 million"`: a number in digits followed by a word that multiplies it."""
    words = normalise(text).split()
    factors = {"k": 1e3, "m": 1e6, "thousand": 1e3, "hundred": 1e2, "million": 1e6, "dozen": 12}
    for word, following in itertools.pairwise([*words, ""]):
        digits = word.rstrip("km")
        factor = factors.get(word[len(digits) :]) or factors.get(following)
        if factor and len(digits) <= 20 and digits.count(".") <= 1 and digits.replace(".", "").isdecimal():
            yield float(digits) * factor


def _spelled(text: str) -> Iterator[float]:
    """`"twenty-five"` gives 20, 5 and 25; `"two hundred"` gives 2, 100 and 200."""
    words = [_NUMBER_WORDS.get(word) for word in _words(text)]
    for first, second in itertools.pairwise([*words, None]):
        if first is None:
            continue
        yield first
        if second is not None:
            yield first * second if second >= 12 and first < second else first + second


def _is_moment(value: str) -> bool:
    return len(_digit_runs(value)) >= 2 and len(value) <= 40 and _DATE_SIGNS.issuperset(value)
