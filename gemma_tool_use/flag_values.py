"""The value of one flag: words of a command line (or of a YAML file) in, a typed value out.

readread_value(float, ["1e-4"])               0.0001
readread_value(tuple[str, ...], ["q", "kv"])  ("q", "kv")
readread_value(int | None, ["none"])          None
"""

import collections.abc
import contextlib
import dataclasses
import io
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro

from gemma_tool_use.errors import ConfigError

BOOL_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_MANY = (tuple, list, set, frozenset, dict, collections.abc.Sequence, collections.abc.Mapping)


def read_value(hint: Any, tokens: Sequence[str]) -> Any:
    """Reads the words of one flag as its type, through tyro.

    Raises:
      ConfigError: they do not fit; says what was expected.
    """
    plain = plain_type(hint)
    if plain is bool and len(tokens) <= 1 and (tokens or ["true"])[0].lower() in BOOL_WORDS:
        return BOOL_WORDS[(tokens or ["true"])[0].lower()]
    if _is_optional(hint) and [token.lower() for token in tokens] in (["none"], ["null"], ["~"]):
        return None
    if not tokens and not takes_many(hint):
        raise ConfigError(f"needs a value, expected {_describe(plain)}")
    holder = dataclasses.make_dataclass("Holder", [("value", hint)])
    args = [f"--value={tokens[0]}"] if len(tokens) == 1 else ["--value", *tokens]
    try:
        # tyro 1.0.17 prints value errors even with console_outputs=False.
        with contextlib.redirect_stderr(io.StringIO()):
            return tyro.cli(holder, args=args).value
    except SystemExit:
        raise ConfigError(f"got {' '.join(tokens)!r}, expected {_describe(plain)}") from None


def _parts(hint: Any) -> list[Any]:
    """The alternatives of a type: `int | None` is `[int, NoneType]`; `Annotated` is looked through."""
    if typing.get_origin(hint) is Annotated:
        return _parts(typing.get_args(hint)[0])
    return list(typing.get_args(hint)) if typing.get_origin(hint) in (Union, types.UnionType) else [hint]


def plain_type(hint: Any) -> Any:
    """The type without `None` and `Annotated`: `Annotated[int | None, ...]` is `int`."""
    parts = [part for part in _parts(hint) if part is not type(None)]
    return parts[0] if len(parts) == 1 else hint


def _is_optional(hint: Any) -> bool:
    return type(None) in _parts(hint)


def takes_many(hint: Any) -> bool:
    return any((typing.get_origin(part) or part) in _MANY for part in _parts(hint))


def _describe(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, typing.get_args(hint)))}"
    return words.get(hint, str(hint).replace("typing.", ""))
