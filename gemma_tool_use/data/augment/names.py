"""Name masking: function and parameter names become random strings, so that only descriptions tell what is what.

    mask_names(row, settings)      # with a call get_weather(city="Oslo")
    # tools: "kq3xz" ("Weather in a city") with the parameter "v8t1" ("Name of the city"); call: kq3xz(v8t1="Oslo")
    # meta:  {"step": "names", "tools": {"kq3xz": "get_weather"}, "parameters": {"kq3xz": {"v8t1": "city"}}}

The method is that of Hammer (arXiv 2410.04587), which masks the names of a third to a half of its rows. Names change in
tools, calls and the names of tool results; no text changes. A parameter without a description keeps its name, because
nothing else says what it means. A row is left as it is when a function has no description, when somebody speaks of a
name ("call get_weather with max_results 5"), or when a schema uses names in ways that `renaming.py` does not know.
"""

import dataclasses
import json
import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gemma_tool_use.conversation import Conversation, ToolCall, ToolSpec
from gemma_tool_use.data.augment.draws import Draws
from gemma_tool_use.data.augment.records import Record, left, recorded
from gemma_tool_use.data.augment.renaming import declared, problem, rename_arguments, rename_schema
from gemma_tool_use.data.augment.settings import AugmentSettings

STEP = "names"
MIN_DESCRIPTION_WORDS = 3

NO_TOOLS = "it offers no tools"
NO_DESCRIPTION = "a tool without a description"
SPOKEN_OF = "its text speaks of a name"
DESCRIBED = "a tool's description speaks of another tool"
NOT_SAFE = "a schema whose names cannot be changed safely"
AMBIGUOUS = "two tools of one name, or a call to none"

_FIRST, _NEXT = string.ascii_lowercase, string.ascii_lowercase + string.digits


def mask_names(conversation: Conversation, settings: AugmentSettings) -> Conversation:
    """The conversation with random names; itself when it is not chosen."""
    draws = Draws(seed=settings.seed, step=STEP, row=conversation.id)
    if not settings.mask_share or draws.unit() >= settings.mask_share:
        return conversation
    masked = {tool.name: _masked_parameters(tool) for tool in conversation.tools}
    if reason := _unsafe(conversation, masked):
        return left(conversation, STEP, reason)
    fresh = _fresh_names(draws, _all_keys(conversation))
    tools = {name: next(fresh) for name in masked}
    parameters = {name: {old: next(fresh) for old in olds} for name, olds in masked.items()}
    renamed = _rename(conversation, tools, parameters)
    record = {
        "step": STEP,
        "tools": {new: old for old, new in tools.items()},
        "parameters": {tools[name]: {new: old for old, new in names.items()} for name, names in parameters.items()},
    }
    return recorded(renamed, record)


def undo_names(conversation: Conversation, record: Record) -> Conversation:
    """The conversation with the names it had."""
    return _rename(conversation, record["tools"], record["parameters"])


def _rename(
    conversation: Conversation, tools: Mapping[str, str], parameters: Mapping[str, Mapping[str, str]]
) -> Conversation:
    schemas = {tool.name: tool.parameters for tool in conversation.tools}

    def call(old: ToolCall) -> ToolCall:
        arguments = rename_arguments(old.arguments, schemas[old.name], parameters[old.name])
        return ToolCall(name=tools[old.name], arguments=arguments)

    return dataclasses.replace(
        conversation,
        tools=tuple(
            dataclasses.replace(
                tool, name=tools[tool.name], parameters=rename_schema(tool.parameters, parameters[tool.name])
            )
            for tool in conversation.tools
        ),
        messages=tuple(
            dataclasses.replace(
                message,
                calls=tuple(call(old) for old in message.calls),
                name=None if message.name is None else tools.get(message.name, message.name),
            )
            for message in conversation.messages
        ),
    )


def _masked_parameters(tool: ToolSpec) -> list[str]:
    """Names that are described wherever the tool declares them, in the order of the schema."""
    if problem(tool.parameters):
        return []
    described: dict[str, bool] = {}
    for name, schema in declared(tool.parameters):
        text = schema.get("description") if isinstance(schema, dict) else None
        described[name] = described.get(name, True) and isinstance(text, str) and bool(text.strip())
    return [name for name, is_described in described.items() if is_described]


def _unsafe(conversation: Conversation, masked: Mapping[str, Iterable[str]]) -> str:
    if not conversation.tools:
        return NO_TOOLS
    called = {call.name for message in conversation.messages for call in message.calls}
    if len(masked) < len(conversation.tools) or not called <= masked.keys():
        return AMBIGUOUS
    if any(len(tool.description.split()) < MIN_DESCRIPTION_WORDS for tool in conversation.tools):
        return NO_DESCRIPTION
    if any(problem(tool.parameters) for tool in conversation.tools):
        return NOT_SAFE
    said = [m.content + "\n" + m.reasoning for m in conversation.messages if m.role != "tool"]
    names = [name for tool, olds in masked.items() for name in (tool, *olds) if not _is_plain_word(name)]
    if any(name in text for name in names for text in said):
        return SPOKEN_OF
    # "Call resolve_id first" in the description of another tool.
    functions = [name for name in masked if not _is_plain_word(name)]
    told = [(tool.name, json.dumps([tool.description, tool.parameters])) for tool in conversation.tools]
    others = any(name in text for name in functions for owner, text in told if owner != name)
    return DESCRIBED if others else ""


def _is_plain_word(name: str) -> bool:
    """Whether people also write the name without meaning it: `city`, `Add`; not `max_results`, `getCity`, `h264`."""
    return name.isalpha() and (name[1:].islower() or len(name) == 1)


def _fresh_names(draws: Draws, known: set[str]) -> Iterator[str]:
    """Random names, each new to the row; the digit in each keeps words and keywords out."""
    number = 0
    while True:
        number += 1
        # 64 random bits are spent on the length, the digit and its place, and up to seven letters.
        bits, size = divmod(draws.bits(number), 4)
        bits, place = divmod(bits, size + 3)
        letters = []
        for i in range(size + 4):
            letters_here = _FIRST if i == 0 else string.digits if i == place + 1 else _NEXT
            bits, letter = divmod(bits, len(letters_here))
            letters.append(letters_here[letter])
        name = "".join(letters)
        if name not in known:
            known.add(name)
            yield name


def _all_keys(conversation: Conversation) -> set[str]:
    """Every name and every key of the row, so that no new name can be taken for an old one."""
    found = {tool.name for tool in conversation.tools}
    found |= {message.name for message in conversation.messages if message.name is not None}

    def keep(pairs: list[tuple[str, Any]]) -> None:
        found.update(key for key, _ in pairs)

    values = [tool.parameters for tool in conversation.tools]
    values += [call.arguments for message in conversation.messages for call in message.calls]
    json.loads(json.dumps(values), object_pairs_hook=keep)
    return found
