"""From items to answers: each prompt asked once, what is stored not asked again.

    answers = answer_items(suite.items(), asker)       # one `Answer` an item, in their order

The model is a callable: `generate(prompts, wanted, done)` writes to the prompts whose numbers are in `wanted`, and
calls `done(number, written)` as soon as one is there. It gets all prompts every time, so that it can put the same ones
into a batch together whether or not a run was interrupted: the sums of a batch, and so a close decision between two
tokens, may depend on its shape.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from gemma_tool_use.errors import DataError
from gemma_tool_use.evaluation.answer_store import AnswerStore, Stored, answer_key
from gemma_tool_use.evaluation.records import Answer, Item
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.encode import encode
from gemma_tool_use.formats.tokenizer import Tokenizer


class Written(Protocol):
    """What a model made of one prompt."""

    @property
    def text(self) -> str:
        """Without the stop token; "" when there is an error."""
        ...

    @property
    def error(self) -> str | None:
        """Why there is no text."""
        ...

    @property
    def new_tokens(self) -> int: ...

    @property
    def seconds(self) -> float | None: ...


Prompt = Callable[[Item], Sequence[int]]
"""The tokens of an item's prompt, `<bos>` included; raises `DataError` when it cannot be written."""

Done = Callable[[int, Written], None]
Generate = Callable[[Sequence[Sequence[int]], Collection[int], Done], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asker:
    """Who is asked, and how.

    Attributes:
      generate: the model; see the top of this module.
      prompt: writes the prompts; `dialect_prompt` for conversations.
      identity: what else decides an answer: model, adapter, dialect, compute dtype, sampling; JSON values.
      store: where answers are kept.
      tell: called as `tell(finished, total)` once at the start and after each new answer.
    """

    generate: Generate
    prompt: Prompt
    identity: Mapping[str, Any]
    store: AnswerStore
    tell: Callable[[int, int], None] = lambda finished, total: None


def dialect_prompt(dialect: Dialect, tokenizer: Tokenizer) -> Prompt:
    """The prompts of conversations."""
    return lambda item: encode(dialect.prompt(item.conversation), tokenizer).tokens.tolist()


def answer_items(items: Sequence[Item], asker: Asker) -> list[Answer]:
    """The answer to each item, in their order. Items with the same prompt share one answer.

    An item whose prompt cannot be written (half of a surrogate pair, nesting too deep) has an answer with an error.
    """
    prompts: dict[str, Sequence[int]] = {}
    keys: list[str | DataError] = [_key(item, asker, prompts) for item in items]
    numbers = {key: number for number, key in enumerate(prompts)}
    asked = list(prompts)
    missing = {numbers[key] for key in prompts if asker.store.get(key) is None}
    failed: dict[str, str] = {}
    finished = len(prompts) - len(missing)
    asker.tell(finished, len(prompts))

    def done(number: int, written: Written) -> None:
        nonlocal finished
        if number not in missing:
            return
        missing.discard(number)
        key, finished = asked[number], finished + 1
        if written.error is None:
            length = len(prompts[key])
            stored = Stored(
                text=written.text, prompt_tokens=length, new_tokens=written.new_tokens, seconds=written.seconds
            )
            asker.store.put(key, stored)
        else:
            failed[key] = written.error
        asker.tell(finished, len(prompts))

    if missing:
        asker.generate(list(prompts.values()), frozenset(missing), done)
    return [_answer(item, key, asker.store, failed) for item, key in zip(items, keys, strict=True)]


def _key(item: Item, asker: Asker, prompts: dict[str, Sequence[int]]) -> str | DataError:
    try:
        tokens = asker.prompt(item)
    except DataError as error:
        return error
    key = answer_key(asker.identity, tokens)
    prompts[key] = tokens
    return key


def _answer(item: Item, key: str | DataError, store: AnswerStore, failed: Mapping[str, str]) -> Answer:
    if isinstance(key, DataError):
        return Answer(item_id=item.id, text="", error=f"the prompt cannot be written: {key}")
    stored = store.get(key)
    if stored is None:
        return Answer(item_id=item.id, text="", error=failed.get(key, "the model gave no answer"))
    return Answer(item_id=item.id, **dataclasses.asdict(stored))
