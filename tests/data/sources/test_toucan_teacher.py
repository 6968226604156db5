"""Rows of Toucan's teachers: the old form of calls, the tools in the system turn, the scores as numbers."""

import json

import pytest

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.sources.registry import SOURCES
from gemma_tool_use.data.sources.toucan_teacher import KIMI_K2, OSS, QWEN3, without_tools

TOOL = {"type": "function", "function": {"name": "unit-convert", "description": "", "parameters": {"type": "object"}}}
KIMI_SYSTEM = "<|im_system|>tool_declare<|im_middle|>" + json.dumps([TOOL]) + "<|im_end|>"
QWEN_SYSTEM = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function "
    "signatures within <tools></tools> XML tags:\n<tools>\n" + json.dumps(TOOL) + "\n</tools>\n\nFor each function "
    "call, return a json object within <tool_call></tool_call> XML tags:\n<tool_call>\n{}\n</tool_call>"
)
USER = {"role": "user", "content": "What is 3 km in miles?"}
ANSWER = {"role": "assistant", "content": "About 1.86 miles."}


def call(arguments: str | None = '{"value": 3, "to": "mi"}', name="unit-convert", **fields):
    return {"role": "assistant", "content": "", "function_call": {"name": name, "arguments": arguments}, **fields}


def result(content="1.86", name="unit-convert"):
    return {"role": "function", "name": name, "content": content}


def row(messages, **columns):
    texts = {"messages": json.dumps(messages), "available_tools": json.dumps([TOOL])}
    return {"uuid": "u1", "subset_name": "single-turn-original", **texts, **columns}


def messages_of(messages, source=QWEN3):
    outcome = source.read(row(messages), "t row 0")
    assert isinstance(outcome, Conversation), outcome
    return outcome.messages


def test_a_row_becomes_a_conversation():
    system = {"role": "system", "content": QWEN_SYSTEM}
    assessments = {
        "question_quality_assessment": json.dumps({"question_quality": {"reasoning": "clear", "score": 5}}),
        "response_quality_assessment": json.dumps({"completeness": {"score": 4}, "desired_tools_used_percentage": 1.0}),
    }
    thinking = call(reasoning_content="Convert it.")
    outcome = OSS.read(
        row([system, USER, thinking, result(), ANSWER], target_tools="convert", **assessments), "t row 0"
    )
    assert outcome == Conversation(
        id="u1",
        source="toucan-oss/single-turn-original",
        tools=(ToolSpec(name="unit-convert", parameters={"type": "object"}),),
        messages=(
            Message(role="user", content="What is 3 km in miles?"),
            Message(
                role="assistant",
                reasoning="Convert it.",
                calls=(ToolCall(name="unit-convert", arguments={"value": 3, "to": "mi"}),),
            ),
            Message(role="tool", content="1.86", name="unit-convert"),
            Message(role="assistant", content="About 1.86 miles."),
        ),
        meta={
            "target_tools": "convert",
            "quality": {"question_quality": 5.0, "completeness": 4.0, "desired_tools_used_percentage": 1.0},
        },
    )


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (KIMI_SYSTEM, ""),
        (QWEN_SYSTEM, ""),
        ("Be brief.\n\n" + QWEN_SYSTEM, "Be brief."),
        (KIMI_SYSTEM + "\nBe brief.", "Be brief."),
        (QWEN_SYSTEM + "\nBe brief.", "Be brief."),
        ("# Tools\n<tools>\n{}\n</tools>\nBe brief.", "Be brief."),
        ("Be brief.", "Be brief."),
        ("# Tools\nare heavy", "# Tools\nare heavy"),
        ("</tools> # Tools\n", "</tools> # Tools\n"),
    ],
)
def test_only_the_tools_leave_a_system_turn(text, kept):
    assert without_tools(text) == kept
    said = [message.content for message in messages_of([{"role": "system", "content": text}, USER, ANSWER])]
    assert said == [kept, USER["content"], ANSWER["content"]][not kept :]


def test_calls_in_a_row_become_one_message_with_the_text_before_them():
    said = {"role": "assistant", "content": "Let me see.", "reasoning_content": "Two calls."}
    first, second = call('{"value": 1}', reasoning_content="One."), call('{"value": 2}', content="And:")
    messages = messages_of([USER, said, first, second, result("1"), result("2"), ANSWER])
    assert messages[1] == Message(
        role="assistant",
        content="Let me see.\n\nAnd:",
        reasoning="Two calls.\n\nOne.",
        calls=tuple(ToolCall(name="unit-convert", arguments={"value": n}) for n in (1, 2)),
    )
    assert [message.content for message in messages[2:]] == ["1", "2", "About 1.86 miles."]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], rejects.NO_MESSAGES),
        ([{"role": "system", "content": QWEN_SYSTEM}], rejects.NO_MESSAGES),
        ([USER, call(), ANSWER], rejects.UNPAIRED),
        ([USER, call(), call(), result()], rejects.UNPAIRED),
        ([USER, result()], rejects.UNPAIRED),
        ([USER, call(), result(name="other")], rejects.UNPAIRED),
        ([USER, call(arguments='{"a": 1')], rejects.BROKEN_ARGUMENTS),
        ([USER, call(arguments="")], rejects.BROKEN_ARGUMENTS),
        ([USER, call(arguments="[1]")], rejects.ARGUMENTS_NOT_OBJECT),
        ([USER, call(arguments=None)], rejects.UNREADABLE_CALL),
        ([USER, call(name="")], rejects.UNREADABLE_CALL),
        ([USER, {"role": "assistant", "function_call": "f"}], rejects.UNREADABLE_CALL),
        ([USER, {"role": "tool_call", "content": "x"}], rejects.UNREADABLE_MESSAGE),
        ([USER, {"role": "assistant", "content": 3}], rejects.UNREADABLE_MESSAGE),
        ([USER, "hello"], rejects.UNREADABLE_MESSAGE),
    ],
)
def test_broken_messages_have_their_reason(messages, expected):
    outcome = KIMI_K2.read(row(messages), "t row 0")
    assert isinstance(outcome, Reject)
    assert (outcome.id, outcome.reason, outcome.where, outcome.bad) == ("u1", expected, "t row 0", True)


def test_a_row_without_assessments_has_no_scores():
    empty = {"question_quality_assessment": "", "response_quality_assessment": None}
    outcome = QWEN3.read(row([USER, ANSWER], subset_name="irrelevant", **empty), "t row 0")
    assert isinstance(outcome, Conversation)
    assert (outcome.meta, outcome.source) == ({}, "toucan-qwen3/irrelevant")


def test_the_teachers_are_told_apart_by_what_only_their_messages_hold():
    rows = {
        KIMI_K2.name: row([{"role": "system", "content": KIMI_SYSTEM}, USER]),
        OSS.name: row([USER, call(reasoning_content="x")]),
        QWEN3.name: row([USER, ANSWER]),
    }
    for name, example in rows.items():
        assert next(source.name for source in SOURCES.values() if source.recognises(example)) == name


def test_the_subset_is_known_without_reading_the_row():
    assert OSS.subset is not None
    assert OSS.subset({"subset_name": "irrelevant", "messages": "[broken"}) == "irrelevant"
