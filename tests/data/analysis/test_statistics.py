"""Statistics: parts add up to the whole in any order, nothing grows without bound, samples say what was cut."""

import random

import pytest

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data.analysis import collect
from gemma_tool_use.data.analysis.samples import PER_SUBSET, Samples, sample
from gemma_tool_use.data.analysis.statistics import MOST_SUBSETS, OTHER_SUBSETS, Shape, Statistics, shape_of, subset_of
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.pages.row_parts import LONGEST_TEXT, signature


def conversation(question="Hi", *, source="toucan-sft/irrelevant", calls=(), meta=None):
    called = tuple(ToolCall(name=name, arguments={"n": 1, "s": "x"}) for name in calls)
    return Conversation(
        id=question,
        source=source,
        tools=(ToolSpec(name="now"), ToolSpec(name="add", parameters={"properties": {"n": {"type": "integer"}}})),
        messages=(Message(role="user", content=question), Message(role="assistant", content="x", calls=called)),
        meta=meta or {},
    )


ROWS = [
    conversation(f"Question {i % 7}", source=f"s/{'abc'[i % 3]}", calls=("now", "add", "add")[: i % 4])
    for i in range(60)
]


def counted(rows):
    statistics = Statistics()
    for row in rows:
        statistics.add(row, where=f"{id(row)}", language="en", faults=["call of an undeclared tool"])
    return statistics


def comparable(statistics):
    duplicates = {kind: statistics.duplicates(kind) for kind in statistics.hashes}
    counters = (statistics.roles, statistics.argument_types, statistics.parameter_types, statistics.faults)
    return statistics.shapes, counters, statistics.called, statistics.offered, statistics.samples, duplicates


def test_parts_in_any_order_add_up_to_the_whole():
    whole = counted(ROWS)
    chooser = random.Random(0)
    for _ in range(5):
        rows = chooser.sample(ROWS, len(ROWS))
        cut = chooser.randrange(len(rows))
        parts = counted(rows[:cut])
        parts.merge(counted(rows[cut:]))
        assert comparable(parts) == comparable(whole)
    assert whole.rows == 60
    assert whole.duplicates("question").different == 7


def test_the_shape_of_a_row():
    row = conversation(calls=("now", "add", "add"), meta={"target_tools": "now, Math::add"})
    assert shape_of(row) == Shape(turns=1, used=2, offered=2, annotated=2, calls=3, parallel=3)
    assert shape_of(conversation()) == Shape(turns=1, used=0, offered=2, annotated=None, calls=0, parallel=0)


@pytest.mark.parametrize(
    ("source", "subset"),
    [("toucan-sft/multi-turn", "multi-turn"), ("glaive", "glaive"), ("", "(no source)"), ("toucan-sft/", "toucan-sft")],
)
def test_the_subset_of_a_row(source, subset):
    assert subset_of(conversation(source=source)) == subset


def test_many_subsets_are_folded_into_one_and_no_row_is_lost():
    rows = [conversation(source=f"s/{i}") for i in range(MOST_SUBSETS + 40)]
    statistics = counted(rows[:50])
    statistics.merge(counted(rows[50:]))
    assert len(statistics.shapes) == len(statistics.samples.held) == MOST_SUBSETS + 1
    assert statistics.shapes[OTHER_SUBSETS].total() == 40
    assert statistics.rows == len(rows)


def test_rejects_are_counted_and_the_first_of_each_reason_is_kept():
    first, second = Statistics(), Statistics()
    first.add_reject(Reject(reason="broken", detail="a", where="x:1"))
    second.add_reject(Reject(reason="broken", detail="b", where="y:1"))
    second.add_reject(Reject(reason="empty", detail="c", where="y:2"))
    first.merge(second)
    assert (first.rejects, first.rows_read) == ({"broken": 2, "empty": 1}, 3)
    assert first.first_reject == {"broken": "x:1: a", "empty": "y:2: c"}


def test_samples_are_the_same_in_any_order_of_reading():
    forward, backward = Samples(seed=1), Samples(seed=1)
    places = [(f"rows:{i}", row) for i, row in enumerate(ROWS)]
    for where, row in places:
        forward.offer("a", where, row)
    for where, row in reversed(places):
        backward.offer("a", where, row)
    assert forward.chosen("a") == backward.chosen("a")
    assert len(forward.chosen("a")) == PER_SUBSET
    other = Samples(seed=2)
    for where, row in places:
        other.offer("a", where, row)
    assert other.chosen("a") != forward.chosen("a")


def test_what_is_cut_from_a_sample_is_said():
    long = conversation("x" * (LONGEST_TEXT + 5))
    question = sample("rows:1", long).parts[1]
    assert (question.label, len(question.text), question.cut) == ("user", LONGEST_TEXT, 5)
    many = Conversation(messages=(Message(role="user", content="Hi"),) * 20)
    assert sample("rows:1", many).hidden == 20 - len(sample("rows:1", many).parts)
    tools = tuple(ToolSpec(name=f"t{i}") for i in range(30))
    shown = sample("rows:1", Conversation(tools=tools, messages=many.messages)).parts[0].text
    assert shown.endswith("t11()\n… and 18 more tools")


def test_a_tool_is_shown_as_its_signature():
    parameters = {"properties": {"a": {"type": "integer"}, "b": {"anyOf": []}}, "required": ["a"]}
    assert signature(ToolSpec(name="add", parameters=parameters)) == "add(a: integer, b?: any)"
    assert signature(ToolSpec(name="odd", parameters={"properties": [], "required": 3})) == "odd()"


def test_the_measured_rows_depend_on_seed_and_place_only():
    settings = collect.CountSettings(measured_share=0.25, seed=4)
    chosen = {i for i in range(4000) if collect.is_measured(f"rows:{i}", settings)}
    assert 900 < len(chosen) < 1100
    assert chosen == {i for i in range(4000) if collect.is_measured(f"rows:{i}", settings)}
    other = collect.CountSettings(measured_share=0.25, seed=5)
    assert len(chosen & {i for i in range(4000) if collect.is_measured(f"rows:{i}", other)}) < 400
    assert all(collect.is_measured(f"rows:{i}", collect.CountSettings()) for i in range(100))
