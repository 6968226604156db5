"""Tokenizers of Qwen, Llama 3, Llama 2 and Mistral: plain text, control pieces, what begins a sequence."""

import pickle
import unicodedata
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from tiny_byte_level import LLAMA3_SYMBOLS, QWEN_SYMBOLS, write_tiny_llama3_tokenizer, write_tiny_qwen_tokenizer
from tiny_tokenizer import tiny_model

from gemma_tool_use.conversation import Segment
from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.formats import sentencepiece_model as spm
from gemma_tool_use.formats.encode import encode
from gemma_tool_use.formats.tokenizer import Tokenizer, check_vocabulary, load_tokenizer


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(write_tiny_qwen_tokenizer(tmp_path_factory.mktemp("qwen")))


@pytest.fixture(scope="module")
def llama3(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(write_tiny_llama3_tokenizer(tmp_path_factory.mktemp("llama3")))


@given(st.text())
def test_text_comes_back_composed_for_qwen_and_unchanged_for_llama(qwen, llama3, text: str):
    assert qwen.decode(qwen.encode(text)) == unicodedata.normalize("NFC", text)
    assert llama3.decode(llama3.encode(text)) == text


@given(st.lists(st.sampled_from([*QWEN_SYMBOLS, *LLAMA3_SYMBOLS, " ", "x"]), max_size=4).map("".join))
def test_plain_text_never_becomes_a_control_piece(qwen, llama3, text: str):
    for tokenizer in (qwen, llama3):
        assert not set(tokenizer.encode(text)) & set(tokenizer.control_ids.values())
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_symbol_is_control_those_of_calls_too(qwen: Tokenizer):
    assert set(qwen.control_ids) == set(QWEN_SYMBOLS)
    assert qwen.split_control("<|im_start|>user\n") == [qwen.control_ids["<|im_start|>"], "user\n"]
    assert qwen.decode([qwen.control_ids["<tool_call>"]]) == "<tool_call>"


def test_what_begins_and_ends_a_text_is_the_family_s(qwen: Tokenizer, llama3: Tokenizer):
    assert (qwen.bos_id, qwen.eos_id) == (None, qwen.control_ids["<|endoftext|>"])
    assert qwen.special.family == "ChatML"
    assert llama3.bos_id == llama3.control_ids["<|begin_of_text|>"]
    segments = [Segment("<|im_start|>user\n", control=True), Segment("Oslo <|im_end|>")]
    tokens = encode(segments, qwen).tokens.tolist()
    assert tokens[0] == qwen.control_ids["<|im_start|>"]
    assert tokens.count(qwen.control_ids["<|im_end|>"]) == 0
    assert encode([Segment("Oslo")], llama3).tokens.tolist()[0] == llama3.bos_id


def test_a_worker_process_keeps_control_pieces_out_of_plain_text(qwen: Tokenizer):
    copy = pickle.loads(pickle.dumps(qwen))  # noqa: S301 - written here
    assert copy.encode("<tool_call>") == qwen.encode("<tool_call>")
    assert len(copy.encode("<tool_call>")) > 1


def test_bytes_of_a_token_are_those_it_spells(llama3: Tokenizer):
    ids = llama3.encode("é→")
    assert b"".join(map(llama3.token_bytes, ids)) == "é→".encode()


def test_a_vocabulary_may_be_smaller_than_the_embedding_by_the_rounding_of_a_checkpoint(qwen: Tokenizer):
    check_vocabulary(qwen, qwen.vocab_size + 267)  # as Qwen3: 151,936 rows for 151,669 pieces
    with pytest.raises(CheckpointError, match="do not belong together"):
        check_vocabulary(qwen, qwen.vocab_size + 1000)


def test_a_sentencepiece_of_llama_2_gets_its_space_once_and_behind_the_first_piece(tmp_path: Path):
    model = tiny_model()
    model.pieces[:4] = ["<unk>", "<s>", "</s>", "<x>"]
    model.types[:4] = [spm.UNKNOWN, spm.CONTROL, spm.CONTROL, spm.CONTROL]
    ids = {"unk": 0, "bos": 1, "eos": 2, "pad": 3}
    settings = spm.gemma_settings(**ids, pieces=model.pieces)
    with_prefix = settings + bytes([0x1A, 2, 0x18, 1])  # normalizer_spec { add_dummy_prefix: true }
    whole = spm.SentencePieceModel(pieces=model.pieces, scores=model.scores, types=model.types, settings=with_prefix)
    (tmp_path / "tokenizer.model").write_bytes(whole.to_bytes())
    theirs = sentencepiece.SentencePieceProcessor(model_proto=whole.to_bytes())
    tokenizer = load_tokenizer(tmp_path)
    text = "What is the weather"
    assert theirs.encode(text) != tokenizer.encode(text)
    assert encode([Segment("What is"), Segment(" the weather")], tokenizer).tokens.tolist() == [1, *theirs.encode(text)]
