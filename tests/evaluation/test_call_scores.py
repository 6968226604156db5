"""Calls compared call by call, and why a reply fails."""

import pytest

from gemma_tool_use.conversation import Reply, ToolCall
from gemma_tool_use.evaluation.call_scores import CallScore, compare_calls, failure_of, pair_calls


def call(name, **arguments):
    return ToolCall(name=name, arguments=arguments)


def reply(*calls, errors=()):
    return Reply(raw="", calls=calls, errors=errors)


BOOK = call("book", day=1, seats=2)


def test_the_picture_of_the_docstring():
    assert compare_calls([BOOK], [call("book", day=1, seats="2", row="A")]) == CallScore(
        expected=1,
        made=1,
        named=1,
        same_arguments=0,
        arguments_expected=2,
        arguments_made=3,
        argument_names=2,
        argument_values=1,
    )


def test_a_call_is_paired_with_the_nearest_one_of_its_name():
    first, second = call("book", day=1), call("book", day=2)
    assert pair_calls([first, second], [second, first]) == [(first, first), (second, second)]
    assert pair_calls([first], [call("cancel", day=1)]) == []


def test_no_call_is_in_two_pairs():
    assert compare_calls([BOOK, BOOK], [BOOK]).named == 1
    assert compare_calls([BOOK], [BOOK, BOOK]).named == 1


def test_counts_of_replies_add_up():
    one = compare_calls([BOOK], [BOOK])
    assert one + one == compare_calls([BOOK, BOOK], [BOOK, BOOK])


@pytest.mark.parametrize(
    ("expected", "got", "failure"),
    [
        ([BOOK], reply(BOOK), None),
        ([], reply(), None),
        ([], reply(BOOK), "over_call"),
        ([], reply(BOOK, errors=("unclosed",)), "over_call"),
        ([], reply(errors=("unclosed",)), "broken_syntax"),
        ([BOOK], reply(errors=("unclosed",)), "broken_syntax"),
        ([BOOK], reply(BOOK, errors=("unclosed",)), "broken_syntax"),
        ([BOOK], reply(), "no_call"),
        ([BOOK], reply(BOOK, BOOK), "wrong_count"),
        ([BOOK], reply(call("cancel", day=1, seats=2)), "wrong_function"),
        ([BOOK, BOOK], reply(BOOK, call("cancel")), "wrong_function"),
        ([BOOK], reply(call("book", day=1)), "missing_argument"),
        ([BOOK], reply(call("book", day=1, row="A")), "missing_argument"),
        ([BOOK], reply(call("book", day=1, seats=2, row="A")), "unknown_argument"),
        ([BOOK], reply(call("book", day=1, seats=3)), "wrong_value"),
        ([BOOK], reply(call("book", day=1, seats="2")), "wrong_type"),
        ([BOOK], reply(call("book", day=1, seats=True)), "wrong_type"),
        ([BOOK], reply(call("book", day=1, seats=2.0)), "wrong_type"),
        ([call("f", a=[1])], reply(call("f", a=[1.0])), "wrong_value"),
    ],
)
def test_every_reply_that_is_not_exact_has_one_failure(expected, got, failure):
    found = failure_of(expected, got)
    assert (found and found[0]) == failure


def test_the_sentence_names_function_argument_and_both_values():
    failure = failure_of([BOOK], reply(call("book", day=1, seats=3)))
    assert failure == ("wrong_value", "book: seats is 3, expected 2")


def test_a_call_of_ten_thousand_characters_is_told_of_in_a_line():
    failure = failure_of([BOOK], reply(call("book", day=1, seats="\ud800" * 10_000)))
    assert failure is not None and len(failure[1]) < 200
