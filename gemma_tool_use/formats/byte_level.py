"""Tokenizers whose pieces spell bytes: Qwen's and Llama 3's.

tokenizer.encode(" the")          # one piece, "Ġthe"
tokenizer.token_bytes(279)        # b" the"
"""

import functools
from pathlib import Path
from typing import Any

import tokenizers

from gemma_tool_use.formats import sentencepiece_model as spm
from gemma_tool_use.formats.special_pieces import SpecialPieces
from gemma_tool_use.formats.tokenizer_base import Tokenizer


class ByteLevelTokenizer(Tokenizer):
    """A `tokenizer.json` with byte-level pieces (Qwen, Llama 3), run by the tokenizers library.

    Its pieces spell bytes as printable characters, as GPT-2's do (`"Ġthe"` is `b" the"`); every symbol behind them is
    control, and has a row in the model's embedding.
    """

    def __init__(self, fast: tokenizers.Tokenizer, special: SpecialPieces, where: Path):
        symbols = {id: token.content for id, token in fast.get_added_tokens_decoder().items()}
        pieces = [fast.id_to_token(id) for id in range(fast.get_vocab_size(with_added_tokens=True))]
        if None in pieces:
            raise spm.unusable(where, f"it has no piece for the id {pieces.index(None)}")
        control_ids = {text: id for id, text in sorted(symbols.items())}
        fast.add_special_tokens([tokenizers.AddedToken(text, normalized=False, special=True) for text in control_ids])
        fast.encode_special_tokens = True
        self._fast = fast
        super().__init__(pieces=pieces, control_ids=control_ids, special=special)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._fast.encode_special_tokens = True  # lost when the library's object travels to a worker process

    def _encode(self, text: str) -> list[int]:
        return self._fast.encode(text, add_special_tokens=False).ids

    def token_bytes(self, id: int) -> bytes:
        piece = self.piece(id)
        if piece in self.control_ids:
            return piece.encode("utf-8")
        return bytes(map(_byte_of().__getitem__, piece))

    def normalized(self, text: str) -> str:
        """The text as it is before it is cut into pieces."""
        return text if self._fast.normalizer is None else self._fast.normalizer.normalize_str(text)


@functools.cache
def _byte_of() -> dict[str, int]:
    """The byte that each printable character of a byte-level piece stands for (GPT-2, `bytes_to_unicode`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}
