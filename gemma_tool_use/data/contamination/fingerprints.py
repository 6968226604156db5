"""Fingerprints of benchmark questions: enough to recognise one, too little to read it.

    prints = shipped_bfcl()
    prints.find("Find the AREA of a triangle, with a base of 10 units and height of 5 units!")
    # Match(benchmark="bfcl-v4", item="simple_python_0", similarity=1.0)

Kept of each question are a 64-bit hash and the lower halves of the 128 values of its MinHash signature (`keys.py`).
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

from gemma_tool_use.data.keys import SIGNATURE_SIZE, hash_text, normalise, signature
from gemma_tool_use.errors import DataError, FileError

BFCL = "bfcl-v4"
LEAST_EXACT, LEAST_NEAR = 16, 36
BANDS = 32
FOLDER = Path(__file__).parent
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
        text = normalise(text)
        heavy = weight(text)
        if heavy < LEAST_EXACT:
            return None
        same = self._by_hash.get(hash_text(text))
        if same is not None:
            return Match(benchmark=self.benchmark, item=self.items[same], similarity=1.0)
        if heavy < LEAST_NEAR:
            return None
        values = signature(text).astype(np.uint16)
        parts = _bands(values)
        found = [table[part] for part, table in zip(parts, self._tables, strict=True) if part in table]
        if not found:
            return None
        numbers = np.array(sorted({number for each in found for number in each}))
        shares = np.count_nonzero(self.signatures[numbers] == values, axis=1) / SIGNATURE_SIZE
        best = int(np.argmax(shares))
        if shares[best] < similarity:
            return None
        return Match(benchmark=self.benchmark, item=self.items[int(numbers[best])], similarity=float(shares[best]))

    @functools.cached_property
    def _by_hash(self) -> dict[int, int]:
        return {value: number for number, value in reversed(list(enumerate(self.hashes.tolist())))}

    @functools.cached_property
    def _tables(self) -> list[dict[int, list[int]]]:
        """For each band, the questions by that part of their signature."""
        tables: list[dict[int, list[int]]] = [{} for _ in range(BANDS)]
        for number in np.flatnonzero(self.near).tolist():
            for part, table in zip(_bands(self.signatures[number]), tables, strict=True):
                table.setdefault(part, []).append(number)
        return tables


def weight(text: str) -> int:
    """Characters of a text, a Chinese, Japanese or Korean one counted as three: `"weather 北京"` gives 14."""
    return len(text) + 2 * sum(character >= "\u2e80" for character in text) if not text.isascii() else len(text)


def fingerprint(benchmark: str, questions: Iterable[tuple[str, str]]) -> Fingerprints:
    """Fingerprints of `(item id, question)` pairs; of equal questions the first, and none of those ignored."""
    items: dict[str, str] = {}
    for item, question in questions:
        text = normalise(question)
        if weight(text) >= LEAST_EXACT:
            items.setdefault(text, item)
    near = np.array([weight(text) >= LEAST_NEAR for text in items], bool)
    signatures = np.zeros((len(items), SIGNATURE_SIZE), np.uint16)
    for number, text in enumerate(items):
        if near[number]:
            signatures[number] = signature(text).astype(np.uint16)
    hashes = np.array([hash_text(text) for text in items], np.uint64)
    return Fingerprints(
        benchmark=benchmark, items=list(items.values()), hashes=hashes, signatures=signatures, near=near
    )


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
        signatures = np.zeros((len(near), SIGNATURE_SIZE), np.uint16)
        signatures[near] = found
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); install gemma-tool-use again") from None
    if about.get("probe") != _probe():
        raise DataError(
            f"{path} was made with another MinHash than that of this version, so nearly equal questions would not be "
            "found. Build it again: python -m gemma_tool_use.data.contamination.build --help"
        )
    return Fingerprints(benchmark=str(about["benchmark"]), items=items, hashes=hashes, signatures=signatures, near=near)


@functools.cache
def shipped_bfcl() -> Fingerprints:
    """The questions of BFCL v4 that come with this package; `bfcl_v4.json` names version, source and licence."""
    return load(FOLDER / "bfcl_v4.npz")


def _bands(values: np.ndarray) -> list[int]:
    """The 32 bands of a signature; the 4 values of 16 bits of each are one number of 64 bits."""
    return values.view(np.uint64).tolist()


def _probe() -> list[int]:
    return signature(PROBE)[:8].tolist()
