"""Rules about the arguments of calls: required ones present, no stray nulls, all of them as the tool's schema says.

    {"city": "Oslo", "unit": null}     # `unit` optional and not nullable: the key goes, meta["dropped_nulls"] says so
    {"city": null}                     # `city` required and not nullable: the row goes, "null argument"
    {"city": "Oslo", "days": "two"}    # "arguments do not fit the schema", $.days: "two" is not of type "integer"

Only tools that are called are looked at. A schema that cannot be checked (see `schemas.py`) is a reason of its own.
"""

import dataclasses
from collections.abc import Iterator

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data.rejects import short
from gemma_tool_use.data.rules import reasons
from gemma_tool_use.data.rules.settings import RuleSettings
from gemma_tool_use.data.rules.shape import Problem

DROPPED_NULLS = "dropped_nulls"
"""The entry of `meta` that lists what `drop_nulls` removed: `["get_weather.unit"]`."""


def drop_nulls(conversation: Conversation, settings: RuleSettings) -> Conversation:
    """The conversation without null arguments that are optional and that the schema does not allow to be null.

    Returns the same object when there are none, or when the policy is not `drop`.
    """
    if settings.null_arguments != "drop" or not _has_nulls(conversation):
        return conversation
    tools = {tool.name: tool for tool in conversation.tools}
    dropped: list[str] = []

    def without_nulls(call: ToolCall) -> ToolCall:
        tool = tools.get(call.name)
        names = [name for name in _forbidden_nulls(call, tool) if name not in _required(tool)] if tool else []
        dropped.extend(f"{call.name}.{name}" for name in names)
        kept = {name: value for name, value in call.arguments.items() if name not in names}
        return dataclasses.replace(call, arguments=kept)

    def cleaned(message: Message) -> Message:
        return dataclasses.replace(message, calls=tuple(map(without_nulls, message.calls)))

    messages = tuple(cleaned(message) if message.calls else message for message in conversation.messages)
    if not dropped:
        return conversation
    return dataclasses.replace(conversation, messages=messages, meta=conversation.meta | {DROPPED_NULLS: dropped})


def null_arguments(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    if settings.null_arguments == "keep" or not _has_nulls(conversation):
        return None
    for call, tool in _calls(conversation):
        if names := _forbidden_nulls(call, tool):
            return reasons.NULL_ARGUMENT, f"{call.name}: {', '.join(names)}"
    return None


def required_arguments(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    if not settings.valid_arguments:
        return None
    for call, tool in _calls(conversation):
        if missing := [name for name in _required(tool) if name not in call.arguments]:
            given = ", ".join(call.arguments) or "nothing"
            return reasons.MISSING_ARGUMENT, f"{call.name}: {', '.join(missing)}; given: {given}"
    return None


def valid_arguments(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    if not settings.valid_arguments:
        return None
    from gemma_tool_use.data.rules import schemas

    for call, tool in _calls(conversation):
        check = schemas.validator(tool.parameters)
        if isinstance(check, str):
            return reasons.UNCHECKABLE_SCHEMA, f"{call.name}: {short(check)}"
        if found := schemas.faults(check, call.arguments):
            path, message = found[0]
            return reasons.INVALID_ARGUMENTS, f"{call.name}: {schemas.path_text(path)}: {short(message)}"
    return None


def _calls(conversation: Conversation) -> Iterator[tuple[ToolCall, ToolSpec]]:
    tools = {tool.name: tool for tool in conversation.tools}
    for message in conversation.messages:
        for call in message.calls:
            if call.name in tools:
                yield call, tools[call.name]


def _has_nulls(conversation: Conversation) -> bool:
    return any(None in call.arguments.values() for message in conversation.messages for call in message.calls)


def _required(tool: ToolSpec) -> list[str]:
    names = tool.parameters.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _forbidden_nulls(call: ToolCall, tool: ToolSpec) -> list[str]:
    """Names of null arguments of which the schema complains; none when the schema cannot be checked."""
    nulls = [name for name, value in call.arguments.items() if value is None]
    if not nulls:
        return []
    from gemma_tool_use.data.rules import schemas

    check = schemas.validator(tool.parameters)
    if isinstance(check, str):
        return []
    complained = {path[0] for path, _ in schemas.faults(check, call.arguments) if len(path) == 1}
    return [name for name in nulls if name in complained]
