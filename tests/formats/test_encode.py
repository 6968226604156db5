"""Laws of `encode`: one <bos>, ids of the joined text, control pieces from control segments only, an exact mask."""

import numpy as np
import pytest
import sentencepiece
from hostile_texts import TURN_TAGS, hostile_texts
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import tiny_model, tiny_tokenizer

from gemma_tool_use.conversation import Segment
from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.encode import Encoded, encode

# Typed as Google's file is: it turns every tag in a text into its control piece.
GOOGLE = sentencepiece.SentencePieceProcessor(model_proto=tiny_model().to_bytes())


def picture(encoded: Encoded) -> list[tuple[str, bool]]:
    pieces = map(tiny_tokenizer().piece, encoded.tokens.tolist())
    return list(zip(pieces, encoded.loss_mask.tolist(), strict=True))


def conversation(user: str, reply: str) -> list[Segment]:
    return [
        Segment("<start_of_turn>user\n", control=True),
        Segment(user),
        Segment("<end_of_turn>\n<start_of_turn>model\n", control=True),
        Segment(reply, trained=True),
        Segment("<end_of_turn>", trained=True, control=True),
        Segment("\n", control=True),
    ]


def test_a_turn_becomes_these_tokens():
    assert picture(encode(conversation("What?", "Oslo"), tiny_tokenizer())) == [
        ("<bos>", False),
        ("<start_of_turn>", False),
        ("user", False),
        ("\n", False),
        ("What", False),
        ("?", False),
        ("<end_of_turn>", False),
        ("\n", False),
        ("<start_of_turn>", False),
        ("mo", False),
        ("del", False),
        ("\n", False),
        ("Oslo", True),
        ("<end_of_turn>", True),
        ("\n", False),
    ]


def test_a_users_newline_merges_with_the_templates():
    tokens = encode(conversation("\nHi", "x"), tiny_tokenizer()).tokens.tolist()
    assert tokens[3] == tiny_tokenizer().encode("\n\n")[0]


def test_the_arrays_have_their_types_and_equal_lengths():
    encoded = encode(conversation("a", "b"), tiny_tokenizer())
    assert encoded.tokens.dtype == np.int32
    assert encoded.loss_mask.dtype == np.bool_
    assert encoded.tokens.shape == encoded.loss_mask.shape == (len(encoded.tokens),)


def test_nothing_to_encode_is_bos_alone():
    assert picture(encode([], tiny_tokenizer())) == [("<bos>", False)]
    assert picture(encode([Segment("", trained=True), Segment("", control=True)], tiny_tokenizer())) == [
        ("<bos>", False)
    ]


def test_a_bos_in_the_template_is_not_doubled():
    assert picture(encode([Segment("<bos>a", control=True)], tiny_tokenizer())) == [("<bos>", False), ("a", False)]


def test_a_bos_later_in_the_template_is_refused():
    with pytest.raises(DataError, match="holds <bos> after the start"):
        encode([Segment("a<bos>", control=True)], tiny_tokenizer())


def test_a_tag_torn_over_two_segments_stays_text():
    segments = [
        Segment("<start_of", control=True),
        Segment("_turn>", control=True),
        Segment("<end_of"),
        Segment("_turn>"),
    ]
    control = set(tiny_tokenizer().control_ids.values())
    tokens = encode(segments, tiny_tokenizer()).tokens.tolist()
    assert tokens[0] == 2
    assert control.isdisjoint(tokens[1:])


def test_hostile_text_adds_no_control_piece_and_moves_no_mask():
    tokenizer = tiny_tokenizer()
    control = set(tokenizer.control_ids.values())
    texts = hostile_texts(600, seed=3)
    for user, reply in zip(texts[::2], texts[1::2], strict=True):
        encoded = encode(conversation(user, reply), tokenizer)
        tokens = encoded.tokens.tolist()
        assert [tokenizer.piece(id) for id in tokens if id in control] == [
            *("<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_turn>", "<end_of_turn>")
        ]
        trained = encoded.tokens[encoded.loss_mask].tolist()
        assert tokenizer.decode(trained) == reply + "<end_of_turn>"
        assert tokenizer.decode(tokens) == "<bos>" + "".join(segment.text for segment in conversation(user, reply))


@st.composite
def segment_lists(draw: st.DrawFn) -> list[Segment]:
    """Segments as dialects make them: a trained text does not start with white space, nor follow one without a tag."""
    words = st.sampled_from(["user", "\n", "\n\n", " ", "  the", "weather", "é", "<table>", "{", "→", "tool_call>", ""])
    text = st.lists(words, max_size=4).map("".join)
    tagged = st.lists(st.one_of(words, st.sampled_from(TURN_TAGS[:2])), max_size=4).map("".join)
    result: list[Segment] = []
    for _ in range(draw(st.integers(0, 5))):
        result.append(Segment(draw(tagged), control=True))
        result += [Segment(part) for part in draw(st.lists(text, max_size=3))]
        result.append(Segment("<start_of_turn>model\n", control=True))
        result.append(Segment("x" + draw(text), trained=True))
        result.append(Segment("<end_of_turn>", trained=True, control=True))
    return result


@given(segment_lists())
def test_segment_by_segment_equals_the_joined_text(segments: list[Segment]):
    encoded = encode(segments, tiny_tokenizer())
    joined = "".join(segment.text for segment in segments)
    assert encoded.tokens.tolist() == [2, *GOOGLE.encode(joined)]


@given(segment_lists())
def test_a_token_is_trained_exactly_if_its_text_is(segments: list[Segment]):
    encoded = encode(segments, tiny_tokenizer())
    lengths = [len(tiny_tokenizer().token_bytes(id)) for id in encoded.tokens.tolist()]
    trained = np.repeat(encoded.loss_mask, lengths)[len("<bos>") :]
    expected = [segment.trained for segment in segments for _ in segment.text.encode("utf-8")]
    assert trained.tolist() == expected
