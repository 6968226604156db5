"""What makes two rows the same: normalised questions, stable hashes, tool ids and MinHash signatures.

    normalise("  What's 3 km in MILES?? ")          # "what's 3 km in miles"
    keys = row_keys(conversation)
    keys.exact                                      # 64-bit hash of the question and the set of tools
    similarity(keys.signature, other.signature)     # 0.93, about the Jaccard similarity of their 5-grams

All hashes are the first 8 bytes of BLAKE2b, so they are the same on every machine and in every process. Signatures are
those of datasketch 2 (MinHash, scheme "affine32", seed 1; a test compares them) over the 5-character shingles of the
normalised question: characters and not words, because a tenth of the public questions are one to six words long and
some scripts write no spaces. Changing one word of five letters leaves a similarity of 0.72 in a question of 60
characters and of 0.88 in one of 150.

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
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from gemma_tool_use.conversation import Conversation, ToolSpec

SIGNATURE_SIZE = 128
SHINGLE = 5
BANDS = 16
NEAR = 0.8
"""Similarity from which two questions count as nearly the same."""
# Only 0.1 % of real questions are longer than this.
MAX_CHARACTERS = 8192
# Shingles permuted at once: 512 KiB, which stay in the cache of a core.
_BLOCK = 1024
# Parameters longer than this are no keys of a cache, so that it holds at most 64 MiB whatever the rows are.
_CACHED_BYTES = 8192

# The hash of 5 characters is a polynomial in the FNV prime; `np.convolve` turns them round.
_POWERS = np.array([pow(0x01000193, power, 2**32) for power in range(SHINGLE)], np.uint32)
# The finalizer of MurmurHash3 (Austin Appleby, public domain): two rounds of shift and multiplication, and a shift.
_MIX = ((np.uint32(16), np.uint32(0x85EBCA6B)), (np.uint32(13), np.uint32(0xC2B2AE35)), (np.uint32(16), np.uint32(1)))
_BAND_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
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
    """

    question: int
    exact: int
    called: int
    tools: tuple[int, ...]
    apis: tuple[int, ...]
    signature: np.ndarray


_NO_SIGNATURE = np.zeros(0, np.uint32)


def row_keys(conversation: Conversation, *, near: bool = True) -> RowKeys:
    """All keys of a conversation; about 0.05 ms for one with three tools. Without `near` no signature."""
    text = question_key(conversation)
    own = conversation.meta.get("names")
    own = own if isinstance(own, dict) else {}
    tools = tuple([tool_id(tool) for tool in conversation.tools])
    called = {call.name for message in conversation.messages for call in message.calls}
    return RowKeys(
        question=hash_text(text),
        exact=hash_parts([text, *[f"{tool:016x}" for tool in sorted(set(tools))]]),
        called=hash_parts([_own_name(own, name) for name in sorted(called)]),
        tools=tools,
        apis=tuple([api_id(_own_name(own, tool.name)) for tool in conversation.tools]),
        signature=signature(text) if near else _NO_SIGNATURE,
    )


def question_key(conversation: Conversation) -> str:
    """The normalised user messages, one a line: `"weather in oslo"`, and `"hi\\nweather in oslo"` for two turns.

    All of them, because conversations of several turns often begin with the same greeting.
    """
    return "\n".join(normalise(message.content) for message in conversation.messages if message.role == "user")


@functools.lru_cache(maxsize=8)
def normalise(text: str) -> str:
    """Text without what does not change a question: case, spacing, compatibility forms, punctuation around words.

    `"“Set Volume to ５０％!”"` gives `"set volume to 50%"`; `"-5 + 3"` stays. Invisible characters go away; quotes
    and dashes take their ASCII form; a word loses the sentence punctuation at its ends and keeps what is inside.
    Cached, because several rules and `row_keys` ask for the same question one after the other.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_SAME)
    words = [word.strip(_SENTENCE) for word in text.casefold().split()]
    return " ".join([word for word in words if word])


def tool_id(tool: ToolSpec) -> int:
    """64-bit id of a tool's name and parameters; its description may be reworded without making another tool."""
    key = canonical(tool.parameters)
    if key is None or len(key) + len(tool.name) > _CACHED_BYTES:
        return _new_tool_id(tool)
    return _tool_id(tool.name, key)


def canonical(parameters: dict[str, Any]) -> bytes | None:
    """JSON that is the same for equal parameters, and other for others; None for those that orjson has no form for."""
    try:
        return orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # half of a surrogate pair, or an integer of more than 64 bits
        return None


@functools.lru_cache(maxsize=8192)
def _tool_id(name: str, key: bytes) -> int:
    return _new_tool_id(ToolSpec(name=name, parameters=orjson.loads(key)))


def _new_tool_id(tool: ToolSpec) -> int:
    parameters = json.dumps(tool.parameters, sort_keys=True, separators=(",", ":"))
    return hash_parts([tool.name, parameters])


def api_id(name: str) -> int:
    """64-bit id of an API name, whatever its parameters; `getWeather` and `getweather` are one API."""
    return _api_id(name) if len(name) <= _CACHED_BYTES else hash_text(normalise(name))


@functools.lru_cache(maxsize=8192)
def _api_id(name: str) -> int:
    return hash_text(normalise(name))


def hash_text(text: str) -> int:
    """The first 8 bytes of BLAKE2b as an unsigned number. A lone surrogate is hashed as it is."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def hash_parts(parts: Iterable[str]) -> int:
    """The hash of a list of texts: `["ab", "c"]` and `["a", "bc"]` differ."""
    return hash_text("".join([f"{len(part)}:{part}" for part in parts]))


@functools.lru_cache(maxsize=8)
def signature(text: str) -> np.ndarray:
    """MinHash of the 5-character shingles of a normalised text (of its first 8,192 characters): uint32 [128].

    Cached, because the benchmark rule and `row_keys` ask for the same question one after the other; read-only for that.
    """
    hashes = _shingles(text)
    multipliers, offsets = _permutations()
    lowest = _lowest(hashes[:_BLOCK], multipliers, offsets)
    for start in range(_BLOCK, len(hashes), _BLOCK):
        np.minimum(lowest, _lowest(hashes[start : start + _BLOCK], multipliers, offsets), out=lowest)
    lowest.flags.writeable = False
    return lowest


def _lowest(hashes: np.ndarray, multipliers: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The lowest value that each permutation gives to one of the hashes."""
    permuted = np.multiply.outer(hashes, multipliers)
    permuted += offsets
    return np.minimum.reduce(permuted, axis=0)


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Estimated Jaccard similarity of two signatures: the share of equal values. Its error is 0.035 at 0.8."""
    return float(np.count_nonzero(first == second)) / len(first)


def bands(values: np.ndarray, *, groups: np.ndarray | int = 0, count: int = BANDS) -> np.ndarray:
    """`count` hashes of equal slices of signatures, uint64 [..., count]: equal for equal slices of one group.

    Args:
      values: uint32 [..., 128].
      groups: uint64 [...]; rows of different groups have no hash in common.
    """
    slices = np.ascontiguousarray(values, "<u4").view("<u8")
    slices = slices.reshape(*values.shape[:-1], count, values.shape[-1] // 2 // count)
    hashes = np.asarray(groups, np.uint64)[..., None] + np.arange(count, dtype=np.uint64) * _BAND_MULTIPLIER
    for number in range(slices.shape[-1]):
        hashes = _mix64(hashes ^ _mix64(slices[..., number]))
    return hashes


def near_duplicates(rows: Sequence[RowKeys], threshold: float = NEAR) -> dict[int, int]:
    """Position of each near duplicate to the position of the earlier row it repeats; the earliest is kept.

    The reference for what the engine does in SQL: a row is compared with the earliest row of each of its 16 buckets,
    and is a duplicate of the first of these with at least this similarity. At most 16 comparisons a row, however full
    a bucket is.
    """
    first: dict[int, int] = {}
    result: dict[int, int] = {}
    for number, row in enumerate(rows):
        buckets = bands(row.signature, groups=row.called).tolist()
        earlier = {first.setdefault(band, number) for band in buckets} - {number}
        near = [other for other in earlier if similarity(rows[other].signature, row.signature) >= threshold]
        if near:
            result[number] = min(near)
    return result


@functools.cache
def _permutations() -> tuple[np.ndarray, np.ndarray]:
    """Multipliers, all odd, and offsets: uint32 [128] each. NumPy's `RandomState` gives the same numbers for ever."""
    random = np.random.RandomState(1)
    multipliers = random.randint(0, 2**31, SIGNATURE_SIZE, np.uint32) * np.uint32(2) + np.uint32(1)
    return multipliers, random.randint(0, 2**32, SIGNATURE_SIZE, np.uint32)


def _shingles(text: str) -> np.ndarray:
    """A mixed 32-bit hash of every 5 characters. A shorter text is one shingle."""
    text = text[:MAX_CHARACTERS].ljust(SHINGLE)
    hashes = np.convolve(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4"), _POWERS, "valid")
    for shift, multiplier in _MIX:
        hashes ^= hashes >> shift
        hashes *= multiplier
    return hashes


def _mix64(values: np.ndarray) -> np.ndarray:
    """Each bit of the result depends on all bits of the value, and other values give others (as in SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _own_name(own: Mapping[str, Any], name: str) -> str:
    """The source's own name of a tool whose name was mapped to one that a model can write."""
    found = own.get(name)
    return found if isinstance(found, str) else name
