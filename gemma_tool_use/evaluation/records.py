"""What every part of the evaluation passes on: a question, the model's answer, how it was read, how it was judged.

    results = [judged(suite, item, answer, dialect.parse) for item, answer in zip(suite.items(), answers)]
    write_results(folder / "results.jsonl", results)
    read_results(folder / "results.jsonl")[0].verdict     # Verdict(official=False, strict=False, failure="no_call")

One line of results.jsonl, wrapped here:

    {"item": {"id": "simple_python_0", "suite": "bfcl", "category": "simple_python", "language": "python",
              "conversation": {"id": ..., "tools": [...], "messages": [...]}, "expected": [{"f": {"a": [1]}}],
              "expected_calls": [{"name": "f", "arguments": {"a": 1}}]},
     "answer": {"text": "<tool_call>...", "error": null, "prompt_tokens": 211, "new_tokens": 18},
     "reply": {"text": "", "reasoning": "", "calls": [{"name": "f", "arguments": {"a": 1}}], "errors": []},
     "verdict": {"official": true, "strict": true, "failure": null, "detail": ""}}

The file says nothing of the clock, so the same model, questions and settings give the same bytes.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

from gemma_tool_use.conversation import Conversation, Reply, ToolCall, conversation_from_dict, conversation_to_dict
from gemma_tool_use.errors import DataError, FileError

Failure = Literal[
    "no_call",
    "wrong_function",
    "missing_argument",
    "unknown_argument",
    "wrong_type",
    "wrong_value",
    "wrong_count",
    "broken_syntax",
    "over_call",
    "generation_error",
]
FAILURES: tuple[str, ...] = get_args(Failure)
"""Why an answer fails, in the order in which reports show it."""

_CUT = "{path}: line {line} cannot be read ({why}). Run evaluate again: it writes the file anew from the stored answers"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a suite.

    Attributes:
      id: unique within its suite.
      suite: `name` of the suite.
      category: what scores are grouped by.
      conversation: the question: tools, and messages up to the one the model is to write.
      expected: what the suite's own judge needs, as JSON values; opaque to everybody else.
      expected_calls: the right calls (one right variant of them) to show to a reader; empty where no call is right.
      language: whose literals the expected values are: `python`, `java` or `javascript`.
    """

    id: str
    suite: str
    category: str
    conversation: Conversation
    expected: Any
    expected_calls: tuple[ToolCall, ...] = ()
    language: str = "python"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model wrote to one item, or why it wrote nothing.

    Attributes:
      item_id: `Item.id`.
      text: the raw text, without the stop token; "" when there is an error.
      error: why there is no text; an error is never an answer.
      prompt_tokens: length of the prompt, `<bos>` included; 0 when the prompt could not be made.
      new_tokens: tokens of the reply, without the stop token.
      seconds: time this answer took, its share of a batch; None where it was not measured. Not in results.jsonl.
    """

    item_id: str
    text: str
    error: str | None = None
    prompt_tokens: int = 0
    new_tokens: int = 0
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.error is not None and self.text:
            raise DataError(f"the answer to {self.item_id!r} has both an error and a text; an error is no answer")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a suite judged one reply.

    Attributes:
      official: right by the rule that published figures follow.
      strict: right, and where no call is wanted there is also no broken attempt at one.
      failure: one of `FAILURES`; None when `strict` is true.
      detail: one sentence for a reader: what was expected and what was found.
    """

    official: bool
    strict: bool
    failure: str | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        if self.failure is not None and self.failure not in FAILURES:
            raise DataError(f"failure {self.failure!r} is none of {', '.join(FAILURES)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """One item with the answer to it. `reply.raw` is `answer.text`; empty after a generation error."""

    item: Item
    answer: Answer
    reply: Reply
    verdict: Verdict


class Suite(Protocol):
    """A set of questions and the rule that judges the replies."""

    @property
    def name(self) -> str:
        """`bfcl`, `held-out`."""
        ...

    def items(self) -> Sequence[Item]:
        """The questions, always the same ones in the same order."""
        ...

    def judge(self, item: Item, reply: Reply) -> Verdict:
        """Judges a reply to one of `items()`. Never raises for what a model wrote."""
        ...


def judged(suite: Suite, item: Item, answer: Answer, parse: Callable[[str], Reply]) -> Result:
    """Reads an answer with the dialect's parser and has the suite judge it; a generation error is not judged."""
    if answer.error is not None:
        failed = Verdict(official=False, strict=False, failure="generation_error", detail=answer.error)
        return Result(item=item, answer=answer, reply=Reply(raw=""), verdict=failed)
    reply = parse(answer.text)
    return Result(item=item, answer=answer, reply=reply, verdict=suite.judge(item, reply))


def item_to_dict(item: Item) -> dict[str, Any]:
    """The stored form shown in the module docstring."""
    return {
        "id": item.id,
        "suite": item.suite,
        "category": item.category,
        "language": item.language,
        "conversation": conversation_to_dict(item.conversation),
        "expected": item.expected,
        "expected_calls": [_call_to_dict(call) for call in item.expected_calls],
    }


def item_from_dict(value: Any) -> Item:
    """Reads `item_to_dict`.

    Raises:
      DataError: a conversation that is none.
      KeyError, TypeError: another shape.
    """
    return Item(
        **{key: str(value[key]) for key in ("id", "suite", "category", "language")},
        conversation=conversation_from_dict(value["conversation"]),
        expected=value["expected"],
        expected_calls=_calls_from(value["expected_calls"]),
    )


def items_sha256(items: Iterable[Item]) -> str:
    """sha256 over the stored forms of all items, in order: the same value means the same questions and right answers.

    Raises:
      DataError: an expected value that JSON does not have.
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(_line(item_to_dict(item), item.id).encode("ascii"))
    return digest.hexdigest()


def result_to_dict(result: Result) -> dict[str, Any]:
    """The stored form shown in the module docstring; without `Answer.seconds`."""
    answer, reply = result.answer, result.reply
    return {
        "item": item_to_dict(result.item),
        "answer": {key: getattr(answer, key) for key in ("text", "error", "prompt_tokens", "new_tokens")},
        "reply": {
            "text": reply.text,
            "reasoning": reply.reasoning,
            "calls": [_call_to_dict(call) for call in reply.calls],
            "errors": list(reply.errors),
        },
        "verdict": dataclasses.asdict(result.verdict),
    }


def result_from_dict(value: Any) -> Result:
    """Reads `result_to_dict`.

    Raises:
      DataError: a conversation or a failure that is none.
      KeyError, TypeError: another shape.
    """
    item, reply = item_from_dict(value["item"]), value["reply"]
    answer = Answer(item_id=item.id, **value["answer"])
    return Result(
        item=item,
        answer=answer,
        reply=Reply(
            raw=answer.text,
            text=str(reply["text"]),
            reasoning=str(reply["reasoning"]),
            calls=_calls_from(reply["calls"]),
            errors=tuple(str(each) for each in reply["errors"]),
        ),
        verdict=Verdict(**value["verdict"]),
    )


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Writes results.jsonl, one line a result; the file is there whole or not at all.

    ASCII: a reply may hold half of a surrogate pair, which has no UTF-8 form.

    Raises:
      DataError: an expected value that JSON does not have.
      FileError: the file cannot be written.
    """
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        with temporary.open("w", encoding="ascii") as file:
            file.writelines(_line(result_to_dict(result), result.item.id) for result in results)
        temporary.replace(path)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def read_results(path: Path) -> list[Result]:
    """Reads results.jsonl.

    Raises:
      FileError: the file cannot be read.
      DataError: a line that `write_results` did not write, with its number.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}; evaluate writes it") from None
    results = []
    for number, line in enumerate(lines, 1):
        try:
            results.append(result_from_dict(json.loads(line)))
        except (ValueError, KeyError, TypeError, RecursionError) as error:  # DataError is a ValueError
            raise DataError(_CUT.format(path=path, line=number, why=repr(error))) from None
    return results


def _line(value: dict[str, Any], id: str) -> str:
    try:
        return json.dumps(value, allow_nan=False) + "\n"
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"item {id!r} holds a value that JSON does not have ({error})") from None


def _call_to_dict(call: ToolCall) -> dict[str, Any]:
    return {"name": call.name, "arguments": call.arguments}


def _calls_from(values: Any) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(name=cast(str, value["name"]), arguments=dict(value["arguments"])) for value in values)
