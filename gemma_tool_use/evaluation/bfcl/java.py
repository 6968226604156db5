"""Java values in source code, as far as BFCL's rule reads them. What cannot be read stays the text it is.

    read("5L", "long")                                                 5
    read("new int[]{1, 2}", "Array", "integer")                        [1, 2]
    read("new ArrayList<>(Arrays.asList(1, 2))", "ArrayList", "long")  ["1", "2"]     (a long ends with L)
    read('new HashMap<>() {{ put("a", 1); }}', "HashMap")              {"a": 1}
    read("inputStream", "any")                                         "inputStream"

The rule is the leaderboard's, with its oddities: commas inside strings part elements, the quotes of a string stay on
in an array and are cut off in an ArrayList, and any text may stand around a constructor. The behaviour is that of
bfcl-eval 2026.3.23, `eval_checker/ast_eval/type_convertor/java_type_converter.py`; `Set`, `Hashtable`, `Queue` and
`Stack`, for which that file raises, are not among the types here.
"""

import re
from typing import Any

TYPES: dict[str, type] = {
    "byte": int,
    "short": int,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "char": str,
    "String": str,
    "any": str,
    "Array": list,
    "ArrayList": list,
    "HashMap": dict,
}

# A newline may stand behind a number.
_INTEGER = re.compile(r"-?\d+\n?")
_LONG = re.compile(r"(-?\d+)[lL]\n?")
_DOUBLE = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\n?")
_FLOAT = re.compile(r"(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)[fF]\n?")
# Possessive quantifiers (*+): what a model wrote must not make these search in more than quadratic time.
_ARRAY = re.compile(r"new\s++\w++\[\]\s*+\{([^}\n]*+)\}")
_AS_LIST = re.compile(r"new\s++ArrayList<\w*+>\(Arrays\.asList\((.+?)\)\)")
_EMPTY_LIST = re.compile(r"new\s++ArrayList<\w*+>\(\)")
_LIST_BLOCK = re.compile(_EMPTY_LIST.pattern + r"\s*+\{\{\s*+(.+?)\}\}", re.DOTALL)
_ADD = re.compile(r"add\((.+?)\)")
_MAP_BLOCK = re.compile(r"new\s++HashMap<.*?>\s*+\(\)\s*+\{\s*+\{?+([^}]*+)\}", re.DOTALL)
_EMPTY_MAP = re.compile(r"new\s++HashMap<.*?>\s*+\(\)")
_PUT = re.compile(r'put\("(.*?)",\s*(.*?)\)')


def read(text: str, kind: str, items: str | None = None) -> Any:
    """The value of source code of type `kind`; the text itself where it is none. `items` is the type of elements."""
    if kind in ("byte", "short", "integer"):
        return int(text) if _INTEGER.fullmatch(text) else text
    if kind == "long":
        return int(found[1]) if (found := _LONG.fullmatch(text)) else text
    if kind == "float":
        return float(found[1]) if (found := _FLOAT.fullmatch(text)) else text
    if kind == "double":
        return float(text) if _DOUBLE.fullmatch(text) else text
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind == "Array":
        return _array(text, items)
    if kind == "ArrayList":
        return _array_list(text, items)
    return _hash_map(text) if kind == "HashMap" else text


def write(value: Any, kind: str, items: str | None = None) -> str:
    """Source code that `read` takes for the value; text stays as it is, the name of a variable for one."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        # Elements of an array keep their quotes when read, so they get none.
        inside = ", ".join(_element(each, kind, items) for each in value)
        return f"new Object[]{{{inside}}}" if kind == "Array" else f"new ArrayList<>(Arrays.asList({inside}))"
    if isinstance(value, dict):
        puts = "".join(f'put("{key}", {_element(each, kind, None)}); ' for key, each in value.items())
        return f"new HashMap<String, Object>() {{{{ {puts}}}}}"
    return f"{value}{ {'long': 'L', 'float': 'f'}.get(kind, '') }"


def _element(value: Any, kind: str, items: str | None) -> str:
    quoted = kind == "HashMap" or (kind == "ArrayList" and items in ("String", "char"))
    return f'"{value}"' if quoted and isinstance(value, str) else write(value, items or "any")


def _array(text: str, items: str | None) -> Any:
    found = _ARRAY.search(text)
    if not found:
        return text
    return [_value(part.strip(), items) for part in found[1].split(",") if part.strip()]


def _array_list(text: str, items: str | None) -> Any:
    if found := _AS_LIST.search(text):
        parts = found[1].split(",")
    elif found := _LIST_BLOCK.search(text):
        parts = _ADD.findall(found[1])
    else:
        return [] if _EMPTY_LIST.search(text) else text
    stripped = [part.strip() for part in parts]
    return [part[1:-1] if items in ("char", "String") else _value(part, items) for part in stripped]


def _hash_map(text: str) -> Any:
    if found := _MAP_BLOCK.search(text):
        return {key: _guess(value.strip()) for key, value in _PUT.findall(found[1])}
    return {} if _EMPTY_MAP.search(text) else text


def _value(text: str, items: str | None) -> Any:
    return _guess(text) if items is None else read(text, items)


def _guess(text: str) -> Any:
    """A value whose type nobody says."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    for pattern, convert in ((_LONG, int), (_FLOAT, float)):
        if found := pattern.fullmatch(text):
            return convert(found[1])
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text
