"""The pieces of a SentencePiece model file, read and written without the protobuf package.

    model = SentencePieceModel.from_bytes(path.read_bytes(), path)      # or .from_gguf(path)
    model.pieces[2], model.types[2]     # "<bos>", CONTROL
    sentencepiece.SentencePieceProcessor(model_proto=model.to_bytes())

Only `ModelProto.pieces` is understood (field 1, each with piece = 1, score = 2, type = 3); all other fields are kept as
the bytes they are. Format: sentencepiece_model.proto in
https://github.com/google/sentencepiece/tree/master/src and https://protobuf.dev/programming-guides/encoding/.

The generated classes in the sentencepiece package refuse to be imported under a protobuf older than the one that made
them, and other packages may require an older one; a piece is three fields, read here in 0.4 s for 262,144 pieces.
"""

import dataclasses
import struct
from pathlib import Path

import numpy as np

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.gguf_file import GgufFile

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Values of `ModelProto.SentencePiece.Type`; GGUF's `tokenizer.ggml.token_type` uses the same numbers."""

SPACE_MARK = "\u2581"
"""How a space is written inside a piece."""

_TYPES = frozenset(range(NORMAL, BYTE + 1))
_BPE = 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclasses.dataclass(kw_only=True)
class SentencePieceModel:
    """Pieces in the order of their ids, with their scores and types; `settings` are the file's other fields."""

    pieces: list[str]
    scores: list[float]
    types: list[int]
    settings: bytes

    @classmethod
    def from_bytes(cls, data: bytes, where: Path) -> "SentencePieceModel":
        """Reads a serialised ModelProto; `where` names it in the `CheckpointError` for bytes that are none."""
        pieces: list[str] = []
        scores: list[float] = []
        types: list[int] = []
        settings = bytearray()
        try:
            at = 0
            while at < len(data):
                start, (key, at) = at, _varint(data, at)
                if key != (1 << 3 | _BYTES):
                    at = _skip(data, at, key & 7)
                    settings += data[start:at]
                    continue
                length, at = _varint(data, at)
                piece, score, kind = _piece(data, at, at + length)
                at += length
                pieces.append(piece)
                scores.append(score)
                types.append(kind)
        except (IndexError, ValueError, struct.error) as error:
            raise unusable(
                where, f"no whole SentencePiece model, damaged after piece {len(pieces)} ({error})"
            ) from error
        return cls(pieces=pieces, scores=scores, types=types, settings=bytes(settings))

    @classmethod
    def from_gguf(cls, path: Path) -> "SentencePieceModel":
        """Builds the model from a GGUF's metadata; keys as in the GGUF specification, section Tokenizer."""
        metadata = GgufFile(path).metadata
        kind = metadata.get("tokenizer.ggml.model")
        if kind != "llama":
            raise unusable(path, f"tokenizer.ggml.model is {kind!r}, where a Gemma file says 'llama' (SentencePiece)")
        keys = ("tokens", "scores", "token_type")
        pieces, scores, types = (metadata.get(f"tokenizer.ggml.{key}") for key in keys)
        if not (isinstance(pieces, list) and isinstance(scores, np.ndarray) and isinstance(types, np.ndarray)):
            raise unusable(path, "tokenizer.ggml.tokens, .scores and .token_type are not all there as text and numbers")
        if not len(pieces) == len(scores) == len(types):
            raise unusable(path, f"it has {len(pieces):,} pieces, {len(scores):,} scores and {len(types):,} types")
        if not set(types.tolist()) <= _TYPES:
            raise unusable(path, f"tokenizer.ggml.token_type holds {sorted(set(types.tolist()) - _TYPES)}, beyond 1..6")
        # Converters write the symbols that are runs of spaces with real spaces, all other pieces with the mark.
        pieces = [piece.replace(" ", SPACE_MARK) if " " in piece else piece for piece in pieces]
        # By text, not by tokenizer.ggml.eos_token_id: chat models put <end_of_turn> there.
        ids = {name: _id_of(f"<{name}>", pieces, path) for name in ("unk", "bos", "eos", "pad")}
        settings = gemma_settings(**ids, pieces=pieces)
        return cls(
            pieces=pieces,
            scores=scores.astype(np.float32).tolist(),
            types=types.astype(np.uint8).tolist(),
            settings=settings,
        )

    def to_bytes(self) -> bytes:
        """The serialised ModelProto."""
        parts: list[bytes] = []
        for piece, score, kind in zip(self.pieces, self.scores, self.types, strict=True):
            text = piece.encode("utf-8")
            body = b"\x0a" + _to_varint(len(text)) + text + _SCORE_AND_TYPE.pack(0x15, score, 0x18, kind)
            parts += (b"\x0a", _to_varint(len(body)), body)
        return b"".join((*parts, self.settings))


_SCORE_AND_TYPE = struct.Struct("<BfBB")  # field 2 as fixed32, field 3 as a one-byte varint


def gemma_settings(*, unk: int, bos: int, eos: int, pad: int, pieces: list[str]) -> bytes:
    """Trainer and normaliser settings of Gemma's tokenizer, for files that hold only the pieces.

    Byte-pair merges with byte fallback; the text is taken as it is: no space put in front, none removed, each written
    as `SPACE_MARK`. The names of the four special pieces are stored beside their ids, as SentencePiece looks them up.
    """
    ids = ((40, unk), (41, bos), (42, eos), (43, pad))
    trainer = _number(3, _BPE) + _number(4, len(pieces)) + _number(35, 1)
    trainer += b"".join(_number(field, id) for field, id in ids)
    trainer += b"".join(_text(field + 5, pieces[id]) for field, id in ids)
    normalizer = _text(1, "identity") + _number(3, 0) + _number(4, 0) + _number(5, 1)
    return _message(2, trainer) + _message(3, normalizer)


def without_dummy_prefix(settings: bytes) -> bytes:
    """The settings with a normaliser that puts no space in front of a text.

    Where a protobuf message comes twice its fields are merged, the later ones winning.
    """
    return settings + _message(3, _number(3, 0))


def unusable(where: Path, why: str) -> CheckpointError:
    """The error for a file that is no tokenizer we can use: says which, why, and where a good one is."""
    return CheckpointError(
        f"{where} is not usable as a tokenizer: {why}; take the file of the model's repository, as google/gemma-3-270m"
    )


def _id_of(text: str, pieces: list[str], where: Path) -> int:
    if text not in pieces:
        raise unusable(where, f"the piece {text} is missing, so it is not the tokenizer of a Gemma chat model")
    return pieces.index(text)


def _piece(data: bytes, at: int, end: int) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, NORMAL
    if end > len(data):
        raise ValueError("the file ends inside a piece")
    while at < end:
        key = data[at]
        at += 1
        if key == 0x0A:
            length, at = _varint(data, at)
            text = data[at : at + length].decode("utf-8")
            at += length
        elif key == 0x15:
            score = struct.unpack_from("<f", data, at)[0]
            at += 4
        elif key == 0x18:
            kind, at = _varint(data, at)
        else:
            at = _skip(data, at, key & 7)
    if at != end or not text or kind not in _TYPES:
        raise ValueError(f"a piece reads {text!r} of type {kind}")
    return text, score, kind


def _skip(data: bytes, at: int, wire_type: int) -> int:
    if wire_type == _VARINT:
        end = _varint(data, at)[1]
    elif wire_type == _BYTES:
        length, at = _varint(data, at)
        end = at + length
    elif wire_type in (_FIXED32, _FIXED64):
        end = at + (4 if wire_type == _FIXED32 else 8)
    else:
        raise ValueError(f"field of unknown kind {wire_type} at byte {at}")
    if end > len(data):
        raise ValueError("the file ends inside a field")
    return end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    for shift in range(7, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is longer than ten bytes")


def _to_varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _to_varint(field << 3 | _VARINT) + _to_varint(value)


def _message(field: int, body: bytes) -> bytes:
    return _to_varint(field << 3 | _BYTES) + _to_varint(len(body)) + body


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode("utf-8"))
