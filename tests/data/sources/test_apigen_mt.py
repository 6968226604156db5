"""APIGen-MT rows to conversations, without the function that only notes thoughts; for non-commercial use alone."""

import json

from source_rows import APIGEN, SHAREGPT

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.sources import apigen_mt, sharegpt


def test_a_row_becomes_a_conversation_without_thoughts():
    assert apigen_mt.read_row(APIGEN[0], "apigen-mt_5k.json:1") == Conversation(
        id="apigen-mt_5k.json:1",
        source="apigen-mt",
        tools=(
            ToolSpec(
                name="find_user",
                description="Finds a user",
                parameters={"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
            ),
        ),
        messages=(
            Message(role="system", content="# Retail agent policy\n\nAs a retail agent, you can help users."),
            Message(role="user", content="Hi, I'm u1."),
            Message(role="assistant", calls=(ToolCall(name="find_user", arguments={"id": "u1"}),)),
            Message(role="tool", content='{"name": "Ann"}', name="find_user"),
            Message(role="assistant", content="Hello Ann."),
        ),
    )


def test_a_chat_may_end_with_a_result():
    row = {**APIGEN[0], "conversations": APIGEN[0]["conversations"][:-1]}
    outcome = apigen_mt.read_row(row, "x:1")
    assert isinstance(outcome, Conversation)
    assert outcome.messages[-1].role == "tool"


def test_a_result_is_dropped_only_with_the_thought_it_answers():
    said = APIGEN[0]["conversations"]
    outcome = apigen_mt.read_row({**APIGEN[0], "conversations": [*said[:2], said[-1]]}, "x:1")
    assert isinstance(outcome, Conversation)
    assert [message.role for message in outcome.messages] == ["system", "user", "assistant"]
    outcome = apigen_mt.read_row({**APIGEN[0], "conversations": [*said[:3], said[2]]}, "x:1")
    assert isinstance(outcome, Reject)
    assert outcome.reason == rejects.UNPAIRED


def test_its_terms_exclude_commercial_use():
    assert apigen_mt.SOURCE.licence is not None
    assert (apigen_mt.SOURCE.licence.name, apigen_mt.SOURCE.licence.commercial) == ("CC-BY-NC-4.0", False)


def test_anybodys_rows_in_the_same_form_are_not_taken_for_it():
    assert apigen_mt.SOURCE.recognises(APIGEN[0])
    assert not apigen_mt.SOURCE.recognises(SHAREGPT[0])
    assert sharegpt.SOURCE.recognises(SHAREGPT[0])
    assert not sharegpt.SOURCE.recognises({"tools": json.dumps([]), "conversations": "x"})
