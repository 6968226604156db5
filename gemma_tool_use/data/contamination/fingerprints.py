"""Fingerprints of benchmark questions: enough to recognise one, too little to read it.

    prints = shipped_bfcl()
    prints.find("Find the AREA of a triangle, with a base of 10 units and height of 5 units!")
    # Match(benchmark="bfcl-v4", item="simple_python_0", similarity=1.0)

Kept of each question are a 64-bit hash and the lower halves of the 128 values of its MinHash signature (`minhash.py`).
What counts as a benchmark question depends on its weight, the number of characters with a Chinese, Japanese or Korean
one as three:

    under 16      ignored: "hi", "test", "what is my name" are everybody's
    16 to 35      the same question after normalising
    from 36       also a question of at least the asked similarity

Of 1,500 questions of BFCL with one word replaced, 86 % of those of 36 to 59 characters and 99 % of the longer ones are
recognised at 0.6, and all with other case, punctuation or spacing. Candidates come from 32 bands of 4 values, so that
a question of similarity 0.6 is looked at with probability 0.99; the decision is the similarity's. A question inside a
much longer text is not recognised.
"""

import dataclasses
import functools
import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gemma_tool_use.data.keys import hash_text, normalise
from gemma_tool_use.data.minhash import SIGNATURE_SIZE, signature, signatures
from gemma_tool_use.errors import DataError, FileError

BFCL = "bfcl-v4"
LEAST_EXACT, LEAST_NEAR = 16, 36
BANDS = 32
FOLDER = Path(__file__).parent
_PLACE = np.uint64(0x9E3779B97F4A7C15)
_OTHER_BITS = np.uint64(43)
# Its signature is stored with the fingerprints: another MinHash would find nothing, and say nothing.
PROBE = "the quick brown fox jumps over the lazy dog"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
    """A benchmark question that was recognised. `similarity` is 1 for the same question."""

    benchmark: str
    item: str
    similarity: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fingerprints:
    """The questions of one benchmark.

    Attributes:
      benchmark: its name.
      items: id of each question.
      hashes: uint64 [questions], of the normalised text.
      signatures: uint16 [questions, 128]; zeros for a question that is too short for its neighbours to count.
      near: bool [questions], whether neighbours count.
    """

    benchmark: str
    items: Sequence[str]
    hashes: np.ndarray
    signatures: np.ndarray
    near: np.ndarray

    def find(self, text: str, similarity: float = 0.6) -> Match | None:
        """The question that `text`, a user message, repeats: the same one, else the most similar."""
        return self.find_all([text], similarity)[0]

    def find_all(self, texts: Sequence[str], similarity: float = 0.6) -> list[Match | None]:
        """What `find` says of each text, in a third of the time for many."""
        texts = [normalise(text) for text in texts]
        # A long text is heavy enough without its characters being looked at.
        weights = [LEAST_NEAR if len(text) >= LEAST_NEAR else weight(text) for text in texts]
        found: list[Match | None] = [None] * len(texts)
        rest: list[int] = []
        for number, (text, heavy) in enumerate(zip(texts, weights, strict=True)):
            same = self._by_hash.get(hash_text(text)) if heavy >= LEAST_EXACT else None
            if same is not None:
                found[number] = Match(benchmark=self.benchmark, item=self.items[same], similarity=1.0)
            elif heavy >= LEAST_NEAR:
                rest.append(number)
        values = signatures([texts[number] for number in rest]).astype(np.uint16)
        for row, numbers in self._candidates(values).items():
            found[rest[row]] = self._nearest(values[row], numbers, similarity)
        return found

    def _nearest(self, values: np.ndarray, numbers: Iterable[int], similarity: float) -> Match | None:
        """The most similar of some questions, the first of equally similar ones."""
        candidates = np.unique(np.fromiter(numbers, np.int64))
        shares = np.count_nonzero(self.signatures[candidates] == values, axis=1) / SIGNATURE_SIZE
        best = int(np.argmax(shares))
        if shares[best] < similarity:
            return None
        return Match(benchmark=self.benchmark, item=self.items[int(candidates[best])], similarity=float(shares[best]))

    def _candidates(self, values: np.ndarray) -> dict[int, list[int]]:
        """The questions that have a band in common with each of some signatures, uint16 [texts, 128], by its row."""
        found: dict[int, list[int]] = {}
        hashes, owners = self._sorted_bands
        wanted = _bands(values)
        places = np.flatnonzero(self._first_bits[wanted >> _OTHER_BITS])  # one in sixteen, so that few are searched for
        start, stop = (np.searchsorted(hashes, wanted[places], side) for side in ("left", "right"))
        for number in np.flatnonzero(start < stop).tolist():
            row = int(places[number]) // BANDS
            found.setdefault(row, []).extend(owners[start[number] : stop[number]].tolist())
        return found

    @functools.cached_property
    def _first_bits(self) -> np.ndarray:
        """Whether a band begins with these bits, bool [2**21]: 2 MiB, which a core reads faster than it searches."""
        there = np.zeros(2 ** (64 - int(_OTHER_BITS)), bool)
        there[self._sorted_bands[0] >> _OTHER_BITS] = True
        return there

    @functools.cached_property
    def _by_hash(self) -> dict[int, int]:
        return {value: number for number, value in reversed(list(enumerate(self.hashes.tolist())))}

    @functools.cached_property
    def _sorted_bands(self) -> tuple[np.ndarray, np.ndarray]:
        """Bands of all questions whose neighbours count, uint64 and rising, and the question that each is of."""
        numbers = np.flatnonzero(self.near)
        hashes = _bands(self.signatures[numbers])
        order = np.argsort(hashes)
        return hashes[order], np.repeat(numbers, BANDS)[order]


def weight(text: str) -> int:
    """Characters of a text, a Chinese, Japanese or Korean one counted as three: `"weather 北京"` gives 14."""
    return len(text) if text.isascii() else len(text) + 2 * sum(map("\u2e80".__le__, text))


def fingerprint(benchmark: str, questions: Iterable[tuple[str, str]]) -> Fingerprints:
    """Fingerprints of `(item id, question)` pairs; of equal questions the first, and none of those ignored."""
    items: dict[str, str] = {}
    for item, question in questions:
        text = normalise(question)
        if weight(text) >= LEAST_EXACT:
            items.setdefault(text, item)
    near = np.array([weight(text) >= LEAST_NEAR for text in items], bool)
    hashes = np.array([hash_text(text) for text in items], np.uint64)
    values = signatures([text for text, heavy in zip(items, near, strict=True) if heavy]).astype(np.uint16)
    return _of(benchmark, list(items.values()), hashes, near, values)


def _of(benchmark: str, items: Sequence[str], hashes: np.ndarray, near: np.ndarray, values: np.ndarray) -> Fingerprints:
    """Fingerprints from the signatures of only those questions whose neighbours count."""
    whole = np.zeros((len(items), SIGNATURE_SIZE), np.uint16)
    whole[near] = values
    return Fingerprints(benchmark=benchmark, items=items, hashes=hashes, signatures=whole, near=near)


def save(prints: Fingerprints, path: Path, about: dict[str, Any]) -> None:
    """Writes `path` (.npz) and beside it a .json with `about`, the counts and what the reader checks."""
    items = np.frombuffer("\n".join(prints.items).encode(), np.uint8)
    np.savez_compressed(
        path, hashes=prints.hashes, signatures=prints.signatures[prints.near], near=prints.near, items=items
    )
    counts = {"questions": len(prints.items), "questions_matched_nearly": int(prints.near.sum())}
    text = json.dumps(about | counts | {"benchmark": prints.benchmark, "probe": _probe()}, indent=2)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> Fingerprints:
    """Reads what `save` wrote.

    Raises:
      FileError: a file is missing.
      DataError: a file is damaged, or made with another MinHash than the one installed.
    """
    try:
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        with np.load(path, allow_pickle=False) as arrays:
            hashes, near, found = arrays["hashes"], arrays["near"], arrays["signatures"]
            items = arrays["items"].tobytes().decode().split("\n")
        prints = _of(str(about["benchmark"]), items, hashes, near, found)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); install gemma-tool-use again") from None
    if about.get("probe") != _probe():
        raise DataError(
            f"{path} was made with another MinHash than that of this version, so nearly equal questions would not be "
            "found. Build it again: python -m gemma_tool_use.data.contamination.build --help"
        )
    return prints


@functools.cache
def shipped_bfcl() -> Fingerprints:
    """The questions of BFCL v4 that come with this package; `bfcl_v4.json` names version, source and licence."""
    return load(FOLDER / "bfcl_v4.npz")


def _bands(values: np.ndarray) -> np.ndarray:
    """The 32 bands of signatures, uint64 [texts * 32], each four values of 16 bits and told apart by its place.

    Two bands of different places are hardly ever one number, and if they are, one more question is looked at.
    """
    parts = values.view(np.uint64).reshape(-1, BANDS)
    return (parts ^ (np.arange(BANDS, dtype=np.uint64) * _PLACE)).ravel()


def _probe() -> list[int]:
    return signature(PROBE)[:8].tolist()
