"""How a model is shown the functions of BFCL: as the leaderboard shows them, to the letter.

    hinted(function, "java")                 # says that it is Java; each parameter is a string of source code
    as_tools([hinted(function, "java")])[0]  # ToolSpec: JSON Schema types, `math.gcd` shown as `math_gcd`

The leaderboard has two ways. Models that take tools are shown JSON Schema: its types `dict`, `float`, `tuple` and
`any` become `object`, `number` (with a word in the description), `array` and `string`, and dots in names, which most
interfaces refuse, become underscores. In prompt mode the functions stand in the system text as the benchmark has them
(`prompt.py`), dots and all. In both a model is told the language, and parameters of Java and JavaScript are strings.

Source: bfcl-eval 2026.3.23, `utils.py` (`add_language_specific_hint_to_function_doc`), `model_handler/utils.py`
(`convert_to_tool`), `constants/type_mappings.py`. The wording of the hints is part of the benchmark.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gemma_tool_use.conversation import ToolSpec
from gemma_tool_use.errors import DataError

_SYNTAX = {"python": "Python 3", "java": "Java 8 SDK", "javascript": "JavaScript"}
_NAMES = {"java": "Java", "javascript": "JavaScript"}
_LISTS = ("Array", "ArrayList", "array")
# Any other type is shown as a string, as the leaderboard does.
_JSON_TYPES = {
    "integer": "integer",
    "float": "number",
    "number": "number",
    "boolean": "boolean",
    "array": "array",
    "tuple": "array",
    "dict": "object",
    "object": "object",
}


def hinted(function: Mapping[str, Any], language: str) -> dict[str, Any]:
    """The function with what a model is told about the language in its descriptions."""
    hint = f" Note that the provided function is in {_SYNTAX[language]} syntax."
    result = {**function, "description": function["description"] + hint}
    if language != "python":
        result["parameters"] = copy.deepcopy(function["parameters"])
        for schema in result["parameters"]["properties"].values():
            _as_source(schema, _NAMES[language])
    return result


def _as_source(schema: dict[str, Any], language: str) -> None:
    """Makes a parameter a string of source code, with its type in the description."""
    kind = schema["type"]
    if kind == "any":
        schema["description"] += f" This parameter can be of any type of {language} object in string representation."
    else:
        schema["description"] += f" This is {language} {kind} type parameter in string representation."
    if kind in _LISTS:
        items = schema.pop("items")["type"]
        schema["description"] += f" The list elements are of type {items}; they are not in string representation."
    if kind == "dict" and "properties" in schema:
        entries = json.dumps(schema.pop("properties"))
        schema["description"] += (
            f" The dictionary entries have the following schema; they are not in string representation. {entries}"
        )
    schema["type"] = "string"


def shown_name(name: str) -> str:
    """`math.gcd` is shown as `math_gcd`."""
    return name.replace(".", "_")


def as_tools(functions: Sequence[Mapping[str, Any]]) -> tuple[ToolSpec, ...]:
    """The hinted functions as tools.

    Raises:
      DataError: two names that are the same once they are shown.
    """
    names = [function["name"] for function in functions]
    if len({shown_name(name) for name in names}) < len(set(names)):
        raise DataError(f"of these functions two are shown under one name: {', '.join(sorted(names))}")
    return tuple(
        ToolSpec(
            name=shown_name(function["name"]),
            description=function["description"],
            parameters={**_json_schema(function["parameters"]), "type": "object"},
        )
        for function in functions
    )


def _json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with the types of JSON Schema, at every depth."""
    result = dict(schema)
    kind = schema.get("type", "string")
    result["type"] = _JSON_TYPES.get(kind, "string")
    if kind == "float":
        result |= {"format": "float", "description": f"{schema.get('description', '')} This is a float type value."}
    if isinstance(schema.get("properties"), Mapping):
        result["properties"] = {name: _json_schema(each) for name, each in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            result[key] = _json_schema(schema[key])
    return result
