"""The two forms in which many chats with tools are published: ShareGPT with tools, and the roles of ms-swift."""

import json

import pytest
from source_rows import MS_SWIFT, SHAREGPT

from gemma_tool_use.conversation import Conversation, Message, ToolCall
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.sources import ms_swift, openai_jsonl, sharegpt

WEATHER, NOW = ToolCall(name="get_weather", arguments={"city": "Oslo"}), ToolCall(name="now")


def shared(*said):
    conversations = [{"from": speaker, "value": value} for speaker, value in said]
    return sharegpt.read_row({"tools": "[]", "conversations": conversations}, "x:1")


def swift(*said):
    return ms_swift.read_row({"tools": None, "messages": [{"role": r, "content": text} for r, text in said]}, "x:1")


def test_a_sharegpt_row_becomes_a_conversation():
    outcome = sharegpt.read_row(SHAREGPT[0], "rows.json:1")
    assert isinstance(outcome, Conversation)
    assert (outcome.id, outcome.source) == ("rows.json:1", "sharegpt")
    assert [tool.name for tool in outcome.tools] == ["get_weather", "now"]
    assert outcome.messages == (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Weather in Oslo?"),
        Message(
            role="assistant",
            content="Let me look.",
            calls=(ToolCall(name="get_weather", arguments={"city": "Oslo", "units": ["C"]}),),
        ),
        Message(role="tool", content='{"temp": 21}', name="get_weather"),
        Message(role="assistant", content="21 degrees."),
    )


def test_an_ms_swift_row_becomes_a_conversation():
    outcome = ms_swift.read_row(MS_SWIFT[0], "rows.jsonl:1")
    assert isinstance(outcome, Conversation)
    assert (outcome.id, outcome.source) == ("rows.jsonl:1", "ms-swift")
    assert outcome.messages == (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Weather in Oslo, and the time?"),
        Message(role="assistant", calls=(WEATHER, NOW)),
        Message(role="tool", content='{"temp": 21}', name="get_weather"),
        Message(role="tool", content="12:00", name="now"),
        Message(role="assistant", content="21 degrees at noon."),
    )


@pytest.mark.parametrize(
    ("read", "speaker", "caller"), [(shared, "human", "function_call"), (swift, "user", "tool_call")]
)
def test_a_turn_may_hold_a_list_of_calls(read, speaker, caller):
    calls = json.dumps([{"name": "get_weather", "arguments": {"city": "Oslo"}}, {"name": "now", "arguments": "{}"}])
    outcome = read((speaker, "Both"), (caller, calls))
    assert isinstance(outcome, Conversation)
    assert outcome.messages[1].calls == (WEATHER, NOW)


@pytest.mark.parametrize(
    ("read", "speaker", "caller"), [(shared, "human", "function_call"), (swift, "user", "tool_call")]
)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{'name': 'now', 'arguments': '{}'}", rejects.UNREADABLE_CALL),
        ("[]", rejects.UNREADABLE_CALL),
        ("3", rejects.UNREADABLE_CALL),
        (None, rejects.UNREADABLE_CALL),
        ('{"name": "now", "arguments": "{"}', rejects.BROKEN_ARGUMENTS),
        ('{"name": "now", "arguments": []}', rejects.ARGUMENTS_NOT_OBJECT),
    ],
)
def test_an_unreadable_call_is_rejected_with_its_reason(read, speaker, caller, value, expected):
    outcome = read((speaker, "Time?"), (caller, value))
    assert isinstance(outcome, Reject)
    assert outcome.reason == expected


@pytest.mark.parametrize(("read", "speaker"), [(shared, "robot"), (swift, "human"), (shared, None), (swift, ["user"])])
def test_a_turn_of_nobody_known_is_rejected(read, speaker):
    outcome = read((speaker, "Hi"))
    assert isinstance(outcome, Reject)
    assert outcome.reason == rejects.UNREADABLE_MESSAGE


def test_a_call_whose_result_got_lost_in_a_conversion_is_rejected():
    call = '{"name": "now", "arguments": {}}'
    outcome = swift(("user", "Time?"), ("tool_call", call), ("assistant", "}"), ("tool_response", "12:00"))
    assert isinstance(outcome, Reject)
    assert outcome.reason == rejects.UNPAIRED


def test_each_form_knows_its_rows_and_not_those_of_the_other():
    assert [sharegpt.SOURCE.recognises(row) for row in (*SHAREGPT, *MS_SWIFT)] == [True, True, False]
    assert [ms_swift.SOURCE.recognises(row) for row in (*SHAREGPT, *MS_SWIFT)] == [False, False, True]


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (
            {"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": "float"}}}, "required": ["a"]},
            {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
        ),
        (
            {"name": "f", "parameters": {"a": {"type": "str"}}},
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        ),
        (
            {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "nobody knows"}}}},
            {"type": "object", "properties": {"a": {"type": "nobody knows"}}},
        ),
    ],
)
def test_openai_rows_converted_from_other_sets_get_the_types_of_json_schema_where_they_can(function, parameters):
    row = {"tools": [{"type": "function", "function": function}], "messages": [{"role": "user", "content": "Hi"}]}
    outcome = openai_jsonl.read_row(row, "x:1")
    assert isinstance(outcome, Conversation)
    assert outcome.tools[0].parameters == parameters
