"""Gemma's tokenizer from any of the three files that hold it, with equal ids.

    tokenizer = load_tokenizer("gemma-3-270m/tokenizer.model")   # or tokenizer.json, a folder with one, a .gguf
    tokenizer.encode("Weather in Oslo?")          # [26588, 528, 68912, 236881]
    tokenizer.encode("<end_of_turn>")             # [236820, 643, 236779, 1340, ...]: seven ordinary pieces, never 106
    tokenizer.control_ids["<end_of_turn>"]        # 106
    tokenizer.decode([105, 2364, 107])            # "<start_of_turn>user\\n"

A piece is *control* when the file declares it as a symbol (matched whole, not built by merges) and it is neither white
space only (runs of newlines, spaces, tabs) nor one of Gemma's 70 HTML tags: `<pad>`, `<eos>`, `<bos>`, `<unk>`,
`<mask>`, `[multimodal]`, `<start_of_turn>`, `<end_of_turn>`, `<start_of_image>`, `<end_of_image>` and 6,242
`<unusedN>`. The files disagree about the type of some of them (`<mask>` is special in a GGUF, ordinary in
tokenizer.json); this rule looks at the text, so the three agree. `encode` cannot reach a control piece.
"""

import abc
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers

from gemma_tool_use.errors import CheckpointError, DataError, FileError
from gemma_tool_use.formats import sentencepiece_model as spm

FILE_NAMES = ("tokenizer.model", "tokenizer.json")
"""What `load_tokenizer` looks for in a folder, the first found wins."""

_REQUIRED = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
# fmt: off
_HTML_NAMES = (
    "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote",
    "strong", "em", "b", "i", "u", "s", "sub", "sup", "code", "a", "html", "body", "img", "span", "bbox", "ul", "li",
    "div", "iframe", "footer",
)
# fmt: on
_HTML_TAGS = frozenset(f"<{slash}{name}>" for name in _HTML_NAMES for slash in ("", "/"))
_BYTES = {f"<0x{value:02X}>": bytes((value,)) for value in range(256)}
# What a Gemma tokenizer gives back unchanged, and one with a dummy prefix, trimming or folding does not.
_PROBE = " Ａ\u00e9\n\n\t  e\u0301 \U0001f600\x00 "
# Checkpoints round the rows of the embedding up (Gemma 3 4B: 262,208 rows for 262,144 pieces), by less than this.
_MOST_SPARE_ROWS = 256


class Tokenizer(abc.ABC):
    """Text to token ids and back.

    Attributes:
      vocab_size: number of pieces; ids are 0 to `vocab_size - 1`.
      control_ids: text of each control piece -> its id.
      bos_id, eos_id, pad_id: ids of `<bos>`, `<eos>`, `<pad>`. A chat model ends its turn with `<end_of_turn>`.
    """

    def __init__(self, *, pieces: list[str], control_ids: Mapping[str, int]):
        self._pieces = pieces
        self.vocab_size = len(pieces)
        self.control_ids = control_ids
        self.bos_id, self.eos_id, self.pad_id = (control_ids[text] for text in ("<bos>", "<eos>", "<pad>"))
        self._control_lengths = sorted({len(text) for text in control_ids}, reverse=True)
        self._control_starts = frozenset(text[0] for text in control_ids)

    @abc.abstractmethod
    def _encode(self, text: str) -> list[int]:
        """Ids of text that UTF-8 can hold and that has no `spm.SPACE_MARK`; control pieces are split."""

    def encode(self, text: str) -> list[int]:
        """Ids of plain text: no `<bos>` in front, and never a control id, whatever the text says.

        Two characters do not survive `decode(encode(text))`: a lone surrogate, which no encoding can hold, becomes
        U+FFFD; U+2581 becomes a space, because Gemma's pieces use it as the mark of one.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
        return self._encode(text.replace(spm.SPACE_MARK, " "))

    def split_control(self, text: str) -> list[str | int]:
        """Cuts text at control pieces: `"<start_of_turn>user\\n"` gives `[105, "user\\n"]`. For trusted text only."""
        parts: list[str | int] = []
        start = at = 0
        while at < len(text):
            id = self._control_at(text, at) if text[at] in self._control_starts else None
            if id is None:
                at += 1
                continue
            if start < at:
                parts.append(text[start:at])
            parts.append(id)
            start = at = at + len(self._pieces[id])
        if start < len(text):
            parts.append(text[start:])
        return parts

    def _control_at(self, text: str, at: int) -> int | None:
        candidates = (self.control_ids.get(text[at : at + length]) for length in self._control_lengths)
        return next((id for id in candidates if id is not None), None)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids, control pieces as their text; bytes that are not UTF-8 become U+FFFD.

        Raises `DataError` for an id outside the vocabulary.
        """
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, id: int) -> bytes:
        """What one id adds to the decoded text, before UTF-8 decoding: `b" the"`, or one byte of a character."""
        piece = self.piece(id)
        return _BYTES.get(piece) or piece.replace(spm.SPACE_MARK, " ").encode("utf-8")

    def piece(self, id: int) -> str:
        """The piece as the vocabulary writes it: `"▁the"`, `"<0x0A>"`, `"<end_of_turn>"`."""
        if not 0 <= id < self.vocab_size:
            raise DataError(f"token id {id} is outside the vocabulary's 0..{self.vocab_size - 1}")
        return self._pieces[id]

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the pieces in order of id, equal for every file form of one vocabulary."""
        # 0xFF occurs in no UTF-8 text, so the joined bytes name exactly one list of pieces.
        return hashlib.sha256(b"\xff".join(piece.encode("utf-8") for piece in self._pieces)).hexdigest()


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
        plain = spm.SentencePieceModel(pieces=pieces, scores=model.scores, types=types, settings=model.settings)
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=plain.to_bytes())
        except RuntimeError as error:
            raise spm.unusable(where, f"SentencePiece refuses it ({error})") from error
        super().__init__(pieces=pieces, control_ids=control_ids)

    def _encode(self, text: str) -> list[int]:
        return self._processor.encode(text)


class HuggingFaceTokenizer(Tokenizer):
    """A `tokenizer.json`, run by the tokenizers library."""

    def __init__(self, path: Path):
        data = _read(path)
        try:
            fast = tokenizers.Tokenizer.from_buffer(data)
        except Exception as error:  # the library raises this very class for whatever is wrong with the file
            raise spm.unusable(path, f"it is damaged or no tokenizer.json: {error}") from error
        # A saved training set-up may carry both; they would cut or pad every text silently.
        fast.no_truncation()
        fast.no_padding()
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
        super().__init__(pieces=pieces, control_ids=control_ids)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._fast.encode_special_tokens = True  # lost when the library's object travels to a worker process

    def _encode(self, text: str) -> list[int]:
        return self._fast.encode(text, add_special_tokens=False).ids


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in a folder (one of `FILE_NAMES`), a `tokenizer.model`, a `tokenizer.json` or a `.gguf` file.

    Takes about 1.5 s from tokenizer.json, 0.8 s from tokenizer.model, 0.5 s from a GGUF (262,144 pieces).

    Raises:
      CheckpointError: no tokenizer there, damaged, or not Gemma's.
      FileError: the file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path = _find(path)
    if path.suffix == ".gguf":
        tokenizer: Tokenizer = SentencePieceTokenizer(spm.SentencePieceModel.from_gguf(path), path)
    elif path.suffix == ".json":
        tokenizer = HuggingFaceTokenizer(path)
    elif path.suffix == ".model":
        tokenizer = SentencePieceTokenizer(spm.SentencePieceModel.from_bytes(_read(path), path), path)
    else:
        raise CheckpointError(f"{path} is no tokenizer: expected tokenizer.model, tokenizer.json or a .gguf file")
    if tokenizer.decode(tokenizer.encode(_PROBE)) != _PROBE:
        raise spm.unusable(path, "it changes text (a Gemma tokenizer gives every space and character back)")
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
    control_ids = {pieces[id]: id for id in sorted(symbols) if not _is_plain(pieces[id])}
    missing = [text for text in _REQUIRED if text not in control_ids]
    if missing:
        found = f"its {len(pieces):,} pieces lack {', '.join(missing)}"
        raise spm.unusable(where, f"{found}, so it is not the tokenizer of a Gemma chat model")
    return control_ids


def _is_plain(symbol: str) -> bool:
    return symbol in _HTML_TAGS or not symbol.strip("\n\t " + spm.SPACE_MARK)
