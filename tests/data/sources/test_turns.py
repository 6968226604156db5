"""The steps that readers share: calls paired with results, and what tools, calls and ids may be."""

import pickle

import pytest
from source_rows import CLOCK, WEATHER

from gemma_tool_use.conversation import Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject, RowError
from gemma_tool_use.data.sources import glaive, turns

ROLL, FLIP = ToolCall(name="roll", arguments={"sides": 6}), ToolCall(name="flip")


def reason(read, *arguments):
    with pytest.raises(RowError) as caught:
        read(*arguments)
    return caught.value.reason


def test_the_picture_of_the_module():
    said = [turns.user("Roll a d6"), turns.called(ROLL), turns.result("4"), turns.assistant("A four.")]
    assert turns.pair(said) == (
        Message(role="user", content="Roll a d6"),
        Message(role="assistant", calls=(ROLL,)),
        Message(role="tool", content="4", name="roll"),
        Message(role="assistant", content="A four."),
    )


def test_parallel_calls_share_a_message_with_the_text_before_them():
    said = [turns.system("Be brief."), turns.user("Both"), turns.assistant("Sure."), turns.assistant("Now.")]
    said += [turns.called(ROLL), turns.called(FLIP), turns.result("4"), turns.result("heads")]
    assert turns.pair(said)[2:] == (
        Message(role="assistant", content="Sure.\n\nNow.", calls=(ROLL, FLIP)),
        Message(role="tool", content="4", name="roll"),
        Message(role="tool", content="heads", name="flip"),
    )


@pytest.mark.parametrize(
    "said",
    [
        [turns.user("x"), turns.result("4")],
        [turns.user("x"), turns.called(ROLL), turns.called(FLIP), turns.result("4")],
        [turns.user("x"), turns.called(ROLL), turns.result("4"), turns.result("5")],
        [turns.user("x"), turns.called(ROLL), turns.assistant("A four.")],
        [turns.user("x"), turns.called(ROLL), turns.assistant("}"), turns.result("4")],
    ],
)
def test_results_that_answer_no_call_are_refused(said):
    assert reason(turns.pair, said) == rejects.UNPAIRED


@pytest.mark.parametrize("said", [[], [turns.system("Be brief.")]])
def test_a_chat_in_which_nobody_speaks_is_refused(said):
    assert reason(turns.pair, said) == rejects.NO_MESSAGES


def test_tools_come_bare_wrapped_and_as_texts():
    tools = turns.read_tools([WEATHER, {"type": "function", "function": CLOCK}, '{"name": "roll"}'])
    assert [tool.name for tool in tools] == ["get_weather", "now", "roll"]
    assert tools[2] == ToolSpec(name="roll")
    assert turns.read_tools(None) == turns.read_tools("") == turns.read_tools("[]") == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[{", rejects.BROKEN_TOOLS),
        ({"name": "f"}, rejects.BROKEN_TOOLS),
        ("[" * 70 + "]" * 70, rejects.BROKEN_TOOLS),
        ([{"name": " "}], rejects.UNREADABLE_TOOL),
        ([3], rejects.UNREADABLE_TOOL),
        ([{"name": "f", "description": 3}], rejects.UNREADABLE_TOOL),
        ([{"name": "f", "parameters": {"a": {"type": "nobody knows"}}}], rejects.UNREADABLE_TOOL),
    ],
)
def test_tools_that_are_none_are_refused(value, expected):
    assert reason(turns.read_tools, value) == expected


def test_the_detail_of_a_bad_parameter_names_the_tool():
    with pytest.raises(RowError) as caught:
        turns.read_tools([{"name": "f", "parameters": {"a": {"type": "nobody knows"}}}])
    assert caught.value.detail.startswith("f: ")


@pytest.mark.parametrize("arguments", [None, {}, "{}"])
def test_no_arguments_are_an_empty_object(arguments):
    assert turns.read_call("now", arguments) == ToolCall(name="now")


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("", {}, rejects.UNREADABLE_CALL),
        (None, {}, rejects.UNREADABLE_CALL),
        ("f", "{'a': 1}", rejects.BROKEN_ARGUMENTS),
        ("f", '{"a": 1, "a": 2}', rejects.BROKEN_ARGUMENTS),
        ("f", '{"a": NaN}', rejects.BROKEN_ARGUMENTS),
        ("f", {"a": float("inf")}, rejects.BROKEN_ARGUMENTS),
        ("f", {"a": b"x"}, rejects.BROKEN_ARGUMENTS),
        ("f", "[1]", rejects.ARGUMENTS_NOT_OBJECT),
        ("f", 3, rejects.ARGUMENTS_NOT_OBJECT),
    ],
)
def test_calls_that_are_none_are_refused(name, arguments, expected):
    assert reason(turns.read_call, name, arguments) == expected


def test_a_turn_of_calls_without_a_call_is_refused():
    assert reason(turns.read_calls, "[]", "call") == rejects.UNREADABLE_CALL


@pytest.mark.parametrize(
    ("value", "expected"), [("a", "a"), (7, "7"), ("", "x:1"), (None, "x:1"), (True, "x:1"), ([], "x:1")]
)
def test_a_row_without_an_id_goes_by_its_place(value, expected):
    assert turns.row_id({"id": value}, "x:1") == expected


def test_a_reader_gives_rejects_their_id_and_place_and_can_be_sent_to_a_process():
    pickle.dumps(glaive.read_row)  # raises for a function that cannot be found by its name
    outcome = glaive.read_row({"id": "g1", "system": 3, "chat": "x"}, "x:1")
    assert outcome == Reject(id="g1", reason=rejects.UNREADABLE_MESSAGE, detail="system is not text: 3", where="x:1")
