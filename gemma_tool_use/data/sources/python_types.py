"""The names that data sets give to types, as JSON Schema.

    parse_type("int, optional")          # ({"type": "integer"}, True)
    parse_type("List[Dict[str, float]]")
    # ({"type": "array", "items": {"type": "object", "additionalProperties": {"type": "number"}}}, False)

Python annotations, their lower-case and upper-case spellings, and JSON's own names. A name that means nothing in JSON,
such as `Callable`, is refused: there is no value of it that a model could be asked to write. No JAX.
"""

import ast
import functools
from typing import Any

JSON_TYPES = frozenset(("string", "integer", "number", "boolean", "array", "object", "null"))
MAX_CHARS = 500
MAX_DEPTH = 16

_NAMES: dict[str, dict[str, Any]] = {
    **{name: {"type": "string"} for name in ("string", "str", "text", "char", "varchar", "bytes")},
    **{name: {"type": "integer"} for name in ("integer", "int", "long", "short", "int32", "int64", "bigint")},
    **{
        name: {"type": "number"}
        for name in ("number", "float", "double", "decimal", "numeric", "float32", "float64", "num")
    },
    **{name: {"type": "boolean"} for name in ("boolean", "bool")},
    **{name: {"type": "null"} for name in ("null", "none", "nonetype")},
    **{name: {"type": "array"} for name in ("array", "list", "sequence", "iterable", "tuple", "collection")},
    **{name: {"type": "array", "uniqueItems": True} for name in ("set", "frozenset")},
    **{name: {"type": "object"} for name in ("object", "dict", "map", "mapping", "hashmap", "ordereddict")},
    "any": {},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "datetime": {"type": "string", "format": "date-time"},
}


class UnknownTypeError(ValueError):
    """A type name that stands for no JSON value."""


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[dict[str, Any], bool]:
    first, *notes = split(text, ",")
    optional = False
    for ending in ("(optional)", "(required)"):
        if first.lower().endswith(ending):
            first, notes = first[: -len(ending)].rstrip(), [*notes, ending[1:-1]]
    for note in notes:
        if note.lower() not in ("optional", "required"):
            raise UnknownTypeError(f"{text!r} is not a known type")
        optional = optional or note.lower() == "optional"
    return _annotation(first, 0), optional or first.lower().removeprefix("typing.").startswith("optional[")


def parse_type(text: str) -> tuple[dict[str, Any], bool]:
    """The schema of a type name, and whether the name says that the parameter is optional.

    Raises:
      UnknownTypeError: no such type, or a name longer than `MAX_CHARS`.
    """
    if text in JSON_TYPES:
        return {"type": text}, False
    if len(text) > MAX_CHARS:
        raise UnknownTypeError(f"a type name of {len(text)} characters")
    schema, optional = _parse(text.strip())
    return _copy(schema), optional


def union(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """One schema for a value of any: `[{"type": "string"}, {"type": "null"}]` gives `{"type": ["string", "null"]}`."""
    different = [schema for i, schema in enumerate(schemas) if schema not in schemas[:i]]
    if {} in different:
        return {}
    if len(different) == 1:
        return different[0]
    if all(schema.keys() == {"type"} and isinstance(schema["type"], str) for schema in different):
        return {"type": [schema["type"] for schema in different]}
    return {"anyOf": different}


def split(text: str, separator: str) -> list[str]:
    """The stripped parts between separators outside brackets and quotes: `"a[b, c], d"` gives `a[b, c]` and `d`."""
    parts, start, depth, quote = [], 0, 0, ""
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "[<(":
            depth += 1
        elif char in "]>)":
            depth -= 1
        elif char == separator and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    return [*parts, text[start:].strip()]


def _annotation(text: str, depth: int) -> dict[str, Any]:
    if depth == MAX_DEPTH:
        raise UnknownTypeError(f"a type name of more than {MAX_DEPTH} levels")
    choices = split(text, "|")
    if len(choices) > 1:
        return union([_annotation(choice, depth + 1) for choice in choices])
    if text.endswith("[]"):
        return _with_items({"type": "array"}, _annotation(text[:-2], depth + 1))
    ends = [i for i in (text.find("["), text.find("<")) if i >= 0]
    head, inner = (text, None) if not ends else (text[: min(ends)], text[min(ends) + 1 : -1])
    if ends and text[-1] != ("]" if text[min(ends)] == "[" else ">"):
        raise UnknownTypeError(f"{text!r} is not a known type")
    name = head.strip().lower().removeprefix("typing.")
    if inner is None:
        if name not in _NAMES:
            raise UnknownTypeError(f"{text!r} is not a known type")
        return dict(_NAMES[name])
    return _generic(name, split(inner, ","), depth, text)


def _generic(name: str, inner: list[str], depth: int, text: str) -> dict[str, Any]:
    if name == "literal":
        return {"enum": [_literal(value, text) for value in inner]}
    if name == "tuple" and len(inner) > 1 and inner[-1] == "...":
        inner = inner[:-1]
    outer = _NAMES.get(name, {})
    if not outer and name not in ("union", "optional"):
        raise UnknownTypeError(f"{text!r} is not a known type")
    arguments = [_annotation(argument, depth + 1) for argument in inner]
    if name == "union":
        return union(arguments)
    if name == "optional" and len(arguments) == 1:
        return union([*arguments, {"type": "null"}])
    if name == "tuple" and len(arguments) > 1:
        return {"type": "array", "prefixItems": arguments, "minItems": len(arguments), "maxItems": len(arguments)}
    if outer.get("type") == "array" and len(arguments) == 1:
        return _with_items(outer, arguments[0])
    if outer.get("type") == "object" and len(arguments) == 2:
        return dict(outer) if arguments[1] == {} else {**outer, "additionalProperties": arguments[1]}
    raise UnknownTypeError(f"{text!r} is not a known type")


def _with_items(array: dict[str, Any], items: dict[str, Any]) -> dict[str, Any]:
    return {**array, "items": items} if items else dict(array)


def _literal(value: str, text: str) -> Any:
    try:
        result = ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        result = ...
    if not (result is None or isinstance(result, str | int | float | bool)):
        raise UnknownTypeError(f"{text!r} is not a known type")
    return result


def _copy(value: Any) -> Any:
    """A copy of a parsed schema, so that what the cache holds is never changed."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
