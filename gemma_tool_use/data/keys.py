"""What makes two rows the same: normalised questions, stable hashes, tool ids and MinHash signatures.

    normalise("  What's 3 km in MILES?? ")          # "what's 3 km in miles"
    keys = row_keys(conversation)
    keys.exact                                      # 64-bit hash of the question and the set of tools
    similarity(keys.signature, other.signature)     # 0.93, about the Jaccard similarity of their 5-grams

All hashes are the first 8 bytes of BLAKE2b, so they are the same on every machine and in every process. Signatures are
datasketch's (MinHash, "affine32") over the 5-character shingles of the normalised question: characters and not words,
because a tenth of the public questions are one to six words long and some scripts write no spaces. Changing one word of
five letters leaves a similarity of 0.72 in a question of 60 characters and of 0.88 in one of 150.

Two rows are candidates when they share a band of their signatures and call the same APIs. With 16 bands of 8 values a
pair of similarity s is a candidate with probability 1 - (1 - s**8)**16:

    s            0.5    0.6    0.7    0.8    0.85   0.9    0.95
    candidate    0.06   0.24   0.61   0.95   0.99   1.00   1.00
"""

import dataclasses
import functools
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from gemma_tool_use.conversation import Conversation, ToolSpec

SIGNATURE_SIZE = 128
SHINGLE = 5
BANDS = 16
NEAR = 0.8
"""Similarity from which two questions count as nearly the same."""
# A signature needs 512 bytes per character while it is computed. Only 0.1 % of real questions are longer than this.
MAX_CHARACTERS = 8192

_MULTIPLIER = np.uint32(0x01000193)
# Punctuation of sentences; signs of arithmetic, currencies and units are part of the question.
_SENTENCE = ".,;:!?\"'`()[]{}«»‹›¿¡、。〈〉《》「」『』【】〔〕・।؟،؛"
_INVISIBLE = [0x00AD, 0x034F, 0x061C, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065)]
_SAME = str.maketrans(
    {code: None for code in [*_INVISIBLE, *range(0xFE00, 0xFE10)]}
    | dict.fromkeys("‘’‚‛′", "'")
    | dict.fromkeys("“”„‟″", '"')
    | dict.fromkeys("‐‑‒–—―−", "-")
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RowKeys:
    """What duplicates, splits and counts need of a row, so that they never load the row itself.

    Attributes:
      question: hash of the normalised question.
      exact: hash of the question and the set of tools; equal for exact duplicates.
      called: hash of the set of APIs that are called; near duplicates have it in common.
      tools: id of each tool offered, in order.
      apis: id of each tool's API name, in order; no API may stand on both sides of a split.
      signature: uint32 [128], MinHash of the question.
      bands: uint64 [16]; two rows with one in common are candidates for near duplicates.
    """

    question: int
    exact: int
    called: int
    tools: tuple[int, ...]
    apis: tuple[int, ...]
    signature: np.ndarray
    bands: np.ndarray


_NONE: tuple[np.ndarray, np.ndarray] = np.zeros(0, np.uint32), np.zeros(0, np.uint64)


def row_keys(conversation: Conversation, *, near: bool = True) -> RowKeys:
    """All keys of a conversation; about 0.1 ms for one with three tools. Without `near` no signature and no bands."""
    text = question_key(conversation)
    tools = tuple(tool_id(tool) for tool in conversation.tools)
    called = {call.name for message in conversation.messages for call in message.calls}
    called_hash = hash_parts(_own_name(conversation, name) for name in sorted(called))
    values = signature(text) if near else _NONE[0]
    return RowKeys(
        question=hash_text(text),
        exact=hash_parts([text, *(f"{tool:016x}" for tool in sorted(set(tools)))]),
        called=called_hash,
        tools=tools,
        apis=tuple(api_id(_own_name(conversation, tool.name)) for tool in conversation.tools),
        signature=values,
        bands=bands(values, group=called_hash) if near else _NONE[1],
    )


def question_key(conversation: Conversation) -> str:
    """The normalised user messages, one a line: `"weather in oslo"`, and `"hi\\nweather in oslo"` for two turns.

    All of them, because conversations of several turns often begin with the same greeting.
    """
    return "\n".join(normalise(message.content) for message in conversation.messages if message.role == "user")


def normalise(text: str) -> str:
    """Text without what does not change a question: case, spacing, compatibility forms, punctuation around words.

    `"“Set Volume to ５０％!”"` gives `"set volume to 50%"`; `"-5 + 3"` stays. Invisible characters go away; quotes
    and dashes take their ASCII form; a word loses the sentence punctuation at its ends and keeps what is inside.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_SAME)
    words = (word.strip(_SENTENCE) for word in text.casefold().split())
    return " ".join(word for word in words if word)


def tool_id(tool: ToolSpec) -> int:
    """64-bit id of a tool's name and parameters; its description may be reworded without making another tool."""
    parameters = json.dumps(tool.parameters, sort_keys=True, separators=(",", ":"))
    return hash_parts([tool.name, parameters])


def api_id(name: str) -> int:
    """64-bit id of an API name, whatever its parameters; `getWeather` and `getweather` are one API."""
    return hash_text(normalise(name))


def hash_text(text: str) -> int:
    """The first 8 bytes of BLAKE2b as an unsigned number. A lone surrogate is hashed as it is."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def hash_parts(parts: Iterable[str]) -> int:
    """The hash of a list of texts: `["ab", "c"]` and `["a", "bc"]` differ."""
    return hash_text("".join(f"{len(part)}:{part}" for part in parts))


@functools.lru_cache(maxsize=64)
def signature(text: str) -> np.ndarray:
    """MinHash of the 5-character shingles of a normalised text (of its first 8,192 characters): uint32 [128].

    Cached, because the benchmark rule and `row_keys` ask for the same question one after the other; read-only for that.
    """
    from datasketch import MinHash  # imports half of scipy

    hashes = MinHash(num_perm=SIGNATURE_SIZE, permutations=_permutations(), scheme="affine32", hashfunc=int)
    hashes.update_batch(_shingles(text))
    values = hashes.hashvalues
    values.flags.writeable = False
    return values


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Estimated Jaccard similarity of two signatures: the share of equal values. Its error is 0.035 at 0.8."""
    return float(np.count_nonzero(first == second)) / len(first)


def bands(values: np.ndarray, *, group: int = 0, count: int = BANDS) -> np.ndarray:
    """`count` hashes of equal slices of a signature, uint64 [count]. `group` keeps other groups in other buckets."""
    slices = np.ascontiguousarray(values, "<u4").reshape(count, -1)
    head = group.to_bytes(8, "little")
    digests = [
        hashlib.blake2b(head + bytes([number]) + part.tobytes(), digest_size=8).digest()
        for number, part in enumerate(slices)
    ]
    return np.frombuffer(b"".join(digests), "<u8")


def near_duplicates(rows: Sequence[RowKeys], threshold: float = NEAR) -> dict[int, int]:
    """Position of each near duplicate to the position of the earlier row it repeats; the earliest is kept.

    The reference for what the engine does in SQL: a row is compared with the earliest row of each of its 16 buckets,
    and is a duplicate of the first of these with at least this similarity. At most 16 comparisons a row, however full
    a bucket is.
    """
    first: dict[int, int] = {}
    result: dict[int, int] = {}
    for number, row in enumerate(rows):
        earlier = {first.setdefault(int(band), number) for band in row.bands} - {number}
        near = [other for other in earlier if similarity(rows[other].signature, row.signature) >= threshold]
        if near:
            result[number] = min(near)
    return result


@functools.cache
def _permutations() -> np.ndarray:
    from datasketch import MinHash

    return np.asarray(MinHash(num_perm=SIGNATURE_SIZE, seed=1, scheme="affine32").permutations)


def _shingles(text: str) -> list[int]:
    """A 32-bit hash of every 5 characters; MinHash mixes its bits further. A shorter text is one shingle."""
    text = text[:MAX_CHARACTERS].ljust(SHINGLE)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    count = len(codes) - SHINGLE + 1
    hashes = np.zeros(count, np.uint32)
    for offset in range(SHINGLE):
        hashes = hashes * _MULTIPLIER + codes[offset : offset + count]
    return hashes.tolist()


def _own_name(conversation: Conversation, name: str) -> str:
    """The source's own name of a tool whose name was mapped to one that a model can write."""
    names = conversation.meta.get("names")
    own = names.get(name) if isinstance(names, dict) else None
    return own if isinstance(own, str) else name
