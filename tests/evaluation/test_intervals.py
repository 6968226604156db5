"""Statistics against published values and closed forms."""

import math

import numpy as np
import pytest

from gemma_tool_use.evaluation.statistics import Interval, holm, mcnemar, paired_bootstrap, wilson


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(right, count, low, high):
    found = wilson(right, count)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_wilson_is_the_closed_form():
    z, n, p = 1.959963984540054, 200, 0.55
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    found = wilson(110, 200)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=1e-12)


def test_a_share_of_nothing_is_unknown_and_an_impossible_one_is_refused():
    assert wilson(0, 0) == Interval(0.0, 1.0)
    for right, count in ((3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="is no share"):
            wilson(right, count)


@pytest.mark.parametrize(
    ("fixed", "broken", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (6, 0, 2 / 2**6),
        (10, 1, 2 * (1 + 11) / 2**11),
        (1, 10, 2 * (1 + 11) / 2**11),
        # Fagerland, Lydersen, Laake 2013, BMC Medical Research Methodology 13:91, table 1: 1 against 7
        (7, 1, 0.0703125),
    ],
)
def test_mcnemar_is_the_exact_binomial_tail(fixed, broken, p):
    assert mcnemar(fixed=fixed, broken=broken) == pytest.approx(p, abs=1e-12)


def test_the_bootstrap_interval_is_that_of_the_normal_theory_where_that_holds():
    differences = [1.0] * 130 + [0.0] * 800 + [-1.0] * 70
    found = paired_bootstrap(differences)
    half = 1.96 * np.std(differences) / math.sqrt(1000)
    assert (found.low, found.high) == pytest.approx((0.06 - half, 0.06 + half), abs=0.0015)


def test_the_bootstrap_draws_items_also_where_all_differ():
    differences = [i / 100 for i in range(100)]
    rng = np.random.default_rng(1)
    means = np.mean(rng.choice(differences, size=(10_000, 100)), axis=1)
    found = paired_bootstrap(differences)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.004)


def test_the_bootstrap_repeats_itself_and_knows_no_width_where_nothing_changed():
    assert paired_bootstrap([1, 0, -1, 1]) == paired_bootstrap([1, 0, -1, 1])
    assert paired_bootstrap([0, 0, 0]) == Interval(0.0, 0.0)
    with pytest.raises(ValueError, match="no items"):
        paired_bootstrap([])


def test_holm_adjusts_in_the_order_given_and_never_falls():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
