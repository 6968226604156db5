"""BFCL's questions become items with tools a model can be shown, and replies to them are judged."""

import importlib.util

import pytest
from bfcl_package import QUESTIONS, write_package

from gemma_tool_use.bfcl_files import data_folder
from gemma_tool_use.conversation import Message, Reply, ToolCall
from gemma_tool_use.errors import ConfigError, DataError, FileError
from gemma_tool_use.evaluation.bfcl.suite import CATEGORIES, BfclSuite
from gemma_tool_use.evaluation.records import Answer, items_sha256, judged, read_results, write_results
from gemma_tool_use.formats.dialects import get_dialect

ALL = tuple(QUESTIONS)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("bfcl"))


def items(package, *categories, **settings):
    return BfclSuite(folder=package, categories=categories or ALL, **settings).items()


def call(name, **arguments):
    return ToolCall(name=name, arguments=arguments)


def test_a_function_is_shown_in_json_schema_without_dots_and_called_by_that_name(package):
    item = items(package, "simple_python")[2]
    assert (item.id, item.suite, item.category, item.language) == ("simple_python_2", "bfcl", "simple_python", "python")
    assert item.conversation.messages == (Message(role="user", content="Area of 2?"),)
    (tool,) = item.conversation.tools
    assert tool.name == "geometry_area"
    assert tool.description == "Does geometry.area. Note that the provided function is in Python 3 syntax."
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "x": {"type": "number", "description": "The x. This is a float type value.", "format": "float"},
            "unit": {"type": "string", "description": "The unit."},
        },
        "required": ["x"],
    }
    assert item.expected_calls == (call("geometry_area", x=2.0),)


def test_parameters_of_java_and_javascript_are_strings_with_their_type_in_words(package):
    java, javascript = items(package, "simple_java", "simple_javascript")
    assert java.conversation.tools[0].description == (
        "Does Geo.show. Note that the provided function is in Java 8 SDK syntax."
    )
    assert java.conversation.tools[0].parameters["properties"] == {
        "ids": {
            "type": "string",
            "description": "The ids. This is Java ArrayList type parameter in string representation. The list elements "
            "are of type long; they are not in string representation.",
        },
        "parent": {
            "type": "string",
            "description": "The parent. This parameter can be of any type of Java object in string representation.",
        },
    }
    assert java.expected_calls == (call("Geo_show", ids="new ArrayList<>(Arrays.asList(1L, 2L))", parent="box"),)
    assert javascript.expected_calls == (call("validate", opts="{a: 1}", done="true"),)
    assert javascript.conversation.tools[0].parameters["properties"]["opts"]["description"] == (
        "The opts. This is JavaScript dict type parameter in string representation."
    )


def test_every_expected_call_is_right_and_every_wrong_one_is_not(package):
    suite = BfclSuite(folder=package, categories=ALL)
    for item in suite.items():
        refusal = item.category.endswith("irrelevance")
        right = Reply(raw="", text="Sorry." if refusal else "", calls=item.expected_calls)
        if item.category == "live_relevance":
            right = Reply(raw="", calls=(call("anything"),))
        assert suite.judge(item, right).strict and suite.judge(item, right).official, item.id
        wrong = Reply(raw="", calls=() if item.category == "live_relevance" else (call("nothing"),))
        assert suite.judge(item, wrong).failure is not None, item.id


@pytest.mark.parametrize(
    ("category", "reply", "official", "strict", "failure"),
    [
        ("irrelevance", Reply(raw="", text="I cannot."), True, True, None),
        ("irrelevance", Reply(raw="", text="Hm", errors=("a call is not closed",)), True, False, "broken_syntax"),
        ("irrelevance", Reply(raw="", text=" "), True, False, "broken_syntax"),
        ("irrelevance", Reply(raw="", calls=(call("f"),)), False, False, "over_call"),
        ("irrelevance", Reply(raw="", calls=(call("f"),), errors=("x",)), False, False, "over_call"),
        ("live_relevance", Reply(raw="", calls=(call("f"),)), True, True, None),
        ("live_relevance", Reply(raw="", text="No."), False, False, "no_call"),
        ("live_relevance", Reply(raw="", errors=("x",)), False, False, "broken_syntax"),
        ("simple_python", Reply(raw="", text="No."), False, False, "no_call"),
        ("simple_python", Reply(raw="", errors=("x",)), False, False, "broken_syntax"),
        ("simple_python", Reply(raw="", calls=(call("geometry_area", x=0),)), True, True, None),
        (
            "simple_python",
            Reply(raw="", calls=(call("geometry_area", x=0),), errors=("x",)),
            False,
            False,
            "broken_syntax",
        ),
        ("simple_python", Reply(raw="", calls=(call("geometry.area", x=0),)), False, False, "wrong_function"),
        ("simple_python", Reply(raw="", calls=(call("geometry_area", x="0"),)), False, False, "wrong_type"),
    ],
)
def test_a_reply_is_judged_officially_and_strictly(package, category, reply, official, strict, failure):
    suite = BfclSuite(folder=package, categories=(category,))
    verdict = suite.judge(suite.items()[0], reply)
    assert (verdict.official, verdict.strict, verdict.failure) == (official, strict, failure)


def test_the_official_prompt_is_the_packages_own_and_keeps_dots(package):
    (item,) = items(package, "parallel_multiple", official_prompt=True)
    system, own, user = item.conversation.messages
    assert item.conversation.tools == ()
    assert (own.content, user.content) == ("Be brief.", "Weather in Oslo, area of 3?")
    assert system.content.startswith(
        "You call functions.Call them.\n\nWrite [f(a=b)].  Nothing else.\n\nGo on.\n\nFunctions in json:\n"
        '[\n    {\n        "name": "geometry.area",\n'
    )
    assert '"type": "dict"' in system.content
    reply = get_dialect("python_calls").parse("[geometry.area(x=3), get_weather(city='oslo')]")
    suite = BfclSuite(folder=package, categories=("parallel_multiple",), official_prompt=True)
    assert suite.judge(item, reply).official


def test_a_limit_takes_questions_from_all_over_each_category(package):
    taken = [item.id for item in items(package, "simple_python", "live_irrelevance", limit=2)]
    assert taken == ["simple_python_0", "simple_python_2", "live_irrelevance_0", "live_irrelevance_1"]


def test_items_are_the_same_every_time_and_survive_their_file(package, tmp_path):
    suite = BfclSuite(folder=package, categories=ALL)
    assert items_sha256(suite.items()) == items_sha256(items(package))
    answers = [Answer(item_id=item.id, text="[f(") for item in suite.items()]
    results = [
        judged(suite, i, a, get_dialect("python_calls").parse) for i, a in zip(suite.items(), answers, strict=True)
    ]
    write_results(tmp_path / "results.jsonl", results)
    again = read_results(tmp_path / "results.jsonl")
    assert again == results
    assert [suite.judge(r.item, r.reply) for r in again] == [r.verdict for r in results]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0\0\0",
        "\ud800",
        "[" * 100_000,
        "<tool_call>\n" * 5000,
        "no " * 50_000,
        '<tool_call>\n{"name": "f"',
        "[f(a='\\ud800')]",
    ],
)
@pytest.mark.parametrize("dialect", ["gemma_json", "python_calls", "functiongemma"])
def test_whatever_a_model_writes_is_judged(package, text, dialect):
    suite = BfclSuite(folder=package, categories=ALL)
    for item in suite.items():
        result = judged(suite, item, Answer(item_id=item.id, text=text), get_dialect(dialect).parse)
        called = bool(result.reply.calls)
        right = {"live_relevance": called, "irrelevance": not called, "live_irrelevance": not called}
        assert result.verdict.official == right.get(item.category, False)


def test_categories_are_put_in_order_and_groups_stand_for_theirs():
    assert BfclSuite().categories == CATEGORIES
    assert BfclSuite(categories=("live_simple", "multiple", "non_live")).categories == (*CATEGORIES[:7], "live_simple")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"categories": ("simple",)}, "'simple' is no category of BFCL. Did you mean 'simple_"),
        (
            {"categories": ("multi_turn_base", "memory", "web_search")},
            "not yet supported: memory, multi_turn_base, web_",
        ),
        ({"categories": ("multi_turn", "simple")}, "'simple' is no.*; not yet supported: multi_turn"),
        ({"categories": ()}, "no category given"),
        ({"limit": 0}, "must be 1 or more, got 0"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        BfclSuite(**settings)


def test_the_folder_is_found_from_above_and_a_missing_package_says_how_to_install_it(package, tmp_path, monkeypatch):
    assert {data_folder(each) for each in (package / "data", package, package.parent)} == {package / "data"}
    with pytest.raises(DataError, match=r"holds no BFCL_v4_\*\.json.*uv pip install --no-deps bfcl-eval=="):
        data_folder(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="not installed: uv pip install --no-deps bfcl-eval=="):
        data_folder()


def test_missing_and_damaged_files_are_named(tmp_path):
    package = write_package(tmp_path)
    with pytest.raises(FileError, match=r"BFCL_v4_multiple\.json.*uv pip install"):
        items(package, "multiple")
    answers = package / "data" / "possible_answer" / "BFCL_v4_simple_python.json"
    answers.write_text(answers.read_text().replace("simple_python_3", "simple_python_9"))
    with pytest.raises(DataError, match="one by one"):
        items(package, "simple_python")
    answers.write_text(answers.read_text().replace("simple_python_9", "simple_python_3").replace("geometry", "algebra"))
    with pytest.raises(DataError, match=r"simple_python_0.*'algebra\.area', which is not among geometry\.area"):
        items(package, "simple_python")
    (package / "data" / "BFCL_v4_irrelevance.json").write_text("{\n")
    with pytest.raises(DataError, match=r"BFCL_v4_irrelevance\.json: line 1 is not JSON"):
        items(package, "irrelevance")
    (package / "constants" / "default_prompts.py").unlink()
    with pytest.raises(DataError, match=r"system prompt.*part of the whole package"):
        items(package, "live_relevance", official_prompt=True)


def test_two_functions_under_one_shown_name_are_refused(tmp_path):
    package = write_package(tmp_path)
    path = package / "data" / "BFCL_v4_parallel_multiple.json"
    path.write_text(path.read_text().replace('"get_weather"', '"geometry_area"'))
    rights = package / "data" / "possible_answer" / path.name
    rights.write_text(rights.read_text().replace("get_weather", "geometry_area"))
    with pytest.raises(DataError, match=r"under one name: geometry\.area, geometry_area"):
        items(package, "parallel_multiple")
