"""How sure a score is, and whether two scores on the same items differ: pure functions on counts.

    wilson(8, 10)                          # Interval(low=0.490, high=0.943)
    mcnemar(fixed=10, broken=1)            # 0.0117: chance of so uneven a split if the two models were equally good
    paired_bootstrap([1, 0, 0, 0, 1, 0])   # Interval of the mean difference
    holm([0.01, 0.04, 0.03])               # [0.03, 0.06, 0.06]: p-values of three looks at the same data

Nothing here rounds.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

CONFIDENCE = 0.95
RESAMPLES = 10_000


@dataclasses.dataclass(frozen=True)
class Interval:
    """Where the true value lies, with the confidence asked for."""

    low: float
    high: float


def wilson(right: int, count: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a share, without continuity correction (Wilson 1927, equation 4).

    It stays within 0 and 1 and has a width at 0 % and 100 % too. Of no items nothing is known: [0, 1].

    Raises:
      ValueError: `right` is negative or more than `count`.
    """
    if not 0 <= right <= count:
        raise ValueError(f"{right} right of {count} is no share")
    if not count:
        return Interval(0.0, 1.0)
    found = binomtest(right, count).proportion_ci(confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


def mcnemar(*, fixed: int, broken: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947) with the binomial distribution.

    Args:
      fixed: items that the first model has wrong and the second right.
      broken: items that the first has right and the second wrong.

    Returns:
      How likely a split at least as uneven is when both are equally good; 1 when no item changed.
    """
    return float(binomtest(fixed, fixed + broken).pvalue) if fixed + broken else 1.0


def paired_bootstrap(
    differences: Sequence[float], *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of the mean of per-item differences (Efron 1979), the items drawn with replacement.

    Args:
      differences: score of the second model minus score of the first, one number an item.

    Raises:
      ValueError: no items.
    """
    if not len(differences):
        raise ValueError("no items to draw from")
    # Drawing items is drawing how often each distinct difference occurs: of right and wrong there are three.
    values, counts = np.unique(np.asarray(differences, np.float64), return_counts=True)
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, size=resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn @ values / total, [tail, 1 - tail])
    return Interval(float(low), float(high))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979) of several tests, in their order.

    Whoever looks at ten categories finds one p < 0.05 in two of five comparisons of equal models; at adjusted values
    the chance of any such find stays below 0.05.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
