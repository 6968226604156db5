"""The fast way to read arguments gives what the slow one gives, and the same words against what is no strict JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_tool_use.formats import json_value
from gemma_tool_use.formats.json_value import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**66), 2**66) | st.floats() | st.text('aé:"\\\ud83d ', max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab:", max_size=2), inner, max_size=3),
    max_leaves=6,
)
PIECES = st.sampled_from(
    [
        '"a"',
        '"b"',
        '"a:"',
        '"\\u003a"',
        "[",
        "]",
        '{"a":',
        "}",
        ":",
        ":1",
        '"a":1',
        '"a" :2',
        ",",
        "{",
        "}",
        "-0",
        "1e999",
        " ",
        "\ufeff",
        "\t",
        "3",
    ]
)


def outcome(read, text):
    try:
        value = read(text)
    except ValueError as error:
        return str(error)
    return json.dumps(value), repr(value)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.text("ab:é", max_size=2), VALUES, max_size=4), st.booleans())
def test_values_come_out_alike(value, spaced):
    text = json.dumps(value, indent=1 if spaced else None)
    assert outcome(read_json, text) == outcome(json_value._read_any, text)


@settings(max_examples=800, deadline=None)
@given(st.lists(PIECES, max_size=9))
def test_texts_are_read_or_refused_alike(pieces):
    for text in ("".join(pieces), "{" + "".join(pieces) + "}", "{" + ",".join(pieces) + "}"):
        assert outcome(read_json, text) == outcome(json_value._read_any, text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a" :1, "a" :2}',
        '{"a": ":", "a": 2}',
        '{"": 1, "": 1}',
        '{"b": {"a": [1], "a": ["x"]}}',
        '{"b": "\\u003a", "a": 1, "a": 2}',
        '{"a": {":": 1}, "a": {":": ":"}}',
    ],
)
def test_a_key_that_stands_twice_is_refused(text):
    with pytest.raises(ValueError, match="stands twice"):
        read_json(text)


def test_an_integer_of_more_than_64_bits_stays_one():
    assert read_json('{"n": 18446744073709551616}') == {"n": 2**64}


def test_nested_arguments_with_colons_are_read_the_fast_way():
    text = '{"at": "10:30", "stops": [{"url": "http://a.b/c", "n": [1, null, true]}, {}]}'
    assert json_value._plain_object(text) == json.loads(text)


@pytest.mark.parametrize("levels", [62, 63, 64])
def test_no_more_levels_are_read_the_fast_way_than_the_slow(levels):
    text = '{"a": ' + "[" * levels + "]" * levels + "}"
    assert outcome(read_json, text) == outcome(json_value._read_any, text)
