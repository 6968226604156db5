"""Laws of the Grain pipeline: every row once per epoch, the same order anywhere, normalizers that add up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_tool_use.conversation import Conversation, Message, Segment
from gemma_tool_use.data.pipeline import batches, encode_rows, eval_batches, steps_per_epoch
from gemma_tool_use.data.rows import trained_targets
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.formats.encode import Encoded


class Letters:
    """A tokenizer of one token per character; bos is 2, pad 0."""

    bos_id, pad_id = 2, 0

    def encode(self, text):
        return [ord(character) for character in text]

    def decode(self, ids):
        return "".join(map(chr, ids))


class Plain:
    """A dialect that writes the contents one after the other and trains the assistant's."""

    def segments(self, conversation):
        if conversation.id == "unwritable":
            raise DataError("a name this dialect has no form for")
        return [Segment(message.content, trained=message.role == "assistant") for message in conversation.messages]


def conversation(row_id, user, answer):
    messages = (Message(role="user", content=user), Message(role="assistant", content=answer))
    return Conversation(id=row_id, messages=messages)


def encoded(*conversations, max_length=9, workers=0):
    return encode_rows(conversations, Plain(), Letters(), max_length=max_length, workers=workers)  # pyright: ignore[reportArgumentType]


def rows_of(n):
    return [
        Encoded(tokens=np.arange(2, 5 + i % 5, dtype=np.int32), loss_mask=np.arange(3 + i % 5) >= 1 + i % 2)
        for i in range(n)
    ]


def indices(elements):
    return [element["row_index"][..., 0].tolist() for element in elements]


def test_rows_are_encoded_in_order():
    result = encoded(conversation("a", "Hi", "ok"), conversation("b", "HI ", "no"))
    assert [row.tokens.tolist() for row in result.rows] == [[2, 72, 105, 111, 107], [2, 72, 73, 32, 110, 111]]
    assert result.rows[0].loss_mask.tolist() == [False, False, False, True, True]
    assert (result.ids, result.groups, result.counts) == (["a", "b"], ["hi", "hi"], {"kept": 2})


def test_rows_longer_than_the_limit_are_left_out_whole_and_counted():
    result = encoded(conversation("a", "Hi", "ok"), conversation("b", "long", "question"), max_length=5)
    assert result.ids == ["a"]
    assert result.counts == {"kept": 1, "longer than 5 tokens": 1}
    assert [(r.id, r.detail) for r in result.rejects] == [("b", "13 tokens")]
    with pytest.raises(DataError, match=r"none of 1 conversations can be trained on \(1 x longer than 3 tokens\)"):
        encoded(conversation("a", "Hi", "ok"), max_length=3)
    with pytest.raises(DataError, match="none were given"):
        encoded()


def test_a_conversation_the_dialect_cannot_write_is_counted():
    result = encoded(conversation("a", "Hi", "ok"), conversation("unwritable", "Hi", "ok"))
    assert result.counts == {"kept": 1, "the dialect cannot write it": 1}
    assert result.rejects[0].detail == "a name this dialect has no form for"


@pytest.mark.parametrize(("user", "answer", "found"), [("Hi", "", "no token"), ("", "ok", "every token")])
def test_a_mask_that_cannot_be_right_stops_naming_the_row(user, answer, found):
    with pytest.raises(DataError, match=f"row 'b': {found} is trained.*{user}{answer}"):
        encoded(conversation("a", "Hi", "ok"), conversation("b", user, answer))


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 30),
    batch_size=st.integers(1, 5),
    accumulation=st.integers(1, 3),
    row_multiple=st.integers(1, 4),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    shuffle=st.booleans(),
)
def test_every_row_once_per_epoch_whatever_the_shape(n, batch_size, accumulation, row_multiple, epochs, seed, shuffle):
    rows, steps = rows_of(n), steps_per_epoch(n, batch_size=batch_size, accumulation=accumulation)
    elements = list(
        batches(
            rows,
            batch_size=batch_size,
            length=None,
            pad_id=0,
            seed=seed,
            epochs=epochs,
            accumulation=accumulation,
            shuffle=shuffle,
            row_multiple=row_multiple,
        )
    )
    assert len(elements) == steps * epochs
    assert len({element["tokens"].shape for element in elements}) == 1
    for epoch in range(epochs):
        part = elements[epoch * steps : (epoch + 1) * steps]
        seen = [i for element in part for i in element["row_index"].ravel() if i >= 0]
        assert sorted(seen) == list(range(n))
        assert shuffle or seen == list(range(n))
        assert sum(element["normalizer"] for element in part) == sum(map(trained_targets, rows))
    for element in elements:
        assert element["normalizer"] == element["loss_mask"][..., 1:].sum() > 0
        assert ((element["lengths"] == 0) == (element["row_index"][..., 0] == -1)).all()
        for micro, slot in np.argwhere(element["row_index"][..., 0] >= 0):
            row, size = rows[element["row_index"][micro, slot, 0]], element["lengths"][micro, slot]
            assert (element["tokens"][micro, slot, :size] == row.tokens).all()
            assert (element["loss_mask"][micro, slot, :size] == row.loss_mask).all()
            assert not element["loss_mask"][micro, slot, size:].any()


@given(
    stages=st.lists(st.integers(1, 4), min_size=1, max_size=30),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 2)),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=25)
def test_each_epoch_goes_through_the_stages_in_order_with_every_row_once(stages, shape, epochs, seed):
    of_row = np.array(stages, np.uint8)
    options = {"batch_size": shape[0], "accumulation": shape[1], "length": 8, "pad_id": 0, "epochs": epochs}
    elements = list(batches(rows_of(len(stages)), **options, seed=seed, stages=of_row))
    seen = np.concatenate([element["row_index"].ravel() for element in elements])
    passes = seen[seen >= 0].reshape(epochs, len(stages))
    assert all(sorted(each) == list(range(len(stages))) for each in passes.tolist())
    assert all((np.diff(of_row[each].astype(int)) >= 0).all() for each in passes)


def test_rows_are_shuffled_within_a_stage_anew_in_each_epoch_and_a_run_goes_on_in_the_same_order():
    stages = np.repeat([2, 1], 20).astype(np.uint8)
    elements = batches(rows_of(40), batch_size=8, length=8, pad_id=0, epochs=2, seed=7, stages=stages)
    order = np.concatenate([element["row_index"].ravel() for element in elements]).reshape(2, 40)
    assert order[0].tolist() != order[1].tolist()
    assert order[0][:20].tolist() != sorted(order[0][:20].tolist()) == list(range(20, 40))
    iterator = iter(elements)
    for _ in range(4):
        next(iterator)
    again = iter(elements)
    again.set_state(iterator.get_state())
    assert indices(again) == indices(elements)[4:]
    kept = batches(rows_of(40), batch_size=40, length=8, pad_id=0, epochs=1, seed=7, stages=stages, shuffle=False)
    assert indices(kept) == [[[*range(20, 40), *range(20)]]]


def test_the_seed_decides_the_order_and_each_epoch_has_its_own():
    def order(seed):
        return indices(batches(rows_of(40), batch_size=40, length=None, pad_id=0, seed=seed, epochs=3))

    first = order(5)
    assert first == order(5)
    assert first != order(6)
    assert len({str(epoch) for epoch in first}) == 3


def test_the_state_is_the_number_of_the_next_element():
    dataset = batches(rows_of(10), batch_size=2, length=None, pad_id=0, seed=0, epochs=3)
    whole, iterator = indices(dataset), iter(dataset)
    assert indices([next(iterator) for _ in range(7)]) == whole[:7]
    state = iterator.get_state()
    assert state == {"next_index": 7}
    again = iter(dataset)
    again.set_state(state)
    assert indices(again) == whole[7:]


def test_the_mean_of_the_eval_losses_is_the_loss_per_trained_token():
    rows = rows_of(11)
    token_loss = {i: np.linspace(1, 2 + i, len(row.tokens)) for i, row in enumerate(rows)}
    exact = sum(token_loss[i][1:][row.loss_mask[1:]].sum() for i, row in enumerate(rows)) / sum(
        map(trained_targets, rows)
    )
    losses = []
    for element in eval_batches(rows, batch_size=4, length=None, pad_id=0, row_multiple=8):
        assert element["tokens"].shape == (1, 8, 64)
        shown = [i for i in element["row_index"].ravel() if i >= 0]
        losses.append(sum(token_loss[i][1:][rows[i].loss_mask[1:]].sum() for i in shown) / element["normalizer"])
    assert len(losses) == 3
    assert np.mean(losses) == pytest.approx(exact, rel=1e-6)


def test_worker_processes_change_nothing():
    rows = rows_of(7)
    here, there = (
        list(batches(rows, batch_size=2, length=16, pad_id=0, seed=3, epochs=2, accumulation=2, workers=workers))
        for workers in (0, 2)
    )
    assert len(here) == len(there) == 4
    for mine, theirs in zip(here, there, strict=True):
        assert mine.keys() == theirs.keys()
        for name, array in mine.items():
            assert type(theirs[name]) is np.ndarray
            assert array.dtype == theirs[name].dtype
            assert (array == theirs[name]).all()


def test_a_worker_process_encodes_in_the_same_order():
    conversations = [conversation(str(i), "Hi" * (i % 4), "ok") for i in range(1, 10)]
    conversations = [c for c in conversations if c.messages[0].content]
    here, there = encoded(*conversations, max_length=7), encoded(*conversations, max_length=7, workers=1)
    assert (here.ids, here.counts, here.rejects) == (there.ids, there.counts, there.rejects)
    assert [row.tokens.tolist() for row in here.rows] == [row.tokens.tolist() for row in there.rows]


def test_settings_out_of_range_are_named():
    with pytest.raises(ConfigError, match=r"epochs.*seed"):
        batches(rows_of(1), batch_size=1, length=None, pad_id=0, seed=-1, epochs=0)
    with pytest.raises(ConfigError, match="workers"):
        batches(rows_of(1), batch_size=1, length=None, pad_id=0, seed=0, epochs=1, workers=-1)
    with pytest.raises(ConfigError, match="max_length"):
        encoded(conversation("a", "Hi", "ok"), max_length=1)
