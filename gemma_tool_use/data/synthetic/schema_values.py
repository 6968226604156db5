"""Plausible values for a parameter, from its JSON Schema and its name.

    filler({"type": "string", "format": "date"}, "start")           draws   2026-03-14
    filler({"enum": ["low", "high"]}, "priority")                   draws   high
    filler({"type": "array", "items": {"type": "string"}}, "tags")  draws   ["maple", "amber"], said `maple and amber`

Understood: enum, const, examples, string (format, minLength, maxLength), integer and number (bounds, multipleOf),
boolean, arrays of those (minItems, maxItems, uniqueItems), local `$ref`, and the first usable branch of anyOf, oneOf or
a list of types. Not understood, because no short text says such a value: objects, arrays of arrays, `pattern` without
examples, `not`, allOf of more than one. The words: https://json-schema.org/draft/2020-12/json-schema-validation
"""

import math
import random
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from gemma_tool_use.data.synthetic.fillers import BoundedTexts, Filler, Lists, Members, Numbers, Texts
from gemma_tool_use.data.synthetic.names import source_for_format, source_for_name
from gemma_tool_use.errors import DataError

_DEEPEST = 8  # nested $ref, anyOf and arrays; a schema that refers to itself ends here
_NEAR = 20  # steps away from a bound, where the usual values are out of bounds


def filler(schema: Any, name: str, root: dict[str, Any] | None = None) -> Filler:
    """The filler of a parameter.

    Args:
      schema: its JSON Schema.
      name: its name, which suggests what texts are about (`city`, `email`, `start_date`).
      root: the whole parameters object, where `$ref` looks.

    Raises:
      DataError: the schema accepts no value that a short text can say; says why.
    """
    made = _filler(schema, name, root or {}, 0)
    made.draw(random.Random(0), "train")  # limits that no value meets show here, not in the middle of a file
    made.draw(random.Random(0), "heldout")
    return made


def _filler(schema: Any, name: str, root: dict[str, Any], depth: int) -> Filler:
    if schema is True:
        schema = {}
    if not isinstance(schema, dict) or depth > _DEEPEST:
        raise DataError("the schema refers to itself" if depth > _DEEPEST else f"{schema!r} is not a usable schema")
    if "$ref" in schema:
        return _filler(_resolve(schema["$ref"], root), name, root, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return _first(_branches(schema, key), name, root, depth)
    if "not" in schema:
        raise DataError("`not` is not supported")
    if isinstance(schema.get("type"), list):
        return _first([{**schema, "type": one} for one in schema["type"]], name, root, depth)
    if "const" in schema or "enum" in schema:
        return _members([schema["const"]] if "const" in schema else schema["enum"])
    examples = schema.get("examples")
    if isinstance(examples, list) and any(map(_sayable, examples)):
        return _members(examples)
    return _typed(schema, name, root, depth)


def _branches(schema: dict[str, Any], key: str) -> list[Any]:
    branches = schema[key]
    if not isinstance(branches, list) or not branches:
        raise DataError(f"{key} must be a list of schemas")
    if key == "allOf" and len(branches) > 1:
        raise DataError("allOf of more than one schema is not supported")
    rest = {word: value for word, value in schema.items() if word != key}
    return [{**rest, **branch} if isinstance(branch, dict) else branch for branch in branches]


def _first(branches: Sequence[Any], name: str, root: dict[str, Any], depth: int) -> Filler:
    problems = []
    for branch in branches:
        try:
            return _filler(branch, name, root, depth + 1)
        except DataError as error:
            problems.append(str(error))
    raise DataError("; ".join(dict.fromkeys(problems)) or "its list of types is empty")


def _resolve(reference: Any, root: dict[str, Any]) -> Any:
    """The schema at `#/$defs/Level` in the tool's parameters."""
    start, *parts = reference.split("/") if isinstance(reference, str) else [None]
    target: Any = root if start == "#" else None
    for part in parts:
        target = target.get(part) if isinstance(target, dict) else None
    if target is None:
        raise DataError(f"$ref {reference!r} leads nowhere inside this tool's parameters")
    return target


def _members(values: Any) -> Filler:
    usable = [value for value in values if _sayable(value)] if isinstance(values, list) else []
    if not usable:
        raise DataError(f"its allowed values hold no plain text, number or boolean: {values!r}")
    return Members(usable)


def _sayable(value: Any) -> bool:
    """Whether a request can name the value and a reader can see where it ends."""
    if isinstance(value, str):
        return value.strip() == value != "" and '"' not in value
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _typed(schema: dict[str, Any], name: str, root: dict[str, Any], depth: int) -> Filler:
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else "string")
    if kind == "boolean":
        return Members([True, False])
    if kind in ("integer", "number"):
        return _numbers(schema, name, whole=kind == "integer")
    if kind == "array":
        return _lists(schema, name, root, depth)
    if kind == "string":
        if "pattern" in schema:
            raise DataError("`pattern` needs `examples` beside it")
        source = source_for_format(schema.get("format")) or source_for_name(words_of(name))
        if "minLength" not in schema and "maxLength" not in schema:
            return Texts(source)
        return BoundedTexts(source, int(_number(schema, "minLength", 1)), float(_number(schema, "maxLength", math.inf)))
    raise DataError(f"type {kind!r} is not supported, only texts, numbers, booleans and arrays of them")


def _lists(schema: dict[str, Any], name: str, root: dict[str, Any], depth: int) -> Filler:
    items = _filler(schema.get("items", True), singular(name), root, depth + 1)
    if isinstance(items, Lists):
        raise DataError("arrays of arrays are not supported")
    shortest = max(1, int(_number(schema, "minItems", 1)))
    longest = int(min(_number(schema, "maxItems", shortest + 2), shortest + 2))
    if longest < shortest:
        raise DataError(f"no array has between {shortest} and {longest} items")
    return Lists(items, shortest, longest, schema.get("uniqueItems") is True or isinstance(items, Texts))


_RANGES = (
    ({"year"}, (1950, 2030)),
    ({"lat", "latitude"}, (-90, 90)),
    ({"lon", "lng", "longitude"}, (-180, 180)),
    ({"count", "limit", "max", "size", "top", "number", "quantity", "pages", "page"}, (1, 20)),
    ({"percent", "percentage"}, (0, 100)),
    ({"amount", "price", "budget", "cost", "salary"}, (5, 2000)),
)


def _numbers(schema: dict[str, Any], name: str, *, whole: bool) -> Filler:
    minimum, above, maximum, below = (
        _number(schema, key, None) for key in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    )
    narrow = None not in (minimum, maximum) and maximum - minimum <= 2
    step = _number(schema, "multipleOf", Fraction(1) if whole else Fraction(1, 100 if narrow else 10))
    if step <= 0 or (whole and step.denominator != 1):
        raise DataError(f"multipleOf is {step}, expected a positive number that fits the type")
    words = set(words_of(name))
    usual = next((bounds for hints, bounds in _RANGES if hints & words), (1, 100))
    # From here on in whole steps, so that an excluded bound is one step away.
    usual_first, usual_last = math.ceil(usual[0] / step), math.floor(usual[1] / step)
    firsts = [math.ceil(x / step) for x in (minimum,) if x is not None]
    firsts += [math.floor(x / step) + 1 for x in (above,) if x is not None]
    lasts = [math.floor(x / step) for x in (maximum,) if x is not None]
    lasts += [math.ceil(x / step) - 1 for x in (below,) if x is not None]
    first = max(firsts, default=min([usual_first, *(x - _NEAR for x in lasts)]))
    last = min(lasts, default=max(usual_last, first + _NEAR))
    if first > last:
        raise DataError(f"no multiple of {step} lies within its bounds; add `examples` to the schema")
    if max(first, usual_first) <= min(last, usual_last):
        return Numbers(max(first, usual_first), min(last, usual_last), step)
    return Numbers(first, min(last, first + _NEAR), step)


def _number(schema: dict[str, Any], key: str, default: Any) -> Any:
    value = schema.get(key, default)
    if value is default:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise DataError(f"{key} must be a number, got {value!r}")
    return Fraction(str(value))


def words_of(name: str) -> list[str]:
    """`words_of("getUserName")` and `words_of("get_user-name")` give `["get", "user", "name"]`."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [word.lower() for word in re.split(r"[\W_]+", spaced) if word]


def singular(name: str) -> str:
    """`"cities"` gives `"city"`, `"tags"` gives `"tag"`: what one item of an array is called."""
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
