"""Strict JSON for arguments, and the limits every dialect's values keep.

write_json({"city": "Zürich"})                    ->  '{"city": "Zürich"}'
write_json("</tool_call>", avoid=["</tool_call>"])  ->  '"\\u003c/tool_call>"'
read_json('{"a": 1, "a": 2}')                     ->  ValueError: the key 'a' stands twice
"""

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from gemma_tool_use.conversation import ToolCall
from gemma_tool_use.errors import DataError

MAX_DEPTH = 64
# From here on a float may have been an integer of more than 64 bits, or is none at all.
_HUGE = 2.0**63
_PLAIN = frozenset({str, int, bool, type(None)})
# Python converts no longer integers between text and number (sys.set_int_max_str_digits): 4,300 digits.
_MAX_INTEGER_BITS = 14_000


def check_value(value: Any) -> None:
    """Refuses what is no JSON value, or would not survive the way through text.

    Raises:
      DataError: a non-finite number, a type JSON does not have, a key that is no string, more than `MAX_DEPTH` levels,
        an integer of more than about 4,200 digits.
    """
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise DataError(f"a value is nested deeper than {MAX_DEPTH} levels; flatten it")
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                if wrong := [key for key in each if not isinstance(key, str)]:
                    raise DataError(f"an object's key must be a string, got {wrong[0]!r}")
                below += each.values()
            elif isinstance(each, list):
                below += each
            else:
                _check_leaf(each)
        level = below


def _check_leaf(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"the number {value!r} is not finite; JSON has no such value, use null or a string")
    if isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
        raise DataError(f"an integer of {value.bit_length():,} bits is too long; write it as a string")
    if value is not None and not isinstance(value, str | int | float):
        raise DataError(f"{type(value).__name__} is no JSON type: {value!r:.60}")


def write_json(value: Any, *, indent: int | None = None, avoid: Iterable[str] = ()) -> str:
    """JSON text; a tag to avoid has its first character written as `\\uXXXX`, which every JSON reader undoes.

    Raises:
      DataError: as `check_value`.
    """
    check_value(value)
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    return escape_tags(text, avoid, lambda char: f"\\u{ord(char):04x}")


def escape_tags(text: str, avoid: Iterable[str], escape: Callable[[str], str]) -> str:
    """Replaces the first character of each tag that occurs, at all its places, by `escape(character)`.

    At all places, because a tag of equal characters (three backticks) would come back when only its start is replaced.
    """
    for first in dict.fromkeys(each[0] for each in avoid if each in text):
        text = text.replace(first, escape(first))
    return text


def read_json(text: str) -> Any:
    """The one JSON value that `text` is.

    Raises:
      ValueError: not strict JSON (NaN, a key twice, text behind the value), or a value `check_value` refuses.
    """
    plain = _plain_object(text)
    return _read_any(text) if plain is None else plain


def _plain_object(text: str) -> dict[str, Any] | None:
    """An object, read in a tenth of the time; None for a text that is none, and for a rare one.

    With as many colons as the text has, in its keys, behind them and in its strings, no key stands twice.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict:
        return None
    colons = text.count(":")
    if len(value) == colons and _PLAIN.issuperset(map(type, value.values())):
        return value
    # A colon may be written as \u003a, and then counts where it should not.
    return value if "\\u" not in text and _colons(value) == colons else None


def _colons(value: dict[str, Any]) -> int:
    """The colons in the JSON text of an object; -1 when it has a huge number, or more than `MAX_DEPTH` levels."""
    level: list[Any] = [value]
    count = depth = 0
    while level:
        depth += 1
        below: list[Any] = []
        for each in level:
            kind = type(each)
            if kind is str:
                count += each.count(":")
            elif kind is dict:
                count += len(each)
                below += each
                below += each.values()
            elif kind is list:
                below += each
            elif kind is float and not -_HUGE < each < _HUGE:
                return -1
        level = below
    return count if depth <= MAX_DEPTH else -1


def _read_any(text: str) -> Any:
    try:
        # json.loads itself has the words against a byte-order mark.
        value = json.loads(text) if text.startswith("\ufeff") else _DECODER.decode(text)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON ({error.msg} at character {error.pos})") from None
    check_value(value)
    return value


def read_json_call(text: str, *, name_key: str, arguments_key: str) -> list[ToolCall]:
    """`{"name": "f", "args": {}}` as a list of one call; both keys must be there, and no others.

    Raises:
      ValueError: as `read_json`, or an object of another shape.
    """
    value = read_json(text)
    if not isinstance(value, dict) or value.keys() != {name_key, arguments_key}:
        raise ValueError(f'a call must be an object with the keys "{name_key}" and "{arguments_key}"')
    name, arguments = value[name_key], value[arguments_key]
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise ValueError(f'a call needs a text as "{name_key}" and an object as "{arguments_key}"')
    return [ToolCall(name=name, arguments=arguments)]


def result_json(content: str) -> str:
    """A tool's result inside JSON: as it stands when it is strict JSON, else as a JSON string.

    `{"temp": 21}` stays `{"temp": 21}`; `21 degrees` becomes `"21 degrees"`.
    """
    content = content.strip()
    try:
        read_json(content)
    except ValueError:
        return json.dumps(content, ensure_ascii=False)
    return content


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What `json` makes an object of, given as `object_pairs_hook`: a key that stands twice is refused.

    Raises:
      ValueError: a key stands twice.
    """
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r:.60} stands twice")
        result[key] = value
    return result


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


# json.loads with these options makes a decoder for each text, which takes as long as a short text itself.
_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys, parse_constant=_refuse_constant)
