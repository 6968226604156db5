"""Every fault in the layout of one line of OpenAI chat JSONL, not only the first.

    row, faults = read_line(b'{"messages": [{"role": "usr", "content": "Hi"}]}')
    # faults: Fault(kind="unknown role", path="messages[0].role", found="got 'usr', expected one of system, ...")

What it finds nothing wrong with, `conversation_from_dict` can read.
"""

import difflib
import json
from collections.abc import Generator, Iterator
from typing import Any

from gemma_tool_use.conversation import ROLES
from gemma_tool_use.data.analysis import faults as kinds
from gemma_tool_use.data.analysis.faults import Fault
from gemma_tool_use.data.files import strict_json
from gemma_tool_use.data.rejects import short

_ROW_FIELDS = ("id", "source", "license", "tools", "messages", "meta")
_MESSAGE_FIELDS = ("role", "content", "tool_calls", "name", "tool_call_id", "reasoning", "reasoning_content")
_OTHER_FORMS = ("conversations", "chat", "query", "answers", "prompt", "completion", "instruction", "input")


def read_line(line: bytes) -> tuple[dict[str, Any] | None, list[Fault]]:
    """The row (None when the line is no JSON object) and its faults."""
    repeated: list[str] = []
    try:
        row = _load(line, repeated)
    except UnicodeDecodeError as error:
        found = f"byte {error.start + 1} of the line is not UTF-8: {error.object[error.start : error.start + 8]!r}"
        return None, [Fault(kind=kinds.BROKEN_JSON, path=f"byte {error.start + 1}", found=found)]
    except json.JSONDecodeError as error:
        near = short(error.doc[max(0, error.pos - 20) : error.pos + 20])
        return None, [Fault(kind=kinds.BROKEN_JSON, path=f"column {error.colno}", found=f"{error.msg}, near {near}")]
    except ValueError as error:
        found = str(error)[:200]
        return None, [Fault(kind=kinds.BROKEN_JSON, found=found)]
    if not isinstance(row, dict):
        return None, [Fault(kind=kinds.BROKEN_JSON, found=f"got {short(row)}, expected a JSON object")]
    found = [Fault(kind=kinds.REPEATED_KEY, found=short(key)) for key in repeated]
    return row, [*found, *row_faults(row)]


def row_faults(row: dict[str, Any]) -> Iterator[Fault]:
    """The faults of the layout of a row; `tools` and `messages` may be JSON text, as in parquet files."""
    yield from _misspelt(row, "", _ROW_FIELDS)
    tools = yield from _list(row.get("tools"), "tools")
    messages = yield from _list(row.get("messages"), "messages")
    for i, tool in enumerate(tools or ()):
        yield from _tool_faults(tool, f"tools[{i}]")
    for i, message in enumerate(messages or ()):
        yield from _message_faults(message, f"messages[{i}]")
    if messages is not None and not messages:
        others = [name for name in _OTHER_FORMS if name in row]
        hint = f"; the row has {', '.join(others)}: another form? Name its --source" if others else ""
        yield Fault(kind=kinds.MISSING_FIELD, path="messages", found=f"no messages{hint}")


def _tool_faults(tool: Any, path: str) -> Iterator[Fault]:
    if not isinstance(tool, dict):
        yield _wrong(path, tool, "an object")
        return
    wrapped = "function" in tool
    function, path = tool.get("function", tool), f"{path}.function" if wrapped else path
    if not isinstance(function, dict):
        yield _wrong(path, function, "an object")
        return
    yield from _name_faults(function, path)
    for field, kind, word in (("parameters", dict, "a JSON Schema object"), ("description", str, "text")):
        value = function.get(field)
        if value is not None and not isinstance(value, kind):
            yield _wrong(f"{path}.{field}", value, word)
    misplaced = [name for name in ("inputSchema", "input_schema", "properties") if name in function]
    if misplaced and "parameters" not in function:
        found = f"parameters is missing, and {misplaced[0]} is not read"
        yield Fault(kind=kinds.MISSING_FIELD, path=f"{path}.parameters", found=found)


def _message_faults(message: Any, path: str) -> Iterator[Fault]:
    if not isinstance(message, dict):
        yield _wrong(path, message, "an object")
        return
    yield from _misspelt(message, path, _MESSAGE_FIELDS)
    role = message.get("role")
    if role is None:
        yield Fault(kind=kinds.MISSING_FIELD, path=f"{path}.role", found=f"expected one of {', '.join(ROLES)}")
    elif role not in (*ROLES, "developer"):
        near = difflib.get_close_matches(str(role), ROLES, n=1) or [_ROLE_WORDS.get(str(role), "")]
        hint = f"; did you mean {near[0]!r}?" if near[0] else ""
        if role in _MS_SWIFT_ROLES:
            hint = "; a file in ms-swift form? Name its --source"
        found = f"got {short(role)}, expected one of {', '.join(ROLES)}{hint}"
        yield Fault(kind=kinds.WRONG_ROLE, path=f"{path}.role", found=found)
    for field in ("content", "reasoning", "reasoning_content"):
        if not _is_text(message.get(field)):
            yield _wrong(f"{path}.{field}", message[field], "text, null or a list of text parts")
    if message.get("function_call"):
        yield Fault(kind=kinds.OLD_CALL, path=f"{path}.function_call", found=short(message["function_call"]))
    if role != "assistant" and (message.get("tool_calls") or message.get("reasoning")):
        yield Fault(
            kind=kinds.WRONG_ROLE,
            path=path,
            found=f"got calls or reasoning on {short(role)}, expected on assistant only",
        )
    calls = yield from _list(message.get("tool_calls"), f"{path}.tool_calls")
    for i, call in enumerate(calls or ()):
        yield from _call_faults(call, f"{path}.tool_calls[{i}]")


_MS_SWIFT_ROLES = ("tool_call", "tool_response")
_ROLE_WORDS = {"human": "user", "gpt": "assistant", "model": "assistant", "bot": "assistant", "function": "tool"}


def _call_faults(call: Any, path: str) -> Iterator[Fault]:
    if not isinstance(call, dict):
        yield _wrong(path, call, "an object")
        return
    function, path = call.get("function", call), f"{path}.function" if "function" in call else path
    if not isinstance(function, dict):
        yield _wrong(path, function, "an object with name and arguments")
        return
    yield from _name_faults(function, path)
    arguments, path = function.get("arguments"), f"{path}.arguments"
    if isinstance(arguments, str):
        repeated: list[str] = []
        try:
            arguments = _load(arguments, repeated)
        except json.JSONDecodeError as error:
            found = f"{error.msg} at character {error.pos + 1} of {short(arguments)}"
            yield Fault(kind=kinds.BROKEN_ARGUMENTS, path=path, found=found)
            return
        except ValueError as error:
            yield Fault(kind=kinds.BROKEN_ARGUMENTS, path=path, found=f"{str(error)[:200]}: {short(arguments)}")
            return
        for key in repeated:
            yield Fault(kind=kinds.REPEATED_KEY, path=path, found=short(key))
    if arguments is not None and not isinstance(arguments, dict):
        yield _wrong(path, arguments, "an object")


def _name_faults(function: dict[str, Any], path: str) -> Iterator[Fault]:
    name = function.get("name")
    if name is None or name == "":
        yield Fault(kind=kinds.MISSING_FIELD, path=f"{path}.name", found="expected the name of the function")
    elif not isinstance(name, str):
        yield _wrong(f"{path}.name", name, "text")


def _misspelt(value: dict[str, Any], path: str, known: tuple[str, ...]) -> Iterator[Fault]:
    for key in value:
        if key in known:
            continue
        near = [name for name in difflib.get_close_matches(key, known, n=1, cutoff=0.8) if name not in value]
        if near:
            found = f"got {short(key)}, expected {near[0]!r}?"
            yield Fault(kind=kinds.MISSPELT_FIELD, path=f"{path}.{key[:40]}".lstrip("."), found=found)


def _list(value: Any, path: str) -> Generator[Fault, None, list[Any] | None]:
    """The list, [] when it is absent, None when there is none to go on with."""
    if isinstance(value, str):
        try:
            value = _load(value, [])
        except ValueError as error:
            yield Fault(kind=kinds.WRONG_TYPE, path=path, found=f"text that is not JSON ({str(error)[:120]})")
            return None
    if value is None:
        return []
    if not isinstance(value, list):
        yield _wrong(path, value, "a list")
        return None
    return value


def _is_text(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in value)
    return value is None or isinstance(value, str)


def _wrong(path: str, got: Any, expected: str) -> Fault:
    return Fault(kind=kinds.WRONG_TYPE, path=path, found=f"got {short(got)}, expected {expected}")


def _load(text: str | bytes, repeated: list[str]) -> Any:
    """Strict JSON; keys that stand twice in an object are noted."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) < len(items):
            seen: set[str] = set()
            for key, _ in items:
                if key in seen:
                    repeated.append(key)
                seen.add(key)
        return result

    value = strict_json(text)
    json.loads(text, object_pairs_hook=pairs)
    return value
