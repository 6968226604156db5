"""Hermes and xLAM rows of their true shapes: calls as JSON and as Python, tools in the prompt, bare parameters."""

import json

import pytest

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.sources import hermes, xlam

LOCK = {
    "type": "function",
    "function": {"name": "lock", "description": "Lock a door", "parameters": {"type": "object"}},
}
PROMPT = (
    "You are a function calling AI model. You are provided with function signatures within <tools> </tools> XML tags."
    "\n<tools>\n{}\n</tools>\nFor each function call return a JSON object within <tool_call> </tool_call> tags."
)
SYSTEM = {"from": "system", "value": PROMPT.format(json.dumps([LOCK]))}
HUMAN = {"from": "human", "value": "Lock the door"}
ANSWER = {"from": "gpt", "value": "Locked."}


def called(*calls, text=""):
    return {"from": "gpt", "value": text + "\n".join(f"<tool_call>\n{each}\n</tool_call>" for each in calls)}


def answered(*contents, name="lock"):
    texts = (json.dumps({"name": name, "content": content}) for content in contents)
    return {"from": "tool", "value": "\n".join(f"<tool_response>\n{text}\n</tool_response>" for text in texts)}


def hermes_row(*said, **columns):
    labels = {"category": "IoT", "subcategory": "Locks", "task": "Lock doors"}
    return {"id": "x", "conversations": list(said), "tools": json.dumps([LOCK]), **labels, **columns}


def read(*said, **columns):
    outcome = hermes.SOURCE.read(hermes_row(*said, **columns), "hermes.json row 0")
    assert isinstance(outcome, Conversation), outcome
    return outcome


def reason(*said, **columns):
    outcome = hermes.SOURCE.read(hermes_row(*said, **columns), "hermes.json row 0")
    assert isinstance(outcome, Reject), outcome
    assert outcome.where == "hermes.json row 0"
    return outcome.reason


CALL = '{"arguments": {"door": "front"}, "name": "lock"}'


def test_a_hermes_row_becomes_a_conversation_without_its_prompt():
    assert read(SYSTEM, HUMAN, called(CALL, text="Sure.\n"), answered({"ok": True}), ANSWER) == Conversation(
        id="x",
        source="hermes/function-calling",
        tools=(ToolSpec(name="lock", description="Lock a door"),),
        messages=(
            Message(role="user", content="Lock the door"),
            Message(role="assistant", content="Sure.", calls=(ToolCall(name="lock", arguments={"door": "front"}),)),
            Message(role="tool", content='{"ok": true}', name="lock"),
            Message(role="assistant", content="Locked."),
        ),
        meta={"category": "IoT", "subcategory": "Locks", "task": "Lock doors"},
    )


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("{'name': 'lock', 'arguments': {'door': 'front'}}", {"door": "front"}),
        (
            """{'name': 'lock', 'arguments': {'who': "it's", 'x': None, 'y': True}}""",
            {"who": "it's", "x": None, "y": True},
        ),
        (r"{'name': 'lock', 'arguments': {'re': '\d'}}", {"re": r"\d"}),
        ('{"name": "lock", "arguments": "{\\"door\\": 1}"}', {"door": 1}),
        ('{"name": "lock", "arguments": null}', {}),
    ],
)
def test_calls_in_single_quotes_and_arguments_as_text_are_read(text, arguments):
    assert read(SYSTEM, HUMAN, called(text)).messages[1].calls == (ToolCall(name="lock", arguments=arguments),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'name': 'lock', 'arguments': {'door': front}}", rejects.UNREADABLE_CALL),
        ("{'name': 'lock', 'arguments': {'door': open('x')}}", rejects.UNREADABLE_CALL),
        ("{'name': 'lock', 'arguments': {'door': true}}", rejects.UNREADABLE_CALL),
        ("{'name': 'lock', 'arguments': {'door': (1, 2)}}", rejects.UNREADABLE_CALL),
        ("{'name': 'lock', 'arguments': {1: 2}}", rejects.UNREADABLE_CALL),
        ('{"name": "lock", "arguments": {"a": NaN}}', rejects.UNREADABLE_CALL),
        ('{"arguments": {}}', rejects.UNREADABLE_CALL),
        ('{"name": "lock", "arguments": [1]}', rejects.ARGUMENTS_NOT_OBJECT),
        ("[" * 5000, rejects.UNREADABLE_CALL),
        ("'" + "a" * hermes.MAX_CALL_CHARS + "'", rejects.UNREADABLE_CALL),
        ("", rejects.UNREADABLE_CALL),
    ],
)
def test_a_broken_call_has_its_reason(text, expected):
    assert reason(SYSTEM, HUMAN, called(text)) == expected


def test_parallel_calls_and_their_responses_in_one_turn():
    messages = read(SYSTEM, HUMAN, called(CALL, CALL), answered("a", "b"), ANSWER).messages
    assert len(messages[1].calls) == 2
    assert [message.content for message in messages[2:]] == ["a", "b", "Locked."]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], rejects.NO_MESSAGES),
        ([SYSTEM], rejects.NO_MESSAGES),
        ([HUMAN, called(CALL), ANSWER], rejects.UNPAIRED),
        ([HUMAN, called(CALL, CALL), answered("a")], rejects.UNPAIRED),
        ([HUMAN, called(CALL), answered("a", name="unlock")], rejects.UNPAIRED),
        ([HUMAN, {"from": "gpt", "value": called(CALL)["value"] + " Done."}], rejects.UNPAIRED),
        ([HUMAN, {"from": "gpt", "value": "<tool_call>{}"}], rejects.UNREADABLE_CALL),
        ([HUMAN, {"from": "robot", "value": "x"}], rejects.UNREADABLE_MESSAGE),
        ([HUMAN, {"from": "gpt", "value": None}], rejects.UNREADABLE_MESSAGE),
        ([HUMAN, "x"], rejects.UNREADABLE_MESSAGE),
    ],
)
def test_broken_turns_have_their_reason(said, expected):
    assert reason(*said) == expected


@pytest.mark.parametrize("tools", [None, "", "null", "[]"])
def test_where_the_column_is_empty_the_tools_are_those_of_the_prompt(tools):
    assert [tool.name for tool in read(SYSTEM, HUMAN, ANSWER, tools=tools).tools] == ["lock"]
    for nothing in ("", "[]", "None", "null"):
        assert read({**SYSTEM, "value": PROMPT.format(nothing)}, HUMAN, ANSWER, tools=tools).tools == ()
    assert reason({**SYSTEM, "value": PROMPT.format("{broken")}, HUMAN, ANSWER, tools=tools) == rejects.BROKEN_TOOLS


def test_a_json_mode_row_keeps_its_system_turn_and_has_no_tools():
    system = {"from": "system", "value": "Answer in JSON. Here's the json schema:\n<schema>\n{}\n</schema>"}
    row = hermes_row(system, HUMAN, {"from": "gpt", "value": '{"door": "front"}'}, schema="{}")
    del row["tools"]
    outcome = hermes.SOURCE.read(row, "hermes.json row 0")
    assert isinstance(outcome, Conversation)
    assert (outcome.source, outcome.tools) == ("hermes/json-mode", ())
    assert [message.role for message in outcome.messages] == ["system", "user", "assistant"]


def test_a_result_in_another_form_is_kept_as_it_stands():
    plain = {"from": "tool", "value": "<tool_response>\n{'name': 'lock'}\n</tool_response>"}
    assert read(SYSTEM, HUMAN, called(CALL), plain).messages[2].content == "{'name': 'lock'}"
    assert read(SYSTEM, HUMAN, called(CALL), {"from": "tool", "value": "ok"}).messages[2].content == "ok"


def test_unclosed_tags_take_no_more_time_than_their_length():
    assert reason(SYSTEM, HUMAN, {"from": "gpt", "value": "<tool_call>" * 100_000}) == rejects.UNREADABLE_CALL


def test_hermes_reads_its_own_rows_before_any_other_chat():
    from gemma_tool_use.data.sources.registry import SOURCES

    names = [source.name for source in SOURCES.values() if source.recognises(hermes_row(SYSTEM, HUMAN))]
    assert names[0] == "hermes"


XLAM = {
    "id": 1,
    "query": "Weather in Oslo?",
    "answers": json.dumps([{"name": "live weather", "arguments": {"city": "Oslo"}}]),
    "tools": json.dumps(
        [
            {
                "name": "live weather",
                "description": "Get weather",
                "parameters": {
                    "city": {"description": "City", "type": "str"},
                    "units": {"description": "Units", "type": "str, optional", "default": ""},
                },
            }
        ]
    ),
}


def test_an_xlam_row_becomes_a_conversation():
    assert xlam.SOURCE.read(XLAM, "xlam.json row 0") == Conversation(
        id="1",
        source="xlam",
        tools=(
            ToolSpec(
                name="live_weather",
                description="Get weather",
                parameters={
                    "type": "object",
                    "properties": {
                        "city": {"description": "City", "type": "string"},
                        "units": {"description": "Units", "type": "string", "default": ""},
                    },
                    "required": ["city"],
                },
            ),
        ),
        messages=(
            Message(role="user", content="Weather in Oslo?"),
            Message(role="assistant", calls=(ToolCall(name="live_weather", arguments={"city": "Oslo"}),)),
        ),
        meta={"names": {"live_weather": "live weather"}},
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"query": None}, rejects.UNREADABLE_MESSAGE),
        ({"answers": "[{"}, rejects.UNREADABLE_CALL),
        ({"answers": '[{"name": "f", "arguments": 3}]'}, rejects.ARGUMENTS_NOT_OBJECT),
        ({"tools": "[{"}, rejects.BROKEN_TOOLS),
        (
            {"tools": '[{"name": "f", "parameters": {"g": {"type": "Callable[[float], float]"}}}]'},
            rejects.UNREADABLE_TOOL,
        ),
    ],
)
def test_a_broken_xlam_row_has_its_reason(columns, expected):
    outcome = xlam.SOURCE.read(XLAM | columns, "xlam.json row 0")
    assert isinstance(outcome, Reject)
    assert (outcome.id, outcome.reason) == ("1", expected)
