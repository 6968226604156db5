"""The rule about relative dates: a call may state a date only if somebody said which day it is."""

import pytest

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import EVERYTHING, RELATIVE_DATE, RuleSettings, apply_rules, dates

RULE = RuleSettings(relative_dates=False, keep_out_bfcl=False)
PROPERTIES = {
    "city": {"type": "string"},
    "startDate": {"type": "string"},
    "when": {"type": "string", "format": "date-time"},
    "at": {"type": "string", "description": "Day as YYYY-MM-DD"},
    "days": {"type": "integer"},
    "year": {"type": "integer"},
}
TOOL = ToolSpec(name="forecast", parameters={"type": "object", "properties": PROPERTIES})


def row(question, arguments, *before):
    call = Message(role="assistant", calls=(ToolCall(name="forecast", arguments=arguments),))
    return Conversation(id="r", tools=(TOOL,), messages=(*before, Message(role="user", content=question), call))


def rejected(*args):
    outcome = apply_rules(row(*args), RULE)
    return isinstance(outcome, Reject) and outcome.reason == RELATIVE_DATE


@pytest.mark.parametrize(
    "words", ["tomorrow", "today's", "next Monday", "on Friday", "in 3 days", "2 weeks ago", "THIS week"]
)
def test_a_relative_date_without_a_date_is_caught(words):
    assert rejected(f"How is the weather in Oslo {words}?", {"city": "Oslo", "startDate": "2024-05-03"})
    assert apply_rules(row(f"Weather {words}?", {"startDate": "2024-05-03"}), EVERYTHING).messages


@pytest.mark.parametrize("words", ["", "on 2024-05-03", "every day", "for 3 days", "in a sunny weekend house"])
def test_a_question_without_one_is_kept(words):
    assert not rejected(f"How is the weather in Oslo {words}?", {"city": "Oslo", "startDate": "2024-05-03"})


@pytest.mark.parametrize(
    ("arguments", "caught"),
    [
        ({"startDate": "2024-05-03"}, True),
        ({"when": "2024-05-03T10:00:00Z"}, True),
        ({"at": "2024-05-03"}, True),
        ({"year": 2024}, True),
        ({"startDate": "tomorrow"}, False),
        ({"startDate": "in 100 days"}, False),
        ({"days": 1}, False),
        ({"city": "Oslo 0150"}, False),
    ],
)
def test_only_a_stated_date_in_a_date_like_argument_counts(arguments, caught):
    assert rejected("Weather in Oslo tomorrow?", arguments) == caught


@pytest.mark.parametrize("date", ["2024-05-02", "2 May 2024", "May 2, 2024", "05/02/2024", "2024-05-02T09:30:00"])
def test_a_date_in_the_context_resolves_it(date):
    system = Message(role="system", content=f"Current date and time: {date}. Be brief.")
    assert not rejected("Weather in Oslo tomorrow?", {"startDate": "2024-05-03"}, system)


def test_a_date_that_the_model_said_itself_resolves_nothing():
    said = [Message(role="user", content="Hi"), Message(role="assistant", content="It is 2024-05-02.")]
    outcome = apply_rules(
        row("Weather tomorrow?", {"startDate": "2024-05-03"}, *said),
        RuleSettings(relative_dates=False, single_turn=False, keep_out_bfcl=False),
    )
    assert outcome.reason == RELATIVE_DATE
    assert outcome.detail == "'tomorrow', and forecast is called with startDate='2024-05-03'"


@pytest.mark.parametrize("words", [["version", "1.2.3"], ["in", "2024"], ["may", "i"], ["10", "30"]])
def test_other_numbers_are_no_date(words):
    assert not dates.states_date(words)
