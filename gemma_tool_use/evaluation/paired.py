"""Two models on the same items: what the second one fixed, what it broke, and whether that is more than chance.

    pairs = match(results_a, results_b)                   # DataError where the questions differ
    compare(pairs, rule="strict")["bfcl"].categories["multiple"]
    # PairedScore(count=200, right_a=88, right_b=113, fixed=41, broken=16, low=0.055, high=0.2, p=0.0013, adjusted=...)

An item is the same when its question and right answer are; how it was shown (system text, tools) may differ, since that
is a part of what is compared. The interval is the paired bootstrap's, p is McNemar's exact test, `adjusted` is p after
Holm over all categories.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gemma_tool_use.errors import DataError
from gemma_tool_use.evaluation.records import Item, Result
from gemma_tool_use.evaluation.statistics import holm, mcnemar, paired_bootstrap

Rule = Literal["official", "strict"]
Judgement = Literal["better", "worse", "unclear"]
SIGNIFICANT = 0.05
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Pair:
    """The results of both models for one item."""

    a: Result
    b: Result

    @property
    def item(self) -> Item:
        return self.a.item

    @property
    def shown_alike(self) -> bool:
        """Whether both models saw the same system text and tools."""
        return self.a.item.conversation == self.b.item.conversation

    def change(self, rule: Rule) -> int:
        """1 where only the second is right, -1 where only the first is, else 0."""
        return int(getattr(self.b.verdict, rule)) - int(getattr(self.a.verdict, rule))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedScore:
    """How two models differ on a group of items.

    Attributes:
      count: items.
      right_a, right_b: items each has right.
      fixed: items that only the second has right.
      broken: items that only the first has right.
      low, high: 95 % interval of `difference`.
      p: chance of so uneven a split of the changed items between equally good models.
      adjusted: p corrected for the number of categories that are looked at; of a suite's total it is p.
    """

    count: int
    right_a: int
    right_b: int
    fixed: int
    broken: int
    low: float
    high: float
    p: float
    adjusted: float

    @property
    def difference(self) -> float:
        """Share right of the second minus that of the first."""
        return (self.right_b - self.right_a) / self.count

    @property
    def judgement(self) -> Judgement:
        """Whether the second is better or worse than chance explains."""
        if self.adjusted >= SIGNIFICANT:
            return "unclear"
        return "better" if self.fixed > self.broken else "worse"


@dataclasses.dataclass(frozen=True)
class PairedSuite:
    """Of each category, and over all items of the suite."""

    total: PairedScore
    categories: Mapping[str, PairedScore]


def match(a: Sequence[Result], b: Sequence[Result], *, common: bool = False) -> list[Pair]:
    """Pairs the results of the same items, in the order of the first.

    Args:
      a, b: results of each model.
      common: leave out items that only one of them has, or that differ, instead of refusing.

    Raises:
      DataError: the items differ (unless `common`), or none is the same; says which.
    """
    of_a, of_b = ({_key(result): result for result in results} for results in (a, b))
    shared = [key for key in of_a if key in of_b]
    same = [key for key in shared if _asked(of_a[key]) == _asked(of_b[key])]
    differences = [
        _differ([key for key in of_a if key not in of_b], "only in A"),
        _differ([key for key in of_b if key not in of_a], "only in B"),
        _differ([key for key in shared if key not in set(same)], "with another question or right answer"),
    ]
    told = "; ".join(filter(None, differences))
    if not same:
        raise DataError(f"no item is the same in both, so there is nothing to compare: {told or 'both are empty'}")
    if told and not common:
        raise DataError(f"the items differ: {told}. Compare on the {len(same):,} that are the same with --common")
    return [Pair(of_a[key], of_b[key]) for key in same]


def compare(pairs: Sequence[Pair], rule: Rule) -> dict[str, PairedSuite]:
    """Suite name to how the two models differ there."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.item.suite, pair.item.category), []).append(pair)
    scores = [_score(group, rule) for group in groups.values()]
    adjusted = holm([score.p for score in scores])
    found = {
        key: dataclasses.replace(score, adjusted=value)
        for key, score, value in zip(groups, scores, adjusted, strict=True)
    }
    return {
        suite: PairedSuite(
            total=_score([pair for pair in pairs if pair.item.suite == suite], rule),
            categories={category: score for (of, category), score in found.items() if of == suite},
        )
        for suite in dict.fromkeys(suite for suite, _ in groups)
    }


def _score(pairs: Sequence[Pair], rule: Rule) -> PairedScore:
    changes = [pair.change(rule) for pair in pairs]
    interval = paired_bootstrap(changes)
    p = mcnemar(fixed=changes.count(1), broken=changes.count(-1))
    return PairedScore(
        count=len(pairs),
        right_a=sum(getattr(pair.a.verdict, rule) for pair in pairs),
        right_b=sum(getattr(pair.b.verdict, rule) for pair in pairs),
        fixed=changes.count(1),
        broken=changes.count(-1),
        low=interval.low,
        high=interval.high,
        p=p,
        adjusted=p,
    )


def _key(result: Result) -> tuple[str, str]:
    return result.item.suite, result.item.id


def _asked(result: Result) -> tuple[Any, ...]:
    item = result.item
    said = tuple(message for message in item.conversation.messages if message.role != "system")
    # A function is shown as math.sqrt in BFCL's own prompt and as math_sqrt where names may hold no dot.
    expected = json.dumps(item.expected).replace(".", "_")
    return item.category, item.language, expected, said


def _differ(keys: Sequence[tuple[str, str]], how: str) -> str:
    if not keys:
        return ""
    named = ", ".join(f"{suite} {id}" for suite, id in keys[:_NAMED])
    return f"{len(keys):,} {how} ({named}{', ...' if len(keys) > _NAMED else ''})"
