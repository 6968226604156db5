"""Renames the parameters of one function: in its schema, at every depth, and in the arguments of its calls.

    names = {"city": "q7x2"}
    rename_schema({"properties": {"city": {"type": "string"}}, "required": ["city"]}, names)
    # {"properties": {"q7x2": {"type": "string"}}, "required": ["q7x2"]}
    rename_arguments({"city": "Oslo", "x": 1}, schema, names)      # {"q7x2": "Oslo", "x": 1}

`problem` says first whether a schema can be renamed safely. Only keywords whose meaning is known here are let through:
a name may also stand behind `$ref`, in `dependentRequired`, in a default that is an object, in a keyword of somebody's
own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

MAX_DEPTH = 32

_BRANCHES = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = ("items", "additionalProperties")
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_PLAIN_LISTS = frozenset({"enum", "type", "examples", "example", "default", "const"})


def problem(schema: Any) -> str:
    """Why the names of a function's parameters cannot be changed safely; empty when they can."""
    if found := _problem(schema, 0):
        return found
    stray = _stray(schema, {name for name, _ in declared(schema)})
    return f"the required name {stray!r}, which is declared elsewhere" if stray is not None else ""


def _problem(schema: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        return f"nested more than {MAX_DEPTH} deep"
    if isinstance(schema, bool):
        return ""
    if not isinstance(schema, dict):
        return "a schema that is neither an object nor a boolean"
    for keyword, value in schema.items():
        if found := _keyword_problem(keyword, value, depth):
            return found
    return ""


def _keyword_problem(keyword: str, value: Any, depth: int) -> str:
    if keyword in _REFERENCES:
        return f"the keyword {keyword}"
    if keyword == "properties" and isinstance(value, dict):
        return next(filter(None, (_problem(inner, depth + 1) for inner in value.values())), "")
    if keyword in _BRANCHES and isinstance(value, list):
        return next(filter(None, (_problem(inner, depth + 1) for inner in value)), "")
    if keyword in _ONE and isinstance(value, dict | bool):
        return _problem(value, depth + 1)
    if keyword == "properties" or keyword in _BRANCHES or keyword in _ONE:
        return f"a {keyword} that is {type(value).__name__}"
    if keyword == "required" and isinstance(value, list) and all(isinstance(name, str) for name in value):
        return ""
    if keyword in _PLAIN_LISTS and isinstance(value, list) and not any(isinstance(v, dict | list) for v in value):
        return ""
    return f"the keyword {keyword} with an object or a list" if isinstance(value, dict | list) else ""


def _stray(schema: Any, anywhere: set[str]) -> str | None:
    """A name that is required where it is not declared, and declared elsewhere: it cannot be both."""
    level = _branches([schema])
    here = {name for part in level for name in part.get("properties") or {}}
    required = [part["required"] for part in level if isinstance(part.get("required"), list)]
    found = next((name for names in required for name in names if name in anywhere and name not in here), None)
    if found is not None:
        return found
    inner = (_stray(child, anywhere) for part in level for child in _children(part))
    return next((name for name in inner if name is not None), None)


def declared(schema: Any) -> Iterator[tuple[str, Any]]:
    """Name and schema of every parameter, at every depth. The schema must be without `problem`."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties.items()
        for keyword in ("anyOf", "oneOf", "allOf"):
            for branch in schema.get(keyword) or []:
                yield from declared(branch)
        for inner in _children(schema):
            yield from declared(inner)


def rename_schema(schema: Any, names: Mapping[str, str]) -> Any:
    """The schema with its parameters renamed; the order of everything stays."""
    if not isinstance(schema, dict):
        return schema
    return {keyword: _rename_keyword(keyword, value, names) for keyword, value in schema.items()}


def rename_arguments(value: Any, schema: Any, names: Mapping[str, str]) -> Any:
    """An argument value with those of its keys renamed that the schema declares where they stand."""
    return _rename_value(value, _branches([schema]), names)


def _rename_keyword(keyword: str, value: Any, names: Mapping[str, str]) -> Any:
    if keyword == "properties" and isinstance(value, dict):
        return {names.get(name, name): rename_schema(inner, names) for name, inner in value.items()}
    if keyword == "required" and isinstance(value, list):
        return [names.get(name, name) for name in value]
    if keyword in _BRANCHES and isinstance(value, list):
        return [rename_schema(inner, names) for inner in value]
    return rename_schema(value, names) if keyword in _ONE else value


def _rename_value(value: Any, schemas: list[dict[str, Any]], names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_rename_value(item, _branches(_items(schemas, i)), names) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    result = {}
    for key, inner in value.items():
        known = any(key in (schema.get("properties") or {}) for schema in schemas)
        below = [_of_key(schema, key) for schema in schemas]
        result[names.get(key, key) if known else key] = _rename_value(inner, _branches(below), names)
    return result


def _of_key(schema: dict[str, Any], key: str) -> Any:
    properties = schema.get("properties") or {}
    return properties[key] if key in properties else schema.get("additionalProperties")


def _items(schemas: list[dict[str, Any]], index: int) -> list[Any]:
    found: list[Any] = []
    for schema in schemas:
        first = schema.get("prefixItems") or []
        found.append(first[index] if index < len(first) else schema.get("items"))
    return found


def _branches(schemas: list[Any]) -> list[dict[str, Any]]:
    """The schemas and all alternatives in them, flat."""
    result: list[dict[str, Any]] = []
    for schema in schemas:
        if isinstance(schema, dict):
            inner = [branch for keyword in ("anyOf", "oneOf", "allOf") for branch in schema.get(keyword) or []]
            result += [schema, *_branches(inner)]
    return result


def _children(schema: dict[str, Any]) -> Iterator[Any]:
    """Schemas of what stands inside a value of this schema, one level down."""
    yield from (schema.get("properties") or {}).values()
    yield from schema.get("prefixItems") or []
    for keyword in _ONE:
        yield schema.get(keyword)
