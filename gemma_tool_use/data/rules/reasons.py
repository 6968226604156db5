"""The reasons for which rules leave rows out: what counts, tables and `rejects.jsonl` show.

A reason that holds a limit is a function of it: `more_tools_used(2)` gives `more than 2 tools used`.
"""

OTHER_SUBSET = "subset not asked for"
NO_USER_MESSAGE = "no user message"
NOT_SINGLE_TURN = "not single-turn"
NO_ANNOTATION = "no tool annotation"
NO_CALLS = "no call"
WITH_CALLS = "with calls"
DUPLICATE_TOOLS = "duplicate tool names"
UNDECLARED_TOOL = "undeclared tool called"
NO_ANSWER = "no assistant answer"
EMPTY_ANSWER = "empty assistant message"
NO_SCORES = "no quality scores"
LOW_QUALITY = "low quality score"
NULL_ARGUMENT = "null argument"
MISSING_ARGUMENT = "required argument missing"
INVALID_ARGUMENTS = "arguments do not fit the schema"
UNCHECKABLE_SCHEMA = "schema cannot be checked"
RELATIVE_DATE = "relative date without a date"
BENCHMARK_QUESTION = "benchmark question"
OTHER_LANGUAGE = "language not asked for"
UNCLEAR_LANGUAGE = "language unclear"
NOT_WRITABLE = "the dialect cannot write it"


def fewer_turns(limit: object) -> str:
    return f"fewer than {limit} user messages"


def more_turns(limit: object) -> str:
    return f"more than {limit} user messages"


def fewer_tools_used(limit: object) -> str:
    return f"fewer than {limit} tools used"


def more_tools_used(limit: object) -> str:
    return f"more than {limit} tools used"


def fewer_tools_offered(limit: object) -> str:
    return f"fewer than {limit} tools offered"


def more_tools_offered(limit: object) -> str:
    return f"more than {limit} tools offered"


def more_characters(limit: object) -> str:
    return f"longer than {limit} characters"


def more_tokens(limit: object) -> str:
    return f"longer than {limit} tokens"
