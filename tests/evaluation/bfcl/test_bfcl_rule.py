"""BFCL's matching rule on hand-written answers: what is right, and the reason given for what is wrong."""

import time

import pytest

from gemma_tool_use.conversation import ToolCall
from gemma_tool_use.errors import DataError
from gemma_tool_use.evaluation.bfcl.expected import as_call, from_json, read_expected, to_json
from gemma_tool_use.evaluation.bfcl.rule import LONGEST_SOURCE, match


def function(name="area", required=(), **types):
    def schema(kind):
        outer, _, inner = kind.partition(" of ")
        return {"type": outer, "description": "", **({"items": {"type": inner}} if inner else {})}

    properties = {key: schema(kind) for key, kind in types.items()}
    return {"name": name, "parameters": {"type": "dict", "properties": properties, "required": list(required)}}


def failure(kind, rights, value, language="python"):
    """Of one required argument."""
    expected = read_expected([{"area": {"x": rights}}], [function(required=("x",), x=kind)], language)
    assert from_json(to_json(expected)) == expected
    mismatch = match([ToolCall(name="area", arguments={"x": value})], expected, language)
    return mismatch and mismatch.failure


@pytest.mark.parametrize(
    ("kind", "rights", "value", "expected"),
    [
        # Types are exact, but an integer does for a float.
        ("integer", [5], 5, None),
        ("integer", [5], 6, "wrong_value"),
        ("integer", [5], 5.0, "wrong_type"),
        ("integer", [1], True, "wrong_type"),
        ("integer", [5], "5", "wrong_type"),
        ("integer", [5], None, "wrong_type"),
        ("float", [5.0], 5, None),
        ("float", [5.0], True, "wrong_type"),
        ("float", [5.0], 10**400, "wrong_type"),
        ("boolean", [True], True, None),
        ("boolean", [True], 1, "wrong_type"),
        # What has the type of the first right value does too, and is then compared as it is.
        ("float", ["height"], "height", None),
        ("float", ["height"], "Height", "wrong_value"),
        ("array of integer", ["numbers"], "numbers", None),
        ("integer", ["", "count"], "count", None),
        ("string", [None, "a"], None, None),
        # Strings: no case, no blanks, no ,./-_*^ and ' like ".
        ("string", ["New York, NY"], "new-york ny.", None),
        ("string", ["it's"], 'IT"S', None),
        ("string", ["a(b)"], "a b", "wrong_value"),
        ("string", ["km", ""], "", None),
        ("string", ["km", ""], " , ", None),
        ("any", ["km"], "KM", None),
        # Lists in order; their strings as above; the type of each element counts.
        ("array of string", [["a b", "c"]], ["A-B", "C"], None),
        ("array of string", [["a", "b"]], ["b", "a"], "wrong_value"),
        ("array of string", [["a", "b"]], ["a"], "wrong_value"),
        ("array of string", [["a"]], [1], "wrong_type"),
        ("array of string", [["a"]], "a", "wrong_type"),
        ("array of float", [[1.0, 2.5]], [1, 2.5], "wrong_type"),
        ("array of float", [[1, 2.5]], [1, 2.5], None),
        ("array of integer", [[1], ""], [], None),
        ("array of integer", [[1], ""], ["x"], "wrong_value"),
        ("array of array", [[[1, 2], [3]]], [[1, 2], [3]], None),
        ("tuple of float", [[0.5, 1.5]], [0.5, 1.5], None),
        # Dicts key by key, one level deep.
        ("dict", [{"a": [1, 2], "b": ["", "x"]}], {"a": 2}, None),
        ("dict", [{"a": [1, 2], "b": ["", "x"]}], {"a": 2, "b": "X"}, None),
        ("dict", [{"a": [1]}], {"a": 1, "c": 1}, "wrong_value"),
        ("dict", [{"a": [1]}], {}, "wrong_value"),
        ("dict", [{"a": [{"b": "x"}]}], {"a": {"b": "X"}}, "wrong_value"),
        ("dict", [{"a": [1]}], [], "wrong_type"),
        ("array of dict", [[{"a": [1]}, {"a": [2]}]], [{"a": 1}, {"a": 2}], None),
        ("array of dict", [[{"a": [1]}, {"a": [2]}]], [{"a": 2}, {"a": 1}], "wrong_value"),
        ("array of dict", [[{"a": [1]}], ""], ["x"], "wrong_value"),
    ],
)
def test_a_value_is_right_or_wrong_for_a_reason(kind, rights, value, expected):
    assert failure(kind, rights, value) == expected


@pytest.mark.parametrize(
    ("kind", "rights", "value", "expected"),
    [
        ("integer", [5], "5", None),
        ("integer", [5], 5, "wrong_type"),
        ("integer", [5], "5L", "wrong_type"),
        ("long", [5], "5L", None),
        ("long", [5], "5", "wrong_type"),
        ("float", [1.5], "1.5f", None),
        ("double", [1.5e3], "1.5e3", None),
        ("boolean", [True], "true", None),
        ("boolean", [True], "True", "wrong_type"),
        ("char", ["'a'"], "'a'", None),
        ("String", ["abc"], "ABC", None),
        ("String", ["abc"], '"abc"', "wrong_value"),
        ("any", ["inputStream"], "inputStream", None),
        ("Array of integer", [[1, 2]], "new int[]{1, 2}", None),
        ("Array of integer", [[1, 2]], "new Integer[] {1,2,}", None),
        ("Array of integer", [[1, 2]], "[1, 2]", "wrong_type"),
        ("Array of integer", [[]], "new int[]{}", None),
        ("Array of String", [["a"]], "new String[]{a}", None),
        ("Array of String", [["a"]], 'new String[]{"a"}', "wrong_value"),
        ("Array of String", ["names"], "names", None),
        ("ArrayList of String", [["a", "b"]], 'new ArrayList<>(Arrays.asList("a", "b"))', None),
        ("ArrayList of long", [[1, 2]], "new ArrayList<Long>() {{ add(1L); add(2L); }}", None),
        ("ArrayList of long", [[]], "new ArrayList<>()", None),
        ("ArrayList of long", [[]], "new ArrayList<>() {{ }}", None),
        ("HashMap", [{"a": [1], "b": ["x"]}], 'new HashMap<String, Object>() {{ put("a", 1); put("b", "x"); }}', None),
        ("HashMap", [{}], "new HashMap<>()", None),
        ("HashMap", [{"a": [True]}], 'new HashMap<>() { put("a", true); }', None),
    ],
)
def test_java_is_read_from_source_code(kind, rights, value, expected):
    assert failure(kind, rights, value, "java") == expected


@pytest.mark.parametrize(
    ("kind", "rights", "value", "expected"),
    [
        ("String", ["on"], "'on'", None),
        ("String", ["on"], "on", None),
        ("integer", [5], "5", None),
        ("float", [5.0], "5", None),
        ("Bigint", [5], "5n", None),
        ("Boolean", [True], "true", None),
        ("Boolean", [True], True, "wrong_type"),
        ("any", ["validate"], "validate", None),
        ("array of String", [["a", "b"]], "['a', \"b\"]", None),
        ("array of integer", [[1, 2]], "new Array(1, 2)", None),
        ("array of array", [[[1, 2], [3]]], "[[1, 2], [3]]", None),
        ("array of array", [[[1, 2], [3]]], "new Array([1, 2] , [3])", None),
        ("array of array", [[[1], [2]]], "[[1], [2]", "wrong_type"),
        ("array of array", [[[1], [2]]], "[ [1], [2] ] // rows", None),
        ("array of String", [["a"]], "a", "wrong_type"),
        ("dict", [{"method": ["GET"], "retry": [3]}], "{method: 'GET', 'retry': 3}", None),
        ("dict", [{"rows": [[1, 2]]}], "{rows: [1, 2]}", None),
        ("dict", [{"a": [{"b": 1}]}], "{a: {b: 1}}", "wrong_value"),
    ],
)
def test_javascript_is_read_from_source_code(kind, rights, value, expected):
    assert failure(kind, rights, value, "javascript") == expected


TWO = (function(required=("x",), x="integer", unit="string"), function("now", zone="string"))
EXPECTED = read_expected([{"area": {"x": [1], "unit": ["m", ""]}}, {"now": {"zone": ["UTC"]}}], TWO, "python")
AREA, NOW = ToolCall(name="area", arguments={"x": 1}), ToolCall(name="now", arguments={"zone": "utc"})


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([AREA, NOW], None),
        ([NOW, AREA], None),
        ([AREA], "wrong_count"),
        ([AREA, NOW, NOW], "wrong_count"),
        ([AREA, AREA], "wrong_function"),
        ([AREA, ToolCall(name="now")], "missing_argument"),
        ([NOW, ToolCall(name="area", arguments={"unit": "m"})], "missing_argument"),
        ([NOW, ToolCall(name="area", arguments={"x": 1, "y": 2})], "unknown_argument"),
        ([NOW, ToolCall(name="area", arguments={"x": "1"})], "wrong_type"),
        ([NOW, ToolCall(name="area", arguments={"x": 1, "unit": "km"})], "wrong_value"),
        ([NOW, ToolCall(name="Area", arguments={"x": 1})], "wrong_function"),
    ],
)
def test_calls_match_in_any_order_and_a_wrong_one_has_its_reason(calls, expected):
    mismatch = match(calls, EXPECTED, "python")
    assert (mismatch and mismatch.failure) == expected


def test_equal_calls_of_other_types_are_not_taken_for_each_other():
    expected = read_expected([{"area": {"x": [1]}}] * 2, [function(x="integer")], "python")
    calls = [ToolCall(name="area", arguments={"x": value}) for value in (True, 1)]
    mismatch = match(calls, expected, "python")
    assert mismatch is not None and "True (bool)" in mismatch.detail


def test_each_expected_call_takes_the_first_that_fits():
    # The leaderboard does not look for the best assignment: the first call fits both, the second only the first.
    first, second = ({"area": {"x": rights}} for rights in ([1, 2], [1]))
    expected = read_expected([first, second], [function(x="integer")], "python")
    one, two = (ToolCall(name="area", arguments={"x": value}) for value in (1, 2))
    assert match([two, one], expected, "python") is None
    assert match([one, two], expected, "python") is not None


def test_the_expected_call_is_shown_as_a_model_would_write_it():
    answers = {"x": ["", 5], "when": [["2 May"], ["May 2"]], "who": [{"name": ["Ann", "Anna"], "age": ["", 7]}]}
    python = read_expected([{"f": answers}], [function("f", x="integer", when="array of string", who="dict")], "python")
    assert as_call(python[0], "python") == ToolCall(name="f", arguments={"when": ["2 May"], "who": {"name": "Ann"}})
    answers = {"n": [5], "ids": [[1, 2]], "on": [True], "meta": [{"a": ["x"]}]}
    functions = [function("f", n="long", ids="ArrayList of long", on="boolean", meta="HashMap")]
    java = read_expected([{"f": answers}], functions, "java")
    call = as_call(java[0], "java")
    assert call.arguments["ids"] == "new ArrayList<>(Arrays.asList(1L, 2L))"
    assert (call.arguments["n"], call.arguments["on"]) == ("5L", "true")
    assert match([call], java, "java") is None
    answers = {"n": [5], "rows": [[1.5, 2.0]], "opts": [{"a": ["x"], "b": [True]}]}
    functions = [function("f", n="Bigint", rows="array of float", opts="dict")]
    javascript = read_expected([{"f": answers}], functions, "javascript")
    call = as_call(javascript[0], "javascript")
    assert call.arguments == {"n": "5n", "rows": "[1.5, 2.0]", "opts": "{a: 'x', b: true}"}
    assert match([call], javascript, "javascript") is None


@pytest.mark.parametrize(
    ("answers", "functions", "complaint"),
    [
        ([{"g": {}}], [function("f")], "'g', which is not among f"),
        ([{"f": {"x": 1}}], [function("f", x="integer")], "must be a list"),
        ({"f": {}}, [function("f")], "must be a list"),
        ([{"f": {"x": [1]}}], [function("f", x="int")], "does not know the type 'int' of python"),
        ([{"f": {"x": [[1]]}}], [function("f", x="array of int")], "does not know the type 'int'"),
    ],
)
def test_a_right_answer_of_another_form_is_refused(answers, functions, complaint):
    with pytest.raises(DataError, match=complaint):
        read_expected(answers, functions, "python")


@pytest.mark.parametrize(
    ("language", "kind", "piece", "end"),
    [
        ("javascript", "array of array", "[", ""),
        ("javascript", "array of array", "[[", "],[" * 600 + "x"),
        ("javascript", "dict", "{a:,", " " * 1900 + "}"),
        ("javascript", "dict", "{" + "a:b," * 480, "}"),
        ("java", "HashMap", "new HashMap<", ">(){" * 480),
        ("java", "HashMap", "new HashMap<>(){", 'put("a",' * 230 + "}"),
        ("java", "ArrayList of long", "new ArrayList<>(){{", " " * 1900),
        ("java", "ArrayList of long", "new ArrayList<>(Arrays.asList(" * 60, ""),
        ("java", "Array of long", "new int[]{" * 190, ""),
    ],
)
def test_hostile_source_code_is_judged_in_little_time(language, kind, piece, end):
    text = piece + end
    text += text[-1] * (LONGEST_SOURCE - len(text) - 1)
    assert len(text) < LONGEST_SOURCE
    start = time.process_time()
    assert failure(kind, [[[1]]] if "A" in kind or "a" in kind else [{}], text, language) in (
        "wrong_type",
        "wrong_value",
    )
    assert time.process_time() - start < 2
    assert failure(kind, [[[1]]], text * 100, language) == "wrong_value"
