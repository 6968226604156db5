"""ToolACE rows to conversations: functions in a text of instructions, and calls that are nearly Python."""

import json
import time

import pytest
from source_rows import TOOLACE, TOOLACE_HEAD, TOOLACE_TAIL, TOOLACE_TOOLS

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.sources import toolace
from gemma_tool_use.data.sources.registry import SOURCES

SYSTEM = TOOLACE_HEAD + json.dumps(TOOLACE_TOOLS) + TOOLACE_TAIL


def read(*said, system=SYSTEM):
    speakers = ("user", "assistant", "tool", "assistant")
    conversations = [{"from": speaker, "value": value} for speaker, value in zip(speakers, said, strict=False)]
    return toolace.read_row({"system": system, "conversations": conversations}, "data.json:1")


def kept(*said, **options):
    outcome = read(*said, **options)
    assert isinstance(outcome, Conversation), outcome
    return outcome


def reason(*said, **options):
    outcome = read(*said, **options)
    assert isinstance(outcome, Reject), outcome
    return outcome.reason


def test_a_row_becomes_a_conversation():
    assert toolace.read_row(TOOLACE[0], "data.json:1") == Conversation(
        id="data.json:1",
        source="toolace",
        tools=(
            ToolSpec(
                name="Get Weather/Today",
                description="Weather in a city",
                parameters={
                    "type": "object",
                    "properties": {
                        "city": {"type": "string"},
                        "days": {"type": "integer"},
                        "flags": {"type": "object"},
                    },
                    "required": ["city"],
                },
            ),
            ToolSpec(name="Other", description="Another"),
        ),
        messages=(
            Message(role="user", content="Weather in Oslo for 3 days, and the other"),
            Message(
                role="assistant",
                calls=(
                    ToolCall(
                        name="Get Weather/Today",
                        arguments={"city": "Oslo", "days": 3, "flags": {"wind": True, "note": "it's"}},
                    ),
                    ToolCall(name="Other"),
                ),
            ),
            Message(role="tool", content='{"temp": 21}', name="Get Weather/Today"),
            Message(role="tool", content="[1]", name="Other"),
            Message(role="assistant", content="21 degrees."),
            Message(role="user", content="And in 北京?"),
            Message(
                role="assistant",
                calls=(ToolCall(name="Get Weather/Today", arguments={"city": "北京", "flags": {"a": None}}),),
            ),
        ),
    )


def test_the_name_with_a_slash_is_written_so_that_a_model_can_write_it():
    outcome = SOURCES["toolace"].read(TOOLACE[0], "data.json:1")
    assert isinstance(outcome, Conversation)
    assert outcome.messages[1].calls[0].name == "Get_Weather_Today"
    assert outcome.meta["names"] == {"Get_Weather_Today": "Get Weather/Today"}


def test_the_date_in_the_instructions_is_kept_and_the_instructions_are_not():
    outcome = toolace.read_row(TOOLACE[1], "x:1")
    assert isinstance(outcome, Conversation)
    assert outcome.messages[0] == Message(role="system", content="Today is 2024-08-02, Friday.")
    assert kept("Hi", "Hello").messages[0].role == "user"


CONSTANTS = {"a": -1500.0, "b": True, "c": True, "d": None, "e": None, "g": False, "h": False}
NESTED = {"a": {"k": [True, None]}, "b": {"k": [True, None]}, "c": [1, 2]}


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[f()]", [("f", {})]),
        ("[ f ( a = 1 ) , g ( ) ]\n", [("f", {"a": 1}), ("g", {})]),
        ('[Get %% x-1/y.z(city name="Oslo", $a-b=2)]', [("Get %% x-1/y.z", {"city name": "Oslo", "$a-b": 2})]),
        ("[f(a='x, y)]', b=\"(]\")]", [("f", {"a": "x, y)]", "b": "(]"})]),
        ("[f(a=-1.5e3, b=True, c=true, d=None, e=null, g=False, h=false)]", [("f", CONSTANTS)]),
        ("""[f(a={"k": [true, null]}, b={'k': [True, None]}, c=(1, 2))]""", [("f", NESTED)]),
        ('[f(a="x\ny", b="\\u00e9\\n", c=\'it\\\'s\')]', [("f", {"a": "x\ny", "b": "é\n", "c": "it's"})]),
    ],
)
def test_calls_are_read_exactly(text, calls):
    expected = [ToolCall(name=name, arguments=arguments) for name, arguments in calls]
    assert toolace.read_calls(text) == expected
    assert repr(toolace.read_calls(text)) == repr(expected)  # 1 is not True


NAMES = ("Search by Title, or URL", "calc (v2)", "calc", "a [b] c", "f")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[Search by Title, or URL(a=1), f(a=1)]", ["Search by Title, or URL", "f"]),
        ("[calc (v2)(a=1), calc(a=1)]", ["calc (v2)", "calc"]),
        ("[calc (a=1)]", ["calc"]),
        ("[a [b] c(a=1)]", ["a [b] c"]),
        ("[f(a='calc (v2)(')]", ["f"]),
    ],
)
def test_a_declared_name_may_hold_what_else_ends_a_name(text, names):
    assert [call.name for call in toolace.read_calls(text, NAMES)] == names


def test_a_row_with_such_names_is_read():
    tools = json.dumps([{"name": name, "parameters": {"type": "dict", "properties": {}}} for name in NAMES])
    outcome = kept("Hi", "[Search by Title, or URL(), a [b] c()]", system=TOOLACE_HEAD + tools)
    assert [call.name for call in outcome.messages[1].calls] == ["Search by Title, or URL", "a [b] c"]


@pytest.mark.parametrize(
    "text",
    [
        "[f(1)]",
        "[f(a=1]",
        "[f(a=1)",
        "[f(a=1) g()]",
        "[f(a=1), ]",
        "[f(a=1)]]",
        "[f(a=1)] Done.",
        "[f(a=1, a=2)]",
        '[f(a={"k": 1, "k": 2})]',
        "[f(a=b)]",
        "[f(a=open('x'))]",
        "[f(a=NaN)]",
        "[f(a=[NaN])]",
        "[f(a=1e999)]",
        "[f(a=1,,b=2)]",
        "[f(,)]",
        "[f(=1)]",
        "[f(a='x)]",
        "[f(a=truely)]",
    ],
)
def test_calls_that_are_not_whole_are_rejected(text):
    assert reason("Weather?", text) in (rejects.UNREADABLE_CALL, rejects.BROKEN_ARGUMENTS)


@pytest.mark.parametrize(
    "text",
    [
        "None of them can be used (sorry).",
        "[1] is a footnote (see below).",
        "[a link](https://example.org)",
        "[]",
        "",
        "(a) [b]",
    ],
)
def test_an_answer_in_words_is_no_call(text):
    assert kept("Weather?", text).messages[1] == Message(role="assistant", content=text)


@pytest.mark.parametrize(
    "text", ['Sure: [Get Weather/Today(city="Oslo")]', "Done.\n[Other()]", '[Get Weather/Today(city="Os']
)
def test_a_call_inside_words_or_cut_off_does_not_become_an_answer(text):
    assert reason("Weather?", text) == rejects.UNREADABLE_CALL


def test_a_result_of_one_call_may_be_any_text():
    assert kept("Weather?", "[Other()]", "all fine").messages[2] == Message(
        role="tool", content="all fine", name="Other"
    )
    text = '[{"name": "Unlike", "results": 1}]'
    assert kept("Weather?", "[Other()]", text).messages[2].content == text


def test_one_result_of_two_calls_is_refused():
    assert reason("Weather?", "[Other(), Other()]", '[{"name": "Other", "results": 1}]') == rejects.UNPAIRED


@pytest.mark.parametrize(
    "system", ["You are helpful.", TOOLACE_HEAD, TOOLACE_HEAD + "[{]", TOOLACE_HEAD + '{"name": "f"}']
)
def test_a_system_text_without_functions_is_rejected(system):
    assert reason("Weather?", "None.", system=system) == rejects.BROKEN_TOOLS


def test_a_turn_of_nobody_is_rejected():
    row = {"system": SYSTEM, "conversations": [{"from": "human", "value": "Hi"}]}
    outcome = toolace.read_row(row, "x:1")
    assert isinstance(outcome, Reject)
    assert outcome.reason == rejects.UNREADABLE_MESSAGE


@pytest.mark.parametrize("piece", ["[", "f(a=[", "f(a='", 'f(a="\\', "[Other(", "f(a=1),", "a=", "((", '{"a":'])
def test_a_crafted_text_takes_time_linear_in_its_length(piece):
    start = time.perf_counter()
    read("Weather?", "[" + piece * 100_000)
    assert time.perf_counter() - start < 10
