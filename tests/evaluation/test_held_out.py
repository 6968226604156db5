"""Held-out rows as questions, their verdicts and measures."""

import dataclasses

import pytest

from gemma_tool_use.conversation import Conversation, Message, Reply, ToolCall, ToolSpec
from gemma_tool_use.errors import DataError
from gemma_tool_use.evaluation.held_out import BAD_CALL, NO_ANSWER, held_out_suite
from gemma_tool_use.evaluation.held_out_measures import measures, script_accuracy
from gemma_tool_use.evaluation.records import Answer, Result, Verdict, judged

ROLL = ToolCall(name="roll", arguments={"sides": 6, "times": 2})
TOOLS = (ToolSpec(name="roll"), ToolSpec(name="flip"))


def user(text):
    return Message(role="user", content=text)


def says(text="", *calls):
    return Message(role="assistant", content=text, calls=calls)


def row(*messages, id="r"):
    return Conversation(id=id, tools=TOOLS, messages=messages)


ONE = row(user("Roll twice"), says("", ROLL))
SEVERAL = row(user("Roll and flip"), says("", ROLL, ToolCall(name="flip")))
TALK = row(user("Hi"), says("Which die do you mean?"))
RESULT = Message(role="tool", name="roll", content='{"eyes": [4, 5]}')
AFTER = row(user("Roll twice"), says("", ROLL), RESULT, says("You have 4 and 5."))


def suite_of(*rows, **settings):
    return held_out_suite(rows, **settings)[0]


def always_valid(schema, arguments):
    return True


def measured(rows, replies, check=always_valid):
    suite = suite_of(*rows)
    results = [
        Result(item=item, answer=Answer(item_id=item.id, text=""), reply=reply, verdict=suite.judge(item, reply))
        for item, reply in zip(suite.items(), replies, strict=True)
    ]
    return {name: (m.value, m.count) for name, m in measures(results, check_arguments=check).items()}


def replied(text="", *calls, errors=()):
    return Reply(raw="", text=text, calls=calls, errors=errors)


def test_the_last_answer_is_expected_and_not_shown():
    items = suite_of(ONE, SEVERAL, TALK, AFTER).items()
    assert [item.category for item in items] == ["one_call", "several_calls", "no_call", "after_result"]
    assert [item.conversation.messages[-1].role for item in items] == ["user", "user", "user", "tool"]
    assert items[0].expected_calls == (ROLL,)
    assert items[3].expected == {"content": "You have 4 and 5.", "reasoning": ""}


def test_the_first_call_can_be_expected_instead():
    items = suite_of(AFTER, TALK, first_call=True).items()
    assert [item.category for item in items] == ["one_call", "no_call"]
    assert [message.role for message in items[0].conversation.messages] == ["user"]


def test_what_follows_the_last_answer_is_not_shown():
    (item,) = suite_of(row(user("Hi"), says("Hello"), user("Bye"))).items()
    assert [message.content for message in item.conversation.messages] == ["Hi"]


def test_every_row_is_an_item_or_counted():
    unknown = row(user("?"), says("", ToolCall(name="fly")))
    suite, left_out = held_out_suite([ONE, row(user("Hi")), row(says("Hi")), unknown])
    assert len(suite.items()) == 1
    assert left_out == {NO_ANSWER: 2, BAD_CALL: 1}
    with pytest.raises(DataError, match="none of 1 held-out rows can be asked"):
        held_out_suite([row(user("Hi"))])


def test_rows_of_one_id_and_rows_without_one_are_told_apart():
    rows = [ONE, ONE, dataclasses.replace(ONE, id="")]
    assert [item.id for item in suite_of(*rows).items()] == ["r", "r#2", "row_3"]


@pytest.mark.parametrize(
    ("reply", "official", "strict", "failure"),
    [
        (replied("Hello"), True, True, None),
        (replied("", errors=("unclosed",)), True, False, "broken_syntax"),
        (replied("", ROLL), False, False, "over_call"),
    ],
)
def test_a_broken_attempt_is_no_call_officially_and_wrong_strictly(reply, official, strict, failure):
    suite = suite_of(TALK)
    verdict = suite.judge(suite.items()[0], reply)
    assert (verdict.official, verdict.strict, verdict.failure) == (official, strict, failure)


def test_expected_calls_must_be_made_exactly():
    suite = suite_of(SEVERAL)
    (item,) = suite.items()
    assert suite.judge(item, replied("", *reversed(item.expected_calls))) == Verdict(official=True, strict=True)
    assert suite.judge(item, replied("", ROLL)).failure == "wrong_count"


def test_names_and_arguments_are_counted_apart():
    near = ToolCall(name="roll", arguments={"sides": 8, "times": 2, "loud": True})
    found = measured([ONE, SEVERAL], [replied("", near), replied("", ROLL, ToolCall(name="flip"))])
    assert found["exact_call"] == (0.5, 2)
    assert found["function_names"] == (1.0, 2)
    assert found["argument_names"] == (2 / 3, 3)
    assert found["argument_name_precision"] == (4 / 5, 5)
    assert found["argument_name_recall"] == (1.0, 4)
    assert found["argument_values"] == (3 / 4, 4)
    assert found["argument_value_precision"] == (3 / 5, 5)
    assert found["argument_value_recall"] == (3 / 4, 4)


def test_calling_too_often_and_too_seldom_are_shares_of_different_rows():
    found = measured([ONE, SEVERAL, TALK, AFTER], [replied("No"), replied("", ROLL), replied("", ROLL), replied("4")])
    assert found["under_call"] == (0.5, 2)
    assert found["over_call"] == (0.5, 2)


def test_arguments_are_valid_invalid_or_cannot_be_checked():
    def check(schema, arguments):
        return None if not arguments else arguments["sides"] == 6

    unoffered = ToolCall(name="fly")
    wrong = ToolCall(name="roll", arguments={"sides": 0})
    assert measured([ONE], [replied("", ROLL, wrong, unoffered, ToolCall(name="flip"))], check)["schema_valid"] == (
        1 / 3,
        3,
    )


def test_decisions_are_compared_with_those_of_the_right_answers():
    refused = row(user("Fly"), says("I'm sorry, I cannot do that."))
    found = measured([ONE, TALK, refused], [replied("", ROLL), replied("Hello."), replied("I can't.")])
    assert found["decision"] == (2 / 3, 3)
    assert (found["decision_call"], found["decision_ask"], found["decision_refuse"]) == ((1, 1), (0, 1), (1, 1))
    assert "decision_answer" not in found


def test_an_answer_uses_the_result_when_it_has_half_of_its_facts():
    found = measured([AFTER], [replied("A 5!")])
    assert (found["uses_tool_result"], found["tool_result_facts"]) == ((1.0, 1), (0.5, 2))
    assert measured([AFTER], [replied("Done.")])["uses_tool_result"] == (0.0, 1)


def test_the_accuracies_of_the_tool_using_script_leave_out_rows_without_a_call():
    more = ToolCall(name="roll", arguments={"sides": 6.0, "times": 2, "loud": True})
    pairs = [
        ([ROLL], replied("", more)),  # further arguments are allowed, and 6 == 6.0
        ([ROLL], replied("", ToolCall(name="roll", arguments={"sides": 6}))),
        ([ROLL], replied("", ToolCall(name="flip"))),
        ([ROLL], replied("I will not.")),
        ([], replied("", ROLL)),
    ]
    assert script_accuracy(pairs) == (2, 1, 3)


def test_a_row_without_an_answer_is_in_no_measure():
    suite = suite_of(TALK)
    (item,) = suite.items()
    failed = judged(suite, item, Answer(item_id=item.id, text="", error="too long"), lambda text: Reply(raw=text))
    assert measures([failed], check_arguments=always_valid) == {}
