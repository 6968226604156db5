"""Parameters of every published form become one JSON Schema, and what is one already stays as it is."""

import copy

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_tool_use.data.rejects import UNREADABLE_TOOL, RowError
from gemma_tool_use.data.sources.python_types import UnknownTypeError, parse_type
from gemma_tool_use.data.sources.schema import MAX_DEPTH, normalise_parameters

STRINGS = {"type": "array", "items": {"type": "string"}}
TEXT = {"type": "string"}
NOTHING = {"type": "object", "properties": {}}


def of(**properties):
    return {"type": "object", "properties": properties}


def test_xlams_parameters_get_their_wrapper():
    given = {"city": {"type": "str", "description": "City"}, "days": {"type": "int, optional"}}
    assert normalise_parameters(given) == {
        **of(city={"type": "string", "description": "City"}, days={"type": "integer"}),
        "required": ["city"],
    }


@pytest.mark.parametrize("value", [None, {}, [], "", {"type": "object"}, {"properties": {}}, {"type": "dict"}])
def test_no_parameters_are_an_empty_object(value):
    assert normalise_parameters(value) == NOTHING


@pytest.mark.parametrize(
    ("name", "schema", "optional"),
    [
        ("str", {"type": "string"}, False),
        ("STRING", {"type": "string"}, False),
        ("int, optional", {"type": "integer"}, True),
        ("int (optional)", {"type": "integer"}, True),
        ("float", {"type": "number"}, False),
        ("bool", {"type": "boolean"}, False),
        ("Any", {}, False),
        ("dict", {"type": "object"}, False),
        ("Dict[str, float]", {"type": "object", "additionalProperties": {"type": "number"}}, False),
        ("Dict[str, Any]", {"type": "object"}, False),
        ("list", {"type": "array"}, False),
        ("List[int]", {"type": "array", "items": {"type": "integer"}}, False),
        (
            "typing.List[List[str]], optional",
            {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
            True,
        ),
        ("list<int>", {"type": "array", "items": {"type": "integer"}}, False),
        ("string[]", {"type": "array", "items": {"type": "string"}}, False),
        ("Set[str]", {"type": "array", "uniqueItems": True, "items": {"type": "string"}}, False),
        ("tuple", {"type": "array"}, False),
        ("Tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}, False),
        (
            "Tuple[float, str]",
            {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
            False,
        ),
        ("Optional[int]", {"type": ["integer", "null"]}, True),
        ("int | None", {"type": ["integer", "null"]}, False),
        ("Union[int, str]", {"type": ["integer", "string"]}, False),
        (
            "Union[int, List[int]]",
            {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
            False,
        ),
        ("Literal['a', 'b, c']", {"enum": ["a", "b, c"]}, False),
        ("datetime", {"type": "string", "format": "date-time"}, False),
    ],
)
def test_the_name_of_a_type(name, schema, optional):
    assert parse_type(name) == (schema, optional)
    assert normalise_parameters({"x": {"type": name}}) == of(x=schema) | ({} if optional else {"required": ["x"]})


@pytest.mark.parametrize(
    "name",
    [
        *("Callable[[float], float]", "np.ndarray", "", "List[", "int]", "List[int", "a[b", "|", "str, perhaps"),
        *("Literal[f()]", "List[" * 17 + "int" + "]" * 17, "x" * 501, "[" * 400),
    ],
)
def test_a_type_that_json_has_no_value_for_is_refused(name):
    with pytest.raises(UnknownTypeError, match=r"not a known type|characters|levels"):
        parse_type(name)
    with pytest.raises(RowError) as caught:
        normalise_parameters(of(x={"type": name}))
    assert caught.value.reason == UNREADABLE_TOOL
    assert caught.value.detail.startswith("parameters.properties.x.type: ")


def test_what_the_cache_holds_cannot_be_changed():
    parse_type("List[int]")[0]["items"]["type"] = "spoilt"
    assert parse_type("List[int]")[0] == {"type": "array", "items": {"type": "integer"}}


@pytest.mark.parametrize(
    ("value", "required", "expected"),
    [
        (of(a=TEXT) | {"required": None}, None, of(a=TEXT)),
        (of(a=TEXT), ["a"], of(a=TEXT) | {"required": ["a"]}),
        (of(a=TEXT, b={}) | {"required": ["b", "b"]}, ["a", "b"], of(a=TEXT, b={}) | {"required": ["b", "a"]}),
        (of(a=TEXT | {"required": True}, b={"required": False}), None, of(a=TEXT, b={}) | {"required": ["a"]}),
        ({"a": TEXT | {"default": 1}, "b": TEXT}, None, of(a=TEXT | {"default": 1}, b=TEXT) | {"required": ["b"]}),
        ({"a": TEXT, "b": TEXT}, ["b"], of(a=TEXT, b=TEXT) | {"required": ["b"]}),
        ({"a": TEXT, "b": TEXT}, [], of(a=TEXT, b=TEXT)),
        (of(a={}, required=["a"]), None, of(a={}) | {"required": ["a"]}),
        (of(a={}) | {"required": []}, None, of(a={}) | {"required": []}),
    ],
)
def test_where_required_may_stand(value, required, expected):
    assert normalise_parameters(value, required=required) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"type": {"type": "str"}, "properties": {"type": "str"}}, ["type", "properties"]),
        ({"properties": {"type": "list", "description": "which"}}, ["properties"]),
        ({"city": "string"}, ["city"]),
    ],
)
def test_parameters_may_have_the_names_of_keywords(value, expected):
    assert list(normalise_parameters(value)["properties"]) == expected


def test_types_deep_inside_are_found():
    value = {
        "type": "dict",
        "properties": {
            "rows": {"type": "list", "items": {"type": "dict", "properties": {"n": {"type": "float"}}}},
            "either": {"anyOf": [{"type": "INTEGER"}, {"type": "str"}], "description": None},
            "level": {"type": "enum", "enum": ["low", "high"]},
            "maybe": {"type": "STRING", "nullable": True},
        },
        "$defs": {"x": {"type": "tuple"}},
        "additionalProperties": {"type": "bool"},
    }
    assert normalise_parameters(value) == {
        "type": "object",
        "properties": {
            "rows": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "number"}}}},
            "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "level": {"enum": ["low", "high"]},
            "maybe": {"type": ["string", "null"]},
        },
        "$defs": {"x": {"type": "array"}},
        "additionalProperties": {"type": "boolean"},
    }


def test_values_that_look_like_schemas_are_left_alone():
    value = of(a={"type": "object", "default": {"type": "str"}, "enum": [{"type": "str"}, None], "const": None})
    assert normalise_parameters(value) == value


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ("city", "parameters: expected an object"),
        ([{"name": "city"}], "parameters: expected an object"),
        ({"type": "string"}, "parameters.type: expected object"),
        ({"type": ["object", "null"]}, "parameters.type: expected object"),
        (of(a=3), "parameters.properties.a: expected a schema"),
        (of(a=None), "parameters.properties.a: expected a schema"),
        (of(a={"type": 3}), "parameters.properties.a.type: expected the name"),
        (of(a={"type": []}), "parameters.properties.a.type: expected the name"),
        (of(a={"anyOf": [{"type": "thing"}]}), "parameters.properties.a.anyOf[0].type: 'thing'"),
        (of(a={"$ref": "https://example.com/a.json"}), "parameters.properties.a.$ref: only references inside"),
        (of(a={"$ref": 3}), "parameters.properties.a.$ref: only references inside"),
        (of() | {"required": "a"}, "parameters.required: expected a list of names"),
        (of() | {"required": [1]}, "parameters.required: expected a list of names"),
        ({"type": "object", "properties": [1]}, "parameters.properties: expected an object"),
        ({1: {"type": "str"}}, "parameters: the name of a parameter is 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_schema_names_its_place(value, detail):
    with pytest.raises(RowError) as caught:
        normalise_parameters(value)
    assert caught.value.detail.startswith(detail)


def test_schemas_nested_too_deeply_are_refused():
    value: dict = {}
    for _ in range(MAX_DEPTH + 2):
        value = {"items": value}
    with pytest.raises(RowError, match=r"."):
        normalise_parameters(of(a=value))


SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "number", "boolean", "null", "array", ["string", "null"]])},
        optional={
            "description": st.text(max_size=5),
            "default": st.none() | st.integers(),
            "enum": st.lists(st.text(max_size=3), min_size=1, unique=True),
            "format": st.just("date"),
        },
    )
    | st.just({"$ref": "#/$defs/x"})
    | st.booleans(),
    lambda inner: (
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.text(max_size=5), inner, max_size=3)}
        )
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=5).filter(lambda name: name != "required"), SCHEMAS, max_size=3))
def test_json_schema_stays_as_it_is(properties):
    value = of(**properties) | {"$defs": {"x": {"type": "string"}}}
    before = copy.deepcopy(value)
    assert normalise_parameters(value) == before == value


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["str", "int, optional", "object", "List[int]", "#/a", "?"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "items", "anyOf", "enum", "$ref", "default", "nullable", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(VALUES, VALUES)
def test_whatever_comes_out_is_an_object_and_stays_when_normalised_again(value, required):
    try:
        schema = normalise_parameters(value, required=required)
    except RowError as error:
        assert error.reason == UNREADABLE_TOOL
        return
    assert schema["type"] == "object"
    assert isinstance(schema["properties"], dict)
    assert normalise_parameters(schema) == schema


def test_every_normalised_type_is_valid_json_schema():
    names = (
        "str",
        "List[Tuple[int, str]]",
        "Optional[Dict[str, Set[float]]]",
        "Literal[1, 'a', None]",
        "Any",
        "bool | int",
    )
    schema = normalise_parameters({name: {"type": name} for name in names})
    assert jsonschema_rs.meta.is_valid(schema)
