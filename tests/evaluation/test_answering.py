"""From items to answers with a scripted model: asked once, in their order, and not again what is stored."""

import dataclasses

import pytest
from tiny_tokenizer import tiny_tokenizer

from gemma_tool_use.conversation import Conversation, Message
from gemma_tool_use.evaluation.answer_store import AnswerStore
from gemma_tool_use.evaluation.answering import Asker, answer_items, dialect_prompt
from gemma_tool_use.evaluation.records import Item
from gemma_tool_use.formats.dialects import get_dialect


@dataclasses.dataclass(frozen=True, kw_only=True)
class Said:
    text: str = ""
    error: str | None = None
    new_tokens: int = 1
    seconds: float | None = 0.5


class Killed(Exception):
    pass


class Scripted:
    """Writes the length of a prompt; is killed when `lives` answers are written."""

    def __init__(self, lives=10**6, errors=()):
        self.lives, self.errors = lives, errors
        self.asked, self.wanted = [], []

    def __call__(self, prompts, wanted, done):
        self.asked.append(list(prompts))
        self.wanted.append(sorted(wanted))
        for number, prompt in enumerate(prompts):
            if self.lives == 0:
                raise Killed
            self.lives -= 1
            done(number, Said(error="too long") if number in self.errors else Said(text=str(len(prompt))))


def item(n, text):
    conversation = Conversation(messages=(Message(role="user", content=text),))
    return Item(id=f"i{n}", suite="s", category="c", conversation=conversation, expected=None)


ITEMS = [item(n, text) for n, text in enumerate(["a", "a b", "a", "a b c"])]


def ask(path, model, items=ITEMS, **more):
    with AnswerStore(path) as store:
        asker = Asker(
            generate=model,
            prompt=dialect_prompt(get_dialect("gemma_json"), tiny_tokenizer()),
            identity=more.pop("identity", {"model": "m"}),
            store=store,
            **more,
        )
        return answer_items(items, asker)


def test_answers_come_in_the_order_of_the_items_and_equal_prompts_are_asked_once(tmp_path):
    model = Scripted()
    answers = ask(tmp_path / "a.jsonl", model)
    assert [answer.item_id for answer in answers] == ["i0", "i1", "i2", "i3"]
    assert len(model.asked[0]) == 3
    assert answers[0].text == answers[2].text == str(len(model.asked[0][0]))
    assert [answer.prompt_tokens for answer in answers] == [int(answer.text) for answer in answers]
    assert answers[0].seconds == 0.5


def test_a_run_that_was_killed_twice_ends_with_the_same_answers_and_the_model_sees_the_same_prompts(tmp_path):
    whole, models = ask(tmp_path / "whole.jsonl", Scripted()), [Scripted(lives=1), Scripted(lives=2), Scripted()]
    for model in models[:2]:
        with pytest.raises(Killed):
            ask(tmp_path / "killed.jsonl", model)
    assert ask(tmp_path / "killed.jsonl", models[2]) == whole
    assert [model.wanted for model in models] == [[[0, 1, 2]], [[1, 2]], [[2]]]
    assert models[0].asked == models[1].asked == models[2].asked
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_finished_run_asks_nothing(tmp_path):
    first = ask(tmp_path / "a.jsonl", Scripted())
    again = Scripted()
    assert ask(tmp_path / "a.jsonl", again) == first
    assert again.asked == []


def test_another_model_is_asked_anew(tmp_path):
    ask(tmp_path / "a.jsonl", Scripted())
    other = Scripted()
    ask(tmp_path / "a.jsonl", other, identity={"model": "n"})
    assert other.wanted == [[0, 1, 2]]


def test_an_error_is_no_answer_and_is_tried_again(tmp_path):
    answers = ask(tmp_path / "a.jsonl", Scripted(errors={0}))
    assert [(answer.text == "", answer.error) for answer in answers[:2]] == [(True, "too long"), (False, None)]
    again = Scripted()
    assert [answer.error for answer in ask(tmp_path / "a.jsonl", again)] == [None] * 4
    assert again.wanted == [[0]]


def test_a_model_that_leaves_a_prompt_out_leaves_an_error(tmp_path):
    answers = ask(tmp_path / "a.jsonl", lambda prompts, wanted, done: None)
    assert {answer.error for answer in answers} == {"the model gave no answer"}


def test_a_question_that_no_tokenizer_can_encode_is_an_error_of_that_item(tmp_path):
    answers = ask(tmp_path / "a.jsonl", Scripted(), [item(0, "half \ud800 of a pair"), item(1, "a")])
    assert "half of a surrogate pair" in (answers[0].error or "")
    assert answers[1].error is None


def test_progress_tells_what_was_stored_first(tmp_path):
    ask(tmp_path / "a.jsonl", Scripted(), ITEMS[:1])
    told = []
    ask(tmp_path / "a.jsonl", Scripted(), tell=lambda finished, total: told.append((finished, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
