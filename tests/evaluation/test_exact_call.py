"""What counts as an exact call."""

import pytest

from gemma_tool_use.conversation import Conversation, Message, Reply, ToolCall
from gemma_tool_use.errors import DataError
from gemma_tool_use.evaluation.exact_call import is_exact, question_and_answer, score

OSLO = ToolCall(name="get_weather", arguments={"city": "Oslo", "days": 1})
ROME = ToolCall(name="get_weather", arguments={"city": "Rome", "days": 1})


def reply(*calls, errors=()):
    return Reply(raw="", calls=calls, errors=errors)


def test_the_same_call_is_exact_whatever_the_order_of_its_arguments():
    assert is_exact(reply(ToolCall(name="get_weather", arguments={"days": 1, "city": "Oslo"})), [OSLO])


@pytest.mark.parametrize(
    "arguments",
    [{"city": "oslo", "days": 1}, {"city": "Oslo"}, {"city": "Oslo", "days": 1.0}, {"city": "Oslo", "days": True}],
)
def test_another_value_a_missing_argument_or_another_type_is_not(arguments):
    assert not is_exact(reply(ToolCall(name="get_weather", arguments=arguments)), [OSLO])


def test_several_calls_may_come_in_any_order_but_not_twice():
    assert is_exact(reply(ROME, OSLO), [OSLO, ROME])
    assert not is_exact(reply(OSLO, ROME, ROME), [OSLO, ROME])
    assert not is_exact(reply(OSLO), [OSLO, ROME])


def test_a_broken_attempt_beside_the_right_call_is_not_exact():
    assert not is_exact(reply(OSLO, errors=("unclosed call",)), [OSLO])


def test_where_no_call_is_wanted_silence_counts_and_a_failed_attempt_does_not():
    assert is_exact(reply(), [])
    assert not is_exact(reply(errors=("unclosed call",)), [])
    assert not is_exact(reply(OSLO), [])


def test_scores_are_shares_over_all_and_by_kind():
    expected = [Message(role="assistant", calls=(OSLO,))] * 2 + [Message(role="assistant", content="Hi")]
    result = score([reply(OSLO), reply(ROME), reply()], expected, ["one_call", "one_call", "no_call"])
    assert result == {
        "exact": 2 / 3,
        "count": 3,
        "by_kind": {"no_call": {"exact": 1.0, "count": 1}, "one_call": {"exact": 0.5, "count": 2}},
    }


def test_a_conversation_is_split_before_its_last_answer():
    conversation = Conversation(
        id="x", messages=(Message(role="user", content="Oslo?"), Message(role="assistant", calls=(OSLO,)))
    )
    question, answer = question_and_answer(conversation)
    assert [message.role for message in question.messages] == ["user"]
    assert answer.calls == (OSLO,)


def test_a_conversation_without_an_answer_cannot_be_scored():
    with pytest.raises(DataError, match="'x' does not end with an answer"):
        question_and_answer(Conversation(id="x", messages=(Message(role="user", content="Oslo?"),)))
