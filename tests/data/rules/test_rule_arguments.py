"""Arguments of calls: what fits a schema, what happens to nulls, and what a stranger's schema may not do."""

import http.server
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import arguments, json_values

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import EVERYTHING, RuleSettings, apply_rules, reasons, schemas

PLAIN = RuleSettings(keep_out_bfcl=False)


def tool(properties, required=(), name="f", **more):
    return ToolSpec(
        name=name, parameters={"type": "object", "properties": properties, "required": list(required), **more}
    )


def row(spec, *calls, meta=None):
    reply = Message(role="assistant", calls=tuple(ToolCall(name=spec.name, arguments=call) for call in calls))
    return Conversation(
        id="r1", tools=(spec,), messages=(Message(role="user", content="hi"), reply), meta=meta or {"lang": "en"}
    )


def objection(spec, *calls, rule=PLAIN):
    outcome = apply_rules(row(spec, *calls), rule)
    return (outcome.reason, outcome.detail) if isinstance(outcome, Reject) else None


STOPS = tool(
    {
        "stops": {"type": "array", "items": {"type": "object", "properties": {"city": {"type": "string"}}}},
        "mode": {"enum": ["train", "car"]},
        "unit": {"type": "string"},
        "until": {"type": ["string", "null"]},
        "note": {},
    },
    required=["mode"],
)


@pytest.mark.parametrize(
    ("call", "path"),
    [
        ({"mode": "boat"}, "$.mode"),
        ({"mode": "car", "stops": [{"city": "Oslo"}, {"city": 3}]}, "$.stops[1].city"),
        ({"mode": "car", "unit": ["km"]}, "$.unit"),
    ],
)
def test_the_path_of_what_does_not_fit_is_named(call, path):
    reason, detail = objection(STOPS, {"mode": "car"}, call)
    assert reason == reasons.INVALID_ARGUMENTS
    assert detail.startswith(f"f: {path}: ")


def test_a_missing_required_argument_is_named_beside_what_was_given():
    assert objection(STOPS, {"unit": "km"}) == (reasons.MISSING_ARGUMENT, "f: mode; given: unit")


def test_an_optional_null_is_dropped_and_recorded_and_a_nullable_one_kept():
    kept = apply_rules(row(STOPS, {"mode": "car", "unit": None, "until": None, "note": None}), PLAIN)
    assert isinstance(kept, Conversation)
    assert kept.messages[1].calls[0].arguments == {"mode": "car", "until": None, "note": None}
    assert kept.meta == {"lang": "en", "dropped_nulls": ["f.unit"]}


def test_a_required_null_rejects_the_row_unless_the_schema_allows_it():
    assert objection(STOPS, {"mode": None}) == (reasons.NULL_ARGUMENT, "f: mode")
    nullable = tool({"mode": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, required=["mode"])
    assert objection(nullable, {"mode": None}) is None


def test_the_policy_for_nulls_may_be_to_reject_or_to_keep():
    call = {"mode": "car", "unit": None}
    assert objection(STOPS, call, rule=RuleSettings(null_arguments="reject"))[0] == reasons.NULL_ARGUMENT
    kept = row(STOPS, call)
    assert apply_rules(kept, RuleSettings(null_arguments="keep", valid_arguments=False)) == kept
    assert objection(STOPS, call, rule=RuleSettings(null_arguments="keep"))[0] == reasons.INVALID_ARGUMENTS


def test_without_the_rule_any_arguments_pass():
    assert objection(STOPS, {"mode": "boat"}, rule=EVERYTHING) is None


def doubling(levels):
    names = [f"#/$defs/a{i}" for i in range(levels)]
    defs = {f"a{i}": {"allOf": [{"$ref": names[i - 1]}, {"$ref": names[i - 1]}]} for i in range(1, levels)}
    return {"$defs": {"a0": {"type": "object"}, **defs}, "$ref": names[-1]}


def nested(depth):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


UNCHECKABLE = {
    "leaves the schema": {"properties": {"a": {"$ref": "http://127.0.0.1:9/s.json"}}},
    "'other.json' leaves": {"$ref": "other.json"},
    "'#node' leaves": {"$ref": "#node"},
    "leads nowhere": {"$ref": "#/$defs/none"},
    "expand to": doubling(40),
    "in several places": {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
    "dynamic reference": {"$dynamicRef": "#x"},
    "an $id inside": {"properties": {"a": {"$id": "http://example.com/a"}}},
    "deep, more than": nested(200),
    "characters, more than": {"description": "x" * 70_000},
    "different references": {
        "$defs": {f"d{i}": {} for i in range(80)},
        "allOf": [{"$ref": f"#/$defs/d{i}"} for i in range(80)],
    },
    "regex": {"properties": {"a": {"pattern": "(?=a)b"}}},
    '"dict" is not': {"type": "dict"},
    "not of type": {"required": "a"},
    "meta-schema": {"$schema": "https://example.com/draft"},
}


@pytest.mark.parametrize("problem", UNCHECKABLE)
def test_a_schema_that_cannot_be_checked_is_a_reason_of_its_own(problem):
    start = time.perf_counter()
    reason, detail = objection(ToolSpec(name="f", parameters=UNCHECKABLE[problem]), {"a": "b"})
    assert reason == reasons.UNCHECKABLE_SCHEMA
    assert problem in detail
    assert time.perf_counter() - start < 2


def test_no_schema_reaches_the_network():
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        for schema in ({"$ref": f"{url}/a"}, {"$schema": f"{url}/b"}, {"$id": f"{url}/c/", "$ref": "d.json"}):
            assert objection(ToolSpec(name="f", parameters=schema), {})[0] == reasons.UNCHECKABLE_SCHEMA
        server.shutdown()
    assert asked == []


def test_a_recursive_schema_and_an_older_draft_are_checked():
    tree = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"node": {"properties": {"next": {"$ref": "#/definitions/node"}, "value": {"type": "integer"}}}},
        "$ref": "#/definitions/node",
    }
    spec = ToolSpec(name="f", parameters=tree)
    assert objection(spec, {"value": 1, "next": {"value": 2}}) is None
    assert objection(spec, {"next": {"next": {"value": "2"}}})[1].startswith("f: $.next.next.value: ")


def test_a_pattern_that_takes_others_exponential_time_takes_no_time():
    spec = tool({"a": {"type": "string", "pattern": "^(a+)+$"}})
    start = time.perf_counter()
    assert objection(spec, {"a": "a" * 50_000 + "!"})[0] == reasons.INVALID_ARGUMENTS
    assert time.perf_counter() - start < 2


@given(arguments, st.dictionaries(st.text(max_size=4), json_values, max_size=4))
def test_any_schema_and_arguments_give_an_answer(call, schema):
    check = schemas.validator(schema)
    if not isinstance(check, str):
        assert all(isinstance(message, str) for _, message in schemas.faults(check, call))


@given(arguments)
def test_arguments_fit_the_schema_made_of_their_own_values(call):
    spec = tool({name: {"const": value} for name, value in call.items()}, required=list(call))
    assert objection(spec, call, rule=RuleSettings(null_arguments="keep", keep_out_bfcl=False)) is None


def test_numbers_beyond_64_bits_are_judged_and_not_fatal():
    assert objection(tool({"n": {"type": "integer"}}), {"n": 10**60}) is None
    assert objection(tool({"n": {"type": "string"}}), {"n": 10**60})[0] == reasons.INVALID_ARGUMENTS
