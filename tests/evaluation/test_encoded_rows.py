"""Encoded rows asked again: the prompt is the very tokens that training showed."""

import numpy as np
import pytest
from tiny_tokenizer import tiny_tokenizer

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.errors import DataError
from gemma_tool_use.evaluation.checkpoint_scores import best, point, write_checkpoints
from gemma_tool_use.evaluation.encoded_rows import ask, encoded_suite, prompt_and_answer
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.formats.encode import Encoded, encode
from gemma_tool_use.inference.writing import Written

DIALECT = get_dialect("gemma_json_compact")
TOKENIZER = tiny_tokenizer()
CALL = ToolCall(name="roll", arguments={"sides": 6})
ASKED = (Message(role="user", content="Roll a die"),)
FIRST = Message(role="assistant", content="Yes", calls=(CALL,))
LATER = (Message(role="tool", name="roll", content='{"eyes": 5}'), Message(role="assistant", content="A five."))


def row(*messages):
    conversation = Conversation(tools=(ToolSpec(name="roll"),), messages=messages)
    return encode(DIALECT.segments(conversation), TOKENIZER)


ROWS = [row(*ASKED, FIRST), row(*ASKED, FIRST, *LATER), row(*ASKED, Message(role="assistant", content="No."))]


def suite(limit=None, seed=0):
    return encoded_suite(ROWS, DIALECT, TOKENIZER, limit=limit, seed=seed)


def test_the_picture_of_the_docstring():
    encoded = Encoded(tokens=np.array([2, 5, 6, 7, 8]), loss_mask=np.array([False, False, True, True, False]))
    assert prompt_and_answer(encoded) == ([2, 5], [6, 7])


def test_the_prompt_is_that_of_the_dialect_to_the_last_token():
    items, prompts = suite()
    asked = Conversation(tools=(ToolSpec(name="roll"),), messages=ASKED)
    later = Conversation(tools=(ToolSpec(name="roll"),), messages=(*ASKED, FIRST, LATER[0]))
    for id, conversation in (("held_out_0", asked), ("held_out_1", later), ("held_out_2", asked)):
        assert prompts[id] == encode(DIALECT.prompt(conversation), TOKENIZER).tokens.tolist()
    assert [item.category for item in items.items()] == ["one_call", "no_call", "no_call"]


def test_the_expected_answer_is_read_back_from_the_tokens():
    first, second, _ = suite()[0].items()
    assert (first.expected_calls, first.expected["content"]) == ((CALL,), "Yes")
    assert (second.expected_calls, second.expected["content"]) == ((), "A five.")


def test_a_larger_sample_has_the_rows_of_a_smaller_one():
    names = [{item.id for item in suite(limit=limit, seed=3)[0].items()} for limit in (1, 2, 3)]
    assert names[0] < names[1] < names[2]
    with pytest.raises(DataError, match="no row is held out"):
        encoded_suite([], DIALECT, TOKENIZER, limit=1, seed=0)


def scripted(texts):
    def generate(prompts, wanted, done):
        for number in wanted:
            text = texts[number]
            done(number, Written(text="", error="too long") if text is None else Written(text=text))

    return generate


def asked(texts):
    items, prompts = suite()
    return ask(items, prompts, scripted(texts), DIALECT.parse)


RIGHT = TOKENIZER.decode(prompt_and_answer(ROWS[0])[1])


def test_a_model_is_measured_as_it_is_now():
    found = point(100, asked([RIGHT, RIGHT, "No."]))
    assert (found.exact.right, found.exact.count) == (2, 3)
    assert (found.tool_call_accuracy, found.parameter_accuracy, found.total_tool_calls) == (1.0, 1.0, 1)


def test_an_error_is_a_row_that_is_not_right_and_counted_apart():
    found = point(100, asked([None, "Hi", None]))
    assert (found.exact.right, found.exact.count, found.errors, found.total_tool_calls) == (1, 3, 2, 0)
    assert (found.tool_call_accuracy, found.parameter_accuracy) == (0.0, 0.0)


def test_the_best_checkpoint_has_most_exact_rows_and_of_equals_is_the_earliest(tmp_path):
    texts = {100: ["", "", RIGHT], 200: [RIGHT, "", ""], 300: [RIGHT, "", ""]}
    points = [point(step, asked(each)) for step, each in texts.items()]
    assert best(points).step == 200
    write_checkpoints(tmp_path, points, {"model": "m"})
    assert (tmp_path / "checkpoints.png").read_bytes().startswith(b"\x89PNG")
