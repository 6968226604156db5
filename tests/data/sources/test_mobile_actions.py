"""mobile-actions rows to conversations: types in capitals, arguments in two forms, a date in the developer's turn."""

import copy

import pytest
from source_rows import MOBILE

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.sources import mobile_actions, turns

EVAL = {**MOBILE[0], "metadata": "eval"}


def reason(change):
    row = copy.deepcopy(MOBILE[0])
    change(row)
    outcome = mobile_actions.read_row(row, "x:1")
    assert isinstance(outcome, Reject), outcome
    return outcome.reason


def test_a_row_becomes_a_conversation():
    assert mobile_actions.read_row(MOBILE[0], "dataset.jsonl:1") == Conversation(
        id="dataset.jsonl:1",
        source="mobile-actions",
        tools=(
            ToolSpec(
                name="show_map",
                description="Shows a location on the map.",
                parameters={
                    "type": "object",
                    "properties": {"query": {"type": "string", "description": "Place"}},
                    "required": ["query"],
                },
            ),
            ToolSpec(name="turn_on_flashlight"),
        ),
        messages=(
            Message(
                role="system",
                content="Current date and time given in YYYY-MM-DDTHH:MM:SS format: 2026-01-02T03:04:05\n"
                "Day of week is Friday",
            ),
            Message(role="user", content="Map of Lyon, and light"),
            Message(
                role="assistant",
                calls=(ToolCall(name="show_map", arguments={"query": "Lyon"}), ToolCall(name="turn_on_flashlight")),
            ),
        ),
    )


def test_the_rows_that_published_scores_are_over_are_a_source_of_their_own():
    outcome = mobile_actions.read_row(EVAL, "x:1")
    assert isinstance(outcome, Reject)
    assert outcome.reason == turns.OTHER_SPLIT
    assert not outcome.bad
    outcome = mobile_actions.read_eval_row(EVAL, "x:1")
    assert isinstance(outcome, Conversation)
    assert outcome.source == "mobile-actions-eval"
    assert isinstance(mobile_actions.read_eval_row(MOBILE[0], "x:1"), Reject)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("messages",), "[{", rejects.BROKEN_MESSAGES),
        (("messages",), [], rejects.NO_MESSAGES),
        (("messages", 1, "role"), "human", rejects.UNREADABLE_MESSAGE),
        (("messages", 1, "content"), 3, rejects.UNREADABLE_MESSAGE),
        (("messages", 2, "tool_calls"), {"function": {}}, rejects.UNREADABLE_CALL),
        (("messages", 2, "tool_calls", 0, "function", "arguments"), "{", rejects.BROKEN_ARGUMENTS),
        (("messages", 2, "tool_calls", 0, "function", "arguments"), "3", rejects.ARGUMENTS_NOT_OBJECT),
        (("tools", 0, "function", "name"), None, rejects.UNREADABLE_TOOL),
        (("tools", 0, "function", "parameters", "type"), "STRING", rejects.UNREADABLE_TOOL),
    ],
)
def test_a_broken_row_is_rejected_with_its_reason(path, value, expected):
    def change(row):
        for key in path[:-1]:
            row = row[key]
        row[path[-1]] = value

    assert reason(change) == expected
