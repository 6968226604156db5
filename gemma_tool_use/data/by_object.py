"""Remembers what was found out about an object, and knows it again when it is given that very object.

    IDS: ByObject[int] = ByObject()
    IDS.put(tool, 7)
    IDS.get(tool)                            # 7
    IDS.get(dataclasses.replace(tool))       # None: equal, but another object

Readers give rows with the same tool the same `ToolSpec`, so that what is found out about a server's tools is found out
once, not in each of its thousands of rows. Objects given here are not changed afterwards.
"""

from typing import Generic, TypeVar

Value = TypeVar("Value")

CACHED_CHARACTERS = 8192
"""Of the text of an object that is worth remembering, so that a cache holds some 64 MiB whatever the rows are."""


class ByObject(Generic[Value]):
    """Values by object, at most `most`; then all are forgotten."""

    def __init__(self, most: int = 8192) -> None:
        self._most = most
        # The object is kept beside its value, so that no other can have its id.
        self._found: dict[int, tuple[object, Value]] = {}

    def get(self, thing: object) -> Value | None:
        found = self._found.get(id(thing))
        return None if found is None else found[1]

    def put(self, thing: object, value: Value) -> None:
        if len(self._found) >= self._most:
            self._found.clear()
        self._found[id(thing)] = (thing, value)
