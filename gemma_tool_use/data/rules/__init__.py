"""Which rows are kept, how much of each, and why the others are not.

    settings = RuleSettings(max_tools_offered=1)
    apply_rules(conversation, settings)         # the conversation, cut after its first calls, or a Reject with a reason

Nothing is dropped without a `Reject`, so kept rows and rejects always add up to the rows read. No JAX.
"""

from gemma_tool_use.data.rules.reasons import (
    BENCHMARK_QUESTION,
    DUPLICATE_TOOLS,
    EMPTY_ANSWER,
    INVALID_ARGUMENTS,
    LOW_QUALITY,
    MISSING_ARGUMENT,
    NO_ANNOTATION,
    NO_ANSWER,
    NO_CALLS,
    NO_SCORES,
    NO_USER_MESSAGE,
    NOT_SINGLE_TURN,
    NULL_ARGUMENT,
    OTHER_LANGUAGE,
    OTHER_SUBSET,
    RELATIVE_DATE,
    UNCHECKABLE_SCHEMA,
    UNCLEAR_LANGUAGE,
    UNDECLARED_TOOL,
    WITH_CALLS,
)
from gemma_tool_use.data.rules.registry import RULES, RuleInfo, apply_rules, apply_rules_to_all
from gemma_tool_use.data.rules.settings import EVERYTHING, PAPER_GATE, RuleSettings
from gemma_tool_use.data.rules.shape import TOUCAN_SFT, Problem, first_call, subset

__all__ = [
    "BENCHMARK_QUESTION",
    "DUPLICATE_TOOLS",
    "EMPTY_ANSWER",
    "EVERYTHING",
    "INVALID_ARGUMENTS",
    "LOW_QUALITY",
    "MISSING_ARGUMENT",
    "NOT_SINGLE_TURN",
    "NO_ANNOTATION",
    "NO_ANSWER",
    "NO_CALLS",
    "NO_SCORES",
    "NO_USER_MESSAGE",
    "NULL_ARGUMENT",
    "OTHER_LANGUAGE",
    "OTHER_SUBSET",
    "PAPER_GATE",
    "RELATIVE_DATE",
    "RULES",
    "TOUCAN_SFT",
    "UNCHECKABLE_SCHEMA",
    "UNCLEAR_LANGUAGE",
    "UNDECLARED_TOOL",
    "WITH_CALLS",
    "Problem",
    "RuleInfo",
    "RuleSettings",
    "apply_rules",
    "apply_rules_to_all",
    "first_call",
    "subset",
]
