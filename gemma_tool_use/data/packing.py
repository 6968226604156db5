"""The packing plan of a run: which rows share a packed row, made from lengths alone, before any row is read. No JAX.

    shape = BatchShape(batch_size=1, length=8, pad_id=0)
    plan = plan_batches(RowSizes(lengths=[5, 3, 6, 2], targets=[2, 1, 2, 1]), shape, epochs=1, shuffle=False)
    plan.elements                # 2 optimizer steps
    plan.row_index(0)            # [[[2, 3]]]  rows 2 and 3, 6 + 2 tokens, fill the 8 of the first packed row
    plan.row_index(1)            # [[[0, 1]]]  int32 [accumulation, rows, segments], -1 where there is none
    plan.efficiency              # 1.0 of the cells hold a token

Every pass shuffles the rows anew, packs them by best fit within windows of `WINDOW` rows, and shuffles the packed
rows. Rows of two stages never share a packed row. Without packing each row is a packed row of its own.

Grain's packers do this to a stream, for 45 us a row where this takes 2 to 6: 16 s for three passes of Toucan's 119,287
rows. They keep the order of arrival, which fills 91 to 94 % of 640 tokens where this fills 97 %, and how many steps
there are is known at the end only (benchmarks/packing.py). A test compares with them.
"""

import bisect
import dataclasses
import functools
import hashlib
import math
from typing import Any

import numpy as np

from gemma_tool_use.data.rows import BatchShape, RowSizes
from gemma_tool_use.errors import ConfigError, DataError

# Packing all rows at once fills 0.3 % more than windows of 4,096, but puts rows of like lengths together in every pass.
WINDOW = 4096


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BatchPlan:
    """Every element of a run. An element is a function of its number.

    Attributes:
      shape: of every element.
      sizes: of the rows.
      order: row numbers, packed row after packed row, pass after pass; int32 [passes * rows].
      starts: where each packed row begins in `order`, and the end; int64 [packed rows + 1].
      passes: the packed row with which each pass begins, and the end; int64 [passes + 1].
      settings: what decided the plan, for a message about two that differ.
    """

    shape: BatchShape
    sizes: RowSizes
    order: np.ndarray
    starts: np.ndarray
    passes: np.ndarray
    settings: dict[str, Any]

    @functools.cached_property
    def _first_elements(self) -> np.ndarray:
        """The element with which each pass begins, and the number of all; the last of a pass may not be full."""
        return np.concatenate([[0], np.cumsum(-(-np.diff(self.passes) // self.shape.capacity))])

    @property
    def elements(self) -> int:
        """Elements, that is optimizer steps, of all passes."""
        return int(self._first_elements[-1])

    def steps(self, epochs: float) -> int:
        """Optimizer steps of the first `epochs` passes, at least 1; passes differ by a few packed rows."""
        whole = min(int(epochs), len(self.passes) - 2)
        first, end = self._first_elements[whole : whole + 2]
        return max(1, int(first) + round((epochs - whole) * int(end - first)))

    @property
    def packed_rows(self) -> int:
        """Packed rows of all passes, empty ones not counted."""
        return len(self.starts) - 1

    @functools.cached_property
    def segments(self) -> int:
        """Most rows in a packed row."""
        return int(np.diff(self.starts).max())

    @property
    def efficiency(self) -> float:
        """Share of the cells of all elements that hold a token; the rest is computed for nothing."""
        tokens = int(self.sizes.lengths[self.order].sum(dtype=np.int64))
        return tokens / (self.elements * self.shape.accumulation * self.shape.rows * self.shape.length)

    def row_index(self, element: int) -> np.ndarray:
        """The rows of an element, int32 [accumulation, rows, segments], -1 where there is none."""
        shape = self.shape
        index = np.full((shape.accumulation, shape.rows, self.segments), -1, np.int32)
        number = range(self.elements)[element]
        in_pass = int(np.searchsorted(self._first_elements, number, side="right")) - 1
        first = int(self.passes[in_pass] + (number - self._first_elements[in_pass]) * shape.capacity)
        for slot, packed in enumerate(range(first, min(first + shape.capacity, int(self.passes[in_pass + 1])))):
            members = self.order[self.starts[packed] : self.starts[packed + 1]]
            index[divmod(slot, shape.batch_size)][: len(members)] = members
        return index

    def totals(self, row_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(tokens, trained target tokens) of each packed row, int32 [accumulation, rows]."""
        lengths, targets = self.sizes.lengths[row_index], self.sizes.targets[row_index]
        real = row_index >= 0
        return (lengths * real).sum(axis=-1, dtype=np.int32), (targets * real).sum(axis=-1, dtype=np.int32)

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """JSON-able; the same for two plans that give the same elements, up to empty rows."""
        digest = hashlib.sha256()
        for array in (self.sizes.lengths, self.sizes.targets, self.order, self.starts, self.passes):
            digest.update(np.asarray(array, np.int64).tobytes())
        return self.settings | {"sha256": digest.hexdigest()}


def plan_batches(
    sizes: RowSizes,
    shape: BatchShape,
    *,
    epochs: int = 1,
    seed: int = 0,
    shuffle: bool = True,
    packing: bool = True,
    stages: np.ndarray | None = None,
) -> BatchPlan:
    """Plans `epochs` passes; each holds every row exactly once.

    Args:
      sizes: of the rows, none longer than `shape.length`.
      shape: of an element; its `batch_size` counts packed rows.
      epochs: number of passes.
      seed: of the shuffle, 0 to 2**32 - 1.
      shuffle: a new order for each pass; False keeps the packed rows in the order in which packing opens them, which
        without packing is that of the rows.
      packing: False gives each row a packed row of its own.
      stages: stage of each row, int [rows]: each pass goes through the stages in order, and `shuffle` shuffles within
        them. A batch at the border of two stages has packed rows of both.

    Raises:
      ConfigError: `epochs` or `seed` is out of range.
      DataError: no rows, or one longer than `shape.length`; rows are never cut.
    """
    lengths = np.asarray(sizes.lengths)
    _check(lengths, shape, epochs, seed)
    if stages is not None and len(stages) != len(lengths):
        raise ValueError(f"{len(lengths)} rows and {len(stages)} stages")
    members = [np.arange(len(lengths))] if stages is None else [np.flatnonzero(stages == s) for s in np.unique(stages)]
    orders, counts, passes = [], [], [0]
    for number in range(epochs):
        rng = np.random.default_rng((seed, number)) if shuffle else None
        for stage in members:
            order, sizes_of_packed = _pass(lengths, stage, shape.length if packing else None, rng)
            orders.append(order)
            counts.append(sizes_of_packed)
        passes.append(sum(map(len, counts)))
    settings = {"rows": len(lengths), "epochs": epochs, "seed": seed, "shuffle": shuffle, "packing": packing}
    sizes_of_shape = {name: getattr(shape, name) for name in ("batch_size", "accumulation", "length")}
    return BatchPlan(
        shape=shape,
        sizes=RowSizes(lengths=lengths, targets=np.asarray(sizes.targets)),
        order=np.concatenate(orders).astype(np.int32),
        starts=np.concatenate([[0], np.cumsum(np.concatenate(counts))]),
        passes=np.array(passes),
        settings=settings | sizes_of_shape,
    )


def _check(lengths: np.ndarray, shape: BatchShape, epochs: int, seed: int) -> None:
    problems = [] if epochs >= 1 else [f"epochs must be 1 or more, got {epochs}"]
    if not 0 <= seed < 2**32:
        problems.append(f"seed must be from 0 to 2**32 - 1, got {seed}")
    if problems:
        raise ConfigError("; ".join(problems))
    if not len(lengths):
        raise DataError("there are no rows to make batches of")
    if (longest := int(lengths.max())) > shape.length:
        raise DataError(
            f"row {int(lengths.argmax())} has {longest} tokens and the batches only {shape.length}; rows are never "
            f"cut: encode with max_length={shape.length}, or make the batches longer"
        )


def _pass(
    lengths: np.ndarray, rows: np.ndarray, capacity: int | None, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """(row numbers, packed row after packed row; rows of each packed row) of one stage in one pass."""
    rows = rows if rng is None else rng.permutation(rows)
    if capacity is None:
        return rows, np.ones(len(rows), np.int64)
    windows = np.array_split(rows, math.ceil(len(rows) / WINDOW))
    packed = [rows for window in windows for rows in pack(lengths, window, capacity)]
    if rng is not None:
        packed = [packed[i] for i in rng.permutation(len(packed))]
    return np.concatenate(packed), np.array(list(map(len, packed)))


def pack(lengths: np.ndarray, rows: np.ndarray, capacity: int) -> list[list[int]]:
    """Packs `rows` into bins of `capacity` tokens, best fit from the longest or in their order: what takes fewer bins.

    From the longest takes at most 11/9 of the fewest possible bins, and four: Johnson et al., "Worst-case performance
    bounds for simple one-dimensional packing algorithms", 1974. Where three rows of middling length fill a bin, and
    two long ones leave no room for a third, a mixed order is better: 98 % against 96 % of 1,280 tokens for rows of 310
    to 496.
    """
    decreasing = rows[np.argsort(-lengths[rows], kind="stable")]
    return min((best_fit(lengths, order, capacity) for order in (decreasing, rows)), key=len)


def best_fit(lengths: np.ndarray, rows: np.ndarray, capacity: int) -> list[list[int]]:
    """Puts each of `rows` in turn into the fullest bin that has room, else into a new one.

    Rows 2, 0, 1, 3 of lengths [5, 3, 6, 2] in bins of 8 give [2, 3], [0, 1].
    """
    bins: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room, bin), ascending
    for row, length in zip(rows.tolist(), lengths[rows].tolist(), strict=True):
        place = bisect.bisect_left(free, (length, -1))
        if place == len(free):
            room, number = capacity, len(bins)
            bins.append([])
        else:
            room, number = free.pop(place)
        bins[number].append(row)
        bisect.insort(free, (room - length, number))
    return bins
