"""What each augmentation does to one known row, and what it must leave alone."""

import dataclasses
import json

import pytest
from rows_to_augment import CHESS, DICE, LAMP, OSLO, POEM, POOL, ROLL, WEATHER, row, text, tool

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec, tool_to_dict
from gemma_tool_use.data.augment import (
    AugmentSettings,
    MergeRow,
    Reservoir,
    ToolPool,
    augment,
    copy,
    curriculum_order,
    merge,
    merge_plan,
    mergeable,
    outcomes,
    read_tools,
    stage_of,
    undo,
    write_tools,
)
from gemma_tool_use.data.augment.draws import Draws
from gemma_tool_use.data.augment.no_call import REPLIES
from gemma_tool_use.data.augment.parallel import join
from gemma_tool_use.data.augment.renaming import problem, rename_arguments, rename_schema
from gemma_tool_use.data.augment.words import ToolWords, alike, comparable, general_purpose, may_answer, words
from gemma_tool_use.errors import ConfigError, DataError

MASK = AugmentSettings(mask_share=1)


def test_draws_are_the_same_on_every_machine():
    draws = Draws(seed=0, step="names", row="toucan:17")
    assert draws.unit() == pytest.approx(0.389160526560271)
    assert draws.order(5) == [2, 4, 0, 3, 1]


def test_masked_names_are_new_and_the_arguments_follow():
    masked = augment(OSLO, MASK, POOL)
    (offered,), call = masked.tools, masked.messages[1].calls[0]
    assert offered.name == call.name != "get_weather"
    (parameter,) = offered.parameters["properties"]
    assert offered.parameters["required"] == [parameter] != ["city"]
    assert call.arguments == {parameter: "Oslo"}
    record = masked.meta["augment"][0]
    assert record["tools"] == {call.name: "get_weather"}
    assert record["parameters"] == {call.name: {parameter: "city"}}
    for name in (offered.name, parameter):
        assert name.isidentifier() and name.isascii() and any(char.isdigit() for char in name)


def test_a_masked_name_is_none_that_the_row_has_already():
    (first,) = augment(OSLO, MASK, POOL).tools
    crowded = tool("get_weather", WEATHER.description, **WEATHER.parameters["properties"], **{first.name: {}})
    (masked,) = augment(dataclasses.replace(OSLO, tools=(crowded,)), MASK, POOL).tools
    assert masked.name != first.name and first.name in masked.parameters["properties"]


def test_the_results_of_masked_calls_have_their_new_names():
    answered = dataclasses.replace(
        OSLO, messages=(*OSLO.messages, Message(role="tool", name="get_weather", content="3"))
    )
    masked = augment(answered, MASK, POOL)
    assert masked.messages[2].name == masked.messages[1].calls[0].name


def test_a_parameter_without_a_description_keeps_its_name():
    bare = row("b", "Roll", [tool("roll", "Rolls a die well", sides={"type": "integer"})])
    assert list(augment(bare, MASK, POOL).tools[0].parameters["properties"]) == ["sides"]


def test_nested_parameters_are_renamed_where_they_are_declared_only():
    schema = {
        "properties": {"a": {"type": "array", "items": {"anyOf": [{"properties": {"b": {}}}, {"type": "null"}]}}},
        "required": ["a"],
    }
    names = {"a": "x", "b": "y"}
    assert rename_schema(schema, names)["properties"]["x"]["items"]["anyOf"][0] == {"properties": {"y": {}}}
    assert rename_schema(schema, names)["required"] == ["x"]
    given = {"a": [{"b": {"b": 1}, "c": 2}], "b": 3}
    assert rename_arguments(given, schema, names) == {"x": [{"y": {"b": 1}, "c": 2}], "b": 3}


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"properties": {"a": {"$ref": "#/$defs/A"}}}, "$ref"),
        ({"$defs": {"A": {}}}, "$defs"),
        ({"dependentRequired": {"a": ["b"]}}, "dependentRequired"),
        ({"properties": {"a": {"default": {"b": 1}}}}, "default"),
        ({"properties": {"a": {"enum": [{"b": 1}]}}}, "enum"),
        ({"x-order": ["a"]}, "x-order"),
        ({"if": {"required": ["a"]}}, "if"),
        ({"properties": ["a"]}, "properties"),
        ({"anyOf": {"a": 1}}, "anyOf"),
        ({"items": [{}]}, "items"),
        ({"required": ["b"], "properties": {"a": {"properties": {"b": {}}}}}, "'b'"),
    ],
)
def test_a_schema_that_cannot_be_renamed_safely_says_why_and_its_row_stays(schema: dict, complaint: str):
    assert complaint in problem(schema)
    unsafe = dataclasses.replace(
        OSLO, tools=(*OSLO.tools, ToolSpec(name="other", description="a b c", parameters=schema))
    )
    assert outcomes(augment(unsafe, MASK, POOL)) == [
        "names: left as it is, a schema whose names cannot be changed safely"
    ]


def test_a_branch_that_requires_what_its_parent_declares_is_safe():
    schema = {"properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert problem(schema) == ""
    assert rename_schema(schema, {"a": "x"})["anyOf"] == [{"required": ["x"]}, {"required": ["b"]}]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (row("r", "Call get_weather for Oslo", [WEATHER]), "its text speaks of a name"),
        (
            row("r", "Hi", [tool("f", "does it well", max_n=text("most"))], answer="max_n is 3"),
            "its text speaks of a name",
        ),
        (row("r", "Hi", [tool("now", "The time")]), "a tool without a description"),
        (row("r", "Hi", []), "it offers no tools"),
        (row("r", "Hi", [WEATHER, WEATHER]), "two tools of one name, or a call to none"),
        (row("r", "Hi", [DICE], ToolCall(name="gone")), "two tools of one name, or a call to none"),
        (
            row("r", "Hi", [WEATHER, tool("find_city", "Call get_weather with what it finds")]),
            "a tool's description speaks of another tool",
        ),
    ],
)
def test_rows_whose_names_matter_are_left_alone(changed: Conversation, reason: str):
    done = augment(changed, MASK, POOL)
    assert (done.tools, done.messages) == (changed.tools, changed.messages)
    assert outcomes(done) == [f"names: left as it is, {reason}"]


def test_a_plain_word_that_is_also_a_name_may_be_spoken():
    assert outcomes(augment(row("r", "In which city?", [WEATHER]), MASK, POOL)) == ["names"]


def test_distractors_stand_behind_the_own_tools_and_are_unlike_them():
    many = [
        augment(dataclasses.replace(OSLO, id=str(i)), AugmentSettings(distractor_share=1, max_tools=3), POOL)
        for i in range(50)
    ]
    sizes = {len(done.tools) for done in many}
    assert sizes == {2, 3}
    assert all(done.tools[0] == WEATHER and WEATHER.name not in done.meta["augment"][0]["added"] for done in many)
    assert {tool.name for done in many for tool in done.tools[1:]} == {t.name for t in (DICE, LAMP, POEM, CHESS)}


def test_a_tool_for_the_same_thing_is_no_distractor():
    near = [
        tool("forecastLookup", "Tells the temperature of the next days anywhere on earth", place=text("Where")),
        tool("oslo_facts", "Funny things to know about towns in Scandinavia and their people", topic=text("What")),
    ]
    done = augment(OSLO, AugmentSettings(distractor_share=1), ToolPool.of(near))
    assert outcomes(done) == ["distractors: left as it is, no tool of the pool is unlike it"]


def test_a_row_without_a_call_gets_only_tools_without_a_word_of_its_request():
    asks = row("n", "What should I tell the pawn club of brightness?", [DICE], answer="I cannot say.")
    many = [augment(dataclasses.replace(asks, id=str(i)), AugmentSettings(distractor_share=1), POOL) for i in range(30)]
    names = {tool.name for done in many for tool in done.tools}
    assert names == {"roll_dice", "get_weather", "compose_poem"}


def test_a_full_row_and_a_foreign_request_get_no_distractors():
    share = AugmentSettings(distractor_share=1, max_tools=1)
    assert outcomes(augment(OSLO, share, POOL)) == ["distractors: left as it is, it offers max_tools tools already"]
    foreign = row("f", "¿Qué tiempo hace hoy en Oslo?", [WEATHER])
    (outcome,) = outcomes(augment(foreign, AugmentSettings(distractor_share=1), POOL))
    assert outcome == "distractors: left as it is, its request is too unusual to be compared with tools by words"


def test_words_see_through_spelling_plural_and_topic():
    assert words("Get the forecasts for Oslo") == {"forecast", "oslo", "topic 0"}
    assert words("getUserWeather") == words("get_user_weather") == {"weather", "topic 0"}
    assert alike(ToolWords.of(WEATHER), ToolWords.of(tool("climate", "How warm it is")))
    assert not alike(ToolWords.of(WEATHER), ToolWords.of(DICE))
    rename = tool("rename_avatar", "Gives another title to the likeness that players see beside their comments")
    crop = tool("crop_avatar", "Cuts edges away until only a circle around somebody's face remains visible")
    assert alike(ToolWords.of(rename), ToolWords.of(crop)), "one word between the names is enough"
    assert may_answer(ToolWords.of(WEATHER), words("Will there be rain in Oslo?"))
    assert not may_answer(ToolWords.of(DICE), words("Will there be rain in Oslo?"))


def test_tools_that_could_do_anything_or_cannot_be_judged_stay_out_of_the_pool():
    assert all(general_purpose(ToolSpec(name=name)) for name in ("web_search_exa", "runPython", "search", "get_info"))
    assert general_purpose(tool("consult", "Looks the question up with SerpAPI"))
    assert not general_purpose(WEATHER)
    assert not comparable("Cria uma nova nota associada a uma oportunidade, pessoa ou empresa no CRM")
    assert not comparable("搜索用户信息") and not comparable("Recupera uma lista completa de funis")
    bad = [
        tool("web_search", "Search the whole web for pages, texts and people"),
        tool("horoscope", "Horoscope"),
        tool("get weather", WEATHER.description),
        tool("huge", "Rolls a number of dice for the players of a table " * 40),
    ]
    assert len(ToolPool.of(bad)) == 0


def test_shuffled_tools_are_the_same_tools():
    offered = [WEATHER, DICE, LAMP, POEM, CHESS]
    done = augment(row("s", "Hi", offered), AugmentSettings(shuffle_tools=True), POOL)
    assert list(done.tools) != offered and sorted(done.tools, key=offered.index) == offered
    assert [offered[i] for i in done.meta["augment"][0]["from"]] == list(done.tools)


def test_a_row_without_its_call_says_so_and_offers_something_else():
    both = dataclasses.replace(OSLO, tools=(LAMP, WEATHER))
    done = augment(both, AugmentSettings(), POOL, make_no_call=True)
    assert done.tools[0] == LAMP and len(done.tools) == 2 and WEATHER not in done.tools
    assert done.messages[-1].content in REPLIES
    assert undo(done) == (both,)


def test_a_tool_like_the_called_one_leaves_with_it():
    climate = tool("climate", "How warm it is and whether it rains", place=text("Where"))
    asks = row("u", "Should I take an umbrella?", [climate, WEATHER, LAMP], OSLO.messages[1].calls[0])
    done = augment(asks, AugmentSettings(), ToolPool(), make_no_call=True)
    assert done.tools == (LAMP,) and undo(done) == (asks,)


def test_a_row_from_which_no_other_tool_can_be_offered_keeps_its_call():
    done = augment(OSLO, AugmentSettings(), ToolPool(), make_no_call=True)
    assert done.messages == OSLO.messages
    assert outcomes(done) == ["no_call: left as it is, no tool left to offer"]


def test_two_requests_become_one():
    (merged,) = merge((OSLO, ROLL), AugmentSettings())
    assert merged.id == "w+d" and merged.tools == (WEATHER, DICE)
    assert [call.name for call in merged.messages[1].calls] == ["get_weather", "roll_dice"]
    assert "Oslo" in merged.messages[0].content and "20 sides" in merged.messages[0].content
    assert undo(merged) == (OSLO, ROLL)
    assert merge((OSLO,), AugmentSettings()) == (OSLO,)


def test_the_joins_are_these():
    found = {join(["Weather in Oslo?", "Hi, roll a die."], Draws(seed=0, step="t", row=str(i))) for i in range(100)}
    assert found == {
        "Weather in Oslo? Roll a die.",
        "1. Weather in Oslo?\n2. Roll a die.",
        "Two things, please. Weather in Oslo? Roll a die.",
        "Weather in Oslo? Also, Roll a die.",
        "Weather in Oslo?\nRoll a die.",
    }
    exclaimed = {
        join(["Weather in Oslo?", "Hello! roll a die."], Draws(seed=0, step="t", row=str(i))) for i in range(100)
    }
    assert exclaimed == found
    small = {join(["Weather in Oslo?", "Find a die."], Draws(seed=0, step="t", row=str(i))) for i in range(100)}
    assert {"Weather in Oslo? Also, find a die.", "Weather in Oslo, and find a die."} <= small


def test_rows_that_could_answer_each_other_are_not_merged():
    rome = row("r", "Find the climate of Rome", [tool("climate", "How warm it is")], ToolCall(name="climate"))
    parts = merge((OSLO, rome), AugmentSettings())
    assert [part.messages for part in parts] == [OSLO.messages, rome.messages]
    assert outcomes(parts[0]) == ["merge: left as it is, a tool of one row may answer the request of another"]
    assert [undo(part)[0] for part in parts] == [OSLO, rome]
    (first, _) = merge((OSLO, ROLL), AugmentSettings(max_tools=1))
    assert outcomes(first) == ["merge: left as it is, together they offer more than max_tools"]


@pytest.mark.parametrize(
    "request_text",
    [
        "Do it again in Oslo please",
        "Weather",
        "What is the weather\nin Oslo?",
        "What is the weather in Oslo? " * 20,
        '"the weather in Oslo',
    ],
)
def test_a_request_that_leans_on_something_else_is_not_mergeable(request_text: str):
    assert mergeable(OSLO)
    assert not mergeable(
        dataclasses.replace(OSLO, messages=(Message(role="user", content=request_text), OSLO.messages[1]))
    )


def test_a_row_with_a_second_call_later_on_is_not_mergeable():
    more = (*OSLO.messages, Message(role="tool", content="3"), Message(role="assistant", content="3 degrees"))
    assert mergeable(dataclasses.replace(OSLO, messages=more))
    assert not mergeable(dataclasses.replace(OSLO, messages=(*more[:3], OSLO.messages[1])))


def test_the_merge_plan_stays_on_one_side_and_in_one_source_whatever_the_order():
    keys = [
        MergeRow(id=f"{i:03}", source=f"s{i % 2}", side="train" if i % 3 else "eval", tools=(i % 7,))
        for i in range(200)
    ]
    settings = AugmentSettings(merge_share=0.5, merge_up_to=3, max_tools=3)
    plan = merge_plan(keys, settings)
    assert plan == merge_plan(keys[::-1], settings)
    of = {key.id: key for key in keys}
    for leader, parts in plan.items():
        assert leader == parts[0] and 2 <= len(parts) <= 3
        assert len({(of[i].source, of[i].side) for i in parts}) == 1
        assert len({of[i].tools for i in parts}) == len(parts)
    used = [i for parts in plan.values() for i in parts]
    assert len(used) == len(set(used)) and 92 <= len(used) <= 100
    assert {len(parts) for parts in plan.values()} == {2, 3}
    assert merge_plan(keys, AugmentSettings()) == {}


def test_what_was_augmented_before_is_not_merged():
    with pytest.raises(DataError, match="merge rows before"):
        merge((copy(OSLO, 2), ROLL), AugmentSettings())


def test_a_copy_has_its_own_id_and_its_own_choices():
    assert copy(OSLO, 1) is OSLO
    second = copy(OSLO, 2)
    assert second.id == "w#2" and undo(second) == (OSLO,)
    assert augment(second, MASK, POOL).tools[0].name != augment(OSLO, MASK, POOL).tools[0].name


def test_the_reservoir_is_the_same_for_any_order_and_any_division_of_the_work():
    tools = [tool(f"paint_{i:03}", f"Paint a wall of house {i} in the colour of a leaf") for i in range(300)]
    others = [dataclasses.replace(t, description=f"Brush colour on walls of {t.name} and of a leaf") for t in tools]
    one, two, joined = (Reservoir(size=20, seed=0) for _ in range(3))
    for found in [*tools, *others]:
        one.add([found])
    for found in reversed([*tools, *others]):
        two.add([found])
    for part in ([*tools[:100], *others[50:]], [*others[:50], *tools[100:]]):
        worker = Reservoir(size=20, seed=0)
        worker.add(part)
        joined.add(worker.tools())
    assert one.tools() == two.tools() == joined.tools()
    assert len(one.tools()) == 20 and one.tools() != tuple(others[:20])
    assert {t.description for t in one.tools()} <= {t.description for t in others}, "B comes before P"


def test_a_pool_can_be_cut_to_one_side_of_a_split():
    assert [entry[0].name for entry in POOL.keeping(lambda t: t.name < "d").entries] == [
        "chess_opening",
        "compose_poem",
    ]


def test_tools_are_read_as_jsonl_as_an_array_and_as_an_mcp_answer(tmp_path):
    path = tmp_path / "tools"
    write_tools(path, [WEATHER, DICE])
    assert read_tools(path) == (WEATHER, DICE)
    path.write_text(json.dumps([tool_to_dict(WEATHER)]))
    assert read_tools(path) == (WEATHER,)
    mcp = {"name": "roll_dice", "description": DICE.description, "inputSchema": DICE.parameters}
    for answer in ({"tools": [mcp]}, {"jsonrpc": "2.0", "id": 1, "result": {"tools": [mcp]}}, mcp):
        path.write_text(json.dumps(answer, indent=2))
        assert read_tools(path) == (DICE,)


@pytest.mark.parametrize(
    ("content", "complaint"), [("{", "not valid JSON"), ('{"name": 3}', "needs a name"), ("3", "a list")]
)
def test_a_file_that_holds_no_tools_is_named(tmp_path, content: str, complaint: str):
    path = tmp_path / "pool.json"
    path.write_text(content)
    with pytest.raises(DataError, match=complaint) as error:
        read_tools(path)
    assert "pool.json" in str(error.value)


def test_settings_report_every_problem():
    with pytest.raises(ConfigError, match=r"distractor_share .* mask_share .* max_tools .* merge_up_to"):
        AugmentSettings(distractor_share=2, mask_share=-1, max_tools=0, merge_up_to=1)


def test_stages_follow_from_the_row():
    turns = dataclasses.replace(OSLO, messages=OSLO.messages * 2)
    diverse = dataclasses.replace(OSLO, source="toucan-sft/single-turn-diversify")
    declined = augment(OSLO, AugmentSettings(), POOL, make_no_call=True)
    left = augment(row("r", "Call get_weather for Oslo", [WEATHER], OSLO.messages[1].calls[0]), MASK, POOL)
    found = [OSLO, declined, diverse, augment(OSLO, MASK, POOL), *merge((OSLO, ROLL), AugmentSettings()), left, turns]
    assert [stage_of(each) for each in found] == [1, 2, 3, 3, 3, 1, 4]


def test_the_curriculum_shuffles_within_stages_only():
    stages = [1 + i % 4 for i in range(100)]
    order = curriculum_order(stages, seed=0)
    assert sorted(order) == list(range(100))
    assert [stages[i] for i in order] == sorted(stages)
    assert order[:25] != sorted(order[:25]) and order != curriculum_order(stages, seed=1)
