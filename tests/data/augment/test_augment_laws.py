"""Laws of augmentation on random rows: labels stay right, everything can be undone, nothing depends on order."""

import dataclasses
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rows_to_augment import CHESS, DICE, LAMP, OSLO, POEM, POOL, ROLL, WEATHER, all_calls_fit, rows, stored

from gemma_tool_use.conversation import Conversation, conversation_to_dict
from gemma_tool_use.data.augment import (
    AugmentSettings,
    ToolPool,
    augment,
    convertible,
    copy,
    merge,
    mergeable,
    outcomes,
    undo,
)
from gemma_tool_use.formats.dialects import DIALECTS

settings = st.builds(
    AugmentSettings,
    seed=st.integers(0, 3),
    distractor_share=st.sampled_from([0.0, 1.0]),
    mask_share=st.sampled_from([0.0, 1.0]),
    shuffle_tools=st.booleans(),
)
ALL = AugmentSettings(distractor_share=1, mask_share=1, shuffle_tools=True, max_tools=4)


@given(rows(), settings, st.booleans())
def test_every_call_stays_declared_and_valid(row: Conversation, settings: AugmentSettings, no_call: bool):
    assert all_calls_fit(row)
    changed = augment(row, settings, POOL, make_no_call=no_call)
    assert all_calls_fit(changed)
    results = {message.name for message in changed.messages if message.role == "tool"}
    assert results <= {tool.name for tool in changed.tools}


@given(rows(), settings, st.booleans(), st.integers(1, 3))
def test_undoing_gives_the_row_back(row: Conversation, settings: AugmentSettings, no_call: bool, number: int):
    changed = augment(copy(row, number), settings, POOL, make_no_call=no_call)
    assert undo(stored(changed)) == (stored(row),)


@pytest.mark.parametrize("name", ["gemma_json", "hermes", "functiongemma"])
@given(row=rows(single_turn=True))
def test_dialects_still_read_back_what_they_write(name: str, row: Conversation):
    dialect, changed = DIALECTS[name], augment(row, ALL, POOL)
    reply = changed.messages[1]
    assume(reply.calls)
    segments = dialect.segments(dataclasses.replace(changed, messages=changed.messages[:2]))
    parsed = dialect.parse("".join(segment.text for segment in segments if segment.trained))
    assert parsed.errors == ()
    assert parsed.calls == reply.calls


@given(st.lists(rows(), min_size=2, max_size=4), settings)
def test_neither_the_order_of_rows_nor_that_of_the_pool_matters(found: list[Conversation], settings: AugmentSettings):
    other_pool = ToolPool.of([CHESS, POEM, LAMP, DICE, WEATHER, DICE])
    forward = [json.dumps(conversation_to_dict(augment(row, settings, POOL))) for row in found]
    backward = [json.dumps(conversation_to_dict(augment(row, settings, other_pool))) for row in reversed(found)]
    assert forward == backward[::-1]


@given(rows())
def test_settings_that_ask_for_nothing_change_nothing(row: Conversation):
    assert augment(row, AugmentSettings(), POOL) is row


@given(rows())
def test_texts_and_descriptions_are_never_changed_by_masked_names(row: Conversation):
    changed = augment(row, AugmentSettings(mask_share=1), POOL)
    assert [m.content for m in changed.messages] == [m.content for m in row.messages]
    assert [t.description for t in changed.tools] == [t.description for t in row.tools]


@given(rows(calls=1, single_turn=True), rows(calls=1, single_turn=True))
def test_merged_rows_hold_every_call_and_part_again(one: Conversation, two: Conversation):
    one, two = (dataclasses.replace(r, id=i, messages=r.messages[:2]) for r, i in ((one, "1"), (two, "2")))
    parts = [part if mergeable(part) else known for part, known in ((one, OSLO), (two, ROLL))]
    merged = merge(parts, AugmentSettings(max_tools=6))
    assert all(all_calls_fit(row) for row in merged)
    calls = [call for row in merged for call in row.messages[1].calls]
    assert calls == [part.messages[1].calls[0] for part in parts]
    assert [stored(part) for part in parts] == [part for row in merged for part in undo(stored(row))]


@given(rows())
def test_a_row_that_lost_its_calls_offers_no_tool_that_was_called(row: Conversation):
    changed = augment(row, AugmentSettings(), POOL, make_no_call=True)
    if "no_call" not in outcomes(changed):
        assert changed.messages == row.messages and changed.tools == row.tools
        return
    assert convertible(row) and changed.tools
    called = {call.name for message in row.messages for call in message.calls}
    assert called and called.isdisjoint(tool.name for tool in changed.tools)
    assert [message.role for message in changed.messages] == ["user", "assistant"]
    assert not changed.messages[-1].calls


def test_shares_are_reached():
    many = [dataclasses.replace(OSLO, id=f"row {i}") for i in range(2000)]
    done = [augment(row, AugmentSettings(distractor_share=0.3, mask_share=0.4), POOL) for row in many]
    assert abs(sum("distractors" in outcomes(row) for row in done) / 2000 - 0.3) < 0.03
    assert abs(sum("names" in outcomes(row) for row in done) / 2000 - 0.4) < 0.03
    both = sum({"names", "distractors"} <= set(outcomes(row)) for row in done)
    assert abs(both / 2000 - 0.12) < 0.03, "steps must be chosen independently of each other"


def test_another_seed_chooses_other_rows():
    many = [dataclasses.replace(OSLO, id=f"row {i}") for i in range(100)]
    chosen = [
        [i for i, r in enumerate(many) if outcomes(augment(r, AugmentSettings(seed=s, mask_share=0.5), POOL))]
        for s in (0, 1)
    ]
    assert chosen[0] != chosen[1]
