"""Glaive rows to conversations: functions that are no list, and calls whose arguments stand in single quotes."""

import time

import pytest
from source_rows import CLOCK, GLAIVE, GLAIVE_SYSTEM, WEATHER

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject, RowError
from gemma_tool_use.data.sources import glaive

NO_TOOLS = "SYSTEM: You are a helpful assistant, with no access to external functions.\n\n"


def read(chat, system=NO_TOOLS):
    return glaive.read_row({"system": system, "chat": chat}, "glaive.json:1")


def reason(chat, system=NO_TOOLS):
    outcome = read(chat, system)
    assert isinstance(outcome, Reject), outcome
    return outcome.reason


def test_a_row_becomes_a_conversation():
    assert glaive.read_row(GLAIVE[0], "glaive.json:1") == Conversation(
        id="glaive.json:1",
        source="glaive",
        tools=(
            ToolSpec(name="get_weather", description="Weather in a city", parameters=WEATHER["parameters"]),
            ToolSpec(name="now", parameters=CLOCK["parameters"]),
        ),
        messages=(
            Message(role="user", content="Weather in Oslo, please"),
            Message(role="assistant", content="Which days?"),
            Message(role="user", content="Two, it's urgent"),
            Message(role="assistant", calls=(ToolCall(name="get_weather", arguments={"city": "Oslo", "days": 2}),)),
            Message(role="tool", content='{"temp": 21}', name="get_weather"),
            Message(role="assistant", content="21 degrees."),
        ),
    )


def test_a_row_without_functions_has_no_tools_and_no_system_text():
    outcome = glaive.read_row(GLAIVE[1], "x:1")
    assert isinstance(outcome, Conversation)
    assert outcome.tools == ()
    assert outcome.messages[0] == Message(role="user", content="Write a haiku\nabout tea")


def test_another_system_text_is_kept():
    outcome = read("USER: Hi\n\n\nASSISTANT: Hello", "SYSTEM: You are a pirate.")
    assert isinstance(outcome, Conversation)
    assert outcome.messages[0] == Message(role="system", content="You are a pirate.")


def test_text_before_a_call_belongs_to_it():
    outcome = glaive.read_row(GLAIVE[2], "x:1")
    assert isinstance(outcome, Conversation)
    assert outcome.messages[1] == Message(role="assistant", content="Let me look.", calls=(ToolCall(name="now"),))


def test_a_speaker_named_twice_is_one():
    chat = (
        'USER: Hi\n\n\nASSISTANT: Sure.\nASSISTANT: <functioncall> {"name": "now", "arguments": \'{}\'} <|endoftext|>'
    )
    outcome = read(chat)
    assert isinstance(outcome, Conversation)
    assert outcome.messages[1:] == (Message(role="assistant", content="Sure.", calls=(ToolCall(name="now"),)),)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("""{"name": "f", "arguments": '{"a": "it's", "b": 'x'}'}""", None),
        ("""{"name": "f", "arguments": '{"a": "it's"}'}""", {"a": "it's"}),
        ("""{"name": "f", "arguments": '{"a": "it\\'s"}'}""", {"a": "it's"}),
        ("""{"name": "f", "arguments": '{"a": "a \\"b\\" \\\\ c\\n"}'}""", {"a": 'a "b" \\ c\n'}),
        ("""{"name": "f", "arguments": '{"a": "}"}'}""", {"a": "}"}),
        ("""{"name": "f", "arguments": '{"a": {"b": [1, 2.5, true, null]}}'}""", {"a": {"b": [1, 2.5, True, None]}}),
        ("""{"name":"f","arguments":'{}'}""", {}),
        (""" { "name" : "f" , "arguments" : '{"a": 1}' } """, {"a": 1}),
        ("""{"name": "f", "arguments": {"a": 1}}""", {"a": 1}),
        ("""{"name": "f", "arguments": "{\\"a\\": 1}"}""", {"a": 1}),
        ("""{"name": "f", "arguments": ''}""", None),
        ("""{"name": "f", "arguments": '{"a": 1}'""", None),
        ("""{"name": "f", "arguments": '{"a": 1}'}}""", None),
        ("""{"name": "f", "arguments": '{"a": 1}'} and more""", None),
        ("""{"name": "f", "arguments": '[1]'}""", None),
        ("""{"name": "f", "arguments": '{"a": 1, "a": 2}'}""", None),
        ("""{"name": f, "arguments": '{}'}""", None),
        ("""{"name": "f"}""", None),
        ("", None),
    ],
)
def test_a_call_is_read_exactly_or_refused(text, arguments):
    if arguments is None:
        with pytest.raises(RowError):
            glaive.read_call(text)
    else:
        assert glaive.read_call(text) == ToolCall(name="f", arguments=arguments)


@pytest.mark.parametrize(
    ("chat", "expected"),
    [
        ("", rejects.NO_MESSAGES),
        ("Hi\n\nUSER: Hi", rejects.UNREADABLE_MESSAGE),
        ("USER: Hi\n\n\nASSISTANT: <functioncall> now()", rejects.UNREADABLE_CALL),
        ('USER: Hi\n\n\nASSISTANT: <functioncall> {"name": "f", "arguments": \'{\'}', rejects.BROKEN_ARGUMENTS),
        ("USER: Hi\n\n\nFUNCTION RESPONSE: 3", rejects.UNPAIRED),
    ],
)
def test_a_broken_transcript_is_rejected_with_its_reason(chat, expected):
    assert reason(chat) == expected


@pytest.mark.parametrize(
    "functions", ['{"name": "f"', '{"name": "f"} and {"name": "g"}', '{"name": "f"}]', '{"a": 1, "a": 2}']
)
def test_functions_that_are_not_json_are_rejected(functions):
    assert reason("USER: Hi", GLAIVE_SYSTEM + functions) == rejects.BROKEN_TOOLS


def test_a_crafted_row_takes_time_linear_in_its_length():
    chat = (
        "USER: "
        + "<functioncall>" * 100_000
        + '\nASSISTANT: <functioncall> {"name": "f", "arguments": \''
        + "'{" * 200_000
    )
    start = time.perf_counter()
    assert isinstance(read(chat, GLAIVE_SYSTEM + "{" * 200_000), Reject)
    assert time.perf_counter() - start < 10
