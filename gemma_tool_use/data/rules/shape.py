"""Rules about what a row is made of: subset, turns, tools, calls, answers. The cheapest ones, so they come first.

Each is a pure function `(conversation, settings) -> (reason, detail) | None`; None means that it has no objection.
"""

import collections
import json

import orjson

from gemma_tool_use.conversation import Conversation, conversation_to_dict
from gemma_tool_use.data.rejects import NOT_UNICODE, short
from gemma_tool_use.data.row_text import tool_text
from gemma_tool_use.data.rules import reasons
from gemma_tool_use.data.rules.settings import RuleSettings

TOUCAN = "toucan"
TOUCAN_SFT = "toucan-sft"
"""A Toucan conversation's `source` is `toucan-sft/SUBSET` (`toucan-...` for the teachers'), so that it survives being
stored."""

Problem = tuple[str, str]
"""Why a row is left out: the reason that is counted, and what was found."""


def subset(source: str, settings: RuleSettings) -> Problem | None:
    """`toucan-sft/irrelevant` is not asked for by default. Needs no more than the source, so not even a parsed row."""
    if not settings.subsets or not source.startswith(TOUCAN):
        return None
    _, slash, part = source.partition("/")
    if slash and part not in settings.subsets:
        return reasons.OTHER_SUBSET, f"{part!r}; asked for: {', '.join(settings.subsets)}"
    return None


def row_subset(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    return subset(conversation.source, settings)


def first_call(conversation: Conversation) -> Conversation:
    """The conversation up to and including its first assistant message with calls; itself when nothing follows.

    `[user, assistant + call, tool, assistant]` gives `[user, assistant + call]`.
    """
    for i, message in enumerate(conversation.messages):
        if message.calls:
            if i + 1 == len(conversation.messages):
                return conversation
            return Conversation(  # `dataclasses.replace` takes twice as long
                id=conversation.id,
                source=conversation.source,
                tools=conversation.tools,
                messages=conversation.messages[: i + 1],
                meta=conversation.meta,
            )
    return conversation


def turns(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    users = sum(message.role == "user" for message in conversation.messages)
    # Of a row that begins with calls, the cut behind them would leave no question.
    begins = next((message for message in conversation.messages if message.role == "user" or message.calls), None)
    if not users or (settings.first_call_only and begins is not None and begins.calls):
        return reasons.NO_USER_MESSAGE, _roles(conversation)
    if settings.single_turn and users != 1:
        return reasons.NOT_SINGLE_TURN, f"{users} user messages"
    if users < settings.min_turns:
        return reasons.fewer_turns(settings.min_turns), f"{users} user messages"
    if settings.max_turns is not None and users > settings.max_turns:
        return reasons.more_turns(settings.max_turns), f"{users} user messages"
    return None


def tools_used(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    """By calls: the different names called in the whole row. By annotation: the entries of `meta["target_tools"]`."""
    if settings.tools_used_by == "calls":
        used = sorted({call.name for message in conversation.messages for call in message.calls})
    else:
        annotation = target_tools(conversation)
        if annotation is None:
            return reasons.NO_ANNOTATION, "the row has no target_tools; count by calls"
        used = annotation
    if len(used) < settings.min_tools_used:
        return reasons.fewer_tools_used(settings.min_tools_used), _names(used)
    if settings.max_tools_used is not None and len(used) > settings.max_tools_used:
        return reasons.more_tools_used(settings.max_tools_used), _names(used)
    return None


def target_tools(conversation: Conversation) -> list[str] | None:
    """`"get_alerts, Math::add"` gives `["get_alerts", "Math::add"]`; None without an annotation."""
    annotation = conversation.meta.get("target_tools")
    if isinstance(annotation, str):
        return [name for part in annotation.split(",") if (name := part.strip())]
    if isinstance(annotation, list):
        return [str(name) for name in annotation]
    return None


def tools_offered(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    offered = [tool.name for tool in conversation.tools]
    if len(offered) < settings.min_tools_offered:
        return reasons.fewer_tools_offered(settings.min_tools_offered), _names(offered)
    if settings.max_tools_offered is not None and len(offered) > settings.max_tools_offered:
        return reasons.more_tools_offered(settings.max_tools_offered), _names(offered)
    return None


def calls(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    if settings.calls == "any":
        return None
    count = sum(len(message.calls) for message in conversation.messages)
    if settings.calls == "some" and not count:
        return reasons.NO_CALLS, "the assistant only talks"
    return (reasons.WITH_CALLS, f"{count} calls") if settings.calls == "none" and count else None


def unique_tools(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    offered = collections.Counter(tool.name for tool in conversation.tools)
    twice = [name for name, n in offered.items() if n > 1]
    return (reasons.DUPLICATE_TOOLS, ", ".join(twice)) if twice else None


def declared_calls(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    offered = {tool.name for tool in conversation.tools}
    called = (call.name for message in conversation.messages for call in message.calls)
    undeclared = next((name for name in called if name not in offered), None)
    if undeclared is None:
        return None
    names = ", ".join(tool.name for tool in conversation.tools)
    return reasons.UNDECLARED_TOOL, f"{undeclared!r}; offered: {names or 'none'}"


def answers(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    found = [message for message in conversation.messages if message.role == "assistant"]
    if not found:
        return reasons.NO_ANSWER, _roles(conversation)
    if not all(answer.calls or answer.content.strip() for answer in found):
        return reasons.EMPTY_ANSWER, "an assistant message has neither text nor calls"
    return None


def unicode_text(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    """A lone surrogate, which JSON can spell as `\\ud83d`, cannot be tokenized or written to a file."""
    try:
        orjson.dumps([conversation.id, conversation.source, conversation.messages, conversation.meta])
        if None not in map(tool_text, conversation.tools):
            return None
    except TypeError:  # a surrogate, or a number of more than 64 bits, which is none of this rule's business
        pass
    try:
        json.dumps(conversation_to_dict(conversation), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return NOT_UNICODE, f"lone surrogate in {short(error.object[max(0, error.start - 20) : error.end])}"
    return None


def characters(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    if settings.max_characters is None:
        return None
    stored = conversation_to_dict(conversation)
    length = sum(len(json.dumps(stored[part], ensure_ascii=False)) for part in ("tools", "messages"))
    too_long = length > settings.max_characters
    return (reasons.more_characters(settings.max_characters), f"{length} characters") if too_long else None


def _roles(conversation: Conversation) -> str:
    return f"roles: {', '.join(message.role for message in conversation.messages[:10])}"


def _names(names: list[str]) -> str:
    return f"{len(names)} tools: {', '.join(names[:6])}" + (", ..." if len(names) > 6 else "")
