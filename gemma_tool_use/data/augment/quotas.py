"""How many rows of each source a mix takes: the most for which proportions, no-call share and supply agree.

    available = {"toucan": Available(call=600, convertible=0, no_call=400), "xlam": Available(call=500, ...)}
    quotas(available, {"toucan": 3, "xlam": 1}, MixSettings(weights=..., max_no_call_share=0.2))
    # toucan 600 with and 218 without a call, xlam 273 with: 3 to 1, and 218 of 1091 are without a call

For a total of N rows, source s has its part of N (largest remainders, so within one row). How many of them may be rows
without a call is an interval, given by what the source has; the sum of the intervals must meet the interval of shares
asked for. Both grow tighter with N, so the largest N is found by bisection. Where copies are allowed, N stays so small
that the source with most rows for its weight is taken once: copies bring the others up to it and no further.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Available(NamedTuple):
    """Rows of a source: with calls, with calls that may be taken away, without calls."""

    call: int
    convertible: int
    no_call: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quota:
    """Rows taken of a source, copies included; `converted` different rows with calls are taken without them."""

    call: int
    no_call: int
    converted: int


class Limits(Protocol):
    """The part of `MixSettings` that counts here."""

    @property
    def max_copies(self) -> int: ...
    @property
    def min_no_call_share(self) -> float: ...
    @property
    def max_no_call_share(self) -> float: ...
    @property
    def max_rows(self) -> int | None: ...


def quotas(available: Mapping[str, Available], weights: Mapping[str, float], limits: Limits) -> dict[str, Quota]:
    """Rows to take of each source, in proportion to its weight; every source of `available` has a weight."""
    names = list(available)
    shares = [weights[name] / math.fsum(weights[n] for n in names) for name in names]
    stock = [available[name] for name in names]
    # A hair above, so that 0.3 / 0.1 is 3 rows and not 2.
    once = max((math.floor(sum(a) / share + 1e-9) for a, share in zip(stock, shares, strict=True)), default=0)
    low, high = 0, once if limits.max_rows is None else min(once, limits.max_rows)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _split(middle, shares, stock, limits) else (low, middle - 1)
    parts = _split(low, shares, stock, limits) or []
    return {name: _quota(*part, a, limits.max_copies) for name, part, a in zip(names, parts, stock, strict=True)}


def _split(
    total: int, shares: Sequence[float], stock: Sequence[Available], limits: Limits
) -> list[tuple[int, int]] | None:
    """Rows with and without a call of each source for `total` rows; None when they cannot be had."""
    sizes = apportion(total, shares)
    copies = limits.max_copies
    if any(size > _most(a, copies) for size, a in zip(sizes, stock, strict=True)):
        return None
    least = [max(0, size - (a.call + a.convertible) * copies) for size, a in zip(sizes, stock, strict=True)]
    most = [min(size, (a.no_call + a.convertible) * copies) for size, a in zip(sizes, stock, strict=True)]
    # Without a limit in the way, a source keeps its own share of rows without a call.
    natural = [round(size * a.no_call / max(1, sum(a))) for size, a in zip(sizes, stock, strict=True)]
    natural = [min(max(n, lo), hi) for n, lo, hi in zip(natural, least, most, strict=True)]
    # Rounded inwards, and outwards only when no whole number lies between the two shares.
    floor, ceiling = (
        math.ceil(limits.min_no_call_share * total - 1e-9),
        math.floor(limits.max_no_call_share * total + 1e-9),
    )
    if floor > ceiling:
        floor, ceiling = ceiling, floor
    if sum(least) > ceiling or sum(most) < floor:
        return None
    wanted = min(max(sum(natural), floor), ceiling)
    limit = most if wanted > sum(natural) else least
    no_call = _move(natural, limit, wanted)
    return [(size - n, n) for size, n in zip(sizes, no_call, strict=True)]


def apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to `total` and are each within one of their share. `(10, [0.75, 0.25])` is `[8, 2]`."""
    exact = [total * share for share in shares]
    result = [math.floor(value) for value in exact]
    order = sorted(range(len(exact)), key=lambda i: (result[i] - exact[i], i))
    for i in order[: total - sum(result)]:
        result[i] += 1
    return result


def _move(values: Sequence[int], limits: Sequence[int], wanted: int) -> list[int]:
    """Moves all values towards their limits, each by the same part of its way, until they add up to `wanted`."""
    ways = [limit - value for limit, value in zip(limits, values, strict=True)]
    distance, missing = sum(ways), wanted - sum(values)
    if not missing:
        return list(values)
    steps = apportion(abs(missing), [way / distance for way in ways])
    return [value + (step if missing > 0 else -step) for value, step in zip(values, steps, strict=True)]


def _most(stock: Available, copies: int) -> int:
    """Most rows of a source. A converted row can split the copies of both kinds unevenly, which costs up to a row."""
    spare = copies - 1 if stock.convertible else 0
    return max(0, sum(stock) * copies - spare)


def _quota(call: int, no_call: int, stock: Available, copies: int) -> Quota:
    """Converts as many rows as are needed beyond the natural ones, copies come last, and leaves enough with calls."""
    needed_for_calls = -(-call // copies)
    free = min(stock.convertible, stock.call + stock.convertible - needed_for_calls)
    return Quota(call=call, no_call=no_call, converted=max(0, min(no_call - stock.no_call, free)))
