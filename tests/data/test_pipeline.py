"""Conversations become rows in their order; those that cannot are counted."""

import pytest

from gemma_tool_use.conversation import Conversation, Message, Segment
from gemma_tool_use.data.pipeline import encode_rows
from gemma_tool_use.errors import ConfigError, DataError


class Letters:
    """A tokenizer of one token per character; bos is 2, pad 0."""

    bos_id, pad_id, space_in_front = 2, 0, False

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


def test_a_worker_process_encodes_in_the_same_order():
    conversations = [conversation(str(i), "Hi" * (i % 4), "ok") for i in range(1, 10)]
    conversations = [c for c in conversations if c.messages[0].content]
    here, there = encoded(*conversations, max_length=7), encoded(*conversations, max_length=7, workers=1)
    assert (here.ids, here.counts, here.rejects) == (there.ids, there.counts, there.rejects)
    assert [row.tokens.tolist() for row in here.rows] == [row.tokens.tolist() for row in there.rows]


def test_a_limit_out_of_range_is_named():
    with pytest.raises(ConfigError, match="max_length"):
        encoded(conversation("a", "Hi", "ok"), max_length=1)
