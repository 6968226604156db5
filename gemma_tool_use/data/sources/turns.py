"""What readers of published chats share: tools, calls and texts checked as they come in, and calls paired with results.

    turns = [user("Roll a d6"), called(read_call("roll", '{"sides": 6}')), result("4"), assistant("A four.")]
    pair(turns)
    # user "Roll a d6", assistant with the call, tool message of `roll` with "4", assistant "A four."

A reader is made of these by `reader`, so that whatever does not fit leaves it as a `Reject`. No JAX.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject, RowError, short
from gemma_tool_use.data.sources.schema import normalise_parameters
from gemma_tool_use.data.sources.source import Outcome, ReadRow
from gemma_tool_use.formats.json_value import check_value, read_json

Kind = Literal["system", "user", "assistant", "call", "result"]
Row = Mapping[str, Any]
OTHER_SPLIT = "row of another split"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turn:
    """One thing said, called or answered. `call` is there exactly when the kind is `call`."""

    kind: Kind
    text: str = ""
    call: ToolCall | None = None


def system(text: str) -> Turn:
    return Turn(kind="system", text=text)


def user(text: str) -> Turn:
    return Turn(kind="user", text=text)


def assistant(text: str) -> Turn:
    return Turn(kind="assistant", text=text)


def called(call: ToolCall) -> Turn:
    return Turn(kind="call", call=call)


def result(text: str) -> Turn:
    return Turn(kind="result", text=text)


def reader(read: Callable[[Row, str], Conversation]) -> ReadRow:
    """Makes the reader of a source: what `read` raises as `RowError` becomes the `Reject` of its row."""

    @functools.wraps(read)
    def read_row(row: Row, where: str) -> Outcome:
        try:
            return read(row, where)
        except RowError as error:
            return Reject(id=row_id(row, where), reason=error.reason, detail=error.detail, where=where)

    return read_row


def row_id(row: Row, where: str) -> str:
    """The id of a row, a text or a whole number, as text; its place when it has none."""
    value = row.get("id")
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64:
        return str(value)
    return value if isinstance(value, str) and value else where


def read_text(value: Any, what: str, reason: str = rejects.UNREADABLE_MESSAGE) -> str:
    """The value, once it is known to be text.

    Raises:
      RowError: it is not.
    """
    if not isinstance(value, str):
        raise RowError(reason, f"{what} is not text: {short(value)}")
    return value


def read_list(value: Any, what: str, reason: str) -> list[Any]:
    """A list, or the JSON text of one.

    Raises:
      RowError: anything else, no strict JSON (NaN, a key twice), or values nested too deeply.
    """
    value = read_value(value, what, reason)
    if not isinstance(value, list):
        raise RowError(reason, f"{what} is not a list: {short(value)}")
    return value


def read_value(value: Any, what: str, reason: str) -> Any:
    """A JSON value, or the value of a JSON text.

    Raises:
      RowError: as `read_list`.
    """
    try:
        value = read_json(value) if isinstance(value, str) else value
        check_value(value)
    except ValueError as error:
        raise RowError(reason, f"{what}: {error}") from None
    return value


def read_tools(value: Any) -> tuple[ToolSpec, ...]:
    """Tools from a list, or its JSON text; each an object or the JSON text of one. None and "" are no tools.

    Raises:
      RowError: as `read_list` and `read_tool`.
    """
    items = [] if value is None or value == "" else read_list(value, "tools", rejects.BROKEN_TOOLS)
    return tuple(read_tool(read_value(item, f"tools[{i}]", rejects.BROKEN_TOOLS)) for i, item in enumerate(items))


def read_tool(value: Any) -> ToolSpec:
    """A function, bare or as `{"type": "function", "function": ...}`, its parameters made JSON Schema.

    Raises:
      RowError: no object, no name, or parameters that `normalise_parameters` cannot read.
    """
    function = value.get("function", value) if isinstance(value, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name.strip():
        raise RowError(rejects.UNREADABLE_TOOL, f"a tool needs a name: {short(value)}")
    description = function.get("description")
    description = "" if description is None else read_text(description, f"{name}: description", rejects.UNREADABLE_TOOL)
    try:
        parameters = normalise_parameters(function.get("parameters"), required=function.get("required"))
    except RowError as error:
        raise RowError(error.reason, f"{name}: {error.detail}") from None
    return ToolSpec(name=name, description=description, parameters=parameters)


def read_call(name: Any, arguments: Any) -> ToolCall:
    """A call from its name and its arguments: an object, its JSON text, or None for none.

    Raises:
      RowError: no name; arguments that are not strict JSON (a key twice, NaN), too deeply nested, or no object.
    """
    if not isinstance(name, str) or not name.strip():
        raise RowError(rejects.UNREADABLE_CALL, f"a call needs a function name, got {short(name)}")
    try:
        arguments = read_json(arguments) if isinstance(arguments, str) else arguments
        check_value(arguments)
    except ValueError as error:
        raise RowError(rejects.BROKEN_ARGUMENTS, f"{name}: {error}") from None
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, dict):
        raise RowError(rejects.ARGUMENTS_NOT_OBJECT, f"{name}: {short(arguments)}")
    return ToolCall(name=name, arguments=arguments)


def read_calls(value: Any, what: str) -> list[Turn]:
    """The turns of one call or a list of calls, as objects or as JSON text.

    Raises:
      RowError: as `read_call_object`.
    """
    value = read_value(value, what, rejects.UNREADABLE_CALL)
    if value == []:
        raise RowError(rejects.UNREADABLE_CALL, f"{what} holds no call")
    return [called(read_call_object(item, what)) for item in (value if isinstance(value, list) else [value])]


def read_call_object(value: Any, what: str) -> ToolCall:
    """`{"name": "f", "arguments": {...}}`, as an object or its JSON text, with or without a `function` around it.

    Raises:
      RowError: as `read_value` and `read_call`, or no object.
    """
    value = read_value(value, what, rejects.UNREADABLE_CALL)
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict):
        raise RowError(rejects.UNREADABLE_CALL, f"{what} is not an object: {short(value)}")
    return read_call(function.get("name"), function.get("arguments"))


def pair(turns: Iterable[Turn]) -> tuple[Message, ...]:
    """The messages of a chat: calls in a row become one message, each result the answer to the call of its position.

    A text of the assistant directly before calls becomes the text of their message; texts in a row are joined by an
    empty line.

    Raises:
      RowError: no turns but of the system, results without calls, or another number of results than of calls. Calls
        at the end of the chat need no results.
    """
    groups: list[tuple[Kind, list[Turn]]] = [(kind, list(group)) for kind, group in itertools.groupby(turns, key=_kind)]
    if all(kind == "system" for kind, _ in groups):
        raise RowError(rejects.NO_MESSAGES, "nobody says anything")
    return tuple(itertools.chain.from_iterable(_group(groups, i) for i in range(len(groups))))


def _kind(turn: Turn) -> Kind:
    return turn.kind


def _group(groups: list[tuple[Kind, list[Turn]]], i: int) -> Iterator[Message]:
    kind, turns = groups[i]
    before, before_turns = groups[i - 1] if i else (None, [])
    after, after_turns = groups[i + 1] if i + 1 < len(groups) else (None, [])
    if kind == "call":
        if after and (after != "result" or len(after_turns) != len(turns)):
            raise RowError(rejects.UNPAIRED, f"{len(turns)} calls, then {len(after_turns)} {after} turns")
        text = _joined(before_turns) if before == "assistant" else ""
        yield Message(role="assistant", content=text, calls=tuple(_calls(turns)))
    elif kind == "result":
        if before != "call":
            raise RowError(rejects.UNPAIRED, f"a result after {before or 'nothing'}")
        for turn, call in zip(turns, _calls(before_turns), strict=True):
            yield Message(role="tool", content=turn.text, name=call.name)
    elif kind == "assistant":
        if after != "call":
            yield Message(role="assistant", content=_joined(turns))
    else:
        yield from (Message(role=kind, content=turn.text) for turn in turns)


def _calls(turns: Iterable[Turn]) -> Iterator[ToolCall]:
    return (turn.call for turn in turns if turn.call is not None)


def _joined(turns: Iterable[Turn]) -> str:
    return "\n\n".join(turn.text for turn in turns)
