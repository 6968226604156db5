r"""Reads ToolACE (https://huggingface.co/datasets/Team-ACE/ToolACE, Apache-2.0): 11,300 rows in English and Chinese.

`system` is a text of instructions that holds the functions as a JSON list, `conversations` a list of turns:

    {"system": "You are an expert in composing functions. ... you can invoke:\n[{\"name\": \"Get Weather\", ...}]",
     "conversations": [{"from": "user", "value": "Weather in Oslo for 3 days?"},
                       {"from": "assistant", "value": "[Get Weather(city=\"Oslo\", days=3)]"},
                       {"from": "tool", "value": "[{\"name\": \"Get Weather\", \"results\": {\"temp\": 21}}]"},
                       {"from": "assistant", "value": "21 degrees."}]}

Calls look like Python, but names hold spaces and slashes and values may be JSON (`true`), so no Python parser reads
them (`read_calls` does, and evaluates nothing). The parameters have the type `dict`, `required` may be null. The fixed
sentences of the instructions are left out, since a dialect writes its own; any other line (a date) stays.
"""

import json
from collections.abc import Collection, Iterator
from typing import Any

from gemma_tool_use.conversation import Conversation, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import RowError, short
from gemma_tool_use.data.sources import turns
from gemma_tool_use.data.sources.source import Licence, Source
from gemma_tool_use.data.sources.turns import Row, Turn
from gemma_tool_use.formats.json_value import unique_keys
from gemma_tool_use.formats.python_call import read_literal

NAME = "toolace"
MARKER = "you can invoke:"
# How far the bracket behind a declared name is looked for: the longest published names have some 100 characters.
MAX_NAME_CHARS = 256
# How the lines of the instructions begin that only say how to write calls.
INSTRUCTIONS = (
    "You are an expert in composing functions",
    "Based on the question, you will need to make",
    "If none of the function",
    "If the given question lacks",
    "also point it out",
    "You should only return the function call",
    "Here is a list of functions in JSON format",
    "Should you decide to return the function call",
    "Put it in the format of",
    "NO other text MUST be included",
)
_NO_NAME = frozenset("\"'[]{}(),=\n")
_WORDS = {"true": True, "false": False, "null": None}
# Line breaks stand inside strings here.
_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=unique_keys)


@turns.reader
def read_row(row: Row, where: str) -> Conversation:
    """The list in the system text as tools, the turns as messages, one tool message for each result."""
    text, tools = read_system(turns.read_text(row.get("system"), "system"))
    items = turns.read_list(row.get("conversations"), "conversations", rejects.BROKEN_MESSAGES)
    said = [*([turns.system(text)] if text else []), *_turns(items, frozenset(tool.name for tool in tools))]
    return Conversation(id=turns.row_id(row, where), source=NAME, tools=tools, messages=turns.pair(said))


def read_system(text: str) -> tuple[str, tuple[ToolSpec, ...]]:
    """The lines of the system text that are no fixed instructions, and the functions behind "you can invoke:".

    Raises:
      RowError: no JSON list there, or a function that cannot be read.
    """
    head, marker, rest = text.partition(MARKER)
    if not marker:
        raise RowError(rejects.BROKEN_TOOLS, f"no {MARKER!r} in the system text: {short(text)}")
    rest = rest.lstrip()
    try:
        value, end = _DECODER.raw_decode(rest)
    except (ValueError, RecursionError) as error:
        raise RowError(rejects.BROKEN_TOOLS, f"{error}: {short(rest)}") from None
    lines = (line.strip() for line in [*head.split("\n"), *rest[end:].split("\n")])
    kept = [line for line in lines if line.strip(".") and not line.startswith(INSTRUCTIONS)]
    return "\n".join(kept), turns.read_tools(value)


def read_calls(text: str, names: Collection[str] = ()) -> list[ToolCall]:
    """`[Get Weather(city="Oslo", days=3), Other()]` gives the calls of `Get Weather` and of `Other`.

    A name is the longest of `names` that stands before a bracket, and may hold commas and brackets itself (`Search by
    Title, or URL`); else all that stands before the first bracket. A key is all before an equals sign, a value is JSON
    or a Python literal. Takes time linear in the text.

    Raises:
      ValueError: anything else: a positional argument, a key twice, a bracket that is not closed, text behind the list.
    """
    calls, position = [], _expect(text, 0, "[")
    while not calls or text[position : position + 1] == ",":
        position += bool(calls)
        name, opening = _name(text, _skip(text, position), names)
        arguments, after = _arguments(text, opening + 1)
        calls.append(turns.read_call(name, arguments))
        position = _skip(text, after)
    position = _expect(text, position, "]")
    if position < len(text):
        raise ValueError(f"text behind the calls at character {position}")
    return calls


def _name(text: str, start: int, names: Collection[str]) -> tuple[str, int]:
    """The name of the function at `start`, and the position of the bracket behind it."""
    found, opening = None, text.find("(", start)
    while start < opening <= start + MAX_NAME_CHARS:
        if (name := text[start:opening].rstrip()) in names:
            found = name, opening
        opening = text.find("(", opening + 1)
    if found is None:
        opening = _find(text, start, "(")
        found = _word(text, start, opening), opening
    return found


def _arguments(text: str, position: int) -> tuple[dict[str, Any], int]:
    """The arguments from behind the opening bracket on, and the position behind the closing one."""
    arguments: dict[str, Any] = {}
    position = _skip(text, position)
    while text[position : position + 1] != ")":
        if arguments:
            position = _expect(text, position, ",")
        equals = _find(text, position, "=")
        key = _word(text, position, equals)
        if key in arguments:
            raise ValueError(f"the argument {key!r:.40} stands twice")
        arguments[key], position = _value(text, _skip(text, equals + 1))
        position = _skip(text, position)
    return arguments, position + 1


def _value(text: str, position: int) -> tuple[Any, int]:
    for word, value in _WORDS.items():
        if text.startswith(word, position):
            return value, position + len(word)
    if text[position : position + 1] in ("{", "[", '"'):
        try:
            return _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            pass  # `{'a': True}` is Python
    return read_literal(text, position)


def _word(text: str, start: int, end: int) -> str:
    """The name of a function or an argument; quotes and brackets in it mean that the text is something else."""
    word = text[start:end].strip()
    if not word or not _NO_NAME.isdisjoint(word):
        raise ValueError(f"expected a name at character {start}, got {word!r:.40}")
    return word


def _find(text: str, position: int, char: str) -> int:
    found = text.find(char, position)
    if found < 0:
        raise ValueError(f"expected {char} behind character {position}")
    return found


def _expect(text: str, position: int, char: str) -> int:
    position = _skip(text, position)
    if text[position : position + 1] != char:
        raise ValueError(f"expected {char} at character {position}")
    return _skip(text, position + 1)


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _turns(items: list[Any], names: frozenset[str]) -> Iterator[Turn]:
    calls: list[ToolCall] = []
    for i, item in enumerate(items):
        item = item if isinstance(item, dict) else {}
        speaker, text = item.get("from"), turns.read_text(item.get("value"), f"conversations[{i}].value")
        if speaker == "user":
            yield turns.user(text)
        elif speaker == "assistant":
            calls = _calls(text, names)
            yield from map(turns.called, calls) if calls else [turns.assistant(text)]
        elif speaker == "tool":
            yield from map(turns.result, _results(text, calls))
        else:
            raise RowError(rejects.UNREADABLE_MESSAGE, f"conversations[{i}] is from {short(speaker)}")


def _calls(text: str, names: frozenset[str]) -> list[ToolCall]:
    """The calls that an assistant's text is; none when it is an answer.

    Raises:
      RowError: it begins as calls do and cannot be read, or a call of a known function stands inside other words.
    """
    text = text.strip()
    if _begins_a_call(text, names):
        try:
            return read_calls(text, names)
        except ValueError as error:
            raise RowError(rejects.UNREADABLE_CALL, f"{error}: {short(text)}") from None
    if any(part.partition("(")[0].strip() in names and "(" in part for part in text.split("[")[1:]):
        raise RowError(rejects.UNREADABLE_CALL, f"a call inside other words: {short(text)}")
    return []


def _begins_a_call(text: str, names: frozenset[str]) -> bool:
    """Whether a text begins like `[name(`, and not like `[a link](url)` or a list in words."""
    try:
        return text.startswith("[") and bool(_name(text, _skip(text, 1), names))
    except ValueError:
        return False


def _results(text: str, calls: list[ToolCall]) -> list[str]:
    """The `results` of `[{"name": ..., "results": ...}]`, one for each call in order; else the whole text."""
    try:
        value = turns.read_value(text, "tool", rejects.UNREADABLE_MESSAGE)
    except RowError:
        value = None
    if isinstance(value, list) and len(value) == len(calls) > 0:
        named = [(item.get("name"), item) for item in value if isinstance(item, dict) and "results" in item]
        if [name for name, _ in named] == [call.name for call in calls]:
            return [json.dumps(item["results"], ensure_ascii=False) for _, item in named]
    return [text]


def _recognises(row: Row) -> bool:
    system = row.get("system")
    return "conversations" in row and isinstance(system, str) and MARKER in system


SOURCE = Source(
    name=NAME,
    help="ToolACE: the functions in the system text, calls as Python with any names",
    licence=Licence(name="Apache-2.0", url="https://huggingface.co/datasets/Team-ACE/ToolACE"),
    columns=("system", "conversations"),
    optional=("id",),
    read_row=read_row,
    recognises=_recognises,
    hub_id="Team-ACE/ToolACE",
    hub_files=("data.json",),
)
