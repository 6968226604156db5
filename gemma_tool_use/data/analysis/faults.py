"""The kinds of faults a row can have, and what its owner does about each.

Fault(kind=UNDECLARED_TOOL, path="messages[1].tool_calls[0].function.name", found="'get_wether', nearest 'get_weather'")
"""

import dataclasses
from collections.abc import Mapping

UNREADABLE_FILE = "file cannot be read further"
BROKEN_JSON = "line is not valid JSON"
REPEATED_KEY = "key stands twice in one object"
MISSING_FIELD = "missing field"
WRONG_TYPE = "field of the wrong type"
WRONG_ROLE = "unknown role"
MISSPELT_FIELD = "misspelt field"
OLD_CALL = "call in the older function_call layout"
BROKEN_ARGUMENTS = "call arguments are not valid JSON"
UNREADABLE_ROW = "row cannot be read"
NOT_UNICODE = "text is not valid Unicode"
DUPLICATE_TOOL = "tool declared twice"
HARD_NAME = "tool name a model cannot be asked to write"
BAD_SCHEMA = "parameters are not a JSON Schema"
UNDECLARED_TOOL = "call of an undeclared tool"
BAD_ARGUMENTS = "arguments do not fit the schema"
STRAY_RESULT = "tool message answers no call"
CALL_AS_TEXT = "call written into the text"
NO_USER = "no user message"
NO_ANSWER = "no assistant message"
EMPTY_ANSWER = "empty assistant message"
NOT_WRITABLE = "dialect cannot write it"
TOO_LONG = "too many tokens"
NOTHING_TRAINED = "no token is trained"
DUPLICATE_ROW = "exact duplicate"
BENCHMARK_QUESTION = "question of a benchmark"

REMEDIES: Mapping[str, str] = {
    UNREADABLE_FILE: "write or fetch the file again",
    BROKEN_JSON: "each line must be one whole JSON object in UTF-8, without NaN or Infinity",
    REPEATED_KEY: "keep one of the two; readers take the last and lose the first without a word",
    MISSING_FIELD: "add the field",
    WRONG_TYPE: "write the field as expected",
    WRONG_ROLE: "use system, user, assistant or tool",
    MISSPELT_FIELD: "rename the field; under this name it is ignored",
    OLD_CALL: 'write "tool_calls": [{"type": "function", "function": {"name": ..., "arguments": {...}}}]',
    BROKEN_ARGUMENTS: "write arguments as a JSON object, or as a string that holds one",
    UNREADABLE_ROW: "repair what is named; if every row has this, name the form of the file with --source",
    NOT_UNICODE: "replace the half of a surrogate pair (\\ud800 to \\udfff); no tokenizer can encode it",
    DUPLICATE_TOOL: "leave one declaration of each name",
    HARD_NAME: "rename it in tools and calls to 1 to 64 of A-Z a-z 0-9 _ . -, or let prepare do so row by row",
    BAD_SCHEMA: "use JSON Schema: type is one of string, integer, number, boolean, array, object, null",
    UNDECLARED_TOOL: "declare the tool in tools, or correct the name",
    BAD_ARGUMENTS: "correct the argument, or the schema that forbids it",
    STRAY_RESULT: "put the assistant message with the call before it, and the called name into its name",
    CALL_AS_TEXT: "move the call to tool_calls; as text it is trained in whatever form it has here",
    NO_USER: "add the request",
    NO_ANSWER: "add what the model should answer; without it nothing is trained",
    EMPTY_ANSWER: "give the message content or tool_calls, or remove it",
    NOT_WRITABLE: "correct the value, or choose another --dialect",
    TOO_LONG: "offer fewer tools, cut tool outputs, choose another --dialect, or raise --max-length",
    NOTHING_TRAINED: "add an assistant message; a row without trained tokens only costs time",
    DUPLICATE_ROW: "remove one of the two",
    BENCHMARK_QUESTION: "remove the row, or scores on that benchmark mean nothing",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault of one row. `kind` is a key of `REMEDIES`, `path` where in the row, `found` got and expected."""

    kind: str
    path: str = ""
    found: str = ""

    @property
    def remedy(self) -> str:
        return REMEDIES[self.kind]
