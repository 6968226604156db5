"""Which prompts share a cache and a prefill, from their lengths alone. No JAX.

    [group] = plan({0: 5, 1: 300, 2: 0, 3: 40}, new=64, rows=64)
    group.length                       # 384: slots of a row of the cache, a bucket
    group.chunks[0].prompts            # (1, 3, 0, 2): prefilled together
    group.chunks[0].starts             # (0, 300, 340, 345)

A chunk is what one prefill computes: a few packed rows of one length, filled first-fit, the longest prompts first. Its
layout depends on all the prompts and never on when a row of the cache becomes free, so that a prompt has the same
neighbours, and to the last bit the same keys and values, in every run over the same prompts.
"""

import dataclasses
from collections.abc import Mapping, Sequence

LENGTH_STEP = 128
"""Lengths are multiples of this: the lanes of a TPU, and the blocks of attention on a CPU."""
_LEAST = 512
_PREFILL_TOKENS = 2048
_TOKENS_PER_PROMPT = 128
"""Shorter prompts leave a part of a chunk empty: every place for a prompt costs a copy of a row of the cache."""
# A product with fewer rows is no faster, and with one row in bfloat16 fifteen times slower on a CPU.
_LEAST_ROWS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
    """Prompts that are prefilled together; each begins at `starts` in the flattened packed rows."""

    prompts: tuple[int, ...]
    starts: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Prompts that share a cache.

    Attributes:
      rows: prompts decoded at a time; no chunk has more.
      length: most tokens of a row of the cache.
      packed_rows, packed_length: shape of a chunk.
      chunks: in the order in which they are taken up.
    """

    rows: int
    length: int
    packed_rows: int
    packed_length: int
    chunks: tuple[Chunk, ...]

    @property
    def most_prompts(self) -> int:
        """Of a chunk."""
        return min(self.rows, self.packed_rows * self.packed_length // _TOKENS_PER_PROMPT)


def plan(lengths: Mapping[int, int], *, new: int, rows: int, multiple: int = 1) -> list[Group]:
    """Groups with short rows first.

    Args:
      lengths: tokens to prefill, by the number of the prompt.
      new: tokens that a row has to have room for beside those.
      rows: most prompts decoded at a time.
      multiple: the number of rows of a cache is a multiple of this.
    """
    by_bucket: dict[int, list[int]] = {}
    for prompt in sorted(lengths, key=lambda number: (-lengths[number], number)):
        by_bucket.setdefault(max(bucket(lengths[prompt] + new), _LEAST), []).append(prompt)
    return [
        _group({prompt: lengths[prompt] for prompt in by_bucket[size]}, new, rows, multiple)
        for size in sorted(by_bucket)
    ]


def _group(lengths: Mapping[int, int], new: int, rows: int, multiple: int) -> Group:
    """`lengths`: in falling order."""
    longest = max(lengths.values())
    rows = max(min(rows, _power_of_two(len(lengths))), _LEAST_ROWS)
    rows = -(-rows // multiple) * multiple
    packed_length = max(bucket(longest), _LEAST)
    bins = _first_fit(lengths, packed_length, most=min(rows, packed_length // _TOKENS_PER_PROMPT))
    packed_rows = 1 if len(bins) == 1 else max(1, _PREFILL_TOKENS // packed_length)
    chunks: list[list[list[int]]] = []
    for packed in bins:
        if not chunks or len(chunks[-1]) == packed_rows or sum(map(len, chunks[-1])) + len(packed) > rows:
            chunks.append([])
        chunks[-1].append(packed)
    return Group(
        rows=rows,
        length=bucket(longest + new),
        packed_rows=packed_rows,
        packed_length=packed_length,
        chunks=tuple(_chunk(chunk, lengths, packed_length) for chunk in chunks),
    )


def _first_fit(lengths: Mapping[int, int], size: int, *, most: int) -> list[list[int]]:
    """Bins of up to `size` tokens and `most` prompts."""
    bins: list[list[int]] = []
    room: list[int] = []
    for prompt, length in lengths.items():
        at = next((i for i, free in enumerate(room) if free >= length and len(bins[i]) < most), len(bins))
        if at == len(bins):
            bins.append([])
            room.append(size)
        bins[at].append(prompt)
        room[at] -= length
    return bins


def _chunk(bins: Sequence[Sequence[int]], lengths: Mapping[int, int], packed_length: int) -> Chunk:
    prompts, starts = [], []
    for row, packed in enumerate(bins):
        start = row * packed_length
        for prompt in packed:
            prompts.append(prompt)
            starts.append(start)
            start += lengths[prompt]
    return Chunk(prompts=tuple(prompts), starts=tuple(starts))


def bucket(length: int) -> int:
    """The smallest of 128, 256, 384, 512, 768, 1024, 1536, 2048, ... that is not below `length`."""
    power = LENGTH_STEP
    while power < length:
        power *= 2
    between = power // 4 * 3
    return between if between % LENGTH_STEP == 0 and length <= between else power


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
