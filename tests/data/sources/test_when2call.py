"""When2Call rows to conversations: `required` beside the parameters, calls inside text, the chosen of two answers."""

import pytest
from source_rows import WHEN2CALL, WHEN2CALL_TOOL

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.sources import when2call

STOCK = ToolSpec(
    name="stock",
    description="Quote",
    parameters={
        "type": "object",
        "properties": {
            "t": {"type": "string", "description": "Ticker"},
            "n": {"type": "array", "items": {"type": "integer"}, "default": ""},
        },
        "required": ["t"],
    },
)


def answered(content):
    chosen = {"role": "assistant", "content": content}
    row = {"tools": [WHEN2CALL_TOOL], "messages": [{"role": "user", "content": "Price?"}], "chosen_response": chosen}
    return when2call.read_row(row, "x:1")


def test_a_row_of_the_first_file_becomes_a_conversation_without_a_call():
    assert when2call.read_row(WHEN2CALL[0], "sft.jsonl:1") == Conversation(
        id="sft.jsonl:1",
        source="when2call/sft",
        tools=(STOCK,),
        messages=(
            Message(role="user", content="Price?"),
            Message(role="assistant", content="Which ticker do you mean?"),
        ),
    )


def test_the_chosen_answer_ends_the_conversation_and_the_rejected_one_is_not_used():
    outcome = when2call.read_row(WHEN2CALL[1], "pref.jsonl:1")
    assert isinstance(outcome, Conversation)
    assert outcome.source == "when2call/pref"
    assert outcome.tools == (STOCK,)
    assert outcome.messages == (
        Message(role="user", content="Price of NVDA?"),
        Message(role="assistant", calls=(ToolCall(name="stock", arguments={"t": "NVDA", "n": [1, 2]}),)),
    )


def test_the_subset_is_known_without_reading_the_rest():
    assert when2call.SOURCE.subset is not None
    assert [when2call.SOURCE.subset(row) for row in WHEN2CALL] == ["sft", "pref", "sft"]


def test_a_call_may_follow_words():
    outcome = answered('Sure. <TOOLCALL>[{"name": "stock", "arguments": {"t": "X"}}]</TOOLCALL>')
    assert isinstance(outcome, Conversation)
    assert outcome.messages[1].content == "Sure."
    assert len(outcome.messages[1].calls) == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<TOOLCALL>[]</TOOLCALL>", rejects.UNREADABLE_CALL),
        ('<TOOLCALL>[{"name": "stock"}]', rejects.UNREADABLE_CALL),
        ('<TOOLCALL>[{"name": "stock"}]</TOOLCALL> Done.', rejects.UNREADABLE_CALL),
        ("<TOOLCALL>[{'name': 'stock'}]</TOOLCALL>", rejects.UNREADABLE_CALL),
        ('<TOOLCALL>[{"name": "stock", "arguments": [1]}]</TOOLCALL>', rejects.ARGUMENTS_NOT_OBJECT),
        (3, rejects.UNREADABLE_MESSAGE),
        (None, rejects.UNREADABLE_MESSAGE),
    ],
)
def test_an_unreadable_answer_is_rejected_with_its_reason(content, expected):
    outcome = answered(content)
    assert isinstance(outcome, Reject)
    assert outcome.reason == expected


def test_a_row_of_the_test_files_is_rejected():
    row = {"uuid": "1", "question": "Price?", "tools": ["{}"], "answers": {"direct": "120"}, "correct_answer": "direct"}
    assert isinstance(when2call.read_row(row, "x:1"), Reject)
    assert not when2call.SOURCE.recognises(row)
