"""Items, answers and verdicts on their way through results.jsonl."""

import dataclasses
import json

import pytest

from gemma_tool_use.conversation import Conversation, Message, Reply, ToolCall, ToolSpec
from gemma_tool_use.errors import DataError, FileError
from gemma_tool_use.evaluation.records import (
    FAILURES,
    Answer,
    Item,
    Result,
    Verdict,
    items_sha256,
    judged,
    read_results,
    result_to_dict,
    write_results,
)

ROLL = ToolCall(name="roll", arguments={"sides": 6})
ITEM = Item(
    id="simple_0",
    suite="dice",
    category="simple",
    conversation=Conversation(
        id="simple_0", tools=(ToolSpec(name="roll"),), messages=(Message(role="user", content="Würfle!"),)
    ),
    expected=[{"roll": {"sides": [6, ""]}}],
    expected_calls=(ROLL,),
)
RIGHT = Verdict(official=True, strict=True)


class AlwaysRight:
    name = "dice"

    def items(self):
        return [ITEM]

    def judge(self, item, reply):
        return RIGHT


def result(text="<call>", **reply):
    answer = Answer(item_id="simple_0", text=text, prompt_tokens=7, new_tokens=3, seconds=0.25)
    return Result(item=ITEM, answer=answer, reply=Reply(raw=text, **reply), verdict=RIGHT)


def without_seconds(result):
    return dataclasses.replace(result, answer=dataclasses.replace(result.answer, seconds=None))


@pytest.mark.parametrize(
    "each",
    [
        result(calls=(ROLL, ToolCall(name="", arguments={"a": [None, True, 1.5, {"b": "ü"}]}))),
        result("\x00\ud800 half a pair \u2028 and a line\nbreak \r\x85", errors=("unclosed call",), reasoning="hm"),
        result("[" * 100_000),
    ],
)
def test_a_result_survives_the_way_through_the_file(tmp_path, each):
    write_results(tmp_path / "results.jsonl", [each, each])
    assert read_results(tmp_path / "results.jsonl") == [without_seconds(each)] * 2


def test_the_stored_form_is_the_one_the_docstring_shows():
    stored = result_to_dict(result(calls=(ROLL,)))
    assert list(stored) == ["item", "answer", "reply", "verdict"]
    assert stored["item"]["expected_calls"] == stored["reply"]["calls"] == [{"name": "roll", "arguments": {"sides": 6}}]
    assert stored["answer"] == {"text": "<call>", "error": None, "prompt_tokens": 7, "new_tokens": 3}
    assert stored["verdict"] == {"official": True, "strict": True, "failure": None, "detail": ""}


def test_a_generation_error_is_not_judged_and_fails_both_ways():
    answer = Answer(item_id="simple_0", text="", error="the prompt has 5,000 tokens")
    verdict = judged(AlwaysRight(), ITEM, answer, lambda text: Reply(raw=text)).verdict
    assert verdict == Verdict(
        official=False, strict=False, failure="generation_error", detail="the prompt has 5,000 tokens"
    )
    answered = Answer(item_id="simple_0", text="")
    assert judged(AlwaysRight(), ITEM, answered, lambda text: Reply(raw=text)).verdict == RIGHT


def test_an_answer_with_an_error_and_a_text_is_refused():
    with pytest.raises(DataError, match="both an error and a text"):
        Answer(item_id="a", text="hello", error="no")


def test_only_named_failures_are_failures():
    for name in FAILURES:
        Verdict(official=False, strict=False, failure=name)
    with pytest.raises(DataError, match="'typo' is none of no_call"):
        Verdict(official=False, strict=False, failure="typo")


def test_the_hash_of_items_changes_with_the_question_and_with_the_right_answer():
    hashes = {
        items_sha256(items)
        for items in (
            [ITEM],
            [ITEM, ITEM],
            [dataclasses.replace(ITEM, expected=None)],
            [dataclasses.replace(ITEM, conversation=Conversation(messages=(Message(role="user", content="?"),)))],
        )
    }
    assert len(hashes) == 4
    assert items_sha256([dataclasses.replace(ITEM)]) in hashes


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "results.jsonl"
    write_results(path, [result()])
    path.write_text(path.read_text() + json.dumps({"item": {}}) + "\n")
    with pytest.raises(DataError, match=r"results\.jsonl: line 2 cannot be read"):
        read_results(path)
    with pytest.raises(FileError, match="cannot read"):
        read_results(tmp_path / "absent.jsonl")


def test_a_value_that_json_lacks_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "results.jsonl"
    write_results(path, [result()])
    before = path.read_bytes()
    bad = dataclasses.replace(result(), item=dataclasses.replace(ITEM, expected=float("nan")))
    with pytest.raises(DataError, match="'simple_0' holds a value that JSON does not have"):
        write_results(path, [result(), bad])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
