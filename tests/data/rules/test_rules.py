"""What the rules keep, cut and reject: every reason has a planted row, and the counts add up in any order."""

import collections
import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import conversations
from tiny_tokenizer import write_tiny_tokenizer

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import rejects, rules
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import EVERYTHING, RULES, RuleSettings, apply_rules, apply_rules_to_all, reasons
from gemma_tool_use.errors import ConfigError

USER = Message(role="user", content="hi")
ANSWER = Message(role="assistant", content="hello")
DAYS = ToolSpec(
    name="forecast",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "date": {"type": "string"}},
        "required": ["city"],
    },
)
REMOTE = ToolSpec(name="forecast", parameters={"$ref": "https://example.com/forecast.json"})


def calling(*names, **arguments):
    return Message(role="assistant", calls=tuple(ToolCall(name=name, arguments=arguments) for name in names))


def asking(text):
    return Message(role="user", content=text)


def conversation(*messages, tools="abc", source="", meta=None):
    specs = tuple(ToolSpec(name=tool) if isinstance(tool, str) else tool for tool in tools)
    return Conversation(id="r1", source=source, tools=specs, messages=messages, meta=meta or {})


def settings(**changes):
    return dataclasses.replace(EVERYTHING, **changes)


def reason(outcome):
    assert isinstance(outcome, Reject)
    assert outcome.id == "r1"
    assert outcome.detail
    return outcome.reason


def with_scores(**scores):
    least = dict(rules.PAPER_GATE) | scores
    return conversation(USER, ANSWER, meta={"quality": {name: value for name, value in least.items() if value}})


WEATHER = asking("What's the weather in Oslo tomorrow?")
VALID = RuleSettings(keep_out_bfcl=False)
GATED = settings(quality_gate=True)
ENGLISH = settings(languages=("en",))
GERMAN = asking("Wie ist das Wetter heute in Berlin, und brauche ich einen Regenschirm?")

PLANTED: dict[str, tuple[Conversation, RuleSettings]] = {
    reasons.OTHER_SUBSET: (conversation(USER, ANSWER, source="toucan-sft/irrelevant"), RuleSettings()),
    reasons.NO_USER_MESSAGE: (conversation(ANSWER), EVERYTHING),
    reasons.NOT_SINGLE_TURN: (conversation(USER, ANSWER, USER, ANSWER), RuleSettings()),
    reasons.fewer_turns("N"): (conversation(USER, ANSWER), settings(min_turns=2)),
    reasons.more_turns("N"): (conversation(USER, ANSWER, USER, ANSWER, USER, ANSWER), settings(max_turns=2)),
    reasons.NO_ANNOTATION: (conversation(USER, ANSWER), settings(tools_used_by="annotation")),
    reasons.fewer_tools_used("N"): (conversation(USER, ANSWER), settings(min_tools_used=1)),
    reasons.more_tools_used("N"): (conversation(USER, calling("a", "b", "c")), RuleSettings()),
    reasons.fewer_tools_offered("N"): (conversation(USER, ANSWER, tools="a"), settings(min_tools_offered=2)),
    reasons.more_tools_offered("N"): (conversation(USER, ANSWER, tools="abcd"), RuleSettings()),
    reasons.NO_CALLS: (conversation(USER, ANSWER), settings(calls="some")),
    reasons.WITH_CALLS: (conversation(USER, calling("a")), settings(calls="none")),
    reasons.DUPLICATE_TOOLS: (conversation(USER, ANSWER, tools="aab"), EVERYTHING),
    reasons.UNDECLARED_TOOL: (conversation(USER, calling("z")), EVERYTHING),
    reasons.NO_ANSWER: (conversation(USER), EVERYTHING),
    reasons.EMPTY_ANSWER: (conversation(USER, Message(role="assistant", content=" \n")), EVERYTHING),
    reasons.NO_SCORES: (conversation(USER, ANSWER), GATED),
    reasons.LOW_QUALITY: (with_scores(conciseness=3), GATED),
    rejects.NOT_UNICODE: (conversation(USER, Message(role="assistant", content="a \ud83d b")), EVERYTHING),
    reasons.more_characters("N"): (conversation(USER, ANSWER), settings(max_characters=20)),
    reasons.NULL_ARGUMENT: (conversation(USER, calling("forecast", city=None), tools=[DAYS]), RuleSettings()),
    reasons.MISSING_ARGUMENT: (conversation(USER, calling("forecast", days=2), tools=[DAYS]), RuleSettings()),
    reasons.UNCHECKABLE_SCHEMA: (conversation(USER, calling("forecast"), tools=[REMOTE]), RuleSettings()),
    reasons.INVALID_ARGUMENTS: (
        conversation(USER, calling("forecast", city="Oslo", days="two"), tools=[DAYS]),
        RuleSettings(),
    ),
    reasons.RELATIVE_DATE: (
        conversation(WEATHER, calling("forecast", city="Oslo", date="2024-05-03"), tools=[DAYS]),
        settings(relative_dates=False),
    ),
    reasons.UNCLEAR_LANGUAGE: (conversation(asking("ok"), ANSWER), ENGLISH),
    reasons.OTHER_LANGUAGE: (conversation(GERMAN, ANSWER), ENGLISH),
}


def limits_as_n(text):
    """`more than 2 tools used` is the reason `more than N tools used`."""
    return " ".join("N" if word.isdecimal() else word for word in text.split())


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_caught_by_name(planted):
    row, rule = PLANTED[planted]
    assert limits_as_n(reason(apply_rules(row, rule))) == planted
    assert apply_rules(row, EVERYTHING) == row or planted in {
        *(reasons.NO_USER_MESSAGE, reasons.DUPLICATE_TOOLS, reasons.UNDECLARED_TOOL, reasons.NO_ANSWER),
        *(reasons.EMPTY_ANSWER, rejects.NOT_UNICODE),
    }


def test_every_reason_of_every_rule_is_planted_here_or_beside_its_rule():
    elsewhere = {reasons.BENCHMARK_QUESTION, reasons.more_tokens("N"), reasons.NOT_WRITABLE}
    listed = [reason for rule in RULES.values() for reason in rule.reasons]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(PLANTED) | elsewhere


@given(st.permutations(sorted(PLANTED)), st.sampled_from([RuleSettings(), EVERYTHING, VALID]))
def test_kept_rows_and_rejects_add_up_and_do_not_depend_on_the_order(order, rule):
    def counts(names):
        outcomes = [apply_rules(PLANTED[name][0], rule) for name in names]
        return collections.Counter(o.reason if isinstance(o, Reject) else "kept" for o in outcomes)

    assert counts(order).total() == len(PLANTED)
    assert counts(order) == counts(PLANTED)


def test_rows_together_have_the_outcomes_of_each_by_itself():
    rows = [row for row, _ in PLANTED.values()]
    for rule in (RuleSettings(), EVERYTHING, STRICT, *(rule for _, rule in PLANTED.values())):
        assert apply_rules_to_all(rows, rule) == [apply_rules(row, rule) for row in rows]


STRICT = RuleSettings(
    max_tools_used=None,
    max_tools_offered=None,
    single_turn=False,
    relative_dates=False,
    max_characters=100_000,
    languages=("en", "de", "zh"),
    min_language_probability=0,
)


@given(conversations(), st.sampled_from([EVERYTHING, RuleSettings(), STRICT]))
def test_rules_are_total_and_a_kept_row_is_kept_again_unchanged(row, rule):
    outcome = apply_rules(row, rule)
    if isinstance(outcome, Reject):
        assert limits_as_n(outcome.reason) in {reason for rule in RULES.values() for reason in rule.reasons}
    else:
        assert apply_rules(outcome, rule) == outcome


def test_at_most_two_tools_used_counts_names_over_the_whole_row_not_calls():
    rule = RuleSettings()
    assert isinstance(apply_rules(conversation(USER, calling("a", "a", "b"), calling("a")), rule), Conversation)
    three = conversation(USER, calling("a"), calling("b"), calling("c"))
    assert reason(apply_rules(three, rule)) == "more than 2 tools used"
    assert isinstance(apply_rules(three, RuleSettings(max_tools_used=3)), Conversation)
    assert isinstance(apply_rules(three, RuleSettings(max_tools_used=None)), Conversation)


@pytest.mark.parametrize(
    ("annotation", "kept"),
    [("get_alerts", True), ("get_alerts, Math::add", True), ("a,b,c", False), ("", False), (" , ", False)],
)
def test_tools_used_by_annotation_are_the_entries_of_target_tools(annotation, kept):
    rule = RuleSettings(
        tools_used_by="annotation",
        min_tools_used=1,
        min_tools_offered=1,
        subsets=("single-turn-original", "single-turn-diversify", "irrelevant"),
    )
    row = conversation(USER, ANSWER, source="toucan-sft/irrelevant", meta={"target_tools": annotation})
    assert isinstance(apply_rules(row, rule), Conversation) == kept


def test_at_most_three_tools_offered():
    assert reason(apply_rules(conversation(USER, ANSWER, tools="abcd"), VALID)) == "more than 3 tools offered"
    assert isinstance(
        apply_rules(conversation(USER, ANSWER, tools="abcd"), RuleSettings(max_tools_offered=4)), Conversation
    )
    assert isinstance(
        apply_rules(conversation(USER, ANSWER, tools=""), RuleSettings(max_tools_offered=0)), Conversation
    )


def test_two_user_messages_are_not_single_turn_even_if_a_cut_would_remove_one():
    two = conversation(USER, calling("a"), USER, ANSWER)
    assert reason(apply_rules(two, RuleSettings())) == rules.NOT_SINGLE_TURN
    kept = apply_rules(two, RuleSettings(single_turn=False))
    assert isinstance(kept, Conversation)
    assert kept.messages == (USER, calling("a"))
    assert isinstance(apply_rules(two, RuleSettings(single_turn=False, min_turns=2, max_turns=2)), Conversation)


@pytest.mark.parametrize(
    ("subset", "kept"),
    [("single-turn-original", True), ("single-turn-diversify", True), ("irrelevant", False), ("multi-turn", False)],
)
@pytest.mark.parametrize("source", ["toucan-sft", "toucan-kimi-k2"])
def test_the_subset_decides_before_anything_else(source, subset, kept):
    row = conversation(USER, ANSWER, source=f"{source}/{subset}")
    outcome = apply_rules(row, RuleSettings())
    assert outcome == row if kept else reason(outcome) == rules.OTHER_SUBSET
    assert (rules.subset(f"{source}/{subset}", RuleSettings()) is None) == kept
    assert apply_rules(row, RuleSettings(subsets=())) == row
    assert apply_rules(row, RuleSettings(subsets=(subset,))) == row


def test_a_source_of_ones_own_has_no_subsets():
    assert isinstance(apply_rules(conversation(USER, ANSWER, source="my/rows"), RuleSettings()), Conversation)


def test_first_call_only_ends_the_conversation_after_its_first_calls():
    tool = Message(role="tool", content="4", name="a")
    whole = conversation(USER, ANSWER, calling("a", "b"), tool, tool, calling("a"), tool, ANSWER)
    assert rules.first_call(whole).messages == (USER, ANSWER, calling("a", "b"))
    assert rules.first_call(conversation(USER, ANSWER)).messages == (USER, ANSWER)
    assert apply_rules(whole, RuleSettings(first_call_only=False)) == whole


def test_a_call_before_the_first_question_leaves_nothing_to_train_on():
    early = conversation(calling("a"), USER, ANSWER)
    assert reason(apply_rules(early, RuleSettings(languages=("en",)))) == rules.NO_USER_MESSAGE
    assert apply_rules(early, RuleSettings(first_call_only=False)) == early


def test_what_is_cut_away_need_not_be_valid():
    late = conversation(USER, calling("forecast", city="Oslo"), calling("forecast", days=2), tools=[DAYS])
    assert isinstance(apply_rules(late, RuleSettings()), Conversation)
    assert reason(apply_rules(late, RuleSettings(first_call_only=False))) == reasons.MISSING_ARGUMENT


def test_tokens_are_counted_on_what_is_kept(tmp_path: Path):
    write_tiny_tokenizer(tmp_path)
    long_output = Message(role="tool", content="4 " * 500, name="a")
    row = conversation(USER, calling("a"), long_output, ANSWER, tools="a")
    limit = settings(max_tokens=300, tokenizer=tmp_path, dialect="gemma_json_compact")
    assert reason(apply_rules(row, limit)) == "longer than 300 tokens"
    assert isinstance(apply_rules(row, dataclasses.replace(limit, first_call_only=True)), Conversation)


def test_a_row_that_the_dialect_cannot_write_is_rejected_with_its_reason(tmp_path: Path):
    write_tiny_tokenizer(tmp_path)
    deep = "leaf"
    for _ in range(70):
        deep = [deep]
    row = conversation(USER, calling("a", value=deep), tools="a")
    assert reason(apply_rules(row, settings(max_tokens=3000, tokenizer=tmp_path))) == reasons.NOT_WRITABLE


def test_the_language_is_that_of_the_first_question_and_always_the_same():
    german = conversation(GERMAN, asking("And in English?"), ANSWER)
    assert apply_rules(german, settings(languages=("de", "fr"))) == german
    assert len({apply_rules(german, ENGLISH).detail for _ in range(5)}) == 1


def test_a_language_of_no_known_name_is_an_error_and_not_an_empty_set():
    with pytest.raises(ConfigError, match="--languages takes ISO 639-1 codes, got 'english'"):
        apply_rules(conversation(USER, ANSWER), settings(languages=("en", "english")))
    with pytest.raises(ConfigError, match="gemma_json"):
        settings(max_tokens=9, tokenizer=Path("t"), dialect="gemma_jsn")


def test_settings_that_make_no_sense_are_all_named():
    with pytest.raises(ConfigError, match=r"max_tools_used.*-1.*max_tools_offered.*-2"):
        RuleSettings(max_tools_used=-1, max_tools_offered=-2)
    with pytest.raises(ConfigError, match=r"min_turns 3 is more than max_turns 2"):
        RuleSettings(single_turn=False, min_turns=3, max_turns=2)
    with pytest.raises(ConfigError, match=r"benchmark_similarity is a share.*1\.5"):
        RuleSettings(benchmark_similarity=1.5)
    with pytest.raises(ConfigError, match="--tokenizer"):
        RuleSettings(max_tokens=512)
    with pytest.raises(ConfigError, match="single_turn"):
        RuleSettings(min_turns=2)


def test_settings_are_hashable_and_go_into_a_manifest():
    rule = RuleSettings(quality=Path("k.parquet"), keep_out=(Path("a.jsonl"),), tokenizer=Path("t"))
    assert hash(rule) == hash(dataclasses.replace(rule))
    assert json.loads(json.dumps(rule.to_dict()))["keep_out"] == ["a.jsonl"]
    assert rule.files() == (Path("k.parquet"), Path("a.jsonl"), Path("t"))
    assert set(rule.to_dict()) == {field.name for field in dataclasses.fields(RuleSettings)}
