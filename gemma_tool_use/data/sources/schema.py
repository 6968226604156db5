"""Parameters as data sets publish them, as a JSON Schema of type object.

    normalise_parameters({"city": {"type": "str", "description": "City"}, "days": {"type": "int, optional"}})
    # {"type": "object", "properties": {"city": {"type": "string", "description": "City"},
    #                                   "days": {"type": "integer"}}, "required": ["city"]}

Known forms: JSON Schema with the types of Python (`str`, `List[int]`, `Optional[float]`) or in capitals (`STRING`), the
parameters alone without `type`, `properties` and `required` (xLAM), `required` null, beside the parameters (When2Call)
or true inside a property, and no parameters at all. What is JSON Schema already comes back equal. No JAX.
"""

from collections.abc import Mapping
from typing import Any

from gemma_tool_use.data.rejects import UNREADABLE_TOOL, RowError, short
from gemma_tool_use.data.sources.python_types import JSON_TYPES, UnknownTypeError, parse_type, union

MAX_DEPTH = 32
"""Levels of schemas inside schemas that are followed."""

# Where JSON Schema has schemas inside a schema (draft 2020-12, and `definitions` and `additionalItems` of older ones).
_ONE = frozenset(("items", "additionalProperties", "additionalItems", "contains", "not", "if", "then", "else")) | {
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
}
_LISTS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems", "items"))
_MAPS = frozenset(("patternProperties", "$defs", "definitions", "dependentSchemas"))
# Keys that make an object a schema when what they hold cannot be the schema of a parameter of that name.
_KEYWORDS = (
    frozenset(("type", "properties", "required", "description", "title", "enum", "const", "default"))
    | _ONE
    | _LISTS
    | _MAPS
)
_MAY_BE_NULL = frozenset(("default", "const", "example"))


def normalise_parameters(value: Any, *, required: Any = None) -> dict[str, Any]:
    """The parameters of a function as a JSON Schema of type object.

    Args:
      value: what the data set gives as parameters; None, `{}`, `[]` and `""` are no parameters.
      required: the list of required names, where the data set keeps it beside the parameters.

    A parameter given without the `properties` wrapper is required unless its type says `optional`, it has a default, or
    `required` lists other names. A keyword that is null counts as absent.

    Raises:
      RowError: a type nobody knows, a schema that is not an object, a reference that leaves the schema, or more than
        `MAX_DEPTH` levels; the detail names the path (`properties.city.type`).
    """
    beside = _names(required, "required")
    if value is None or value in ("", [], {}):
        value = {"type": "object", "properties": {}}
    if not isinstance(value, Mapping):
        raise _error("parameters", f"expected an object, got {short(value)}")
    if _is_schema(value):
        schema = _schema(_as_object(value), "parameters", 0)[0]
    else:
        properties, needed = _properties(value, "parameters", 0)
        if beside is None:
            beside = [name for name, said in needed.items() if _is_required(said, properties[name])]
        schema = {"type": "object", "properties": properties}
    if beside:
        schema["required"] = list(dict.fromkeys([*schema.get("required", []), *beside]))
    return schema


def _is_schema(value: Mapping[str, Any]) -> bool:
    """Whether this is a schema with its `properties`, not the parameters alone, one of which may be named `type`."""
    properties = value.get("properties")
    if isinstance(properties, Mapping) and all(isinstance(item, Mapping | bool) for item in properties.values()):
        return True
    return any(
        str(key).startswith("$") or (key in _KEYWORDS and not isinstance(item, Mapping)) for key, item in value.items()
    )


def _as_object(value: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with `type` and `properties`. Of another type than object, nothing in it could be named in a call."""
    kind = value.get("type")
    if kind is None:
        value = {"type": "object", **{key: item for key, item in value.items() if key != "type"}}
    elif not isinstance(kind, str) or _parsed(kind, "parameters.type")[0].get("type") != "object":
        raise _error("parameters.type", f"expected object, got {short(kind)}")
    return {**value, "properties": {}} if value.get("properties") is None else dict(value)


def _is_required(said: bool | None, schema: Any) -> bool:
    return said if said is not None else not (isinstance(schema, dict) and "default" in schema)


def _properties(value: Any, path: str, depth: int) -> tuple[dict[str, Any], dict[str, bool | None]]:
    """The schema of each property, and whether it says itself that it is required."""
    if not isinstance(value, Mapping):
        raise _error(path, f"expected an object of schemas, got {short(value)}")
    schemas, needed = {}, {}
    if isinstance(value.get("required"), list):  # misplaced, as a property of itself
        value, listed = {name: item for name, item in value.items() if name != "required"}, value["required"]
        needed.update(dict.fromkeys(_names(listed, f"{path}.required") or [], True))
    for name, item in value.items():
        if not isinstance(name, str):
            raise _error(path, f"the name of a parameter is {short(name)}")
        schemas[name], said = _schema(item, f"{path}.{name}", depth + 1)
        needed[name] = needed.get(name) or said
    return schemas, needed


def _schema(value: Any, path: str, depth: int) -> tuple[Any, bool | None]:
    """The schema in JSON's types, and whether it says of itself: required (True), optional (False), nothing (None)."""
    if isinstance(value, bool):
        return value, None
    if isinstance(value, str):  # `{"city": "string"}`
        value = {"type": value}
    if not isinstance(value, Mapping):
        raise _error(path, f"expected a schema, got {short(value)}")
    if depth > MAX_DEPTH:
        raise _error(path, f"more than {MAX_DEPTH} levels of schemas")
    result: dict[str, Any] = {}
    said: bool | None = None
    for key, item in value.items():
        where = f"{path}.{key}"
        if item is None and key not in _MAY_BE_NULL:
            continue
        if key == "type":
            kinds, optional = _type(item, where, value)
            result.update({name: kind for name, kind in kinds.items() if value.get(name) is None or name == "type"})
            said = False if optional and said is None else said
        elif key == "required":
            if isinstance(item, bool):
                said = item
            elif names := _names(item, where):
                result[key] = list(dict.fromkeys([*result.get(key, []), *names]))
            else:
                result.setdefault(key, [])
        elif key == "properties":
            result[key], needed = _properties(item, where, depth)
            if lifted := [name for name, need in needed.items() if need is True]:
                result["required"] = list(dict.fromkeys([*result.get("required", []), *lifted]))
        else:
            result[key] = _keyword(key, item, where, depth)
    return (_nullable(result) if result.get("nullable") is True else result), said


def _keyword(key: str, item: Any, path: str, depth: int) -> Any:
    if key in ("$ref", "$dynamicRef") and not (isinstance(item, str) and item.startswith("#")):
        raise _error(path, f"only references inside the schema are followed, got {short(item)}")
    if key in _LISTS and isinstance(item, list):
        return [_schema(one, f"{path}[{i}]", depth + 1)[0] for i, one in enumerate(item)]
    if key in _ONE:
        return _schema(item, path, depth + 1)[0]
    return _properties(item, path, depth)[0] if key in _MAPS else item


def _type(value: Any, path: str, schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """What replaces `type`, and whether it says optional. A list of JSON's own names stays as it is."""
    if isinstance(value, list) and value and all(isinstance(kind, str) and kind in JSON_TYPES for kind in value):
        return {"type": value}, False
    if isinstance(value, list) and value:
        parsed = [_parsed(kind, path) for kind in value]
        return union([kinds for kinds, _ in parsed]), any(optional for _, optional in parsed)
    if isinstance(value, str) and value.lower() == "enum" and isinstance(schema.get("enum"), list):
        return {}, False
    return _parsed(value, path)


def _parsed(value: Any, path: str) -> tuple[dict[str, Any], bool]:
    try:
        if isinstance(value, str):
            return parse_type(value)
    except UnknownTypeError as error:
        raise _error(path, str(error)) from None
    raise _error(path, f"expected the name of a type, got {short(value)}")


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI's `nullable: true` in JSON Schema: null is one of the types."""
    kind = schema.get("type")
    if isinstance(kind, str | list):
        kinds = [kind] if isinstance(kind, str) else kind
        schema["type"] = [*kinds, "null"] if "null" not in kinds else kinds
    return {key: item for key, item in schema.items() if key != "nullable"}


def _names(value: Any, path: str) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _error(path, f"expected a list of names, got {short(value)}")
    return value


def _error(path: str, detail: str) -> RowError:
    return RowError(UNREADABLE_TOOL, f"{path}: {detail}")
