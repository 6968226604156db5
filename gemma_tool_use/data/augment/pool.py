"""Tools that may be offered as distractors: a bounded, order-independent choice from all that were seen.

    reservoir = Reservoir(size=5000, seed=0)
    reservoir.add(conversation.tools)                  # of every row, in any order, in any worker
    write_tools(path, reservoir.tools())               # JSONL, one OpenAI tool a line
    pool = ToolPool.of(read_tools(path))               # also reads the answer of MCP's `tools/list`

The reservoir keeps the tools whose names have the smallest hashes. So it needs memory for `size` tools only, the order
in which they came does not matter, and reservoirs of several workers `add` up to the reservoir of all rows.
"""

import dataclasses
import json
import string
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gemma_tool_use.conversation import ToolSpec, tool_from_dict, tool_to_dict
from gemma_tool_use.data.augment.draws import Draws
from gemma_tool_use.data.augment.words import MIN_WORDS, ToolWords, comparable, general_purpose, words
from gemma_tool_use.data.files import strict_json
from gemma_tool_use.errors import DataError, FileError

MAX_CHARACTERS = 1200
"""Longest tool, as JSON, that is offered as a distractor: some 300 tokens of a row that should fit 512."""
_SAFE = frozenset(string.ascii_letters + string.digits + "_.-")


class Reservoir:
    """At most `size` of the tools added, one for each name."""

    def __init__(self, *, size: int, seed: int) -> None:
        self.size = size
        self._draws = Draws(seed=seed, step="reservoir")
        self._kept: dict[str, tuple[int, str, ToolSpec]] = {}

    def add(self, tools: Iterable[ToolSpec]) -> None:
        """Considers tools; those that no row could be offered safely (see `suitable`) are passed over."""
        for tool in tools:
            text = _canonical(tool)
            known = self._kept.get(tool.name)
            # Of two definitions of one name the same one wins in any order.
            if (known is None or text < known[1]) and suitable(tool):
                self._kept[tool.name] = (self._draws.bits(tool.name), text, tool)
        if len(self._kept) > 2 * self.size:
            self._shrink()

    def tools(self) -> tuple[ToolSpec, ...]:
        """The tools kept, by hash."""
        self._shrink()
        return tuple(tool for _, _, tool in self._kept.values())

    def _shrink(self) -> None:
        ranked = sorted(self._kept.items(), key=lambda item: (item[1][0], item[0]))
        self._kept = dict(ranked[: self.size])


@dataclasses.dataclass(frozen=True)
class ToolPool:
    """Suitable tools with their words, one for each name, in an order that does not depend on where they came from."""

    entries: tuple[tuple[ToolSpec, ToolWords], ...] = ()

    @classmethod
    def of(cls, tools: Iterable[ToolSpec]) -> "ToolPool":
        by_name: dict[str, ToolSpec] = {}
        for tool in sorted(tools, key=_canonical, reverse=True):
            if suitable(tool):
                by_name[tool.name] = tool
        return cls(tuple((by_name[name], ToolWords.of(by_name[name])) for name in sorted(by_name)))

    def keeping(self, wanted: Callable[[ToolSpec], bool]) -> "ToolPool":
        """The tools for which `wanted` is true: those of one side of a split, so that no API stands on both."""
        return ToolPool(tuple(entry for entry in self.entries if wanted(entry[0])))

    def __len__(self) -> int:
        return len(self.entries)


def suitable(tool: ToolSpec) -> bool:
    """Whether what the tool is for can be judged by its words, and it is neither long nor fit for anything."""
    return (
        0 < len(tool.name) <= 64
        and _SAFE.issuperset(tool.name)
        and not general_purpose(tool)
        and comparable(tool.description)
        and len(words(tool.description)) >= MIN_WORDS
        and len(_canonical(tool)) <= MAX_CHARACTERS
    )


def write_tools(path: Path, tools: Iterable[ToolSpec]) -> None:
    """Writes one OpenAI tool a line.

    Raises:
      FileError: the file cannot be written.
    """
    try:
        path.write_text("".join(_canonical(tool) + "\n" for tool in tools), encoding="utf-8")
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from None


def read_tools(path: Path) -> tuple[ToolSpec, ...]:
    """Reads tools: JSONL or a JSON array of OpenAI or MCP tools, or the answer of MCP's `tools/list`.

    Raises:
      FileError: the file cannot be read.
      DataError: not JSON, or something in it is not a tool.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a text file; expected tools as JSON or JSONL") from None
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from None
    return tuple(_read_tool(value, where) for where, value in _values(text, path))


def _values(text: str, path: Path) -> list[tuple[str, Any]]:
    lines = [(f"{path}:{i}", line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) > 1 and not lines[0][1].lstrip().startswith("[") and lines[0][1].rstrip().endswith("}"):
        return [(where, _json(line, where)) for where, line in lines]
    value = _json(text, str(path))
    if isinstance(value, dict):
        value = value.get("result", value)  # the JSON-RPC envelope of an MCP answer
        value = value.get("tools", [value]) if isinstance(value, dict) else value
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a list of tools, got {type(value).__name__}")
    return [(f"{path}: tool {i}", item) for i, item in enumerate(value, 1)]


def _json(text: str, where: str) -> Any:
    try:
        return strict_json(text)
    except ValueError as error:
        raise DataError(f"{where} is not valid JSON ({error})") from None


def _read_tool(value: Any, where: str) -> ToolSpec:
    if isinstance(value, dict) and "parameters" not in value:
        schema = value.get("inputSchema", value.get("input_schema"))
        value = {**value, "parameters": schema} if schema is not None else value
    try:
        return tool_from_dict(value)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _canonical(tool: ToolSpec) -> str:
    return json.dumps(tool_to_dict(tool))
