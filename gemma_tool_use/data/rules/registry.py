"""The rules in the order in which they are applied, and the one function that applies them.

    apply_rules(conversation_offering_two_tools, RuleSettings(max_tools_offered=1))
    # Reject(id="demo:1", reason="more than 1 tools offered", detail="2 tools: get_weather, search_web")

Rules of `WHOLE` see the row as it was read. Then the conversation is cut after its first calls and null arguments are
dropped, as the settings say. Rules of `KEPT` see what is left. Cheap rules come before dear ones in both.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.rejects import NOT_UNICODE, Reject
from gemma_tool_use.data.rules import arguments, benchmark, dates, quality, reasons, shape, text
from gemma_tool_use.data.rules.settings import RuleSettings
from gemma_tool_use.data.rules.shape import Problem

Check = Callable[[Conversation, RuleSettings], Problem | None]
CheckAll = Callable[[Sequence[Conversation], RuleSettings], Sequence[Problem | None]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuleInfo:
    """A rule: its name, what it keeps, the reasons it gives (N is a limit), and the function that checks a row.

    `check_all` finds the same for many rows at once, where that takes less time.
    """

    name: str
    keeps: str
    reasons: tuple[str, ...]
    check: Check
    check_all: CheckAll | None = None


WHOLE: tuple[RuleInfo, ...] = (
    RuleInfo(
        name="subset",
        keeps="Toucan rows of the subsets asked for; every row of other sources",
        reasons=(reasons.OTHER_SUBSET,),
        check=shape.row_subset,
    ),
    RuleInfo(
        name="turns",
        keeps="rows with one user message, or as many as asked for",
        reasons=(
            reasons.NO_USER_MESSAGE,
            reasons.NOT_SINGLE_TURN,
            reasons.fewer_turns("N"),
            reasons.more_turns("N"),
        ),
        check=shape.turns,
    ),
    RuleInfo(
        name="tools-used",
        keeps="rows that call, or by their annotation need, as many different tools as asked for",
        reasons=(reasons.NO_ANNOTATION, reasons.fewer_tools_used("N"), reasons.more_tools_used("N")),
        check=shape.tools_used,
    ),
    RuleInfo(
        name="tools-offered",
        keeps="rows that declare as many tools as asked for",
        reasons=(reasons.fewer_tools_offered("N"), reasons.more_tools_offered("N")),
        check=shape.tools_offered,
    ),
    RuleInfo(
        name="calls",
        keeps="rows with calls, or without, when asked for",
        reasons=(reasons.NO_CALLS, reasons.WITH_CALLS),
        check=shape.calls,
    ),
    RuleInfo(
        name="unique-tools",
        keeps="rows whose tools have different names",
        reasons=(reasons.DUPLICATE_TOOLS,),
        check=shape.unique_tools,
    ),
    RuleInfo(
        name="declared-calls",
        keeps="rows that call only tools they declare",
        reasons=(reasons.UNDECLARED_TOOL,),
        check=shape.declared_calls,
    ),
    RuleInfo(
        name="answers",
        keeps="rows in which the assistant answers, each time with text or calls",
        reasons=(reasons.NO_ANSWER, reasons.EMPTY_ANSWER),
        check=shape.answers,
    ),
    RuleInfo(
        name="quality",
        keeps="rows whose teacher scores reach the least values, when asked for",
        reasons=(reasons.NO_SCORES, reasons.LOW_QUALITY),
        check=quality.quality,
    ),
)

KEPT: tuple[RuleInfo, ...] = (
    RuleInfo(
        name="unicode",
        keeps="text that UTF-8 can hold; otherwise the row counts as unreadable",
        reasons=(NOT_UNICODE,),
        check=shape.unicode_text,
    ),
    RuleInfo(
        name="characters",
        keeps="rows up to a length of tools and messages as JSON",
        reasons=(reasons.more_characters("N"),),
        check=shape.characters,
    ),
    RuleInfo(
        name="null-arguments",
        keeps="calls without null where the schema allows none; optional nulls were dropped before",
        reasons=(reasons.NULL_ARGUMENT,),
        check=arguments.null_arguments,
    ),
    RuleInfo(
        name="required-arguments",
        keeps="calls that give every argument their tool requires",
        reasons=(reasons.MISSING_ARGUMENT,),
        check=arguments.required_arguments,
    ),
    RuleInfo(
        name="valid-arguments",
        keeps="calls whose arguments fit the JSON schema of their tool",
        reasons=(reasons.UNCHECKABLE_SCHEMA, reasons.INVALID_ARGUMENTS),
        check=arguments.valid_arguments,
    ),
    RuleInfo(
        name="relative-dates",
        keeps="rows without dates that the call makes up for words like tomorrow, when asked for",
        reasons=(reasons.RELATIVE_DATE,),
        check=dates.relative_dates,
    ),
    RuleInfo(
        name="language",
        keeps="rows whose first question is in a language asked for",
        reasons=(reasons.UNCLEAR_LANGUAGE, reasons.OTHER_LANGUAGE),
        check=text.language,
    ),
    RuleInfo(
        name="benchmark",
        keeps="rows that ask no question of a benchmark, nor nearly one",
        reasons=(reasons.BENCHMARK_QUESTION,),
        check=benchmark.benchmark_question,
        check_all=benchmark.benchmark_questions,
    ),
    RuleInfo(
        name="tokens",
        keeps="rows up to a number of tokens that the dialect can write",
        reasons=(reasons.more_tokens("N"), reasons.NOT_WRITABLE),
        check=text.tokens,
    ),
)

RULES: Mapping[str, RuleInfo] = MappingProxyType({rule.name: rule for rule in (*WHOLE, *KEPT)})


def apply_rules(conversation: Conversation, settings: RuleSettings) -> Conversation | Reject:
    """The conversation, cut as the settings say, or the first objection to it."""
    return apply_rules_to_all([conversation], settings)[0]


def apply_rules_to_all(conversations: Sequence[Conversation], settings: RuleSettings) -> list[Conversation | Reject]:
    """What `apply_rules` makes of each conversation, rule by rule instead of row by row."""
    outcomes: list[Conversation | Reject] = list(conversations)
    alive = _without_objections(WHOLE, outcomes, settings)
    for number in alive:
        conversation = conversations[number]
        if settings.first_call_only:
            conversation = shape.first_call(conversation)
        outcomes[number] = arguments.drop_nulls(conversation, settings)
    _without_objections(KEPT, outcomes, settings)
    return outcomes


def _without_objections(
    rules: Sequence[RuleInfo], outcomes: list[Conversation | Reject], settings: RuleSettings
) -> list[int]:
    """Puts the first objection to a row in its place; returns the numbers of the rows without any."""
    alive = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Conversation)]
    rows: list[Conversation] = [outcomes[number] for number in alive]  # pyright: ignore[reportAssignmentType]
    for rule in rules:
        check = rule.check
        problems = rule.check_all(rows, settings) if rule.check_all else [check(row, settings) for row in rows]
        if not any(problems):
            continue
        for number, row, problem in zip(alive, rows, problems, strict=True):
            if problem is not None:
                outcomes[number] = Reject(id=row.id, reason=problem[0], detail=problem[1])
        left = [place for place, problem in enumerate(problems) if problem is None]
        alive, rows = [alive[place] for place in left], [rows[place] for place in left]
    return alive
