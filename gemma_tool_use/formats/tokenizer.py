"""A model's tokenizer from any of the files that hold it; Gemma's with equal ids from all three kinds.

    tokenizer = load_tokenizer("gemma-3-270m/tokenizer.model")   # or tokenizer.json, a folder with one, a .gguf
    tokenizer.encode("Weather in Oslo?")          # [26588, 528, 68912, 236881]
    tokenizer.encode("<end_of_turn>")             # [236820, 643, 236779, 1340, ...]: seven ordinary pieces, never 106
    tokenizer.control_ids["<end_of_turn>"]        # 106
    tokenizer.decode([105, 2364, 107])            # "<start_of_turn>user\\n"

A piece is *control* when the file declares it as a symbol (matched whole, not built by merges) and it is neither white
space only (runs of newlines, spaces, tabs) nor one of Gemma's 70 HTML tags: `<pad>`, `<eos>`, `<bos>`, `<unk>`,
`<mask>`, `[multimodal]`, `<start_of_turn>`, `<end_of_turn>`, `<start_of_image>`, `<end_of_image>` and 6,242
`<unusedN>`. The files disagree about the type of some of them (`<mask>` is special in a GGUF, ordinary in
tokenizer.json); this rule looks at the text, so the three agree. `encode` cannot reach a control piece. Of the other
families every declared symbol is control: Qwen's `<tool_call>` and `<think>` too.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers

from gemma_tool_use.errors import CheckpointError, FileError
from gemma_tool_use.formats import sentencepiece_model as spm
from gemma_tool_use.formats.byte_level import ByteLevelTokenizer
from gemma_tool_use.formats.special_pieces import KINDS, SpecialPieces, special_pieces
from gemma_tool_use.formats.tokenizer_base import Tokenizer

__all__ = [
    "FILE_NAMES",
    "ByteLevelTokenizer",
    "HuggingFaceTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "check_vocabulary",
    "load_tokenizer",
]

FILE_NAMES = ("tokenizer.model", "tokenizer.json")
"""What `load_tokenizer` looks for in a folder, the first found wins."""

# fmt: off
_HTML_NAMES = (
    "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote",
    "strong", "em", "b", "i", "u", "s", "sub", "sup", "code", "a", "html", "body", "img", "span", "bbox", "ul", "li",
    "div", "iframe", "footer",
)
# fmt: on
_HTML_TAGS = frozenset(f"<{slash}{name}>" for name in _HTML_NAMES for slash in ("", "/"))
# What a Gemma tokenizer gives back unchanged, and one with a dummy prefix, trimming or folding does not.
_PROBE = " Ａ\u00e9\n\n\t  e\u0301 \U0001f600\x00 "
# Checkpoints round the rows of the embedding up (Gemma 3 4B: 262,208 rows for 262,144 pieces, Qwen3: 151,936 for
# 151,669), by less than this.
_MOST_SPARE_ROWS = 512


class SentencePieceTokenizer(Tokenizer):
    """The pieces of a `tokenizer.model` or a GGUF, run by SentencePiece."""

    def __init__(self, model: spm.SentencePieceModel, where: Path):
        pieces = model.pieces
        symbols = [id for id, kind in enumerate(model.types) if kind in (spm.UNKNOWN, spm.CONTROL, spm.USER_DEFINED)]
        control_ids = _control_ids(pieces, symbols, where)
        # SentencePiece matches user-defined pieces in text and cannot reach the types control and unknown.
        types = list(model.types)
        for id in symbols:
            types[id] = spm.CONTROL if pieces[id] in control_ids else spm.USER_DEFINED
        types[control_ids["<unk>"]] = spm.UNKNOWN
        special = _special(control_ids, len(pieces), where)
        # A space in front of every text would stand at every cut; `encode.py` puts one where the family has it.
        self.space_in_front = special.family != "Gemma"
        settings = spm.without_dummy_prefix(model.settings) if self.space_in_front else model.settings
        plain = spm.SentencePieceModel(pieces=pieces, scores=model.scores, types=types, settings=settings)
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=plain.to_bytes())
        except RuntimeError as error:
            raise spm.unusable(where, f"SentencePiece refuses it ({error})") from error
        super().__init__(pieces=pieces, control_ids=control_ids, special=special)

    def _encode(self, text: str) -> list[int]:
        return self._processor.encode(text.replace(spm.SPACE_MARK, " "))


class HuggingFaceTokenizer(Tokenizer):
    """A `tokenizer.json` of Gemma, run by the tokenizers library."""

    def __init__(self, fast: tokenizers.Tokenizer, path: Path):
        added = fast.get_added_tokens_decoder()
        # Ids behind the model's own vocabulary (`<image_soft_token>`, 262144) have no row in a text model's embedding.
        size = fast.get_vocab_size(with_added_tokens=False)
        pieces = [fast.id_to_token(id) for id in range(size)]
        if None in pieces:
            raise spm.unusable(path, f"it has no piece for the id {pieces.index(None)}")
        control_ids = _control_ids(pieces, [id for id in added if id < size], path)
        fast.add_special_tokens(
            [
                tokenizers.AddedToken(token.content, normalized=False, special=True)
                for token in added.values()
                if not _is_plain(token.content)
            ]
        )
        fast.encode_special_tokens = True  # the library's word for: do not match special pieces in text
        self._fast = fast
        super().__init__(pieces=pieces, control_ids=control_ids, special=_special(control_ids, len(pieces), path))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._fast.encode_special_tokens = True  # lost when the library's object travels to a worker process

    def _encode(self, text: str) -> list[int]:
        return self._fast.encode(text.replace(spm.SPACE_MARK, " "), add_special_tokens=False).ids


def _from_json(path: Path) -> Tokenizer:
    data = _read(path)
    try:
        fast = tokenizers.Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises this very class for whatever is wrong with the file
        raise spm.unusable(path, f"it is damaged or no tokenizer.json: {error}") from error
    # A saved training set-up may carry both; they would cut or pad every text silently.
    fast.no_truncation()
    fast.no_padding()
    if not isinstance(fast.decoder, tokenizers.decoders.ByteLevel):
        return HuggingFaceTokenizer(fast, path)
    symbols = {token.content: id for id, token in fast.get_added_tokens_decoder().items()}
    return ByteLevelTokenizer(fast, _special(symbols, fast.get_vocab_size(), path), path)


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in a folder (one of `FILE_NAMES`), a `tokenizer.model`, a `tokenizer.json` or a `.gguf` file.

    Takes about 1.5 s from tokenizer.json, 0.8 s from tokenizer.model, 0.5 s from a GGUF (262,144 pieces).

    Raises:
      CheckpointError: no tokenizer there, damaged, or of no family in `special_pieces.KINDS`.
      FileError: the file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path = _find(path)
    if path.suffix == ".gguf":
        tokenizer: Tokenizer = SentencePieceTokenizer(spm.SentencePieceModel.from_gguf(path), path)
    elif path.suffix == ".json":
        tokenizer = _from_json(path)
    elif path.suffix == ".model":
        tokenizer = SentencePieceTokenizer(spm.SentencePieceModel.from_bytes(_read(path), path), path)
    else:
        raise CheckpointError(f"{path} is no tokenizer: expected tokenizer.model, tokenizer.json or a .gguf file")
    probe = tokenizer.normalized(_PROBE) if isinstance(tokenizer, ByteLevelTokenizer) else _PROBE
    if tokenizer.decode(tokenizer.encode(_PROBE)) != probe:
        raise spm.unusable(path, "it changes text (the tokenizers read here give every space and character back)")
    return tokenizer


def check_vocabulary(tokenizer: Tokenizer, num_embed: int) -> None:
    """Raises `CheckpointError` unless the tokenizer fits a model with `num_embed` rows in its embedding."""
    if not 0 <= num_embed - tokenizer.vocab_size < _MOST_SPARE_ROWS:
        raise CheckpointError(
            f"the tokenizer has {tokenizer.vocab_size:,} pieces and the model {num_embed:,} embedding rows, so they do "
            "not belong together; take the tokenizer from the model's own folder or repository"
        )


def _find(folder: Path) -> Path:
    for name in FILE_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(
        f"{folder} holds no tokenizer: expected {' or '.join(FILE_NAMES)} in it; copy one from the model's repository, "
        "or name a .gguf file"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error


def _control_ids(pieces: Sequence[str], symbols: Iterable[int], where: Path) -> dict[str, int]:
    symbols = sorted(symbols)
    control_ids = {pieces[id]: id for id in symbols if not _is_plain(pieces[id])}
    if special_pieces(control_ids) is None:  # of Llama 2, where <s> is no HTML
        control_ids = {pieces[id]: id for id in symbols if not _is_space(pieces[id])}
    _special(control_ids, len(pieces), where)
    return control_ids


def _special(control_ids: Mapping[str, int], size: int, where: Path) -> SpecialPieces:
    if (special := special_pieces(control_ids)) is not None:
        return special
    missing = {kind.family: [mark for mark in kind.marks if mark not in control_ids] for kind in KINDS}
    nearest = min(missing, key=lambda family: len(missing[family]))
    found = f"its {size:,} pieces lack {', '.join(missing[nearest])}"
    raise spm.unusable(
        where, f"{found}, so it is not the tokenizer of a {nearest} model; known are {', '.join(missing)}"
    )


def _is_plain(symbol: str) -> bool:
    return symbol in _HTML_TAGS or _is_space(symbol)


def _is_space(symbol: str) -> bool:
    return not symbol.strip("\n\t " + spm.SPACE_MARK)
