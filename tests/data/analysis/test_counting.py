"""Histograms and counters that stay small: exact where they say so, and the same in any division."""

import random

import numpy as np
import pytest

from gemma_tool_use.data.analysis.counting import COARSE_STEP, EXACT_BELOW, BoundedCounter, Histogram


@pytest.fixture
def numbers():
    chooser = random.Random(3)
    return [
        chooser.choice([chooser.randrange(60), chooser.randrange(5000), chooser.randrange(90_000)]) for _ in range(999)
    ]


def histogram(numbers):
    result = Histogram()
    for number in numbers:
        result.add(number)
    return result


@pytest.mark.parametrize("limit", [0, 59, 512, 4096, EXACT_BELOW - 1])
def test_numbers_over_a_limit_are_counted_exactly(numbers, limit):
    assert histogram(numbers).over(limit) == sum(n > limit for n in numbers)


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9])
def test_quantiles_are_those_of_the_sorted_numbers(numbers, share):
    numbers = [n for n in numbers if n < EXACT_BELOW]
    assert histogram(numbers).quantile(share) == np.quantile(numbers, share, method="inverted_cdf")


def test_a_quantile_above_the_exact_bins_is_off_by_less_than_a_bin(numbers):
    exact = np.quantile(numbers, 0.99, method="inverted_cdf")
    assert exact > EXACT_BELOW
    assert exact <= histogram(numbers).quantile(0.99) < exact + COARSE_STEP


def test_mean_and_largest_are_exact(numbers):
    assert histogram(numbers).mean == pytest.approx(np.mean(numbers))
    assert histogram(numbers).most == max(numbers) == histogram(numbers).quantile(1)


def test_parts_add_up_to_the_whole(numbers):
    whole = histogram(numbers)
    parts = histogram(numbers[:300])
    parts.merge(histogram(numbers[300:]))
    assert parts == whole


def test_an_empty_histogram_says_zero():
    assert (Histogram().count, Histogram().mean, Histogram().quantile(0.5), Histogram().over(1)) == (0, 0, 0, 0)


def test_a_counter_holds_no_more_names_than_its_limit():
    counter = BoundedCounter(limit=2)
    for name in ["a", "b", "c", "a", "d"]:
        counter.add(name)
    assert (dict(counter.counts), counter.others, counter.total) == ({"a": 2, "b": 1}, 2, 5)
    other = BoundedCounter(limit=2)
    other.add("b", 5)
    other.add("e")
    counter.merge(other)
    assert (dict(counter.counts), counter.others) == ({"a": 2, "b": 6}, 3)
    assert counter.top(1) == [("b", 6)]


def test_a_name_of_any_length_takes_little_room():
    counter = BoundedCounter()
    counter.add("x" * 1_000_000)
    assert len(next(iter(counter.counts))) == 120
