"""A Gemma-like tokenizer of 512 pieces in all three file forms, for tests without the real one.

    from tiny_tokenizer import tiny_tokenizer, write_tiny_tokenizer
    tokenizer = tiny_tokenizer()                       # vocab_size 512, <start_of_turn> 10, <end_of_turn> 11
    write_tiny_tokenizer(tmp_path)                     # tmp_path/tokenizer.model and tmp_path/tokenizer.json

Same build as Gemma's: pad, eos, bos, unk, mask first, unused pieces, turn tags, runs of newlines, spaces and tabs, HTML
tags, 256 bytes, then merges from most to least frequent. The turn tags have other ids than Gemma's 105 and 106 on
purpose, so that code which writes the numbers down fails here.
"""

import collections
import functools
import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf

from gemma_tool_use.formats import sentencepiece_model as spm
from gemma_tool_use.formats.tokenizer import Tokenizer, load_tokenizer

VOCAB_SIZE = 512

_CONTROL = (
    *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "[multimodal]", "<unused0>", "<unused1>", "<unused2>", "<unused3>"),
    *("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>"),
)
_PLAIN = (
    *("\n" * n for n in range(1, 9)),
    *("▁" * n for n in range(2, 9)),
    *("\t" * n for n in range(1, 4)),
    *("<table>", "</table>", "<h1>", "</h1>"),
)
_BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
_CHARACTERS = (*(chr(code) for code in range(0x21, 0x7F)), "▁", "é", "°", "→")
_FIRST_BYTE = len(_CONTROL) + len(_PLAIN)
_FIRST_CHARACTER = _FIRST_BYTE + len(_BYTES)
_SAMPLE = (
    'user model user model <tool_call> {"name": "get_weather", "args": {"location": "Paris", "unit": "celsius"}} '
    '</tool_call> <tools> [{"type": "function", "function": {"name": "search_web", "description": "Search the web for '
    'a query", "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}}}] '
    "</tools> <tool_response> What is the weather in Oslo today? Here are the available tools that you can use: the "
    "other thing is that there are more of them than in the list, and then the answer is in the result."
)


@functools.cache
def tiny_tokenizer() -> Tokenizer:
    """The tokenizer, read from its `tokenizer.model`."""
    with tempfile.TemporaryDirectory() as folder:
        write_tiny_tokenizer(Path(folder))
        return load_tokenizer(folder)


def tiny_model() -> spm.SentencePieceModel:
    """The content of `tokenizer.model`, typed as Google's is: pad, eos, bos control, all other symbols user-defined."""
    pieces = list(tiny_pieces())
    types = [spm.USER_DEFINED] * _FIRST_BYTE + [spm.BYTE] * 256 + [spm.NORMAL] * (VOCAB_SIZE - _FIRST_CHARACTER)
    types[:4] = [spm.CONTROL, spm.CONTROL, spm.CONTROL, spm.UNKNOWN]
    scores = [-1000.0] * _FIRST_BYTE + [0.0] * 256 + [float(-i) for i in range(VOCAB_SIZE - _FIRST_CHARACTER)]
    settings = spm.gemma_settings(unk=3, bos=2, eos=1, pad=0, pieces=pieces)
    return spm.SentencePieceModel(pieces=pieces, scores=scores, types=types, settings=settings)


def write_tiny_tokenizer(folder: Path) -> None:
    """Writes `tokenizer.model` and `tokenizer.json` into an existing folder."""
    (folder / "tokenizer.model").write_bytes(tiny_model().to_bytes())
    (folder / "tokenizer.json").write_text(json.dumps(tiny_tokenizer_json(), ensure_ascii=False), encoding="utf-8")


def add_tiny_tokenizer(writer: gguf.GGUFWriter) -> None:
    """Puts the tokenizer into a GGUF as llama.cpp's converter does: all tags control, runs of spaces as spaces."""
    model = tiny_model()
    types = [spm.CONTROL if i < len(_CONTROL) else kind for i, kind in enumerate(model.types)]
    space_runs = {"▁" * n for n in range(2, 9)}
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece.replace("▁", " ") if piece in space_runs else piece for piece in model.pieces])
    writer.add_token_scores(model.scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(11)  # chat models name <end_of_turn> here


def write_tiny_gguf(path: Path) -> None:
    """A GGUF that holds the tokenizer and no tensors."""
    writer = gguf.GGUFWriter(path, "gemma3")
    add_tiny_tokenizer(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@functools.cache
def tiny_pieces() -> tuple[str, ...]:
    """The 512 pieces in the order of their ids."""
    pieces = (*_CONTROL, *_PLAIN, *_BYTES, *_CHARACTERS)
    return (*pieces, *_learn_merges(_SAMPLE, VOCAB_SIZE - len(pieces)))


def tiny_tokenizer_json() -> dict[str, Any]:
    """The content of `tokenizer.json`, laid out as Gemma 3's, `<image_soft_token>` behind the vocabulary included."""
    pieces = tiny_pieces()
    special = {"<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<image_soft_token>"}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [*enumerate(pieces[:_FIRST_BYTE]), (VOCAB_SIZE, "<image_soft_token>")]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": text, **flags, "special": text in special} for id, text in added],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: id for id, piece in enumerate(pieces)},
            "merges": _merges(pieces),
        },
    }


def _merges(pieces: Sequence[str]) -> list[list[str]]:
    """Every way to put a piece together from two others: runs of spaces from the longest, then in the order of ids."""
    runs = [piece for piece in pieces[_FIRST_BYTE::-1] if set(piece) == {"▁"}]
    known = set(pieces[_FIRST_CHARACTER:]) | set(runs)
    targets = runs + [piece for piece in pieces[_FIRST_CHARACTER:] if len(piece) > 1]
    splits = ((piece[:at], piece[at:]) for piece in targets for at in range(len(piece) - 1, 0, -1))
    return [[left, right] for left, right in splits if left in known and right in known]


def _learn_merges(text: str, count: int) -> list[str]:
    """The `count` most frequent pairs, one after another, as byte-pair encoding is trained; ties by text."""
    parts = [list(word) for word in text.replace(" ", " ▁").split()]
    learned: list[str] = []
    while len(learned) < count:
        pairs = collections.Counter(pair for word in parts for pair in itertools.pairwise(word))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merged = "".join(best)
        parts = [_merge(word, best) for word in parts]
        if merged not in learned:
            learned.append(merged)
    return learned


def _merge(word: list[str], pair: tuple[str, str]) -> list[str]:
    result: list[str] = []
    for part in word:
        if result and (result[-1], part) == pair:
            result[-1] += part
        else:
            result.append(part)
    return result
