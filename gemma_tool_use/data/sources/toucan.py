r"""Reads Toucan-1.5M, configuration SFT (https://huggingface.co/datasets/Agent-Ark/Toucan-1.5M).

Text columns uuid, subset_name, question, target_tools, tools, messages. `tools` is a JSON list in OpenAI form and
`messages` a JSON list with the roles of ms-swift (`data/ms_swift_format_converter.ipynb` in TheAgentArk/Toucan):

    [{"role": "user", "content": "What is 3 km in miles?"},
     {"role": "tool_call", "content": "{'name': 'unit-convert', 'arguments': '{\"value\": 3, \"to\": \"mi\"}'}"},
     {"role": "tool_response", "content": "1.86"},
     {"role": "assistant", "content": "About 1.86 miles."}]

The content of a `tool_call` is the Python repr of a dict whose `arguments` is a JSON string; apostrophes in it flip the
quoting, so it is neither JSON nor fit for a replacement of quotes. Text that precedes a call is an `assistant` message
of its own. Parallel calls are K `tool_call` messages, then K `tool_response` messages in the same order, without ids.

The parameters of tools stay as the MCP servers published them. Of the 6,044 tools of these servers 1 has a type that
is not JSON Schema's and 6 have no valid schema; the rules on schemas find those at no cost for all the others.
"""

import ast
import functools
import warnings
from collections.abc import Mapping
from typing import Any

import orjson

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec, tool_from_dict
from gemma_tool_use.data import rejects, rules
from gemma_tool_use.data.files import strict_json
from gemma_tool_use.data.rejects import Reject, RowError, short
from gemma_tool_use.data.sources.source import Licence, Source
from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.json_value import read_json

NAME = rules.TOUCAN_SFT
HUB_ID = "Agent-Ark/Toucan-1.5M"
LICENCE = Licence(name="Apache-2.0", url=f"https://huggingface.co/datasets/{HUB_ID}")
ROLES = ("system", "user", "assistant", "tool_call", "tool_response")
# `ast` needs several hundred bytes per element; a call of this many characters (some 60,000 tokens) trains nothing.
MAX_CALL_CHARS = 262_144
# How a tool begins in Toucan, and in the same without blanks; and how the next one does.
_OPENINGS = (
    ('{"type": "function", ', ', {"type": "function", '),
    ('{"type":"function",', ',{"type":"function",'),
)
# Longer tools are parsed each time, so that the cache holds at most 64 MiB of text whatever the rows are.
_CACHED_CHARACTERS = 8192

# How `str` writes the dict of a call whose arguments hold a quotation mark.
_HEAD, _BETWEEN, _TAIL = "{'name': '", "', 'arguments': '", "'}"
_NOTHING: list[str] = []
_ESCAPES = (("\\'", "'"), ("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r"), ('\\"', '"'))


def read_row(row: Mapping[str, Any], where: str) -> Conversation | Reject:
    """One row as a conversation, or why it cannot be read.

    The messages of the module docstring become `user`, `assistant` with one call, `tool` named `unit-convert`, and
    `assistant`. An assistant text directly before calls becomes the content of the message that carries them, and
    assistant texts in a row are joined by an empty line. The source of the conversation is `toucan-sft/SUBSET`, the
    annotation stands in `meta["target_tools"]`.
    """
    row_id = text_or(row.get("uuid"), where)
    try:
        items = json_list(row.get("messages"), rejects.BROKEN_MESSAGES)
        if not items:
            raise RowError(rejects.NO_MESSAGES, "the list of messages is empty")
        tools = read_tools(row.get("tools"))
        messages = tuple(_messages(items))
    except RowError as error:
        return Reject(id=row_id, reason=error.reason, detail=error.detail, where=where)
    annotation = row.get("target_tools")
    return Conversation(
        id=row_id,
        source=f"{NAME}/{subset(row)}",
        tools=tools,
        messages=messages,
        meta={"target_tools": annotation} if isinstance(annotation, str) else {},
    )


def subset(row: Mapping[str, Any]) -> str:
    """The `subset_name` of a row."""
    return text_or(row.get("subset_name"), "")


def text_or(value: Any, otherwise: str) -> str:
    """The value when it is text and not empty."""
    return value if isinstance(value, str) and value else otherwise


def read_call(content: str) -> ToolCall:
    """`"{'name': 'f', 'arguments': '{\\"a\\": 1}'}"` gives `ToolCall(name="f", arguments={"a": 1})`.

    Raises:
      RowError: anything else, with the reason that is counted.
    """
    call = parse_repr(content)
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        raise RowError(rejects.UNREADABLE_CALL, f"expected a dict with a name: {short(content)}")
    text = call.get("arguments")
    if not isinstance(text, str):
        raise RowError(rejects.UNREADABLE_CALL, f"expected arguments as a JSON string: {short(content)}")
    return read_arguments(call["name"], text)


def parse_repr(content: str) -> Any:
    """What `ast.literal_eval` gives, in a tenth of the time for the common `{'name': 'f', 'arguments': '{...}'}`.

    Raises:
      RowError: not the repr of a Python literal, or longer than `MAX_CALL_CHARS`.
    """
    if len(content) > MAX_CALL_CHARS:
        raise RowError(rejects.UNREADABLE_CALL, f"{len(content)} characters, more than {MAX_CALL_CHARS}")
    if content.startswith(_HEAD) and content.endswith(_TAIL) and content.isascii():
        name, between, inside = content[len(_HEAD) : -len(_TAIL)].partition(_BETWEEN)
        if between and "\\" not in name and (text := _unescaped(inside)) is not None and _unescaped(name) == name:
            return {"name": name, "arguments": text}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # an unknown escape such as \d in hand-made rows
            return ast.literal_eval(content)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise RowError(rejects.UNREADABLE_CALL, f"{type(error).__name__}: {short(content)}") from None


def _unescaped(inside: str) -> str | None:
    """The text whose literal has this between its apostrophes; None for a rare escape, and for what is no literal."""
    if "\n" in inside or "\r" in inside or "\0" in inside:
        return None
    if "\\" not in inside:
        return None if "'" in inside else inside
    # Pairs of backslashes are found from the left, as Python reads them; no other backslash is next to one.
    parts = inside.split("\\\\")
    for number, part in enumerate(parts):
        if part.count("'") != part.count("\\'"):
            return None
        for written, char in _ESCAPES:
            part = part.replace(written, char)
        if "\\" in part:
            return None
        parts[number] = part
    return "\\".join(parts)


def read_arguments(name: str, text: str) -> ToolCall:
    """The call of a function with arguments as JSON text.

    Raises:
      RowError: not strict JSON (NaN, a key twice, more than 64 levels), or no object.
    """
    try:
        arguments = read_json(text)
    except ValueError as error:
        raise RowError(rejects.BROKEN_ARGUMENTS, f"{name}: {error}: {short(text)}") from None
    if not isinstance(arguments, dict):
        raise RowError(rejects.ARGUMENTS_NOT_OBJECT, f"{name}: {short(text)}")
    return ToolCall(name=name, arguments=arguments)


def read_tools(text: Any) -> tuple[ToolSpec, ...]:
    """The tools in a JSON list. Rows with the same tool may be given the same object.

    Raises:
      RowError: not a JSON list, or one of them has no name or no schema.
    """
    known = _known_tools(text) if isinstance(text, str) else None
    if known is not None:
        return known
    try:
        return tuple([tool_from_dict(tool) for tool in json_list(text, rejects.BROKEN_TOOLS, exact=True)])
    except DataError as error:
        raise RowError(rejects.UNREADABLE_TOOL, str(error)) from None


def _known_tools(text: str) -> tuple[ToolSpec, ...] | None:
    """The tools in a list that is written as the published ones are, None for any other text.

    Servers' tools come back in thousands of rows, so each is parsed once. Wherever the text is cut, what comes out is
    right: pieces that are JSON values with commas between them are the elements of the list, and of no other.
    """
    for opening, between in _OPENINGS:
        if text.startswith(opening, 1):
            if text[0] != "[" or text[-1] != "]":
                return None
            pieces = text[1 + len(opening) : -1].split(between)
            if len(text) > _CACHED_CHARACTERS and max(map(len, pieces)) > _CACHED_CHARACTERS:
                return None
            tools = [_known_tool(opening, piece) for piece in pieces]
            return None if None in tools else tuple(tools)  # pyright: ignore[reportReturnType]
    return None


@functools.lru_cache(maxsize=8192)
def _known_tool(opening: str, rest: str) -> ToolSpec | None:
    try:
        items = strict_json(f"[{opening}{rest}]")  # a list, because the depth of values is counted from the whole list
        return tool_from_dict(items[0]) if len(items) == 1 else None
    except (ValueError, DataError):
        return None


def json_list(text: Any, reason: str, *, exact: bool = False) -> list[Any]:
    """A list from its JSON text. Unless `exact`, an integer of more than 64 bits may come out as a float.

    Raises:
      RowError: anything else, for `reason`.
    """
    if not isinstance(text, str):
        raise RowError(reason, f"expected a JSON list: {short(text)}")
    try:
        value = _loads(text) if not exact else strict_json(text)
    except ValueError as error:
        raise RowError(reason, f"{error}: {short(text)}") from None
    if not isinstance(value, list):
        raise RowError(reason, f"expected a JSON list: {short(text)}")
    return value


def _loads(text: str) -> Any:
    """By orjson, twice as fast; what it refuses, such as half of a surrogate pair, is left to `strict_json`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return strict_json(text)


def _messages(items: list[Any]) -> list[Message]:
    groups = _groups(items)
    result: list[Message] = []
    calls: tuple[ToolCall, ...] = ()
    before, said = "", _NOTHING
    for i, (role, texts) in enumerate(groups):
        after, answers = groups[i + 1] if i + 1 < len(groups) else ("", _NOTHING)
        if role == "tool_call":
            calls = tuple([read_call(text) for text in texts])
            if after and (after != "tool_response" or len(answers) != len(calls)):
                raise RowError(rejects.UNPAIRED, f"{len(calls)} calls, then {len(answers)} {after} messages")
            text = "\n\n".join(said) if before == "assistant" else ""
            result.append(Message(role="assistant", content=text, calls=calls))
        elif role == "tool_response":
            if before != "tool_call":
                raise RowError(rejects.UNPAIRED, f"a tool_response after {before or 'nothing'}")
            for text, call in zip(texts, calls, strict=True):
                result.append(Message(role="tool", content=text, name=call.name))
        elif role == "assistant":
            if after != "tool_call":
                result.append(Message(role="assistant", content="\n\n".join(texts)))
        else:
            result += [Message(role="user" if role == "user" else "system", content=text) for text in texts]
        before, said = role, texts
    return result


def _groups(items: list[Any]) -> list[tuple[str, list[str]]]:
    """Role and contents of the messages, those of one role in a row together."""
    groups: list[tuple[str, list[str]]] = []
    last: Any = None
    for i, item in enumerate(items):
        if not isinstance(item, dict):
            raise RowError(rejects.UNREADABLE_MESSAGE, f"messages[{i}] is not an object: {short(item)}")
        role, content = item.get("role"), item.get("content")
        if role not in ROLES:
            raise RowError(rejects.UNREADABLE_MESSAGE, f"messages[{i}].role is {short(role)}, expected one of {ROLES}")
        if not isinstance(content, str):
            raise RowError(rejects.UNREADABLE_MESSAGE, f"messages[{i}].content is not text: {short(content)}")
        if role == last:
            groups[-1][1].append(content)
        else:
            groups.append((role, [content]))
            last = role
    return groups


SOURCE = Source(
    name=NAME,
    help="Toucan-1.5M, configuration SFT: 119,287 rows of MCP servers' tools",
    licence=LICENCE,
    columns=("uuid", "subset_name", "tools", "messages"),
    optional=("target_tools",),
    read_row=read_row,
    recognises=lambda row: {"uuid", "subset_name", "tools", "messages"} <= row.keys(),
    hub_id=HUB_ID,
    hub_files=("SFT/*.parquet",),
    subset=subset,
)
