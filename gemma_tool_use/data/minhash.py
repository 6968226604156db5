"""MinHash signatures of texts, many at once: what nearly equal questions have in common.

    values = signatures(["weather in oslo", "weather in oslo today"])      # uint32 [2, 128]
    similarity(values[0], values[1])                                       # 0.61, about the Jaccard similarity

Signatures are those of datasketch 2 (MinHash, scheme "affine32", seed 1; a test compares them) over the 5-character
shingles of a text: characters and not words, because a tenth of the public questions are one to six words long and
some scripts write no spaces. Changing one word of five letters leaves a similarity of 0.72 in a question of 60
characters and of 0.88 in one of 150.

Two rows are candidates when they share a band of their signatures and call the same APIs. With 16 bands of 8 values a
pair of similarity s is a candidate with probability 1 - (1 - s**8)**16:

    s            0.5    0.6    0.7    0.8    0.85   0.9    0.95
    candidate    0.06   0.24   0.61   0.95   0.99   1.00   1.00
"""

import functools
from collections.abc import Sequence

import numpy as np

SIGNATURE_SIZE = 128
SHINGLE = 5
BANDS = 16
# Only 0.1 % of real questions are longer than this.
MAX_CHARACTERS = 8192
# Texts whose shingles are found at once.
_TEXTS = 512
# Shingles permuted at once, and less than twice as many, by so many permutations: some 0.4 MiB, which stay in the cache
# of a core, in half of the time of 1.5 MiB. NumPy copies a row of less than a third of its 8,192 elements to a buffer
# first, which takes as long again.
_BLOCK, _TOGETHER = 6144, 16

# The hash of 5 characters is a polynomial in the FNV prime, of the last character first.
_POWERS = np.array([pow(0x01000193, power, 2**32) for power in range(SHINGLE)], np.uint32)
# The finalizer of MurmurHash3 (Austin Appleby, public domain): two rounds of shift and multiplication, and a shift.
_MIX = ((np.uint32(16), np.uint32(0x85EBCA6B)), (np.uint32(13), np.uint32(0xC2B2AE35)), (np.uint32(16), np.uint32(1)))
_BAND_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_GREATEST = np.uint32(2**32 - 1)

# Signatures of the latest texts: the benchmark rule and the keys of a row ask for those of the same questions.
_RECENT: dict[str, np.ndarray] = {}
_MOST_RECENT = 1024


def signatures(texts: Sequence[str]) -> np.ndarray:
    """MinHash of the 5-character shingles of each text (of its first 8,192 characters): uint32 [texts, 128].

    Of many short texts one takes half of the time that it takes by itself.
    """
    texts = [text[:MAX_CHARACTERS] for text in texts]
    known = {text: found for text in texts if (found := _RECENT.get(text)) is not None}
    new = [text for text in dict.fromkeys(texts) if text not in known]
    for start in range(0, len(new), _TEXTS):
        some = new[start : start + _TEXTS]
        found = dict(zip(some, _signatures(some), strict=True))
        known |= found
        if len(_RECENT) + len(found) > _MOST_RECENT:
            _RECENT.clear()
        _RECENT.update(found)
    return np.array([known[text] for text in texts], np.uint32).reshape(len(texts), SIGNATURE_SIZE)


def signature(text: str) -> np.ndarray:
    """MinHash of one text: uint32 [128]."""
    return signatures([text])[0]


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


def _signatures(texts: Sequence[str]) -> np.ndarray:
    """uint32 [texts, 128]: the lowest value that each permutation gives to one of a text's shingles."""
    hashes, starts = _shingles(texts)
    multipliers, offsets = (values[:, None] for values in _permutations())
    lowest = np.full((SIGNATURE_SIZE, len(texts)), _GREATEST)
    size = -(-len(hashes) // max(1, len(hashes) // _BLOCK))
    space = np.empty((_TOGETHER, size), np.uint32)
    for block in range(0, len(hashes), size):
        some = hashes[block : block + size]
        first = int(np.searchsorted(starts, block, "right")) - 1  # its text may have begun in the block before
        last = int(np.searchsorted(starts, block + len(some)))
        cuts = np.maximum(starts[first:last] - block, 0)
        for start in range(0, SIGNATURE_SIZE, _TOGETHER):
            part = slice(start, start + _TOGETHER)
            permuted = np.multiply(multipliers[part], some, out=space[:, : len(some)])
            permuted += offsets[part]
            found = np.minimum.reduceat(permuted, cuts, axis=1)
            np.minimum(lowest[part, first:last], found, out=lowest[part, first:last])
    return np.ascontiguousarray(lowest.T)


def _shingles(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """A mixed 32-bit hash of every 5 characters of each text, and where those of each text start.

    A shorter text is one shingle.
    """
    texts = [text.ljust(SHINGLE) for text in texts]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    characters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4")
    count = len(characters) - SHINGLE + 1
    hashes = np.zeros(count, np.uint32)
    for place, power in enumerate(reversed(_POWERS)):  # `np.convolve` of whole numbers takes four times as long
        hashes += characters[place : place + count] * power
    inside = np.ones(len(characters), bool)
    ends = np.cumsum(lengths)
    for before in range(1, SHINGLE):  # these five characters are of two texts
        inside[ends - before] = False
    hashes = hashes[inside[:count]]
    for shift, multiplier in _MIX:
        hashes ^= hashes >> shift
        hashes *= multiplier
    counts = lengths - (SHINGLE - 1)
    return hashes, np.cumsum(counts) - counts


@functools.cache
def _permutations() -> tuple[np.ndarray, np.ndarray]:
    """Multipliers, all odd, and offsets: uint32 [128] each. NumPy's `RandomState` gives the same numbers for ever."""
    random = np.random.RandomState(1)
    multipliers = random.randint(0, 2**31, SIGNATURE_SIZE, np.uint32) * np.uint32(2) + np.uint32(1)
    return multipliers, random.randint(0, 2**32, SIGNATURE_SIZE, np.uint32)


def _mix64(values: np.ndarray) -> np.ndarray:
    """Each bit of the result depends on all bits of the value, and other values give others (as in SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
