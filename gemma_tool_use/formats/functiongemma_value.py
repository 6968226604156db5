"""FunctionGemma's notation for values: JSON without quotes, strings between `<escape>` tags.

    write_value({"city": "Oslo", "days": 2})  ->  {city:<escape>Oslo<escape>,days:2}
    read_arguments("{city:<escape>Oslo<escape>,days:2}")  ->  {"city": "Oslo", "days": 2}

Keys are sorted without regard to case (Jinja's `dictsort`) and stand bare; a key that would not read back so (empty,
with white space at an end, or with one of `{}[]:,<`) stands between `<escape>` tags. A string that holds one of
FunctionGemma's tags has a backslash put into the tag (`scan.guard`).
"""

from collections.abc import Callable
from typing import Any

from gemma_tool_use.conversation import Segment
from gemma_tool_use.formats.dialect import join, said, tag
from gemma_tool_use.formats.json_value import MAX_DEPTH, check_value, read_json, write_json
from gemma_tool_use.formats.layouts import END_OF_TURN
from gemma_tool_use.formats.scan import THINK_CLOSE, THINK_OPEN, guard, unguard

ESCAPE = "<escape>"
CALL, END_CALL = "<start_function_call>", "<end_function_call>"
RESPONSE, END_RESPONSE = "<start_function_response>", "<end_function_response>"
DECLARATION, END_DECLARATION = "<start_function_declaration>", "<end_function_declaration>"
TAGS = (
    *(ESCAPE, CALL, END_CALL, RESPONSE, END_RESPONSE, DECLARATION, END_DECLARATION),
    *(END_OF_TURN, THINK_OPEN, THINK_CLOSE),
)
_STRUCTURE = frozenset("{}[]:,<")


def write_string(text: str) -> list[Segment]:
    """`<escape>text<escape>`."""
    return [tag(ESCAPE), said(guard(text, TAGS)), tag(ESCAPE)]


def write_key(key: str) -> list[Segment]:
    """The key, between `<escape>` tags only where it must be."""
    return [said(key)] if key and key == key.strip() and not _STRUCTURE & set(key) else write_string(key)


def write_value(value: Any) -> list[Segment]:
    """A JSON value in FunctionGemma's notation (module docstring); check it with `check_value` first."""
    if isinstance(value, str):
        return write_string(value)
    if isinstance(value, dict):
        return write_entries({key: write_value(each) for key, each in value.items()})
    if isinstance(value, list):
        return write_list([write_value(each) for each in value])
    return [said(write_json(value))]


def write_entries(entries: dict[str, list[Segment]]) -> list[Segment]:
    """`{key:value,...}`, sorted."""
    ordered = sorted(entries, key=lambda key: (key.lower(), key))
    parts = [[*write_key(key), said(":"), *entries[key]] for key in ordered]
    return [said("{"), *join(parts, said(",")), said("}")]


def write_list(items: list[list[Segment]]) -> list[Segment]:
    """`[item,...]`."""
    return [said("["), *join(items, said(",")), said("]")]


def read_call(text: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments in `call:NAME{key:value,...}`.

    Raises:
      ValueError: anything else, a key twice, or a value `check_value` refuses.
    """
    if not text.startswith("call:"):
        raise ValueError("a call must begin with call:")
    reader = _Reader(text, len("call:"))
    name = reader.key("{")
    arguments = reader.value(1)
    if not name or not isinstance(arguments, dict):
        raise ValueError("a call must be call:NAME{...}")
    if reader.position != len(text):
        raise ValueError(f"text behind the call at character {reader.position}")
    check_value(arguments)
    return name, arguments


class _Reader:
    """One pass from left to right; every step moves `position` forward or raises ValueError."""

    def __init__(self, text: str, position: int) -> None:
        self.text = text
        self.position = position

    def key(self, end: str) -> str:
        """A bare text up to `end`, or one between `<escape>` tags; `end` itself is left."""
        if self.text.startswith(ESCAPE, self.position):
            return self.string()
        start = self.position
        self.skip_bare()
        if not self.text.startswith(end, self.position):
            raise self.error(f"expected {end}")
        return self.text[start : self.position].strip()

    def skip_bare(self) -> None:
        while self.position < len(self.text) and self.text[self.position] not in _STRUCTURE:
            self.position += 1

    def string(self) -> str:
        start = self.position + len(ESCAPE)
        end = self.text.find(ESCAPE, start)
        if end < 0:
            raise self.error(f"a string is not closed by {ESCAPE}")
        self.position = end + len(ESCAPE)
        return unguard(self.text[start:end], TAGS)

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self.error(f"a value is nested deeper than {MAX_DEPTH} levels")
        if self.text.startswith(ESCAPE, self.position):
            return self.string()
        char = self.text[self.position : self.position + 1]
        if char == "{":
            entries: dict[str, Any] = {}
            self.items("}", lambda: self.entry(entries, depth))
            return entries
        if char == "[":
            return self.items("]", lambda: self.value(depth + 1))
        start = self.position
        self.skip_bare()
        word = self.text[start : self.position].strip()
        if word[:1] not in tuple("-0123456789tfn"):
            raise self.error(f"{word!r:.40} is no value; a string stands between {ESCAPE} tags")
        return read_json(word)

    def entry(self, entries: dict[str, Any], depth: int) -> None:
        key = self.key(":")
        if key in entries:
            raise self.error(f"the key {key!r:.40} stands twice")
        if not self.text.startswith(":", self.position):
            raise self.error("expected a colon after a key")
        self.position += 1
        entries[key] = self.value(depth + 1)

    def items(self, closing: str, read: Callable[[], Any]) -> list[Any]:
        self.position += 1
        result = []
        if self.text.startswith(closing, self.position):
            self.position += 1
            return result
        while True:
            result.append(read())
            if self.text.startswith(closing, self.position):
                self.position += 1
                return result
            if not self.text.startswith(",", self.position):
                raise self.error(f"expected a comma or {closing}")
            self.position += 1

    def error(self, problem: str) -> ValueError:
        return ValueError(f"not a FunctionGemma call ({problem} at character {self.position})")
