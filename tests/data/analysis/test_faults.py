"""Every fault of a row is named with its path, what was found and what was expected."""

import json

import pytest

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec, conversation_from_dict
from gemma_tool_use.data.analysis import faults as kinds
from gemma_tool_use.data.analysis.faults import REMEDIES
from gemma_tool_use.data.analysis.layout_faults import read_line
from gemma_tool_use.data.analysis.row_faults import conversation_faults

WEATHER = {
    "name": "get_weather",
    "description": "Weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
        "required": ["city"],
    },
}
GOOD = {
    "tools": [{"type": "function", "function": WEATHER}],
    "messages": [
        {"role": "user", "content": "Weather in Oslo?"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}]},
        {"role": "tool", "content": "3"},
        {"role": "assistant", "content": "3 degrees."},
    ],
}


def changed(path, value):
    """`GOOD` with one value replaced: `("messages", 0, "role")`."""
    row = json.loads(json.dumps(GOOD))
    inner = row
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return row


def faults_of(row):
    line = row if isinstance(row, bytes) else json.dumps(row).encode()
    read, found = read_line(line)
    if read is not None and not found:
        found = [*conversation_faults(conversation_from_dict(read))]
    return [(fault.kind, fault.path, fault.found) for fault in found]


CALL = ("messages", 1, "tool_calls", 0, "function")
CALL_PATH = "messages[1].tool_calls[0].function"


def test_a_good_row_has_no_fault():
    assert faults_of(GOOD) == []


@pytest.mark.parametrize(
    ("row", "kind", "path", "found"),
    [
        (b'{"messages": [}', kinds.BROKEN_JSON, "column 15", "Expecting value"),
        (b'{"messages": "\xff"}', kinds.BROKEN_JSON, "byte 15", "not UTF-8"),
        (b'{"messages": NaN}', kinds.BROKEN_JSON, "", "NaN"),
        (b'{"messages": 1e999}', kinds.BROKEN_JSON, "", ""),
        (b"[1]", kinds.BROKEN_JSON, "", "expected a JSON object"),
        (b"[" * 100_000, kinds.BROKEN_JSON, "", "nested too deeply"),
        (b'{"id": 1, "id": 2, "messages": [{"role": "user"}]}', kinds.REPEATED_KEY, "", "'id'"),
        ({}, kinds.MISSING_FIELD, "messages", "no messages"),
        ({"conversations": []}, kinds.MISSING_FIELD, "messages", "conversations: another form? Name its --source"),
        (changed(["messages"], "[{"), kinds.WRONG_TYPE, "messages", "text that is not JSON"),
        (changed(["tools"], {}), kinds.WRONG_TYPE, "tools", "got {}, expected a list"),
        (changed(["tools", 0], "now"), kinds.WRONG_TYPE, "tools[0]", "got 'now', expected an object"),
        (changed(["tools", 0, "function"], {}), kinds.MISSING_FIELD, "tools[0].function.name", "name"),
        (changed(["tools", 0, "function", "parameters"], []), kinds.WRONG_TYPE, "tools[0].function.parameters", "[]"),
        (
            changed(["tools", 0, "function"], {"name": "f", "inputSchema": {}}),
            kinds.MISSING_FIELD,
            "tools[0].function.parameters",
            "inputSchema is not read",
        ),
        (changed(["messages", 0], "Hi"), kinds.WRONG_TYPE, "messages[0]", "got 'Hi'"),
        (changed(["messages", 0, "role"], "human"), kinds.WRONG_ROLE, "messages[0].role", "did you mean 'user'?"),
        (changed(["messages", 0, "role"], "tool_call"), kinds.WRONG_ROLE, "messages[0].role", "in ms-swift form?"),
        (changed(["messages", 0, "role"], None), kinds.MISSING_FIELD, "messages[0].role", "expected one of system"),
        (changed(["messages", 0, "content"], 3), kinds.WRONG_TYPE, "messages[0].content", "got 3, expected text"),
        (changed(["messages", 0, "tool_calls"], [{"name": "f"}]), kinds.WRONG_ROLE, "messages[0]", "on 'user'"),
        (changed(["messages", 3, "tool_call"], []), kinds.MISSPELT_FIELD, "messages[3].tool_call", "'tool_calls'?"),
        (changed(["messages", 3, "function_call"], {"name": "f"}), kinds.OLD_CALL, "messages[3].function_call", "'f'"),
        (changed([*CALL, "name"], ""), kinds.MISSING_FIELD, f"{CALL_PATH}.name", "name of the function"),
        (changed([*CALL, "name"], 3), kinds.WRONG_TYPE, f"{CALL_PATH}.name", "got 3, expected text"),
        (
            changed([*CALL, "arguments"], "{'city': 'Oslo'}"),
            kinds.BROKEN_ARGUMENTS,
            f"{CALL_PATH}.arguments",
            "at character 2",
        ),
        (changed([*CALL, "arguments"], [1]), kinds.WRONG_TYPE, f"{CALL_PATH}.arguments", "got [1], expected an object"),
        (changed([*CALL, "arguments"], '{"a": 1, "a": 2}'), kinds.REPEATED_KEY, f"{CALL_PATH}.arguments", "'a'"),
        (
            changed([*CALL, "name"], "get_wether"),
            kinds.UNDECLARED_TOOL,
            f"{CALL_PATH}.name",
            "got 'get_wether', expected one of 1 declared; did you mean 'get_weather'?",
        ),
        (
            changed([*CALL, "arguments"], {"city": 5}),
            kinds.BAD_ARGUMENTS,
            f"{CALL_PATH}.arguments.city",
            '5 is not of type "string"',
        ),
        (
            changed([*CALL, "arguments"], {"city": "Oslo", "days": [1, "two"]}),
            kinds.BAD_ARGUMENTS,
            f"{CALL_PATH}.arguments.days[1]",
            '"two" is not of type "integer"',
        ),
        (changed([*CALL, "arguments"], {}), kinds.BAD_ARGUMENTS, f"{CALL_PATH}.arguments", "required property"),
        (
            changed(["tools"], [WEATHER, WEATHER]),
            kinds.DUPLICATE_TOOL,
            "tools[1].function.name",
            "with the same schema",
        ),
        (
            changed(["tools"], [WEATHER, {"name": "get weather"}]),
            kinds.HARD_NAME,
            "tools[1].function.name",
            "'get weather': holds ' '",
        ),
        (changed(["tools"], [WEATHER, {"name": "x" * 65}]), kinds.HARD_NAME, "tools[1].function.name", "65 characters"),
        (
            changed(["tools"], [WEATHER, {"name": "f", "parameters": {"type": "str"}}]),
            kinds.BAD_SCHEMA,
            "tools[1].function.parameters",
            "str",
        ),
        (changed(["messages", 2, "name"], "other"), kinds.STRAY_RESULT, "messages[2].name", "expected 'get_weather'"),
        (changed(["messages", 1], {"role": "user"}), kinds.STRAY_RESULT, "messages[2]", "there is none"),
        (
            changed(["messages", 3, "content"], 'So <tool_call>{"name": "f"}</tool_call>'),
            kinds.CALL_AS_TEXT,
            "messages[3].content",
            "<tool_call>",
        ),
        (changed(["messages", 3, "content"], " "), kinds.EMPTY_ANSWER, "messages[3]", "neither text nor calls"),
        (changed(["messages"], [{"role": "assistant", "content": "Hi"}]), kinds.NO_USER, "messages", "assistant"),
        (changed(["messages"], [{"role": "user", "content": "Hi"}]), kinds.NO_ANSWER, "messages", "roles: user"),
        (changed(["messages", 0, "content"], "\ud83d"), kinds.NOT_UNICODE, "", "\\ud83d"),
    ],
)
def test_a_planted_fault_is_named_and_nothing_else(row, kind, path, found):
    (fault,) = faults_of(row)
    assert fault[:2] == (kind, path)
    assert found in fault[2]


def test_all_faults_of_a_row_are_named_at_once():
    row = changed(["messages", 0, "role"], "human")
    row["messages"][3]["content"] = 3
    row["tools"][0] = 1
    row["messages"][3]["tool_call"] = []
    assert [kind for kind, _, _ in faults_of(row)] == [
        kinds.WRONG_TYPE,
        kinds.WRONG_ROLE,
        kinds.MISSPELT_FIELD,
        kinds.WRONG_TYPE,
    ]


def test_a_field_of_ones_own_is_not_a_fault():
    row = GOOD | {"timestamp": 3, "messages": [{**message, "weight": 1} for message in GOOD["messages"]]}
    assert faults_of(row) == []


def test_every_kind_has_a_remedy():
    named = {value for name, value in vars(kinds).items() if name.isupper() and isinstance(value, str)}
    assert named == set(REMEDIES)


def test_a_schema_is_never_fetched_and_no_pattern_takes_long():
    tools = (
        ToolSpec(name="remote", parameters={"$ref": "http://127.0.0.1:9/schema.json"}),
        ToolSpec(name="slow", parameters={"properties": {"a": {"pattern": "^(a+)+$"}}}),
    )
    call = ToolCall(name="slow", arguments={"a": "a" * 40 + "!"})
    messages = (Message(role="user", content="Hi"), Message(role="assistant", calls=(call,)))
    found = list(conversation_faults(Conversation(tools=tools, messages=messages)))
    assert [fault.kind for fault in found] == [kinds.BAD_SCHEMA, kinds.BAD_ARGUMENTS]


def test_few_faults_are_listed_of_a_call_with_thousands():
    tool = ToolSpec(name="f", parameters={"properties": {"a": {"type": "array", "items": {"type": "integer"}}}})
    call = ToolCall(name="f", arguments={"a": ["x"] * 5000})
    messages = (Message(role="user", content="Hi"), Message(role="assistant", calls=(call,)))
    assert len(list(conversation_faults(Conversation(tools=(tool,), messages=messages)))) == 5
