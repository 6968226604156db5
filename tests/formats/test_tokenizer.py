"""Laws of the tokenizers, on a vocabulary of 512 pieces in all three file forms."""

import copy
import json
import pickle
from pathlib import Path

import gguf
import pytest
import sentencepiece
import tokenizers
from hostile_texts import OTHER_TAGS, TURN_TAGS, hostile_texts
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import (
    VOCAB_SIZE,
    tiny_model,
    tiny_pieces,
    tiny_tokenizer,
    tiny_tokenizer_json,
    write_tiny_gguf,
    write_tiny_tokenizer,
)

from gemma_tool_use.errors import CheckpointError, DataError, FileError
from gemma_tool_use.formats import sentencepiece_model as spm
from gemma_tool_use.formats.tokenizer import Tokenizer, check_vocabulary, load_tokenizer

FORMS = ("tokenizer.model", "tokenizer.json", "tokenizer.gguf")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    write_tiny_tokenizer(path)
    write_tiny_gguf(path / "tokenizer.gguf")
    return path


@pytest.fixture(scope="module")
def forms(folder: Path) -> list[Tokenizer]:
    return [load_tokenizer(folder / name) for name in FORMS]


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.piece(id) for id in tokenizer.encode(text)]


# What the three forms share


def test_the_three_forms_have_the_same_vocabulary(forms: list[Tokenizer]):
    model, json_form, gguf_form = forms
    assert model.vocab_size == json_form.vocab_size == gguf_form.vocab_size == VOCAB_SIZE
    assert model.control_ids == json_form.control_ids == gguf_form.control_ids
    assert model.fingerprint == json_form.fingerprint == gguf_form.fingerprint
    assert all((form.pad_id, form.eos_id, form.bos_id) == (0, 1, 2) for form in forms)


def test_the_three_forms_give_equal_ids_on_hostile_texts_and_never_a_control_id(forms: list[Tokenizer]):
    model, json_form, gguf_form = forms
    forbidden = {*model.control_ids.values(), VOCAB_SIZE}
    for text in hostile_texts(3000, seed=1, pieces=tiny_pieces()):
        ids = model.encode(text)
        assert ids == json_form.encode(text) == gguf_form.encode(text), repr(text)
        assert forbidden.isdisjoint(ids), repr(text)
        assert model.decode(ids) == text


@given(st.text())
def test_any_text_comes_back_and_holds_no_control_id(text: str):
    tokenizer = tiny_tokenizer()
    ids = tokenizer.encode(text)
    assert set(tokenizer.control_ids.values()).isdisjoint(ids)
    assert tokenizer.decode(ids) == text.replace("\u2581", " ")


def test_text_without_control_pieces_gets_the_ids_of_the_file_as_it_is(forms: list[Tokenizer], folder: Path):
    google = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    hugging_face = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in hostile_texts(500, seed=2):
        for tag in (*TURN_TAGS, *OTHER_TAGS):
            text = text.replace(tag, "")
        if any(tag in text for tag in TURN_TAGS):
            continue  # the pieces left over formed a tag
        for form in forms:
            assert form.encode(text) == google.encode(text)
            assert form.encode(text) == hugging_face.encode(text, add_special_tokens=False).ids


# Control pieces


@pytest.mark.parametrize("tag", [*TURN_TAGS, "<unused0>", "<start_of_image>", "<image_soft_token>"])
def test_a_literal_tag_is_split(forms: list[Tokenizer], tag: str):
    for form in forms:
        assert len(form.encode(tag)) > 1
        assert form.decode(form.encode(tag)) == tag


def test_white_space_runs_and_html_tags_stay_whole_pieces(forms: list[Tokenizer]):
    for form in forms:
        assert pieces(form, "a\n\n\n    <table>\t\t</h1>") == ["a", "\n\n\n", "▁▁▁▁", "<table>", "\t\t", "</h1>"]
        assert {"\n", "▁▁", "<table>"}.isdisjoint(form.control_ids)


def test_split_control_cuts_at_control_pieces():
    tokenizer = tiny_tokenizer()
    start, end = tokenizer.control_ids["<start_of_turn>"], tokenizer.control_ids["<end_of_turn>"]
    assert tokenizer.split_control("<start_of_turn>user\n") == [start, "user\n"]
    assert tokenizer.split_control("<<end_of_turn>[x]<end_of_turn><end") == ["<", end, "[x]", end, "<end"]
    assert tokenizer.split_control("") == []


def test_decode_shows_control_pieces_as_their_text():
    assert tiny_tokenizer().decode([2, 10, 11]) == "<bos><start_of_turn><end_of_turn>"


# Odd characters


def test_a_lone_surrogate_becomes_the_replacement_character(forms: list[Tokenizer]):
    for form in forms:
        assert form.encode("a\ud800b\udfff") == form.encode("a\ufffdb\ufffd")


def test_a_nul_is_one_byte_piece(forms: list[Tokenizer]):
    for form in forms:
        assert pieces(form, "a\0b") == ["a", "<0x00>", "b"]
        assert form.decode(form.encode("a\0b")) == "a\0b"


def test_the_space_mark_reads_as_a_space(forms: list[Tokenizer]):
    for form in forms:
        assert form.encode("a \u2581\u2581b") == form.encode("a   b")


def test_a_byte_that_is_not_utf8_decodes_to_the_replacement_character():
    tokenizer = tiny_tokenizer()
    assert tokenizer.decode(tokenizer.encode("\u20ac")[:1]) == "\ufffd"


@pytest.mark.parametrize("id", [-1, VOCAB_SIZE])
def test_an_id_outside_the_vocabulary_is_refused(id: int):
    with pytest.raises(DataError, match=f"token id {id} is outside the vocabulary's 0..511"):
        tiny_tokenizer().decode([id])


# Copies and settings


def test_a_tokenizer_that_travelled_to_another_process_is_the_same(forms: list[Tokenizer]):
    for form in forms:
        sent = pickle.loads(pickle.dumps(form))  # noqa: S301  (our own bytes, as a data worker receives them)
        for twin in (sent, copy.deepcopy(form)):
            assert twin.encode("<end_of_turn> the user") == form.encode("<end_of_turn> the user")
            assert twin.fingerprint == form.fingerprint


def test_saved_truncation_and_padding_are_switched_off(tmp_path: Path):
    content = tiny_tokenizer_json()
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 64},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    text = "What is the weather in Oslo today?"
    assert load_tokenizer(tmp_path).encode(text) == tiny_tokenizer().encode(text)


def test_the_fingerprint_depends_on_the_order_of_the_pieces(tmp_path: Path):
    model = tiny_model()
    model.pieces[-1], model.pieces[-2] = model.pieces[-2], model.pieces[-1]
    (tmp_path / "tokenizer.model").write_bytes(model.to_bytes())
    assert load_tokenizer(tmp_path).fingerprint != tiny_tokenizer().fingerprint


def test_unknown_fields_of_a_model_file_are_kept():
    extra = b"\x22\x03abc"  # field 4, three bytes
    model = spm.SentencePieceModel.from_bytes(tiny_model().to_bytes() + extra, Path("x"))
    assert model.settings == tiny_model().settings + extra
    assert spm.SentencePieceModel.from_bytes(model.to_bytes(), Path("x")) == model


# Where it is found


def test_a_folder_is_searched_for_either_file(tmp_path: Path, folder: Path):
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    assert load_tokenizer(tmp_path).fingerprint == load_tokenizer(str(folder)).fingerprint


def test_a_folder_without_tokenizer_says_what_to_put_there(tmp_path: Path):
    with pytest.raises(
        CheckpointError, match=r"holds no tokenizer: expected tokenizer\.model or tokenizer\.json in it"
    ):
        load_tokenizer(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"weights\.bin is no tokenizer: expected"):
        load_tokenizer(tmp_path / "weights.bin")


@pytest.mark.parametrize("name", FORMS)
def test_a_missing_file_is_named(tmp_path: Path, name: str):
    with pytest.raises(FileError, match=name):
        load_tokenizer(tmp_path / name)


# Wrong and damaged files


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_one_clear_error(tmp_path: Path, folder: Path, name: str, share: float):
    data = (folder / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=name):
        load_tokenizer(tmp_path / name)


@pytest.mark.parametrize("name", FORMS)
def test_a_file_of_zeros_is_one_clear_error(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(bytes(5000))
    with pytest.raises(CheckpointError, match=name):
        load_tokenizer(tmp_path / name)


@given(st.binary(max_size=40), st.integers(min_value=0, max_value=7000))
def test_a_model_file_with_foreign_bytes_raises_nothing_else(noise: bytes, at: int):
    data = tiny_model().to_bytes()
    try:
        spm.SentencePieceModel.from_bytes(data[:at] + noise + data[at + len(noise) :], Path("x"))
    except CheckpointError as error:
        assert "x is not usable as a tokenizer" in str(error)


def test_a_tokenizer_of_another_family_is_refused(tmp_path: Path):
    model = tiny_model()
    model.pieces[10], model.pieces[11] = "<|turn|>", "<|end|>"
    (tmp_path / "tokenizer.model").write_bytes(model.to_bytes())
    with pytest.raises(CheckpointError, match=r"512 pieces lack <start_of_turn>, <end_of_turn>, so it is not"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_that_adds_a_space_in_front_is_refused(tmp_path: Path):
    model = tiny_model()
    model.settings += b"\x1a\x02\x18\x01"  # normalizer_spec.add_dummy_prefix = true; the last value of a field counts
    (tmp_path / "tokenizer.model").write_bytes(model.to_bytes())
    with pytest.raises(CheckpointError, match="it changes text"):
        load_tokenizer(tmp_path)


def test_a_gguf_without_a_sentencepiece_vocabulary_is_refused(tmp_path: Path):
    writer = gguf.GGUFWriter(tmp_path / "gpt2.gguf", "gpt2")
    writer.add_tokenizer_model("gpt2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match=r"tokenizer\.ggml\.model is 'gpt2'"):
        load_tokenizer(tmp_path / "gpt2.gguf")


def test_a_gguf_with_lists_of_unequal_length_is_refused(tmp_path: Path):
    writer = gguf.GGUFWriter(tmp_path / "short.gguf", "gemma3")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tiny_pieces())
    writer.add_token_scores([0.0] * 3)
    writer.add_token_types([1] * VOCAB_SIZE)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match="512 pieces, 3 scores and 512 types"):
        load_tokenizer(tmp_path / "short.gguf")


@pytest.mark.parametrize("num_embed", [512, 576])
def test_a_model_with_as_many_rows_or_a_few_spare_ones_fits(num_embed: int):
    check_vocabulary(tiny_tokenizer(), num_embed)


@pytest.mark.parametrize("num_embed", [511, 262_144])
def test_a_model_of_another_vocabulary_does_not_fit(num_embed: int):
    with pytest.raises(CheckpointError, match=f"512 pieces and the model {num_embed:,} embedding rows"):
        check_vocabulary(tiny_tokenizer(), num_embed)
