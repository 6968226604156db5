"""What every tokenizer does, whichever library runs it: `encode`, `decode`, control pieces kept out of plain text."""

import abc
import functools
import hashlib
from collections.abc import Iterable, Mapping

from gemma_tool_use.errors import DataError
from gemma_tool_use.formats import sentencepiece_model as spm
from gemma_tool_use.formats.special_pieces import SpecialPieces

_BYTES = {f"<0x{value:02X}>": bytes((value,)) for value in range(256)}


class Tokenizer(abc.ABC):
    """Text to token ids and back.

    Attributes:
      vocab_size: number of pieces; ids are 0 to `vocab_size - 1`.
      control_ids: text of each control piece -> its id.
      special: which family's pieces begin and end a text.
      bos_id, eos_id, pad_id: their ids; `bos_id` is None where nothing begins a sequence. A chat model ends its turn
        with another piece, as `<end_of_turn>`.
      space_in_front: the first text behind `bos_id` has a space put in front of it (Llama 2, Mistral).
    """

    space_in_front = False

    def __init__(self, *, pieces: list[str], control_ids: Mapping[str, int], special: SpecialPieces):
        self._pieces = pieces
        self.vocab_size = len(pieces)
        self.control_ids = control_ids
        self.special = special
        self.bos_id = None if special.bos is None else control_ids[special.bos]
        self.eos_id, self.pad_id = control_ids[special.eos], control_ids[special.pad]
        self._control_lengths = sorted({len(text) for text in control_ids}, reverse=True)
        self._control_starts = frozenset(text[0] for text in control_ids)

    @abc.abstractmethod
    def _encode(self, text: str) -> list[int]:
        """Ids of text that UTF-8 can hold; control pieces are split."""

    def encode(self, text: str) -> list[int]:
        """Ids of plain text: no `<bos>` in front, and never a control id, whatever the text says.

        Not everything survives `decode(encode(text))`: a lone surrogate, which no encoding can hold, becomes U+FFFD;
        U+2581 becomes a space where pieces use it as the mark of one (not in byte-level vocabularies); Qwen's
        tokenizer composes characters first (Unicode NFC).
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
        return self._encode(text)

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
