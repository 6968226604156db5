"""JavaScript values in source code, as far as BFCL's rule reads them. What cannot be read stays the text it is.

    read("5n", "Bigint")                          5
    read("'on'", "String")                        "on"
    read("[1, 2]", "array", "integer")            [1, 2]
    read("new Array([1], [2, 3])", "array")       [[1], [2, 3]]
    read("{method: 'GET', retry: 3}", "dict")     {"method": "GET", "retry": 3}
    read("requestConfig", "dict")                 "requestConfig"

The rule is the leaderboard's, with its oddities: commas inside strings part elements, a dict ends at its first closing
brace, and what stands behind an array or a dict is not looked at. The behaviour is that of bfcl-eval 2026.3.23,
`eval_checker/ast_eval/type_convertor/js_type_converter.py`.
"""

import re
from typing import Any

TYPES: dict[str, type] = {
    "String": str,
    "integer": int,
    "float": float,
    "Bigint": int,
    "Boolean": bool,
    "dict": dict,
    "array": list,
    "any": str,
}

# A newline may stand behind a number.
_INTEGER = re.compile(r"-?\d+\n?")
_FLOAT = re.compile(r"-?\d+(?:\.\d+)?\n?")
_BIGINT = re.compile(r"(-?\d+)n")
_ARRAY = re.compile(r"\[([^]\n]*+)\]|new\s++Array\(([^)\n]*+)\)")
_ROWS = re.compile(r"(?:\[|new\s++Array\()\s*+\[")
_ROW = re.compile(r"\[([^]\n]*+)\]")
_DICT = re.compile(r"\{([^}\n]*+)\}")
# A value ends at a comma behind which another key begins, or at the end.
_ENTRY = re.compile(r"([^:]++):\s*+(.*?)(?:,\s*(?=[^,]+:)|$)")


def read(text: str, kind: str, items: str | None = None) -> Any:
    """The value of source code of type `kind`; the text itself where it is none. `items` is the type of elements."""
    if kind == "String":
        return text[1:-1] if _is_quoted(text) else text
    if kind == "integer":
        return int(text) if _INTEGER.fullmatch(text) else text
    if kind == "float":
        return float(text) if _FLOAT.fullmatch(text) else text
    if kind == "Bigint":
        return int(found[1]) if (found := _BIGINT.fullmatch(text)) else text
    if kind == "Boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind == "array":
        return _array(text.strip(), items)
    return _dict(text.strip()) if kind == "dict" else text


def write(value: Any, kind: str, items: str | None = None) -> str:
    """Source code that `read` takes for the value; text stays as it is, the name of a variable for one."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_element(each, items) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_element(each, None)}' for key, each in value.items())}}}"
    return f"{value}n" if kind == "Bigint" else str(value)


def _element(value: Any, items: str | None) -> str:
    quoted = isinstance(value, str) and items in (None, "String")
    # Written by its type: an element of type float that is whole has to be read back as a float all the same.
    return f"'{value}'" if quoted else write(value, items or "any")


def _is_quoted(text: str) -> bool:
    return any(text.startswith(quote) and text.endswith(quote) for quote in "\"'")


def _array(text: str, items: str | None) -> Any:
    end = _end_of_rows(text)
    if end is not None:
        # The first row is found from the outermost bracket on.
        rows = [row.strip() for row in _ROW.findall(text[:end])]
        rows[0] = rows[0].removeprefix("[")
        return [[_guess(part) for part in row.split(",")] for row in rows]
    found = _ARRAY.match(text)
    if not found:
        return text
    inside = (found[1] if found[1] is not None else found[2]).strip()
    parts = [part.strip() for part in inside.split(",")] if inside else []
    return [_guess(part) if items is None else read(part, items) for part in parts]


def _end_of_rows(text: str) -> int | None:
    """Where an array of arrays that starts the text ends: 8 for `[[1, 2]]`; None where none starts it.

    A row may hold brackets (`[[a[0]]]`), so there are many ways to part the text into rows. Going backwards, each
    position is looked at once: where the array ends if a row is open there.
    """
    opening = _ROWS.match(text)
    if not opening:
        return None
    closing = "]" if text.startswith("[") else ")"
    ends: list[int | None] = [None] * (len(text) + 1)
    for here in range(len(text) - 1, opening.end() - 1, -1):
        ends[here] = ends[here + 1] if text[here] != "\n" else None
        if text[here] == "]" and (end := _end_behind_row(text, here + 1, closing, ends)) is not None:
            ends[here] = end
    return ends[opening.end()]


def _end_behind_row(text: str, position: int, closing: str, ends: list[int | None]) -> int | None:
    """The same where a row has just been closed: the closing bracket comes next, or a comma and another row."""
    position = _after_space(text, position)
    if text.startswith(closing, position):
        return position + 1
    if text.startswith(",", position):
        position = _after_space(text, position + 1)
        if text.startswith("[", position):
            return ends[position + 1]
    return None


def _after_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _dict(text: str) -> Any:
    found = _DICT.match(text)
    if not found:
        return text
    return {key.strip().strip("'\""): _entry(value.strip()) for key, value in _ENTRY.findall(found[1])}


def _entry(text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        return _array(text, None)
    if text.startswith("{") and text.endswith("}"):
        return _dict(text)
    return _guess(text.strip("'\""))


def _guess(text: str) -> Any:
    """A value whose type nobody says."""
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    if _is_quoted(text):
        return text[1:-1]
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text
