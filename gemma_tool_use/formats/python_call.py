"""Calls written as Python: `get_weather(city='Oslo', days=2)`. Written and read here, never evaluated.

    write_call(ToolCall(name="f", arguments={"a": 1, "from": "x"}))  ->  f(a=1, **{'from': 'x'})
    read_calls("[f(a=1), g()]")                                      ->  [ToolCall("f", {"a": 1}), ToolCall("g", {})]

Values are Python literals (`True`, `None`, `'text'`, lists, dicts with string keys; a tuple is read as a list). Two
things that Python's syntax has no place for are written so that they still read as Python:
- a key that is no identifier, or is a keyword, goes into a trailing `**{'key': value}`;
- a function name stands bare when it is made of identifiers parted by dots, dashes or slashes (`math.sqrt`,
  `get-weather`), otherwise as a string literal (`'get weather'(city='Oslo')`).
"""

import keyword
from collections.abc import Callable, Iterable
from typing import Any

from gemma_tool_use.conversation import ToolCall
from gemma_tool_use.formats.json_value import MAX_DEPTH, check_value, escape_tags

_WORD_ENDS = frozenset("=,:;()[]{}'\"`*#\\ \t\r\n\f\v")
_NUMBER_CHARACTERS = frozenset("+-.0123456789eE")
_CONSTANTS = {"True": True, "False": False, "None": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CODE_LENGTHS = {"x": 2, "u": 4, "U": 8}
_PLAIN_ESCAPES = "\\'\""


def write_call(call: ToolCall, *, avoid: Iterable[str] = ()) -> str:
    """The call as one line of Python; a tag to avoid has its first character written as `\\xXX`.

    Raises:
      DataError: a value that is no JSON value (`check_value`).
    """
    check_value(call.arguments)
    # A bracket in a quoted name would look like the end of a list of calls.
    name = call.name if _is_bare_name(call.name) else repr(call.name).replace("]", "\\x5d")
    bare = {key: value for key, value in call.arguments.items() if key.isidentifier() and not keyword.iskeyword(key)}
    rest = {key: value for key, value in call.arguments.items() if key not in bare}
    parts = [f"{key}={value!r}" for key, value in bare.items()] + ([f"**{rest!r}"] if rest else [])
    return escape_tags(f"{name}({', '.join(parts)})", avoid, lambda char: f"\\x{ord(char):02x}")


def read_call(text: str) -> list[ToolCall]:
    """The one call that `text` is, as a list.

    Raises:
      ValueError: anything else: a positional argument, a name for a value, a key twice, text behind the call.
    """
    reader = _Reader(text)
    call = reader.call()
    reader.expect_end()
    return [call]


def read_call_lines(text: str) -> list[ToolCall]:
    """One or more calls parted by white space.

    Raises:
      ValueError: as `read_call`.
    """
    reader = _Reader(text)
    calls = [reader.call()]
    while reader.peek():
        calls.append(reader.call())
    return calls


def read_call_list(text: str, start: int) -> tuple[list[ToolCall], int]:
    """The calls in the brackets that open at `start`, and the position behind the closing bracket.

    Raises:
      ValueError: as `read_call`.
    """
    reader = _Reader(text, start)
    calls = reader.items("[", "]", reader.call)
    return calls, reader.position


def read_literal(text: str, start: int) -> tuple[Any, int]:
    """The Python literal at `start` (a string, number, constant, list, dict or tuple), and the position behind it.

    Raises:
      ValueError: as `read_call`, or a value that is no JSON value.
    """
    reader = _Reader(text, start)
    value = reader.value(1)
    check_value(value)
    return value, reader.position


def _is_bare_name(name: str) -> bool:
    return all(part.isidentifier() for part in name.replace("-", "_").replace("/", "_").split("."))


class _Reader:
    """One pass from left to right; every step moves `position` forward or raises ValueError."""

    def __init__(self, text: str, position: int = 0) -> None:
        self.text = text
        self.position = position

    def call(self) -> ToolCall:
        quoted = self.peek() in ("'", '"')
        name = self.string() if quoted else self.word()
        if not name or not (quoted or _is_bare_name(name)):
            raise self.error(f"a call must begin with a function name, got {name!r:.40}")
        arguments: dict[str, Any] = {}
        self.items("(", ")", lambda: self.argument(arguments))
        check_value(arguments)
        return ToolCall(name=name, arguments=arguments)

    def argument(self, arguments: dict[str, Any]) -> None:
        if self.text.startswith("**", self.position):
            self.position += 2
            new = self.value(1) if self.peek() == "{" else None
            if not isinstance(new, dict):
                raise self.error("expected a dict after **")
        else:
            key = self.word()
            if not key.isidentifier() or keyword.iskeyword(key) or self.peek() != "=":
                raise self.error("arguments must be given as name=value")
            self.position += 1
            new = {key: self.value(1)}
        self.add(arguments, new)

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self.error(f"a value is nested deeper than {MAX_DEPTH} levels")
        char = self.peek()
        if char in ("'", '"'):
            return self.string()
        if char == "{":
            entries: dict[str, Any] = {}
            self.items("{", "}", lambda: self.entry(entries, depth))
            return entries
        if char == "[":
            return self.items("[", "]", lambda: self.value(depth + 1))
        if char == "(":
            values = self.items("(", ")", lambda: self.value(depth + 1))
            if len(values) == 1:
                raise self.error("parentheses around one value")
            return values
        word = self.word()
        return _CONSTANTS[word] if word in _CONSTANTS else self.number(word)

    def entry(self, entries: dict[str, Any], depth: int) -> None:
        if self.peek() not in ("'", '"'):
            raise self.error("a dict's key must be a string literal")
        key = self.string()
        if self.peek() != ":":
            raise self.error("expected a colon after a dict's key")
        self.position += 1
        self.add(entries, {key: self.value(depth + 1)})

    def add(self, entries: dict[str, Any], new: dict[str, Any]) -> None:
        for key, value in new.items():
            if key in entries:
                raise self.error(f"the argument {key!r:.40} stands twice")
            entries[key] = value

    def items(self, opening: str, closing: str, read: Callable[[], Any]) -> list[Any]:
        """What `read` returns for each comma-separated item; a comma before the closing bracket is allowed."""
        if self.peek() != opening:
            raise self.error(f"expected {opening}")
        self.position += 1
        result = []
        while self.peek() != closing:
            result.append(read())
            if self.peek() not in (",", closing):
                raise self.error(f"expected a comma or {closing}")
            if self.peek() == ",":
                self.position += 1
        self.position += 1
        return result

    def number(self, word: str) -> int | float:
        digits = word.lstrip("+-")
        plain = word and not set(word) - _NUMBER_CHARACTERS
        if not plain or (digits.isdigit() and digits != "0" and digits.startswith("0")):
            raise self.error(f"{word!r:.40} is no Python literal")
        return int(word) if digits.isdigit() else float(word)

    def string(self) -> str:
        """A one-line string literal, without a prefix."""
        text, position = self.text, self.position + 1
        quote, pieces = text[self.position], []
        while position < len(text) and text[position] not in (quote, "\n"):
            if text[position] == "\\":
                piece, position = self.escape(position + 1)
            else:
                piece, position = text[position], position + 1
            pieces.append(piece)
        if position >= len(text) or text[position] == "\n":
            raise self.error("a string literal is not closed")
        self.position = position + 1
        return "".join(pieces)

    def escape(self, position: int) -> tuple[str, int]:
        """The character an escape stands for (`position` is behind its backslash), and where it ends."""
        char = self.text[position : position + 1]
        if char in _CODE_LENGTHS:
            end = position + 1 + _CODE_LENGTHS[char]
            digits = self.text[position + 1 : end]
            if len(digits) != end - position - 1 or set(digits) - set("0123456789abcdefABCDEF"):
                raise self.error(f"the escape \\{char} needs {end - position - 1} hexadecimal digits")
            return chr(int(digits, 16)), end
        if char in _ESCAPES:
            return _ESCAPES[char], position + 1
        if char and char in _PLAIN_ESCAPES:
            return char, position + 1
        raise self.error(f"the escape \\{char} is not supported")

    def word(self) -> str:
        self.peek()
        start = self.position
        while self.position < len(self.text) and self.text[self.position] not in _WORD_ENDS:
            self.position += 1
        return self.text[start : self.position]

    def peek(self) -> str:
        """The next character that is no white space, "" at the end; moves there."""
        while self.position < len(self.text) and self.text[self.position] in " \t\r\n":
            self.position += 1
        return self.text[self.position : self.position + 1]

    def expect_end(self) -> None:
        if self.peek():
            raise self.error("text behind the call")

    def error(self, problem: str) -> ValueError:
        return ValueError(f"not a Python call ({problem} at character {self.position})")
