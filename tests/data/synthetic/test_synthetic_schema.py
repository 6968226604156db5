"""Laws of the synthetic rows about a user's own tools, and the errors for schemas that no text can say."""

import json
import random
import re

import pytest

from gemma_tool_use.conversation import ToolSpec
from gemma_tool_use.data.synthetic.generate import generate, kind_of
from gemma_tool_use.data.synthetic.schema import SchemaSkill, schema_skills
from gemma_tool_use.data.synthetic.schema_values import filler, singular, words_of
from gemma_tool_use.errors import ConfigError, DataError


def tool(name: str, required: tuple[str, ...] = (), description: str = "", **properties) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=description,
        parameters={"type": "object", "properties": properties, "required": list(required)},
    )


CREATE_EVENT = tool(
    "create_event",
    ("title", "start_date"),
    "Create a calendar event.",
    title={"type": "string"},
    start_date={"type": "string", "format": "date"},
    attendees={"type": "array", "items": {"type": "string"}},
    minutes={"type": "integer", "minimum": 15, "maximum": 90, "multipleOf": 15},
    notify={"type": "boolean"},
    priority={"type": "string", "enum": ["low", "high"]},
)
STOCK_PRICE = tool("getStockPrice", ("ticker",), ticker={"type": "string"}, share={"type": "number", "maximum": 1})
RESTART = tool("restart_server")
TOOLS = [CREATE_EVENT, STOCK_PRICE, RESTART]


def scalars(value):
    return [leaf for item in value for leaf in scalars(item)] if isinstance(value, list) else [value]


def spoken(value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_every_argument_stands_verbatim_in_the_request(split):
    for row in generate(count=2000, seed=0, split=split, tools=TOOLS):
        for message in row.messages:
            for call in message.calls:
                schema = next(tool for tool in row.tools if tool.name == call.name).parameters
                assert set(schema["required"]) <= set(call.arguments) <= set(schema["properties"]), row.id
                for leaf in scalars(list(call.arguments.values())):
                    assert spoken(leaf) in row.messages[0].content, row.id


def test_a_request_about_an_unknown_tool_reads_like_this():
    skill = SchemaSkill(CREATE_EVENT)
    request = skill.request(random.Random(1), "train")
    assert request.text == (
        'Could you create a calendar event for me? Title = "the printing press", start date = 2027-09-26, '
        'attendees = "Wei Rossi" and priority = high.'
    )
    assert request.calls[0].arguments == {
        "title": "the printing press",
        "start_date": "2027-09-26",
        "attendees": ["Wei Rossi"],
        "priority": "high",
    }


def test_a_missing_argument_is_a_required_one_and_is_asked_for():
    for row in generate(count=300, seed=0, kinds={"missing_argument": 1}, tools=TOOLS):
        question = row.messages[1].content
        label = next(name for name in ("title", "start date", "ticker") if name in question)
        assert not re.search(rf"\b{label}\b", row.messages[0].content, re.IGNORECASE), row.id


def test_no_heldout_request_about_own_tools_is_a_train_request():
    tools = [CREATE_EVENT, STOCK_PRICE]
    train, heldout = (
        {row.messages[0].content for row in generate(count=2000, seed=0, split=split, tools=tools)}
        for split in ("train", "heldout")
    )
    assert not train & heldout


def test_a_refused_request_never_stands_beside_a_tool_with_a_common_noun():
    tools = [tool("search_docs", ("query",), query={"type": "string"}), tool("list_docs"), RESTART]
    for row in generate(count=400, seed=0, kinds={"no_call": 1}, tools=tools):
        offered = {spec.name for spec in row.tools}
        if "absent+search_docs" in row.id or "absent+list_docs" in row.id:
            assert offered == {"restart_server"}, row.id


def test_one_tool_alone_is_enough():
    rows = generate(count=200, seed=0, tools=[STOCK_PRICE])
    assert {kind_of(row) for row in rows} == {
        "one_call", "several_calls", "no_call", "missing_argument", "tool_result",
    }  # fmt: skip
    for row in rows:
        calls = row.messages[1].calls
        assert len(calls) < 2 or calls[0] != calls[1]


def test_kinds_that_the_tools_cannot_express_are_left_out_or_refused():
    assert {kind_of(row) for row in generate(count=100, seed=0, tools=[RESTART])} == {
        "one_call", "no_call", "tool_result",
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"missing_argument .* none requires a parameter"):
        generate(count=1, seed=0, tools=[RESTART], kinds={"missing_argument": 1})
    with pytest.raises(ConfigError, match=r"several_calls .* all calls would be the same"):
        generate(count=1, seed=0, tools=[RESTART], kinds={"several_calls": 1})


def test_all_problems_of_all_tools_are_named_at_once():
    bad = tool("save", ("filter", "zip"), filter={"type": "object"}, zip={"type": "string", "pattern": "^[0-9]{5}$"})
    with pytest.raises(DataError) as caught:
        schema_skills([bad, RESTART, RESTART])
    assert "tool 'save', required parameter 'filter': type 'object' is not supported" in str(caught.value)
    assert "tool 'save', required parameter 'zip': `pattern` needs `examples`" in str(caught.value)
    assert "tool 'restart_server' is given 2 times" in str(caught.value)
    with pytest.raises(DataError, match="no tools"):
        generate(count=1, seed=0, tools=[])


def test_an_optional_parameter_that_no_text_can_say_is_left_out_and_named():
    skill = SchemaSkill(tool("save", ("id",), id={"type": "string"}, extra={"type": "object"}))
    assert skill.skipped == {
        "extra": "type 'object' is not supported, only texts, numbers, booleans and arrays of them"
    }
    calls = [skill.request(random.Random(i), "train").calls[0] for i in range(50)]
    assert all(set(call.arguments) == {"id"} for call in calls)


@pytest.mark.parametrize("broken", [{"properties": []}, {"required": "id"}, {"required": [["id"]]}])
def test_a_parameters_object_of_the_wrong_shape_is_an_error(broken):
    with pytest.raises(DataError, match=r"tool 'save': (properties|required) must be"):
        SchemaSkill(ToolSpec(name="save", parameters={"type": "object", **broken}))


def draws(schema, name="x", root=None):
    made = filler(schema, name, root)
    return [made.draw(random.Random(i), "train" if i % 2 else "heldout") for i in range(200)]


@pytest.mark.parametrize(
    ("schema", "accepts"),
    [
        ({"type": "integer", "minimum": 3, "maximum": 5}, lambda v: v in (3, 4, 5)),
        ({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5}, lambda v: v == 4),
        ({"type": "integer", "minimum": 10_000}, lambda v: type(v) is int and v >= 10_000),
        ({"type": "integer", "maximum": -7}, lambda v: v <= -7),
        ({"type": "integer", "multipleOf": 250}, lambda v: v % 250 == 0),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, lambda v: 0 < v <= 1),
        ({"type": "number", "minimum": 0.05, "maximum": 0.07}, lambda v: v in (0.05, 0.06, 0.07)),
        ({"type": "string", "minLength": 3, "maxLength": 4}, lambda v: 3 <= len(v) <= 4),
        ({"type": "string", "examples": ["A1", "B2"], "pattern": "^[AB]"}, lambda v: v in ("A1", "B2")),
        ({"const": "fixed"}, lambda v: v == "fixed"),
        ({"enum": [None, 1, "two"]}, lambda v: v in (1, "two")),
        ({"type": ["null", "boolean"]}, lambda v: v in (True, False)),
        ({"anyOf": [{"type": "object"}, {"type": "integer"}]}, lambda v: type(v) is int),
        ({"allOf": [{"enum": ["only"]}]}, lambda v: v == "only"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}, lambda v: len(v) == 2),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True}, lambda v: len(set(v)) == len(v)),
        (True, lambda v: isinstance(v, str)),
    ],
)  # fmt: skip
def test_drawn_values_keep_the_schema(schema, accepts):
    assert all(accepts(filled.value) for filled in draws(schema))


def test_references_are_followed_inside_the_tool():
    root = {"$defs": {"Level": {"enum": ["low", "high"]}}}
    assert {filled.value for filled in draws({"$ref": "#/$defs/Level"}, root=root)} == {"low", "high"}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "array", "items": {"type": "array"}}, "arrays of arrays"),
        ({"type": "array", "items": {"type": "object"}}, "type 'object'"),
        ({"type": "null"}, "type 'null'"),
        ({"type": []}, "list of types is empty"),
        ({"enum": [""]}, "allowed values"),
        ({"type": "string", "minLength": 500}, "no text of 500 or more characters"),
        ({"type": "integer", "minimum": 5, "maximum": 4}, "no multiple of 1 "),
        ({"type": "integer", "minimum": "5"}, "minimum must be a number, got '5'"),
        ({"type": "integer", "multipleOf": 0}, "multipleOf is 0,"),
        ({"type": "array", "items": {"enum": ["a"]}, "uniqueItems": True, "minItems": 2}, "no 2 distinct items"),
        ({"not": {"type": "string"}}, "`not` is not supported"),
        ({"$ref": "#/$defs/Gone"}, "leads nowhere"),
        ({"$ref": "https://example.org/schema.json"}, "leads nowhere"),
        ({"$ref": "#"}, "refers to itself"),
        (False, "not a usable schema"),
    ],
)
def test_schemas_that_no_text_can_say_are_errors(schema, message):
    with pytest.raises(DataError, match=re.escape(message)):
        filler(schema, "x", schema if isinstance(schema, dict) else None)


def test_names_suggest_values():
    assert "@example." in draws({"type": "string"}, "recipient_email")[0].value
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", draws({"type": "string"}, "startDate")[0].value)
    assert draws({"type": "array", "items": {"type": "string"}}, "urls")[0].value[0].startswith("https://")


def test_names_are_split_into_words():
    assert words_of("getUserName") == words_of("get_user-name") == ["get", "user", "name"]
    assert [singular(name) for name in ("cities", "tags", "address")] == ["city", "tag", "address"]
