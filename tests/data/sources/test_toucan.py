"""Toucan rows to conversations: the picture of the module docstring, and a named reason for every broken row."""

import ast
import json
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec, tool_from_dict
from gemma_tool_use.data import rejects
from gemma_tool_use.data.files import read_rows
from gemma_tool_use.data.rejects import Reject, RowError
from gemma_tool_use.data.sources import toucan
from gemma_tool_use.errors import DataError

CONVERT = {
    "type": "function",
    "function": {
        "name": "unit-convert",
        "description": "Convert units",
        "parameters": {"type": "object", "properties": {"value": {"type": "number"}}},
    },
}
USER = {"role": "user", "content": "What is 3 km in miles?"}
CALL = {"role": "tool_call", "content": "{'name': 'unit-convert', 'arguments': '{\"value\": 3, \"to\": \"mi\"}'}"}
RESPONSE = {"role": "tool_response", "content": "1.86"}
ANSWER = {"role": "assistant", "content": "About 1.86 miles."}


def row(turns, **columns):
    texts = {"tools": json.dumps([CONVERT]), "messages": json.dumps(turns)}
    return {"uuid": "u1", "subset_name": "single-turn-original", "question": "", "target_tools": "", **texts, **columns}


def call(name, arguments):
    return {"role": "tool_call", "content": str({"name": name, "arguments": arguments})}


def reason(turns, **columns):
    outcome = toucan.SOURCE.read(row(turns, **columns), "t row 0")
    assert isinstance(outcome, Reject)
    assert outcome.id == "u1"
    assert outcome.bad
    return outcome.reason


def test_a_row_becomes_a_conversation():
    assert toucan.SOURCE.read(row([USER, CALL, RESPONSE, ANSWER]), "t row 0") == Conversation(
        id="u1",
        source="toucan-sft/single-turn-original",
        tools=(
            ToolSpec(
                name="unit-convert",
                description="Convert units",
                parameters={"type": "object", "properties": {"value": {"type": "number"}}},
            ),
        ),
        messages=(
            Message(role="user", content="What is 3 km in miles?"),
            Message(role="assistant", calls=(ToolCall(name="unit-convert", arguments={"value": 3, "to": "mi"}),)),
            Message(role="tool", content="1.86", name="unit-convert"),
            Message(role="assistant", content="About 1.86 miles."),
        ),
        meta={"target_tools": ""},
    )


def test_text_before_a_call_joins_the_call():
    outcome = toucan.SOURCE.read(
        row([USER, {"role": "assistant", "content": "Let me see."}, CALL, RESPONSE, ANSWER]), ""
    )
    assert isinstance(outcome, Conversation)
    assert [message.role for message in outcome.messages] == ["user", "assistant", "tool", "assistant"]
    assert outcome.messages[1].content == "Let me see."
    assert outcome.messages[1].calls[0].name == "unit-convert"


def test_parallel_calls_get_their_responses_by_position():
    messages = [USER, call("a", "{}"), call("b", "{}"), {**RESPONSE, "content": "1"}, {**RESPONSE, "content": "2"}]
    outcome = toucan.SOURCE.read(row(messages), "t row 0")
    assert isinstance(outcome, Conversation)
    assert [c.name for c in outcome.messages[1].calls] == ["a", "b"]
    assert [(m.name, m.content) for m in outcome.messages[2:]] == [("a", "1"), ("b", "2")]


def test_calls_one_after_the_other_stay_messages_of_their_own():
    outcome = toucan.SOURCE.read(row([USER, CALL, RESPONSE, CALL, RESPONSE, ANSWER]), "t row 0")
    assert isinstance(outcome, Conversation)
    assert [m.role for m in outcome.messages] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]


def test_a_call_at_the_end_needs_no_response():
    outcome = toucan.SOURCE.read(row([USER, CALL]), "t row 0")
    assert isinstance(outcome, Conversation)
    assert outcome.messages[-1].calls


@pytest.mark.parametrize(
    "arguments",
    [
        {"q": "it's"},
        {"q": 'say "hi"'},
        {"q": 'it\'s "both" \\ \n'},
        {"q": "naïve 日本"},
        {"n": None, "b": [True, {}]},
        {},
    ],
)
def test_the_quoting_that_repr_chooses_never_matters(arguments):
    content = str({"name": "f", "arguments": json.dumps(arguments)})
    assert toucan.read_call(content) == ToolCall(name="f", arguments=arguments)


CHARACTERS = st.sampled_from(
    ["'", '"', "\\", "\n", "\r", "\t", "\0", "é", "\u2028", "\ud83d", "{", ", 'arguments': '", "a"]
)


def literal(content):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.literal_eval(content)
    except (SyntaxError, ValueError):
        return "unreadable"


def parsed(content):
    try:
        return toucan.parse_repr(content)
    except RowError:
        return "unreadable"


@settings(max_examples=500, deadline=None)
@given(
    st.lists(CHARACTERS, max_size=5), st.lists(CHARACTERS, max_size=8) | st.text("\\'\"nx", max_size=6), st.booleans()
)
def test_the_fast_way_to_read_a_repr_gives_what_literal_eval_gives(name, text, honest):
    """Also of texts that no `repr` wrote, put together without any escape."""
    call = {"name": "".join(name), "arguments": "".join(text)}
    content = str(call) if honest else f"{{'name': '{call['name']}', 'arguments': '{call['arguments']}'}}"
    assert parsed(content) == literal(content)
    if honest and "\ud83d" not in content:
        assert parsed(content) == call


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{'name': 'f', 'arguments': '{\"a\": 1'}", rejects.BROKEN_ARGUMENTS),
        ("{'name': 'f', 'arguments': ''}", rejects.BROKEN_ARGUMENTS),
        ("{'name': 'f', 'arguments': '{\"a\": NaN}'}", rejects.BROKEN_ARGUMENTS),
        ("{'name': 'f', 'arguments': '{\"a\": 1, \"a\": 2}'}", rejects.BROKEN_ARGUMENTS),
        ("{'name': 'f', 'arguments': '{\"a\": 1e999}'}", rejects.BROKEN_ARGUMENTS),
        ("{'name': 'f', 'arguments': '" + '{"a":' * 65 + "1" + "}" * 65 + "'}", rejects.BROKEN_ARGUMENTS),
        ("{'name': 'f', 'arguments': '[1]'}", rejects.ARGUMENTS_NOT_OBJECT),
        ("{'name': 'f', 'arguments': {'a': 1}}", rejects.UNREADABLE_CALL),
        ("{'name': 'f'}", rejects.UNREADABLE_CALL),
        ("{'name': '', 'arguments': '{}'}", rejects.UNREADABLE_CALL),
        ("['f']", rejects.UNREADABLE_CALL),
        ("{'name': 'f', ", rejects.UNREADABLE_CALL),
        ('{"name": "f", "arguments": null}', rejects.UNREADABLE_CALL),
        ("__import__('os').getcwd()", rejects.UNREADABLE_CALL),
        ("{[]: 1}", rejects.UNREADABLE_CALL),
        ("{'a': '\x00'}", rejects.UNREADABLE_CALL),
        ("(" * 5000, rejects.UNREADABLE_CALL),
        ("[" * 90 + "]" * 90, rejects.UNREADABLE_CALL),
        ("-" * 200_000 + "1", rejects.UNREADABLE_CALL),
        ("9" * 5000, rejects.UNREADABLE_CALL),
        ("'" + "a" * toucan.MAX_CALL_CHARS + "'", rejects.UNREADABLE_CALL),
        ("", rejects.UNREADABLE_CALL),
    ],
)
def test_a_broken_call_has_its_reason(content, expected):
    assert reason([USER, {"role": "tool_call", "content": content}]) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], rejects.NO_MESSAGES),
        ([USER, RESPONSE], rejects.UNPAIRED),
        ([USER, CALL, ANSWER], rejects.UNPAIRED),
        ([USER, CALL, CALL, RESPONSE], rejects.UNPAIRED),
        ([USER, CALL, RESPONSE, RESPONSE], rejects.UNPAIRED),
        ([USER, CALL, USER], rejects.UNPAIRED),
        (["hello"], rejects.UNREADABLE_MESSAGE),
        ([{"role": "robot", "content": "x"}], rejects.UNREADABLE_MESSAGE),
        ([{"role": ["user"], "content": "x"}], rejects.UNREADABLE_MESSAGE),
        ([{"role": "user", "content": None}], rejects.UNREADABLE_MESSAGE),
    ],
)
def test_broken_messages_have_their_reason(messages, expected):
    assert reason(messages) == expected


@pytest.mark.parametrize("text", [None, "", "[", "{}", "null", "[NaN]", "[" * 100_000])
def test_broken_columns_have_their_reason(text):
    assert reason([USER], messages=text) == rejects.BROKEN_MESSAGES
    assert reason([USER], tools=text) == rejects.BROKEN_TOOLS


@pytest.mark.parametrize("tool", [None, {}, {"function": {"name": 3}}, {"name": "f", "parameters": []}])
def test_a_tool_without_name_or_schema_is_unreadable(tool):
    assert reason([USER, ANSWER], tools=json.dumps([tool])) == rejects.UNREADABLE_TOOL


def test_a_file_names_the_place_of_every_row(tmp_path: Path):
    rows = [row([USER, ANSWER]), row([])]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    (first, kept), (second, broken) = (
        (where, toucan.SOURCE.read(columns, where))
        for where, columns in read_rows(tmp_path / "train.parquet", toucan.SOURCE.columns)
        if not isinstance(columns, Reject)
    )
    assert (first, second) == ("train.parquet row 0", "train.parquet row 1")
    assert isinstance(kept, Conversation)
    assert isinstance(broken, Reject)


def read_slowly(text):
    """Tools as they are read when nothing is known of how they are written."""
    try:
        return tuple(tool_from_dict(tool) for tool in toucan.json_list(text, rejects.BROKEN_TOOLS, exact=True))
    except DataError as error:
        return rejects.UNREADABLE_TOOL, str(error)
    except RowError as error:
        return error.reason, error.detail


def read(text):
    try:
        return toucan.read_tools(text)
    except RowError as error:
        return error.reason, error.detail


VALUES = st.sampled_from(
    [
        CONVERT,
        CONVERT | {"x": 2**80},
        CONVERT | {"x": 1e300},
        {"type": "function", "function": {}},
        {"type": "function"},
        {"type": "function", "name": '{"type": "function", '},
        {"type": "function", "name": "f"},
        {"name": "\ud83d"},
        3,
    ]
)
SPOILT = st.sampled_from(
    [
        "",
        "]",
        ",",
        "[",
        "}",
        "{",
        " ",
        "\n",
        '{"type": "function", ',
        '{"type":"function",',
        '"',
        "1e999",
        "NaN",
        "\ufeff",
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(VALUES, max_size=4), st.booleans(), SPOILT, st.floats(0, 1))
def test_the_fast_way_to_read_tools_gives_what_the_slow_one_gives(tools, compact, spoilt, where):
    text = json.dumps(tools, separators=(",", ":") if compact else None)
    cut = round(where * len(text))
    for each in (text, text[:cut] + spoilt + text[cut:], f"{text[:cut]}{spoilt}"):
        assert read(each) == read_slowly(each)


@pytest.mark.parametrize("depth", range(250, 256))
def test_tools_may_be_nested_as_deeply_either_way(depth):
    value = {"type": "function", "name": "f", "x": json.loads("[" * depth + "]" * depth)}
    assert read(json.dumps([value])) == read_slowly(json.dumps([value]))


def test_a_tool_that_comes_again_is_not_parsed_again():
    first, second = toucan.read_tools(json.dumps([CONVERT])), toucan.read_tools(json.dumps([CONVERT, CONVERT]))
    assert first[0] is second[0] is second[1]
