"""The three languages BFCL asks in: which types they have, and how a model writes their values.

Python's values are JSON. Of Java and JavaScript every argument is a string that holds source code, and the rule reads
the value from it (`java.py`, `javascript.py`). Types and element types as in bfcl-eval 2026.3.23,
`constants/type_mappings.py` and `eval_checker/ast_eval/ast_checker.py`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from gemma_tool_use.evaluation.bfcl import java, javascript

_PYTHON_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Language:
    """What the rule needs to know of a language.

    Attributes:
      types: the Python type that a value of each declared type has once it is read.
      with_items: the types whose elements have a type of their own.
      read: source code, its type and that of its elements to a value; None where values are JSON.
      write: a value, its type and that of its elements to what a model writes; `read` gives the value back.
    """

    types: Mapping[str, type]
    with_items: frozenset[str]
    read: Callable[[str, str, str | None], Any] | None
    write: Callable[[Any, str, str | None], Any]


LANGUAGES: dict[str, Language] = {
    "python": Language(
        types=_PYTHON_TYPES,
        with_items=frozenset({"array", "tuple"}),
        read=None,
        write=lambda value, _type, _items: value,
    ),
    "java": Language(types=java.TYPES, with_items=frozenset({"Array", "ArrayList"}), read=java.read, write=java.write),
    "javascript": Language(
        types=javascript.TYPES, with_items=frozenset({"array"}), read=javascript.read, write=javascript.write
    ),
}
