"""Replies before and after, with a scripted model."""

import io
import json

from rich.console import Console

from gemma_tool_use.conversation import Conversation, Message, Reply, ToolCall
from gemma_tool_use.evaluation.comparison import Comparison

CALL = ToolCall(name="roll", arguments={"sides": 6})
CONVERSATIONS = [
    Conversation(
        id=f"r{i}", messages=(Message(role="user", content="Roll a d6"), Message(role="assistant", calls=(CALL,)))
    )
    for i in range(2)
]


def compare():
    script = iter(
        [
            [Reply(raw="\x1b[31m[b]hello"), Reply(raw="hello")],
            [Reply(raw="<call>", calls=(CALL,)), Reply(raw="?")],
        ]
    )
    seen = []

    def answer(questions):
        seen.append(questions)
        return next(script)

    comparison = Comparison(CONVERSATIONS, ["one_call", "one_call"], answer)
    comparison.run("before")
    comparison.run("after")
    return comparison, seen


def test_the_model_sees_the_request_and_not_the_expected_answer():
    _, seen = compare()
    assert [message.role for message in seen[0][0].messages] == ["user"]
    assert seen[0] == seen[1]


def test_scores_tell_before_from_after():
    scores = compare()[0].scores()
    assert (scores["count"], scores["exact_before"], scores["exact_after"]) == (2, 0.0, 0.5)


def test_every_request_is_written_with_both_raw_replies(tmp_path):
    compare()[0].write(tmp_path / "samples.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["r0", "r1"]
    assert lines[0]["after"] == {"text": "<call>", "exact": True, "errors": []}


def test_what_a_model_wrote_is_printed_as_plain_text():
    out = io.StringIO()
    compare()[0].print(Console(file=out, width=100, force_terminal=False))
    assert "[b]hello" in out.getvalue()
    assert "\x1b" not in out.getvalue()
