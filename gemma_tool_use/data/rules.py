"""Which rows are kept, and the record of every row that is not.

A reader turns a row into a `Conversation` or a `Reject`; `apply_rule` then decides on each conversation:

    rule = Rule(max_tools_offered=1)
    apply_rule(conversation_offering_two_tools, rule)
    # Reject(id="demo:1", reason="more than 1 tools offered", detail="2 tools: get_weather, search_web")

Nothing is dropped without a `Reject`, so kept rows and rejects always add up to the rows read. No JAX.
"""

import collections
import dataclasses
import json

from gemma_tool_use.conversation import Conversation, conversation_to_dict
from gemma_tool_use.data.rejects import NOT_UNICODE, Reject, short
from gemma_tool_use.errors import ConfigError

TOUCAN_SFT = "toucan-sft"
"""A Toucan conversation's `source` is `toucan-sft/SUBSET`, so that the subset survives being stored."""

# Rows that were read and are not used. The limits of a `Rule` add "more than 2 tools used" and the like.
OTHER_SUBSET = "subset not asked for"
NOT_SINGLE_TURN = "not single-turn"
NO_USER_MESSAGE = "no user message"
NO_ANSWER = "no assistant answer"
EMPTY_ANSWER = "empty assistant message"
UNDECLARED_TOOL = "undeclared tool called"
DUPLICATE_TOOLS = "duplicate tool names"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """Which conversations are kept, and how much of each. Everything is counted on the whole row, before any cut.

    Attributes:
      subsets: Toucan `subset_name` values to keep; empty keeps every one. Rows of sources without subsets pass.
        The other two of Toucan are `irrelevant` and `multi-turn`.
      single_turn: keep only rows with exactly one user message.
      max_tools_used: most different functions the row's calls may name; None for no limit.
      max_tools_offered: most tools the row may declare; None for no limit.
      first_call_only: end each kept conversation after its first assistant message with calls. Tool outputs, often
        thousands of tokens, go away, and with them what is said after them. Rows without a call stay whole.
    """

    subsets: tuple[str, ...] = ("single-turn-original", "single-turn-diversify")
    single_turn: bool = True
    max_tools_used: int | None = 2
    max_tools_offered: int | None = 3
    first_call_only: bool = True

    def __post_init__(self) -> None:
        limits = {"max_tools_used": self.max_tools_used, "max_tools_offered": self.max_tools_offered}
        problems = [f"{name} must be 0 or more, got {n}" for name, n in limits.items() if n is not None and n < 0]
        if problems:
            raise ConfigError("; ".join(problems))


EVERYTHING = Rule(subsets=(), single_turn=False, max_tools_used=None, max_tools_offered=None, first_call_only=False)
"""Keeps every consistent conversation, whole."""


def apply_rule(conversation: Conversation, rule: Rule) -> Conversation | Reject:
    """The conversation, cut as the rule says, or the first reason against it.

    Checked in this order: subset, user messages, tools used, tools offered, then what no training row may have:
    duplicate tool names, calls of undeclared tools, no or empty assistant messages, text that is not Unicode.
    """
    problem = _against_rule(conversation, rule) or _inconsistent(conversation)
    if problem is None:
        kept = first_call(conversation) if rule.first_call_only else conversation
        problem = _not_unicode(kept)
        if problem is None:
            return kept
    reason, detail = problem
    return Reject(id=conversation.id, reason=reason, detail=detail)


def first_call(conversation: Conversation) -> Conversation:
    """The conversation up to and including its first assistant message with calls; itself when it has none.

    `[user, assistant + call, tool, assistant]` gives `[user, assistant + call]`.
    """
    for i, message in enumerate(conversation.messages):
        if message.calls:
            return dataclasses.replace(conversation, messages=conversation.messages[: i + 1])
    return conversation


def _against_rule(conversation: Conversation, rule: Rule) -> tuple[str, str] | None:
    source, _, subset = conversation.source.partition("/")
    if rule.subsets and source == TOUCAN_SFT and subset not in rule.subsets:
        return OTHER_SUBSET, f"{subset!r}; asked for: {', '.join(rule.subsets)}"
    users = sum(message.role == "user" for message in conversation.messages)
    if not users:
        return NO_USER_MESSAGE, f"roles: {', '.join(message.role for message in conversation.messages[:10])}"
    if rule.single_turn and users != 1:
        return NOT_SINGLE_TURN, f"{users} user messages"
    used = sorted({call.name for message in conversation.messages for call in message.calls})
    if rule.max_tools_used is not None and len(used) > rule.max_tools_used:
        return f"more than {rule.max_tools_used} tools used", f"{len(used)} tools: {', '.join(used)}"
    offered = [tool.name for tool in conversation.tools]
    if rule.max_tools_offered is not None and len(offered) > rule.max_tools_offered:
        names = ", ".join(offered[:6]) + (", ..." if len(offered) > 6 else "")
        return f"more than {rule.max_tools_offered} tools offered", f"{len(offered)} tools: {names}"
    return None


def _inconsistent(conversation: Conversation) -> tuple[str, str] | None:
    offered = collections.Counter(tool.name for tool in conversation.tools)
    if twice := [name for name, n in offered.items() if n > 1]:
        return DUPLICATE_TOOLS, ", ".join(twice)
    calls = [call.name for message in conversation.messages for call in message.calls]
    if undeclared := [name for name in calls if name not in offered]:
        return UNDECLARED_TOOL, f"{undeclared[0]!r}; offered: {', '.join(offered) or 'none'}"
    answers = [message for message in conversation.messages if message.role == "assistant"]
    if not answers:
        return NO_ANSWER, f"roles: {', '.join(message.role for message in conversation.messages[:10])}"
    if not all(answer.calls or answer.content.strip() for answer in answers):
        return EMPTY_ANSWER, "an assistant message has neither text nor calls"
    return None


def _not_unicode(conversation: Conversation) -> tuple[str, str] | None:
    """A lone surrogate, which JSON can spell as `\\ud83d`, cannot be tokenized or written to a file."""
    try:
        json.dumps(conversation_to_dict(conversation), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return NOT_UNICODE, f"lone surrogate in {short(error.object[max(0, error.start - 20) : error.end])}"
    return None
