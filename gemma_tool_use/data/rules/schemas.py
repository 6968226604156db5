"""Tool schemas as validators: no network, no slow patterns, bounded size.

    check = validator({"type": "object", "properties": {"days": {"type": "integer"}}})
    faults(check, {"days": "two"})                  # [(("days",), '"two" is not of type "integer"')]
    validator({"$ref": "http://example.com/s.json"})  # "$ref 'http://example.com/s.json' leaves the schema"

A schema comes from a stranger. References that leave it are refused, not fetched; regular expressions run in an engine
of linear time; references that double at each step (`allOf: [a, a]`, thirty times) are refused by what they expand to.
Schemas are JSON Schema 2020-12 unless `$schema` names another draft.
"""

import functools
import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import orjson

from gemma_tool_use.data.by_object import CACHED_CHARACTERS, ByObject
from gemma_tool_use.data.keys import canonical

MAX_CHARACTERS = 65_536
MAX_DEPTH = 100
MAX_TARGETS = 64
MAX_EXPANDED = 100_000
_REGEX_BYTES = 1 << 20
_DEFINITIONS = ("$defs", "definitions")
# They point to where the schema is used from; none of 6,044 published MCP tools has one.
_DYNAMIC = ("$dynamicRef", "$recursiveRef")

Validator = Any
"""One of jsonschema-rs's validator classes, which have no common base."""
Fault = tuple[tuple[str | int, ...], str]
_LATEST: ByObject[Validator | str] = ByObject(1024)


def validator(schema: dict[str, Any]) -> Validator | str:
    """The compiled schema, or why it cannot be checked. The last 1,024 are kept."""
    found = _LATEST.get(schema)
    if found is None:
        key = canonical(schema)
        found = _known(key) if key is not None and len(key) <= MAX_CHARACTERS else _new(schema)
        if key is not None and len(key) <= CACHED_CHARACTERS:
            _LATEST.put(schema, found)
    return found


@functools.lru_cache(maxsize=1024)
def _known(key: bytes) -> Validator | str:
    return _new(orjson.loads(key))


def _new(schema: dict[str, Any]) -> Validator | str:
    try:
        text = json.dumps(schema, sort_keys=True)
    except (RecursionError, ValueError, TypeError) as error:
        return f"not JSON: {error}"
    return f"{len(text)} characters, more than {MAX_CHARACTERS}" if len(text) > MAX_CHARACTERS else _compiled(text)


def faults(check: Validator, arguments: dict[str, Any]) -> list[Fault]:
    """Path and sentence of each thing in the arguments that the schema does not allow; empty when they are valid."""
    try:
        if check.is_valid(arguments):
            return []
        return [(tuple(error.instance_path), error.message) for error in check.iter_errors(arguments)]
    except ValueError as error:  # a number or a depth that jsonschema-rs has no form for
        return [((), str(error).splitlines()[0])]


def path_text(path: tuple[str | int, ...]) -> str:
    """`("stops", 0, "city")` gives `$.stops[0].city`."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


@functools.lru_cache(maxsize=1024)
def _compiled(text: str) -> Validator | str:
    schema = json.loads(text)
    if problem := _unbounded(schema):
        return problem
    patterns = jsonschema_rs.RegexOptions(size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES)
    try:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=patterns)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return str(error).splitlines()[0]


def _unbounded(schema: Any) -> str | None:
    """Why checking against the schema could take long, or need something outside it."""
    edges: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    waiting = ["#"]
    while waiting:
        pointer = waiting.pop()
        if pointer in edges:
            continue
        if len(edges) == MAX_TARGETS:
            return f"more than {MAX_TARGETS} different references"
        part = _resolve(schema, pointer)
        if part is None:
            return f"$ref {pointer!r} leads nowhere"
        edges[pointer], sizes[pointer] = [], 0
        for size, found in enumerate(_nodes(part), 1):
            sizes[pointer] = size
            if problem := _fault_of_node(found, root=found is schema):
                return problem
            if isinstance(found, dict) and isinstance(reference := found.get("$ref"), str):
                edges[pointer].append(reference)
        if (depth := _depth(part)) > MAX_DEPTH:
            return f"nested {depth} deep, more than {MAX_DEPTH}"
        waiting += edges[pointer]
    return _explodes(edges, sizes)


def _fault_of_node(node: Any, *, root: bool) -> str | None:
    if not isinstance(node, dict):
        return None
    reference = node.get("$ref")
    if isinstance(reference, str) and reference != "#" and not reference.startswith("#/"):
        return f"$ref {reference!r} leaves the schema"
    if any(isinstance(node.get(key), str) for key in _DYNAMIC):
        return "it has a dynamic reference"
    return "it has an $id inside" if not root and isinstance(node.get("$id"), str) else None


def _explodes(edges: dict[str, list[str]], sizes: dict[str, int]) -> str | None:
    reach = {pointer: _reachable(pointer, edges) for pointer in edges}
    inner = {p: [target for target in targets if p in reach[target]] for p, targets in edges.items()}
    if any(len(targets) > 1 for targets in inner.values()):
        return "it refers to itself in several places"

    @functools.cache
    def expanded(pointer: str) -> int:
        outward = [target for target in edges[pointer] if target not in inner[pointer]]
        return sizes[pointer] + sum(map(expanded, outward))

    total = expanded("#")
    return f"its references expand to {total} parts, more than {MAX_EXPANDED}" if total > MAX_EXPANDED else None


def _reachable(start: str, edges: dict[str, list[str]]) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        new = [target for target in edges[waiting.pop()] if target not in found]
        found.update(new)
        waiting += new
    return found


def _nodes(part: Any) -> Iterator[Any]:
    """The part and everything in it, except definitions, which count where they are referred to."""
    waiting = [part]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, dict):
            waiting += [value for key, value in node.items() if key not in _DEFINITIONS]
        elif isinstance(node, list):
            waiting += node


def _depth(part: Any) -> int:
    depth, level = 0, [part]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return depth


def _resolve(schema: Any, pointer: str) -> Any:
    """`#/$defs/Node` in a schema; None when it is not there."""
    node = schema
    for step in pointer.split("/")[1:]:
        key = urllib.parse.unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict):
            node = node.get(key)
        elif isinstance(node, list) and key.isdecimal() and len(key) < 6 and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node
