"""What the rule keeps, cuts and rejects, each with its reason."""

import pytest

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects, rules
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import EVERYTHING, Rule, apply_rule
from gemma_tool_use.errors import ConfigError

USER = Message(role="user", content="hi")
ANSWER = Message(role="assistant", content="hello")


def calling(*names):
    return Message(role="assistant", calls=tuple(ToolCall(name=name) for name in names))


def conversation(*messages, tools="abc", source=""):
    return Conversation(id="r1", source=source, tools=tuple(ToolSpec(name=n) for n in tools), messages=messages)


def reason(outcome):
    assert isinstance(outcome, Reject)
    assert outcome.id == "r1"
    return outcome.reason


def test_at_most_two_tools_used_counts_names_over_the_whole_row_not_calls():
    rule = Rule()
    assert not isinstance(apply_rule(conversation(USER, calling("a", "a", "b"), calling("a")), rule), Reject)
    three = conversation(USER, calling("a"), calling("b"), calling("c"))
    assert reason(apply_rule(three, rule)) == "more than 2 tools used"
    assert not isinstance(apply_rule(three, Rule(max_tools_used=3)), Reject)
    assert not isinstance(apply_rule(three, Rule(max_tools_used=None)), Reject)


def test_at_most_three_tools_offered():
    assert reason(apply_rule(conversation(USER, ANSWER, tools="abcd"), Rule())) == "more than 3 tools offered"
    assert not isinstance(apply_rule(conversation(USER, ANSWER, tools="abcd"), Rule(max_tools_offered=4)), Reject)
    assert not isinstance(apply_rule(conversation(USER, ANSWER, tools=""), Rule(max_tools_offered=0)), Reject)


def test_two_user_messages_are_not_single_turn_even_if_a_cut_would_remove_one():
    two = conversation(USER, calling("a"), USER, ANSWER)
    assert reason(apply_rule(two, Rule())) == rules.NOT_SINGLE_TURN
    kept = apply_rule(two, Rule(single_turn=False))
    assert isinstance(kept, Conversation)
    assert kept.messages == (USER, calling("a"))


@pytest.mark.parametrize(
    ("subset", "kept"),
    [("single-turn-original", True), ("single-turn-diversify", True), ("irrelevant", False), ("multi-turn", False)],
)
def test_the_subset_decides_before_anything_else(subset, kept):
    row = conversation(USER, ANSWER, source=f"toucan-sft/{subset}")
    outcome = apply_rule(row, Rule())
    assert outcome == row if kept else reason(outcome) == rules.OTHER_SUBSET
    assert apply_rule(row, Rule(subsets=())) == row
    assert apply_rule(row, Rule(subsets=(subset,))) == row


def test_a_source_of_ones_own_has_no_subsets():
    assert isinstance(apply_rule(conversation(USER, ANSWER, source="my/rows"), Rule()), Conversation)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (conversation(ANSWER), rules.NO_USER_MESSAGE),
        (conversation(USER), rules.NO_ANSWER),
        (conversation(USER, Message(role="assistant", content=" \n")), rules.EMPTY_ANSWER),
        (conversation(USER, calling("z")), rules.UNDECLARED_TOOL),
        (conversation(USER, ANSWER, tools="aab"), rules.DUPLICATE_TOOLS),
        (conversation(USER, Message(role="assistant", content="a \ud83d b")), rejects.NOT_UNICODE),
    ],
)
def test_an_inconsistent_row_is_rejected_by_every_rule(row, expected):
    assert reason(apply_rule(row, EVERYTHING)) == expected
    assert reason(apply_rule(row, Rule())) == expected


def test_first_call_only_ends_the_conversation_after_its_first_calls():
    tool = Message(role="tool", content="4", name="a")
    whole = conversation(USER, ANSWER, calling("a", "b"), tool, tool, calling("a"), tool, ANSWER)
    assert rules.first_call(whole).messages == (USER, ANSWER, calling("a", "b"))
    assert rules.first_call(conversation(USER, ANSWER)).messages == (USER, ANSWER)
    assert apply_rule(whole, Rule(first_call_only=False)) == whole


def test_negative_limits_are_all_named():
    with pytest.raises(ConfigError, match=r"max_tools_used.*-1.*max_tools_offered.*-2"):
        Rule(max_tools_used=-1, max_tools_offered=-2)
