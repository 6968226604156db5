"""Counters that stay small whatever the rows hold, and that add up in any division of the rows.

lengths = Histogram()
lengths.add(512)
lengths.over(512), lengths.quantile(0.5)     # 0, 512

names = BoundedCounter(limit=2)
names.add("a"); names.add("b"); names.add("c"); names.add("a")
names.counts, names.others                   # Counter({"a": 2, "b": 1}), 1
"""

import collections
import dataclasses
import math

EXACT_BELOW = 32_768
COARSE_STEP = 1_024
MOST_NAMES = 100_000
LONGEST_NAME = 120


@dataclasses.dataclass
class Histogram:
    """Counts of whole numbers in fixed bins: one number each below 32,768, above that 1,024 numbers each.

    Attributes:
      bins: last number of a bin, to how many fell into it.
      total: sum of the numbers, exact.
      most: the largest of them, exact.
    """

    bins: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    total: int = 0
    most: int = 0

    @property
    def count(self) -> int:
        return self.bins.total()

    @property
    def mean(self) -> float:
        """0 when nothing was counted."""
        return self.total / self.count if self.count else 0.0

    def add(self, number: int) -> None:
        beyond = max(0, number - (EXACT_BELOW - 1))
        self.bins[number - beyond + -(-beyond // COARSE_STEP) * COARSE_STEP] += 1
        self.total += number
        self.most = max(self.most, number)

    def merge(self, other: "Histogram") -> None:
        self.bins.update(other.bins)
        self.total += other.total
        self.most = max(self.most, other.most)

    def over(self, limit: int) -> int:
        """How many are greater than `limit`; exact for limits below 32,768."""
        return sum(n for last, n in self.bins.items() if last > limit)

    def quantile(self, share: float) -> int:
        """The smallest number that at least `share` of them do not exceed; 0 when nothing was counted.

        Of 1, 2, 3, 4 the quantile 0.5 is 2 and 0.9 is 4. Above 32,768 it is the end of the bin, at most the largest.
        """
        wanted, seen = max(1, math.ceil(share * self.count)), 0
        for last in sorted(self.bins):
            seen += self.bins[last]
            if seen >= wanted:
                return min(last, self.most)
        return 0


@dataclasses.dataclass
class BoundedCounter:
    """Counts names that strangers chose. Once `limit` different ones are held, new ones are counted as `others`.

    With fewer different names than `limit` the counts are exact and do not depend on the order of the rows.
    """

    limit: int = MOST_NAMES
    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    others: int = 0

    def add(self, name: str, n: int = 1) -> None:
        name = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 3] + "..."
        if name in self.counts or len(self.counts) < self.limit:
            self.counts[name] += n
        else:
            self.others += n

    def merge(self, other: "BoundedCounter") -> None:
        for name, n in other.counts.items():
            self.add(name, n)
        self.others += other.others

    def top(self, n: int) -> list[tuple[str, int]]:
        """The `n` most frequent, ties by name."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:n]

    @property
    def total(self) -> int:
        return self.counts.total() + self.others
