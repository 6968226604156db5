"""From results to scores.json."""

import json

import pytest

from gemma_tool_use.conversation import Conversation, Message, Reply, ToolCall
from gemma_tool_use.errors import DataError, FileError
from gemma_tool_use.evaluation.aggregate import (
    FailureClass,
    Share,
    aggregate,
    scores_to_dict,
    share,
    share_measure,
    write_scores,
)
from gemma_tool_use.evaluation.records import Answer, Item, Result, Verdict, items_sha256

RIGHT = Verdict(official=True, strict=True)


def wrong(failure, *, official=False):
    return Verdict(official=official, strict=False, failure=failure)


def result(id, verdict, *, category="simple", suite="bfcl", calls=(), errors=(), error=None):
    question = Conversation(messages=(Message(role="user", content="?"),))
    return Result(
        item=Item(id=id, suite=suite, category=category, conversation=question, expected=None),
        answer=Answer(item_id=id, text="", error=error, prompt_tokens=10, new_tokens=3),
        reply=Reply(raw="", calls=calls, errors=errors),
        verdict=verdict,
    )


FOUR = [
    result("s1", RIGHT, calls=(ToolCall(name="f"),)),
    result("s2", wrong("wrong_value"), calls=(ToolCall(name="f"),)),
    result("i1", wrong("broken_syntax", official=True), category="irrelevance", errors=("unclosed call",)),
    result("s3", wrong("generation_error"), error="prompt of 9,000 tokens does not fit"),
]


def test_a_category_counts_official_strict_errors_and_why_answers_failed():
    score = aggregate(FOUR)["bfcl"].categories["simple"]
    assert (score.count, score.errors, score.official.right, score.strict.right) == (3, 1, 1, 1)
    assert score.failures == {
        "wrong_value": FailureClass(1, ("s2",)),
        "generation_error": FailureClass(1, ("s3",)),
    }
    assert (score.called, score.broken, score.prompt_tokens, score.new_tokens) == (2, 0, 30, 9)


def test_a_broken_attempt_where_no_call_is_wanted_is_right_officially_and_wrong_strictly():
    score = aggregate(FOUR)["bfcl"].categories["irrelevance"]
    assert (score.official.right, score.strict.right, score.broken) == (1, 0, 1)


def test_an_item_without_an_answer_is_not_right_and_stays_in_the_count():
    assert aggregate(FOUR[3:])["bfcl"].total.official == share(0, 1)


def test_a_share_carries_its_wilson_interval():
    found = share(110, 200)
    assert (round(found.low, 4), round(found.high, 4), found.value) == (0.4808, 0.6174, 0.55)
    assert share_measure(110, 200).low == found.low
    assert share(0, 0) == Share(0, 0, 0.0, 1.0)


def test_failures_add_up_to_what_is_not_right():
    for suite in aggregate(FOUR).values():
        for score in (suite.total, *suite.categories.values()):
            assert sum(each.count for each in score.failures.values()) == score.count - score.strict.right


def test_suites_are_scored_apart_and_their_items_hashed_in_order():
    other = result("s1", RIGHT, suite="held-out")
    found = aggregate([*FOUR, other])
    assert [(name, suite.total.count) for name, suite in found.items()] == [("bfcl", 4), ("held-out", 1)]
    assert found["bfcl"].items_sha256 == items_sha256(each.item for each in FOUR)


def test_no_more_than_twenty_examples_of_a_failure_are_named():
    many = [result(f"s{i}", wrong("no_call")) for i in range(30)]
    found = aggregate(many)["bfcl"].total.failures["no_call"]
    assert (found.count, found.examples) == (30, tuple(f"s{i}" for i in range(20)))


@pytest.mark.parametrize(
    ("results", "complaint"),
    [
        ([], "no results"),
        ([FOUR[0], FOUR[0]], "'s1' of suite bfcl has two results"),
        ([result("x", Verdict(official=False, strict=False))], "is not right and its failure is None"),
        ([result("x", Verdict(official=True, strict=True, failure="no_call"))], "is right and its failure is no_call"),
    ],
)
def test_results_that_cannot_be_counted_are_refused(results, complaint):
    with pytest.raises(DataError, match=complaint):
        aggregate(results)


def test_scores_json_says_what_was_counted(tmp_path):
    path = tmp_path / "scores.json"
    measures = {"bfcl": {"argument_values": share_measure(3, 4)}}
    write_scores(path, scores_to_dict(aggregate(FOUR), provenance={"model": "tiny"}, measures=measures))
    content = json.loads(path.read_text())
    assert content["provenance"] == {"model": "tiny"}
    suite = content["suites"]["bfcl"]
    assert list(suite["categories"]) == ["simple", "irrelevance"]
    assert suite["categories"]["simple"]["official"] == {
        "right": 1,
        "count": 3,
        "value": 1 / 3,
        "low": pytest.approx(0.0615, abs=1e-4),
        "high": pytest.approx(0.7923, abs=1e-4),
    }
    assert suite["total"]["failures"]["wrong_value"] == {"count": 1, "examples": ["s2"]}
    assert suite["measures"]["argument_values"]["value"] == 0.75
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


def test_scores_that_cannot_be_written_are_an_error_with_the_path(tmp_path):
    with pytest.raises(FileError, match="cannot write"):
        write_scores(tmp_path / "none" / "scores.json", {})
