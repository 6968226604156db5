"""Call, ask, refuse, answer; and whether an answer uses what a tool returned."""

import time

import pytest

from gemma_tool_use.conversation import Conversation, Message, Reply, ToolCall
from gemma_tool_use.evaluation.decisions import decision, text_decision
from gemma_tool_use.evaluation.result_use import ResultUse, result_use


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Which city do you mean?", "ask"),
        ("Sure. Could you please provide the page number of the document.", "ask"),
        ('The function "createGraphic" lacks the required "width" parameter. Please provide it.', "ask"),
        ("I'm sorry, but I need the ISBN. Could you share it?", "ask"),
        (
            "I\u2019m sorry, but I don\u2019t have the ability to book flights. Is there anything else you need?",
            "refuse",
        ),
        ("None of the provided functions can convert HSL to RGB.", "refuse"),
        ("I cannot order pizza. If you need a quote, please let me know.", "refuse"),
        ("Paris has two million inhabitants. Would you like to know more?", "answer"),
        ("You're welcome! If you have any other questions, feel free to ask.", "answer"),
        ("", "answer"),
    ],
)
def test_words_of_an_answer_tell_what_it_decides(text, expected):
    assert text_decision(text) == expected


def test_a_call_and_a_failed_attempt_at_one_are_calls_whatever_the_words():
    assert decision(Reply(raw="", text="I cannot.", calls=(ToolCall(name="f"),))) == "call"
    assert decision(Reply(raw="", text="I cannot.", errors=("unclosed",))) == "call"


@pytest.mark.parametrize("piece", ["please ", "i need ", "what ", "do not have ", "lacks \n", "a.", "\x00"])
def test_a_text_that_never_ends_is_decided_at_once(piece):
    start = time.process_time()
    text_decision(piece * 200_000)
    assert time.process_time() - start < 1


QUESTION = Conversation(
    messages=(
        Message(role="user", content="Weather in Oslo on day 3?"),
        Message(role="assistant", calls=(ToolCall(name="weather"),)),
        Message(role="tool", name="weather", content='{"temp": 21.0, "sky": "Clear", "city": "Oslo", "wind": 1200}'),
    )
)


def test_facts_are_what_only_the_tool_told_and_the_right_answer_repeats():
    right = "In Oslo it is 21 degrees and clear."
    assert result_use(QUESTION, right, "Clear sky!") == ResultUse(facts=2, found=1)
    assert result_use(QUESTION, right, "Oslo is nice on day 3.") == ResultUse(facts=2, found=0)
    assert result_use(QUESTION, "A breeze of 1,200.", "1200.0 it is") == ResultUse(facts=1, found=1)


def test_a_question_that_ends_with_the_user_has_no_facts():
    asked = Conversation(messages=(Message(role="user", content="21 or 22?"),))
    assert result_use(asked, "21", "21") == ResultUse(facts=0, found=0)
