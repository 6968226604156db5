"""What is wrong with a conversation that could be read: calls, schemas, names, answers.

list(conversation_faults(conversation_that_calls_get_wether))
# [Fault(kind="call of an undeclared tool", path="messages[1].tool_calls[0].function.name",
#        found="got 'get_wether', expected one of 1 declared; did you mean 'get_weather'?")]
"""

import difflib
import json
import string
from collections.abc import Iterator, Mapping

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec, conversation_to_dict
from gemma_tool_use.data.analysis import faults as kinds
from gemma_tool_use.data.analysis.faults import Fault
from gemma_tool_use.data.rejects import short
from gemma_tool_use.data.rules import schemas

# Of one call; a schema with thousands of wrong elements says nothing more after these.
MOST_SCHEMA_ERRORS = 5
_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_.-")
_NAME_LENGTH = 64
_CALL_MARKS = ("<tool_call", "<functioncall", "<function_call", "<start_function_call", "<TOOLCALL", "```tool_code")


def conversation_faults(conversation: Conversation) -> Iterator[Fault]:
    """Every fault of what the row says; what depends on a dialect, a tokenizer or other rows is not judged here."""
    yield from _unicode_faults(conversation)
    declared: dict[str, ToolSpec] = {}
    for i, tool in enumerate(conversation.tools):
        yield from _tool_faults(tool, f"tools[{i}].function", declared)
        declared.setdefault(tool.name, tool)
    pending: list[str] = []
    for i, message in enumerate(conversation.messages):
        path = f"messages[{i}]"
        for j, call in enumerate(message.calls):
            yield from _call_faults(call, f"{path}.tool_calls[{j}].function", declared)
        if message.role == "assistant":
            pending = [call.name for call in message.calls]
            yield from _answer_faults(message, path)
        elif message.role == "tool":
            yield from _result_faults(message, path, pending)
    roles = {message.role for message in conversation.messages}
    shown = ", ".join(message.role for message in conversation.messages[:8])
    if "user" not in roles:
        yield Fault(kind=kinds.NO_USER, path="messages", found=f"roles: {shown}")
    if "assistant" not in roles:
        yield Fault(kind=kinds.NO_ANSWER, path="messages", found=f"roles: {shown}")


def is_hard_name(name: str) -> bool:
    """Whether hosted APIs refuse the name: they take 1 to 64 letters, digits, `_`, `.` and `-`."""
    return not 1 <= len(name) <= _NAME_LENGTH or not _NAME_CHARACTERS.issuperset(name)


def _tool_faults(tool: ToolSpec, path: str, declared: Mapping[str, ToolSpec]) -> Iterator[Fault]:
    if tool.name in declared:
        same = "the same" if declared[tool.name] == tool else "a different"
        yield Fault(
            kind=kinds.DUPLICATE_TOOL, path=f"{path}.name", found=f"{short(tool.name)} again, with {same} schema"
        )
    if is_hard_name(tool.name):
        odd = sorted(set(tool.name) - _NAME_CHARACTERS)
        found = f"holds {short(''.join(odd), 40)}" if odd else f"{len(tool.name)} characters"
        yield Fault(kind=kinds.HARD_NAME, path=f"{path}.name", found=f"{short(tool.name)}: {found}")
    problem = schemas.validator(tool.parameters)
    if isinstance(problem, str):
        yield Fault(kind=kinds.BAD_SCHEMA, path=f"{path}.parameters", found=f"{short(tool.name)}: {problem[:200]}")


def _call_faults(call: ToolCall, path: str, declared: Mapping[str, ToolSpec]) -> Iterator[Fault]:
    if call.name not in declared:
        near = difflib.get_close_matches(call.name, declared, n=1, cutoff=0.5)
        hint = f"; did you mean {short(near[0])}?" if near else ""
        found = f"got {short(call.name)}, expected one of {len(declared)} declared{hint}"
        yield Fault(kind=kinds.UNDECLARED_TOOL, path=f"{path}.name", found=found)
        return
    check = schemas.validator(declared[call.name].parameters)
    if isinstance(check, str):
        return  # reported with the tool
    for where, message in schemas.faults(check, call.arguments)[:MOST_SCHEMA_ERRORS]:
        place = f"{path}.arguments{schemas.path_text(where)[1:]}"
        yield Fault(kind=kinds.BAD_ARGUMENTS, path=place[:200], found=message[:200])


def _answer_faults(message: Message, path: str) -> Iterator[Fault]:
    if not message.calls and not message.content.strip():
        yield Fault(kind=kinds.EMPTY_ANSWER, path=path, found="neither text nor calls")
    for mark in _CALL_MARKS:
        if (at := message.content.find(mark)) >= 0:
            found = short(message.content[at : at + 60])
            yield Fault(kind=kinds.CALL_AS_TEXT, path=f"{path}.content", found=found)
            break


def _result_faults(message: Message, path: str, pending: list[str]) -> Iterator[Fault]:
    """Takes the answered call from `pending`, which holds the calls of the last assistant message not yet answered."""
    if not pending:
        yield Fault(
            kind=kinds.STRAY_RESULT, path=path, found="every call before it is answered already, or there is none"
        )
    elif message.name is None:
        pending.pop(0)
    elif message.name in pending:
        pending.remove(message.name)
    else:
        found = f"got the name {short(message.name)}, expected {' or '.join(short(name) for name in pending[:3])}"
        yield Fault(kind=kinds.STRAY_RESULT, path=f"{path}.name", found=found)


def _unicode_faults(conversation: Conversation) -> Iterator[Fault]:
    try:
        json.dumps(conversation_to_dict(conversation), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        yield Fault(kind=kinds.NOT_UNICODE, found=short(error.object[max(0, error.start - 20) : error.end + 10]))
