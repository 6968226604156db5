"""Encoded rows as a suite: what training holds out, asked again without going back to where it came from.

    suite, prompts = encoded_suite(rows, dialect, tokenizer, limit=64, seed=0)
    Asker(prompt=lambda item: prompts[item.id], ...)

A row is a token sequence with a loss mask; its last trained stretch is the expected answer, what comes before it the
prompt, to the last token the one that training showed. `conversation` of an item holds the decoded prompt as one user
message, for a reader; which tools it offers is not known.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from gemma_tool_use.conversation import Conversation, Message, Reply
from gemma_tool_use.errors import DataError
from gemma_tool_use.evaluation.answering import Generate, Written
from gemma_tool_use.evaluation.held_out import NAME, HeldOutSuite
from gemma_tool_use.evaluation.records import Answer, Item, Result, judged
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.encode import Encoded
from gemma_tool_use.formats.tokenizer import Tokenizer


class Rows(Protocol):
    """Encoded rows by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Encoded: ...


def encoded_suite(
    rows: Rows, dialect: Dialect, tokenizer: Tokenizer, *, limit: int | None, seed: int
) -> tuple[HeldOutSuite, dict[str, Sequence[int]]]:
    """The suite, and the prompt of each item by its id (`held_out_17` is row 17).

    Args:
      rows: each with at least one trained token.
      dialect: the one the rows are written in.
      tokenizer: the one they were encoded with.
      limit: most rows; None for all. A larger one has those of a smaller one and more.
      seed: draws another sample.

    Raises:
      DataError: there are no rows.
    """
    if not len(rows):
        raise DataError("no row is held out, so there is nothing to ask")
    numbers = sorted(range(len(rows)), key=lambda number: hashlib.sha256(f"{seed}:{number}".encode()).digest())
    prompts: dict[str, Sequence[int]] = {}
    items: list[Item] = []
    for number in sorted(numbers[:limit]):
        prompt, answer = prompt_and_answer(rows[number])
        item = _item(f"held_out_{number}", prompt, answer, dialect, tokenizer)
        prompts[item.id] = prompt
        items.append(item)
    return HeldOutSuite(tuple(items)), prompts


def ask(
    suite: HeldOutSuite, prompts: Mapping[str, Sequence[int]], generate: Generate, parse: Callable[[str], Reply]
) -> list[Result]:
    """The judged answers of a model as it is now; nothing is stored.

    Args:
      suite, prompts: from `encoded_suite`.
      generate: the model.
      parse: reads a reply (`Dialect.parse`).
    """
    items = suite.items()
    answers: dict[int, Answer] = {}

    def done(number: int, written: Written) -> None:
        answers[number] = Answer(
            item_id=items[number].id, text=written.text, error=written.error, new_tokens=written.new_tokens
        )

    generate([prompts[item.id] for item in items], range(len(items)), done)
    missing = [Answer(item_id=item.id, text="", error="the model gave no answer") for item in items]
    return [judged(suite, item, answers.get(i, missing[i]), parse) for i, item in enumerate(items)]


def prompt_and_answer(row: Encoded) -> tuple[list[int], list[int]]:
    """`tokens [2, 5, 6, 7], loss_mask [F, F, T, T]` gives `[2, 5], [6, 7]`: cut before the last trained stretch."""
    trained = np.flatnonzero(row.loss_mask)
    end = int(trained[-1]) + 1
    before = np.flatnonzero(~row.loss_mask[:end])
    start = int(before[-1]) + 1 if len(before) else 0
    return row.tokens[:start].tolist(), row.tokens[start:end].tolist()


def _item(id: str, prompt: Sequence[int], answer: Sequence[int], dialect: Dialect, tokenizer: Tokenizer) -> Item:
    right = dialect.parse(tokenizer.decode(answer))
    category = "no_call" if not right.calls else "one_call" if len(right.calls) == 1 else "several_calls"
    shown = Message(role="user", content=tokenizer.decode(prompt))
    return Item(
        id=id,
        suite=NAME,
        category=category,
        conversation=Conversation(id=id, messages=(shown,)),
        expected={"content": right.text, "reasoning": right.reasoning},
        expected_calls=right.calls,
    )
