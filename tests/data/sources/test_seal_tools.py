"""Seal-Tools rows to conversations: lists as Python writes them inside a prompt, and calls that need other calls."""

import builtins

import pytest
from source_rows import SEAL_APIS, SEAL_CALLS, SEAL_PARTS, SEAL_PROMPT, SEAL_TEXT

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.sources import seal_tools, turns

TEST = {**SEAL_TEXT, "id": "test_in_domain-easy-0"}


def text_row(prompt=SEAL_PROMPT, answer=str(SEAL_CALLS)):
    return {"id": "dev-1", "conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": answer}]}


def reason(row):
    outcome = seal_tools.read_row(row, "x:1")
    assert isinstance(outcome, Reject), outcome
    return outcome.reason


def test_a_row_becomes_a_conversation():
    assert seal_tools.read_row(SEAL_TEXT, "dev.json:1") == Conversation(
        id="dev-hard-0",
        source="seal-tools",
        tools=(
            ToolSpec(
                name="ping",
                description="Checks whether a host can be reached",
                parameters={
                    "type": "object",
                    "properties": {
                        "host": {"type": "string", "description": "The host's name"},
                        "n": {"type": "integer"},
                    },
                    "required": ["host"],
                },
            ),
            ToolSpec(name="rest", description="Rests"),
        ),
        messages=(
            Message(role="user", content='Ping the host "it\'s.example" three times, then rest.'),
            Message(
                role="assistant",
                calls=(ToolCall(name="ping", arguments={"host": "it's.example", "n": 3}), ToolCall(name="rest")),
            ),
        ),
    )


def test_a_row_with_its_functions_beside_it_is_read_the_same():
    outcome = seal_tools.read_row(SEAL_PARTS, "dev.jsonl:1")
    from_text = seal_tools.read_row(SEAL_TEXT, "dev.json:1")
    assert isinstance(outcome, Conversation)
    assert isinstance(from_text, Conversation)
    assert outcome.tools == from_text.tools
    assert outcome.messages[1] == from_text.messages[1]


def test_a_row_without_functions_says_where_they_are():
    outcome = seal_tools.read_row({**SEAL_PARTS, "api_list": None}, "dev.jsonl:1")
    assert isinstance(outcome, Reject)
    assert outcome.reason == rejects.BROKEN_TOOLS
    assert "tool.jsonl" in outcome.detail


def test_a_request_that_lost_its_last_quotation_mark_is_kept_as_it_is():
    prompt = f'api_list = {SEAL_APIS}\ntask_instruction = "Ping "it.\nplease"\nOutput:\n'
    outcome = seal_tools.read_row(text_row(prompt), "x:1")
    assert isinstance(outcome, Conversation)
    assert outcome.messages[0].content == 'Ping "it.\nplease'


@pytest.mark.parametrize("host", ["API_call_0", ["API_call_12"], {"a": ["x", "API_call_0"]}])
def test_a_call_that_needs_the_result_of_another_is_left_out_and_not_called_unreadable(host):
    calls = [{"api": "ping", "parameters": {"host": host}, "responses": ["API_call_1"]}]
    outcome = seal_tools.read_row({**SEAL_PARTS, "calling": calls}, "x:1")
    assert isinstance(outcome, Reject)
    assert outcome.reason == seal_tools.NESTED
    assert not outcome.bad


@pytest.mark.parametrize("host", ["API_call_", "API_call_x", "the API_call_0"])
def test_a_value_that_only_looks_like_a_result_is_kept(host):
    calls = [{"api": "ping", "parameters": {"host": host}, "responses": []}]
    assert isinstance(seal_tools.read_row({**SEAL_PARTS, "calling": calls}, "x:1"), Conversation)


def test_the_rows_of_the_benchmark_are_a_source_of_their_own():
    assert reason(TEST) == turns.OTHER_SPLIT
    outcome = seal_tools.read_test_row(TEST, "x:1")
    assert isinstance(outcome, Conversation)
    assert outcome.source == "seal-tools-test"
    assert isinstance(seal_tools.read_test_row(SEAL_TEXT, "x:1"), Reject)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (text_row("Hello"), rejects.BROKEN_TOOLS),
        (text_row("api_list = [{'api_name': 'f'"), rejects.BROKEN_TOOLS),
        (text_row('api_list = [1]\ntask_instruction = "x"\nOutput:'), rejects.BROKEN_TOOLS),
        (text_row('api_list = [{}]\ntask_instruction = "x"\nOutput:'), rejects.UNREADABLE_TOOL),
        (text_row(f"api_list = {SEAL_APIS}\nOutput:"), rejects.UNREADABLE_MESSAGE),
        (text_row(answer="I cannot."), rejects.UNREADABLE_CALL),
        (text_row(answer="[]"), rejects.UNREADABLE_CALL),
        (text_row(answer=f"{SEAL_CALLS} and"), rejects.UNREADABLE_CALL),
        (text_row(answer="[{'api': 'ping', 'parameters': [1]}]"), rejects.ARGUMENTS_NOT_OBJECT),
        ({"id": "dev-1", "conversations": [{"from": "human", "value": "x"}]}, rejects.UNREADABLE_MESSAGE),
        ({"id": "dev-1", "conversations": "[{"}, rejects.BROKEN_MESSAGES),
        ({"id": "dev-1"}, rejects.UNREADABLE_MESSAGE),
    ],
)
def test_a_broken_row_is_rejected_with_its_reason(row, expected):
    assert reason(row) == expected


def test_nothing_in_a_row_is_evaluated(monkeypatch):
    def never(*arguments, **options):
        raise AssertionError("evaluated")

    for name in ("eval", "exec", "compile", "__import__"):
        monkeypatch.setattr(builtins, name, never)
    assert reason(text_row(answer="[__import__('os').getcwd()]")) == rejects.UNREADABLE_CALL
    assert reason(text_row("api_list = [print(1)]\n")) == rejects.BROKEN_TOOLS
