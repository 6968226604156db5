"""What an answer must pass before a row is made of it: the request alone, then the calls against tools and request.

    check_request("Use get_weather for Oslo", scenario)     # raises: names a tool
    check_turn(turn, "Weather in Oslo?", scenario)          # raises: arguments do not fit the schema, ...

Whether arguments fit the schema is asked of `rules/schemas.py`, as for every other source.
"""

import unicodedata
from collections import Counter

from gemma_tool_use.conversation import ToolCall, ToolSpec
from gemma_tool_use.data.contamination.fingerprints import shipped_bfcl
from gemma_tool_use.data.keys import normalise
from gemma_tool_use.data.rejects import NOT_UNICODE, short
from gemma_tool_use.data.rules import reasons, schemas
from gemma_tool_use.data.rules.dates import relative_expression
from gemma_tool_use.data.teacher.answers import AnswerError, AssistantTurn
from gemma_tool_use.data.teacher.grounding import ENGLISH, fixed_values, ungrounded
from gemma_tool_use.data.teacher.plan import MISSING_ARGUMENT, NO_CALL, Scenario, required
from gemma_tool_use.errors import DataError

MAX_REQUEST, MAX_REPLY = 2000, 2000

NOT_TEXT = "request is not a text"
BAD_LENGTH = "request is empty or too long"
CONTROL = "text has control characters"
NAMES_TOOL = "request names a tool"
UNGROUNDED = "value is not in the request"
UNDECLARED_ARGUMENT = "undeclared argument"
TWO_QUESTIONS_DISAGREE = "calls are not those the request was written for"
BAD_REPLY = "reply is empty or too long"

REPAIRABLE = frozenset(
    {reasons.UNDECLARED_TOOL, reasons.MISSING_ARGUMENT, reasons.INVALID_ARGUMENTS, UNDECLARED_ARGUMENT, UNGROUNDED}
)
"""Problems that are told to the teacher for a second try, beside answers that cannot be read."""


def check_tools(tools: tuple[ToolSpec, ...]) -> None:
    """Raises DataError when a tool has a schema that calls cannot be checked against; names every such tool."""
    found = {tool.name: schemas.validator(tool.parameters) for tool in tools}
    problems = [f"{name!r}: {problem}" for name, problem in found.items() if isinstance(problem, str)]
    if problems:
        raise DataError(f"no call of these tools could be checked: {'; '.join(problems)}. Correct their parameters")


def check_request(text: object, scenario: Scenario) -> str:
    """The request without white space around it.

    Raises:
      AnswerError: it cannot be a user's message.
    """
    if not isinstance(text, str):
        raise AnswerError(NOT_TEXT, short(text, 80))
    text = text.strip()
    if not normalise(text) or len(text) > MAX_REQUEST:
        raise AnswerError(BAD_LENGTH, f"{len(text)} characters: {short(text, 80)}")
    _check_characters(text)
    if match := shipped_bfcl().find(text):
        raise AnswerError(reasons.BENCHMARK_QUESTION, f"{match.benchmark} {match.item}: {short(text, 120)}")
    for tool in scenario.offered:
        # A name of one plain word ("search") is a word of the language as well.
        is_word = tool.name.islower() and tool.name.isalpha()
        if not is_word and tool.name.casefold() in text.casefold():
            raise AnswerError(NAMES_TOOL, f"{tool.name!r} in {short(text, 120)}")
    english = scenario.language.lower() in ENGLISH
    if english and scenario.used and (found := relative_expression(normalise(text).split())):
        raise AnswerError(reasons.RELATIVE_DATE, f"{found!r} in {short(text, 120)}")
    return text


def check_turn(turn: AssistantTurn, request: str, scenario: Scenario) -> None:
    """Checks calls one by one, then the turn as a whole against what the request was written for.

    Raises:
      AnswerError: the first problem.
    """
    tools = {tool.name: tool for tool in scenario.offered}
    for call in turn.calls:
        if call.name not in tools:
            raise AnswerError(reasons.UNDECLARED_TOOL, f"{short(call.name, 80)}; offered: {', '.join(tools)}")
        _check_call(call, tools[call.name], request, scenario.language)
    _check_agreement(turn, scenario)
    if not turn.calls:
        if not turn.reply or len(turn.reply) > MAX_REPLY:
            raise AnswerError(BAD_REPLY, f"{len(turn.reply)} characters")
        _check_characters(turn.reply)


def _check_call(call: ToolCall, tool: ToolSpec, request: str, language: str) -> None:
    if missing := [name for name in required(tool) if name not in call.arguments]:
        raise AnswerError(reasons.MISSING_ARGUMENT, f"{call.name}: {', '.join(missing)}")
    properties = tool.parameters.get("properties")
    declared = properties if isinstance(properties, dict) else {}
    if not _takes_more(tool) and (extra := [name for name in call.arguments if name not in declared]):
        raise AnswerError(UNDECLARED_ARGUMENT, f"{call.name}: {short(', '.join(extra), 120)}")
    check = schemas.validator(tool.parameters)
    if isinstance(check, str):
        raise AnswerError(reasons.UNCHECKABLE_SCHEMA, f"{call.name}: {short(check)}")
    if faults := schemas.faults(check, call.arguments):
        path, message = faults[0]
        raise AnswerError(reasons.INVALID_ARGUMENTS, f"{call.name}: {schemas.path_text(path)}: {short(message)}")
    if found := ungrounded(call.arguments, request, fixed=fixed_values(tool), language=language):
        raise AnswerError(UNGROUNDED, f"{call.name}: {found[0]} is {short(found[1], 80)}")


def _check_agreement(turn: AssistantTurn, scenario: Scenario) -> None:
    """The second question did not know what the first was about; where the two differ, one of them is wrong."""
    if scenario.kind in (NO_CALL, MISSING_ARGUMENT):
        wanted: Counter[str] = Counter()
    elif len(scenario.used) == 1:
        wanted = Counter({scenario.used[0].name: scenario.times})
    else:
        wanted = Counter(tool.name for tool in scenario.used)
    got = Counter(call.name for call in turn.calls)
    if got != wanted:
        raise AnswerError(TWO_QUESTIONS_DISAGREE, f"wanted {_counted(wanted)}, got {_counted(got)}")
    if len({_frozen(call) for call in turn.calls}) < len(turn.calls):
        raise AnswerError(TWO_QUESTIONS_DISAGREE, "the same call twice")
    names = {name.rpartition(".")[2] for name in turn.missing}
    if scenario.kind == MISSING_ARGUMENT and scenario.missing not in names:
        raise AnswerError(TWO_QUESTIONS_DISAGREE, f"{scenario.missing!r} was to be missing, not {short(sorted(names))}")
    if scenario.kind != MISSING_ARGUMENT and names:
        raise AnswerError(TWO_QUESTIONS_DISAGREE, f"nothing was to be missing, not {short(sorted(names))}")


def _check_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise AnswerError(NOT_UNICODE, short(text, 80)) from None
    if found := next((c for c in text if unicodedata.category(c) == "Cc" and c not in "\n\t"), None):
        raise AnswerError(CONTROL, f"{found!r} in {short(text, 80)}")


def _takes_more(tool: ToolSpec) -> bool:
    """Whether the schema says by itself that it takes arguments it does not list."""
    composed = ("$ref", "allOf", "anyOf", "oneOf", "patternProperties", "if")
    return bool(tool.parameters.get("additionalProperties")) or any(key in tool.parameters for key in composed)


def _counted(names: Counter[str]) -> str:
    return ", ".join(f"{n} x {name}" for name, n in sorted(names.items())) or "no call"


def _frozen(call: ToolCall) -> str:
    return f"{call.name} {sorted(call.arguments.items(), key=repr)!r}"
