"""Sequence scores on literal pairs."""

import pytest

from gemma_tool_use.evaluation.sequence import Rouge, common_run, rouge, sequence_measures, unigram_overlap


@pytest.mark.parametrize(
    ("reference", "reply", "score"),
    [
        ("abcde", "abcde", 1.0),
        ("abcde", "xbcdx", 3 / 5),
        ("abcde", "abxde", 2 / 5),
        ("ab", "ab" * 300, 1.0),
        ("ab" * 300, "ab", 2 / 600),
        ("abc", "xyz", 0.0),
        ("", "abc", 0.0),
        ("abc", "", 0.0),
    ],
)
def test_the_longest_common_run_is_without_gaps_and_over_the_reference(reference, reply, score):
    assert common_run(reference, reply) == pytest.approx(score)


@pytest.mark.parametrize(
    ("reference", "reply", "score"),
    [
        ("abcd", "bax", 2 / 3),
        ("abcd", "a", 1.0),
        ("aab", "aaaa", 2 / 4),
        ("abc", "xyz", 0.0),
        ("", "a", 0.0),
        ("a", "", 0.0),
    ],
)
def test_the_unigram_overlap_ignores_order_and_is_over_the_reply(reference, reply, score):
    assert unigram_overlap(reference, reply) == pytest.approx(score)


def test_rouge_is_the_f_measure_over_words():
    # 3 words of the reply are all in the reference of 4; in order, two of them
    found = rouge("The weather in Oslo", "oslo: the weather!")
    assert found == Rouge(rouge1=pytest.approx(6 / 7), rouge_l=pytest.approx(4 / 7))
    assert rouge("", "a") == Rouge(0.0, 0.0)


@pytest.mark.parametrize("hostile", ["[" * 100_000, "\x00\ud800", "{" * 10 + "\n", "天気"])
def test_garbage_is_scored(hostile):
    assert rouge("the weather", hostile) == Rouge(0.0, 0.0)


def test_the_means_are_of_pairs_with_and_without_a_call():
    def encode(text):
        return [2, *map(ord, text)]

    found = sequence_measures(["abc", "hello you", "x"], ["abd ", "hello", ""], [True, False, True], encode)
    assert (found["common_run"].value, found["common_run"].count) == (pytest.approx((3 / 4 + 1 / 2) / 2), 2)
    assert (found["unigram_overlap"].value, found["unigram_overlap"].count) == (1.0, 1)
    assert (found["rouge1"].value, found["rouge1"].count) == (pytest.approx((0 + 2 / 3 + 0) / 3), 3)


def test_a_measure_of_no_pairs_is_left_out():
    assert set(sequence_measures(["a"], ["a"], [True], lambda text: [2])) == {"common_run", "rouge1", "rouge_l"}
    assert sequence_measures([], [], [], lambda text: [2]) == {}
