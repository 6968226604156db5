"""What makes two rows the same: normalised questions, stable hashes, tool ids, and signatures (`minhash.py`).

    normalise("  What's 3 km in MILES?? ")          # "what's 3 km in miles"
    keys = row_keys(conversation)
    keys.exact                                      # 64-bit hash of the question and the set of tools

All hashes are the first 8 bytes of BLAKE2b, so they are the same on every machine and in every process.
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
from gemma_tool_use.data.by_object import CACHED_CHARACTERS, ByObject
from gemma_tool_use.data.minhash import bands, signature, similarity

NEAR = 0.8
"""Similarity from which two questions count as nearly the same."""
_IDS: ByObject[int] = ByObject()

# Punctuation of sentences; signs of arithmetic, currencies and units are part of the question.
_SENTENCE = ".,;:!?\"'`()[]{}«»‹›¿¡、。〈〉《》「」『』【】〔〕・।؟،؛"
_ASCII_SENTENCE = "".join(filter(str.isascii, _SENTENCE))
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
      text: the normalised question.
      question: its hash.
      exact: hash of the question and the set of tools; equal for exact duplicates.
      called: hash of the set of APIs that are called; near duplicates have it in common.
      tools: id of each tool offered, in order.
      apis: id of each tool's API name, in order; no API may stand on both sides of a split.
      signature: uint32 [128], MinHash of the question.
    """

    text: str
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
    tools = [tool_id(tool) for tool in conversation.tools]
    names = [tool.name for tool in conversation.tools]
    called = sorted({call.name for message in conversation.messages for call in message.calls})
    if isinstance(own, dict):
        names, called = ([_own_name(own, name) for name in some] for some in (names, called))
    return RowKeys(
        text=text,
        question=hash_text(text),
        exact=hash_parts([text, *[f"{tool:016x}" for tool in sorted(set(tools))]]),
        called=_names_id(tuple(called)),
        tools=tuple(tools),
        apis=tuple(map(api_id, names)),
        signature=signature(text) if near else _NO_SIGNATURE,
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
    Cached, because several rules and `row_keys` ask for the same question one after the other.
    """
    return _short_normalised(text) if len(text) <= CACHED_CHARACTERS else _normalised(text)


@functools.lru_cache(maxsize=1024)
def _short_normalised(text: str) -> str:
    return _normalised(text)


def _normalised(text: str) -> str:
    marks = _ASCII_SENTENCE  # fewer to look for
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_SAME)
        marks = _SENTENCE
    words = [word.strip(marks) for word in text.casefold().split()]
    return " ".join(words if "" not in words else filter(None, words))


def tool_id(tool: ToolSpec) -> int:
    """64-bit id of a tool's name and parameters; its description may be reworded without making another tool."""
    found = _IDS.get(tool)
    if found is None:
        key = canonical(tool.parameters)
        if key is None or len(key) + len(tool.name) > CACHED_CHARACTERS:
            return _new_tool_id(tool)
        found = _tool_id(tool.name, key)
        _IDS.put(tool, found)
    return found


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
    return _api_id(name) if len(name) <= CACHED_CHARACTERS else hash_text(normalise(name))


@functools.lru_cache(maxsize=8192)
def _api_id(name: str) -> int:
    return hash_text(normalise(name))


def _names_id(names: tuple[str, ...]) -> int:
    return _known_names_id(names) if sum(map(len, names)) <= CACHED_CHARACTERS else hash_parts(names)


@functools.lru_cache(maxsize=8192)
def _known_names_id(names: tuple[str, ...]) -> int:
    return hash_parts(names)


def hash_text(text: str) -> int:
    """The first 8 bytes of BLAKE2b as an unsigned number. A lone surrogate is hashed as it is."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def hash_parts(parts: Iterable[str]) -> int:
    """The hash of a list of texts: `["ab", "c"]` and `["a", "bc"]` differ."""
    return hash_text("".join([f"{len(part)}:{part}" for part in parts]))


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


def _own_name(own: Mapping[str, Any], name: str) -> str:
    """The source's own name of a tool whose name was mapped to one that a model can write."""
    found = own.get(name)
    return found if isinstance(found, str) else name
