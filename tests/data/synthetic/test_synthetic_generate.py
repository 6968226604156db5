"""Laws of the synthetic rows about the built-in tools, on 2,000 rows of each split."""

import collections
import dataclasses
import functools
import json
import random
import time

import pytest

from gemma_tool_use.conversation import Conversation, Message, ToolCall, conversation_from_dict, conversation_to_dict
from gemma_tool_use.data.synthetic.generate import KINDS, MOST_TOOLS, generate, kind_of
from gemma_tool_use.data.synthetic.tools import BUILTIN_SKILLS
from gemma_tool_use.data.synthetic.values import LOCATIONS, QUERIES, SENTENCES, STYLES, UNITS, Expressions, Split
from gemma_tool_use.errors import ConfigError

SPLITS: tuple[Split, ...] = ("train", "heldout")
ENUM_WORDS = {"unit": UNITS, "style": STYLES}


@functools.cache
def rows(split: Split) -> list[Conversation]:
    return generate(count=2000, seed=0, split=split)


def of_kind(split: Split, *kinds: str) -> list[Conversation]:
    return [row for row in rows(split) if kind_of(row) in kinds]


def calls_of(row: Conversation) -> list[ToolCall]:
    return [call for message in row.messages for call in message.calls]


def user_text(row: Conversation) -> str:
    return row.messages[0].content


def test_one_row_looks_like_this():
    row = generate(count=3, seed=1)[0]
    assert row.id == "synthetic:train:1:0:one_call:generate_image.11"
    assert row.source == "synthetic"
    assert row.messages == (
        Message(role="user", content="Design a poster with a red fox in thick fog."),
        Message(
            role="assistant",
            calls=(ToolCall(name="generate_image", arguments={"prompt": "a red fox in thick fog"}),),
        ),
    )
    assert [tool.name for tool in row.tools] == ["calculate", "generate_image"]


@pytest.mark.parametrize("split", SPLITS)
def test_every_argument_stands_verbatim_in_the_request(split):
    for row in rows(split):
        for call in calls_of(row):
            assert all(isinstance(value, str) and value in user_text(row) for value in call.arguments.values()), row.id


@pytest.mark.parametrize("split", SPLITS)
def test_calls_fit_the_schemas_of_offered_tools(split):
    for row in rows(split):
        schemas = {tool.name: tool.parameters for tool in row.tools}
        for call in calls_of(row):
            schema = schemas[call.name]
            assert set(schema["required"]) <= set(call.arguments) <= set(schema["properties"]), row.id
            for name, value in call.arguments.items():
                assert value in schema["properties"][name].get("enum", [value]), row.id


@pytest.mark.parametrize("split", SPLITS)
def test_an_optional_enum_is_an_argument_exactly_when_the_request_names_it(split):
    for row in of_kind(split, "one_call", "tool_result"):
        call = calls_of(row)[0]
        for name, choice in ENUM_WORDS.items():
            if name in next(tool for tool in row.tools if tool.name == call.name).parameters["properties"]:
                named = any(value.text in user_text(row) for value in choice.values)
                assert named == (name in call.arguments), row.id


@pytest.mark.parametrize("split", SPLITS)
def test_one_to_three_tools_are_offered_and_none_twice(split):
    for row in rows(split):
        names = [tool.name for tool in row.tools]
        assert 1 <= len(names) <= MOST_TOOLS and len(set(names)) == len(names), row.id
    assert {len(row.tools) for row in rows(split)} == {1, 2, 3}


@pytest.mark.parametrize("split", SPLITS)
def test_each_kind_has_its_shape(split):
    shapes = {
        "one_call": (["user", "assistant"], 1),
        "several_calls": (["user", "assistant"], 2),
        "no_call": (["user", "assistant"], 0),
        "missing_argument": (["user", "assistant"], 0),
        "tool_result": (["user", "assistant", "tool", "assistant"], 1),
    }
    for row in rows(split):
        roles, count = shapes[kind_of(row)]
        assert [message.role for message in row.messages] == roles and len(calls_of(row)) == count, row.id
        assert row.messages[-1].content or calls_of(row), row.id


@pytest.mark.parametrize("split", SPLITS)
def test_two_calls_stand_in_the_order_of_the_request_and_differ(split):
    for row in of_kind(split, "several_calls"):
        first, second = calls_of(row)
        assert first != second, row.id
        spots = [user_text(row).index(next(iter(call.arguments.values()))) for call in (first, second)]
        assert spots[0] < spots[1] or set(first.arguments.values()) & set(second.arguments.values()), row.id


@pytest.mark.parametrize("split", SPLITS)
def test_a_request_without_the_fitting_tool_is_refused_where_no_offered_tool_could_serve(split):
    absent = [row for row in rows(split) if ":absent+" in row.id]
    assert len(absent) > 50
    for row in absent:
        wanted = row.id.split(":absent+")[1].split(".")[0]
        offered = {tool.name for tool in row.tools}
        assert wanted not in offered, row.id
        assert not (wanted in ("get_weather", "calculate") and "search_web" in offered), row.id


@pytest.mark.parametrize("split", SPLITS)
def test_questions_of_fact_are_never_asked_beside_a_web_search(split):
    facts = [row for row in rows(split) if ":fact." in row.id]
    assert len(facts) > 30
    assert all("search_web" not in {tool.name for tool in row.tools} for row in facts)


@pytest.mark.parametrize("split", SPLITS)
def test_the_final_answer_tells_something_of_the_result(split):
    for row in of_kind(split, "tool_result"):
        result = json.loads(row.messages[2].content)
        assert row.messages[2].name == calls_of(row)[0].name
        assert any(str(value) in row.messages[3].content for value in result.values()), row.id


@pytest.mark.parametrize("split", SPLITS)
def test_ids_are_unique_and_rows_survive_storage(split):
    assert len({row.id for row in rows(split)}) == len(rows(split))
    for row in rows(split)[:200]:
        assert conversation_from_dict(json.loads(json.dumps(conversation_to_dict(row)))) == row


def test_rows_are_varied():
    texts = [user_text(row) for row in of_kind("train", "one_call", "tool_result", "several_calls")]
    assert len(set(texts)) > 0.97 * len(texts)


def test_no_heldout_request_is_a_train_request():
    train = {user_text(row).casefold() for seed in range(3) for row in generate(count=2000, seed=seed)}
    heldout = {
        user_text(row).casefold() for seed in range(3) for row in generate(count=2000, seed=seed, split="heldout")
    }
    assert not train & heldout


def test_half_of_the_heldout_values_are_unseen_in_training():
    for pool in (LOCATIONS, QUERIES, SENTENCES):
        assert not {value.text for value in pool.seen} & {value.text for value in pool.unseen}
    cities = {split: [c.arguments["location"] for r in rows(split) for c in calls_of(r) if c.name == "get_weather"]
              for split in SPLITS}  # fmt: skip
    unseen = {value.text for value in LOCATIONS.unseen}
    assert not unseen & set(cities["train"])
    assert 0.4 < sum(city in unseen for city in cities["heldout"]) / len(cities["heldout"]) < 0.6


def test_a_row_depends_on_seed_split_and_index_only():
    assert generate(count=50, seed=7)[:20] == generate(count=20, seed=7)
    assert generate(count=20, seed=7) != generate(count=20, seed=8)


def test_kinds_keep_their_share_in_every_hundred_rows():
    for start in range(0, 1900, 100):
        counts = collections.Counter(map(kind_of, rows("train")[start : start + 100]))
        assert all(abs(counts[kind] - 100 * share) <= 3 for kind, share in KINDS.items())


def test_chosen_kinds_alone_are_written():
    written = collections.Counter(map(kind_of, generate(count=90, seed=0, kinds={"one_call": 2, "no_call": 1})))
    assert set(written) == {"one_call", "no_call"} and 58 <= written["one_call"] <= 62


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"one_cal": 1.0}, "Did you mean 'one_call'"),
        ({"one_call": -1.0}, "weight of one_call is -1.0"),
        ({"one_call": float("nan")}, "weight of one_call is nan"),
        ({"one_call": float("inf")}, "weight of one_call is inf"),
        ({"one_call": 0.0}, "add up to 0"),
    ],
)
def test_bad_kinds_are_refused(kinds, message):
    with pytest.raises(ConfigError, match=message):
        generate(count=1, seed=0, kinds=kinds)


def test_a_bad_count_or_split_is_refused():
    with pytest.raises(ConfigError, match="count is -1"):
        generate(count=-1, seed=0)
    with pytest.raises(ConfigError, match="split is 'test'"):
        generate(count=1, seed=0, split="test")  # type: ignore[arg-type]


def test_the_kind_of_another_row_is_an_error():
    with pytest.raises(ConfigError, match="not the id of a synthetic row"):
        kind_of(dataclasses.replace(rows("train")[0], id="toucan:17"))


def test_the_truth_of_an_expression_is_its_value():
    for i in range(300):
        value = Expressions().draw(random.Random(i), "train")
        tokens = [token for token in value.text.replace("(", " ").replace(")", " ").split() if token]
        if len(tokens) == 3 and "(" not in value.text and tokens[1] in "+-*":
            a, b = float(tokens[0]), float(tokens[2])
            expected = {"+": a + b, "-": a - b, "*": a * b}[tokens[1]]
            assert float(value.truth) == pytest.approx(expected, abs=1e-3), value


def test_every_builtin_tool_has_many_wordings():
    for skill in BUILTIN_SKILLS:
        assert len(skill.wordings["train"].requests) >= 12 and len(skill.wordings["heldout"].requests) >= 6


def test_five_thousand_rows_take_less_than_a_second():
    start = time.process_time()
    generate(count=5000, seed=0)
    assert time.process_time() - start < 1.0  # 0.13 s measured


def test_without_idle_options_a_called_tool_has_the_parameters_that_the_call_fills():
    seen = set()
    for full, row in zip(rows("train"), generate(count=2000, seed=0, idle_options=False), strict=True):
        assert (row.id, row.messages) == (full.id, full.messages)
        specs = {tool.name: tool.parameters for tool in row.tools}
        assert list(specs) == [tool.name for tool in full.tools]
        for name in {call.name for call in calls_of(row)}:
            filled = {argument for call in calls_of(row) if call.name == name for argument in call.arguments}
            assert set(specs[name]["properties"]) == filled | set(specs[name]["required"]), row.id
            seen.add((name, len(filled)))
    assert {("get_weather", 1), ("get_weather", 2), ("calculate", 1)} <= seen


def test_most_tools_bounds_what_is_offered():
    assert {len(row.tools) for row in generate(count=60, seed=1, kinds={"one_call": 1}, most_tools=1)} == {1}
