"""Random choices that depend on nothing but the seed, the step and the row.

    draws = Draws(seed=0, step="names", row="toucan:17")
    draws.unit()                  # 0.3891..., always
    draws.below(6, "template")    # 4
    draws.order(3)                # [2, 0, 1]

Each choice hashes its own label, so no choice moves another one: rows may come in any order, from any worker, and a
step that draws more often changes no other step. BLAKE2b, because Python's `hash` differs between processes and the
methods of `random.Random` between Python versions.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draws:
    """The choices of one step for one row."""

    seed: int
    step: str
    row: str = ""

    def bits(self, *labels: str | int) -> int:
        """64 bits for these labels."""
        text = json.dumps([self.seed, self.step, self.row, *labels])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    def unit(self, *labels: str | int) -> float:
        """A number from 0 up to, but not, 1."""
        return (self.bits(*labels) >> 11) * 2.0**-53

    def below(self, n: int, *labels: str | int) -> int:
        """A whole number from 0 to n - 1."""
        return self.bits(*labels) % n

    def pick(self, values: Sequence[T], *labels: str | int) -> T:
        """One of the values."""
        return values[self.below(len(values), *labels)]

    def order(self, n: int, *labels: str | int) -> list[int]:
        """The numbers 0 to n - 1, shuffled."""
        return sorted(range(n), key=lambda i: (self.bits(*labels, i), i))
