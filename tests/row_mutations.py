"""Spoils rows the way files are spoilt, and says what a reader did with them. Seeded: a seed gives one row, always.

    spoilt = mutate(row, random.Random(7))
    outcome_of(SOURCES["xlam"], spoilt)     # "kept", or the reason of the reject; AssertionError for anything else

A mutation lands anywhere in the row, also inside the JSON texts in it: fields dropped, doubled, swapped and retyped,
texts cut, characters flipped, roles exchanged, numbers and nesting beyond all measure, halves of surrogate pairs, NUL,
bytes.
"""

import copy
import dataclasses
import datetime
import decimal
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from gemma_tool_use.conversation import Conversation, conversation_from_dict, conversation_to_dict
from gemma_tool_use.data.rejects import Reject, short
from gemma_tool_use.data.row_task import RowTask
from gemma_tool_use.data.rules import RuleSettings
from gemma_tool_use.data.sources.source import Source

PLACE = "rows.jsonl:1"
Place = tuple[Any, Any]
"""A container and the key or index of a value in it."""


def nested(depth: int, kind: str) -> Any:
    """`nested(2, "list")` gives `[[[]]]`."""
    value: Any = [] if kind == "list" else {}
    for _ in range(depth):
        value = [value] if kind == "list" else {"type": "object", "properties": {"a": value}}
    return value


SCALARS = (
    *(None, True, False, 0, -1, 7, 10**18, 2**64, 10**400, 10**5000, 1.5, -0.0, 1e308, float("nan"), float("inf")),
    *(
        "",
        " ",
        "\0",
        "\ud800",
        "x\udfffy",
        "\u2028",
        "null",
        "NaN",
        "true",
        "[]",
        "{}",
        "[{}]",
        '"',
        "'",
        "\\",
        "{'a': 1}",
    ),
    *(b"", b"\xff\xfe", decimal.Decimal("1.5"), datetime.date(2026, 1, 2), object),
    *("user", "assistant", "system", "tool", "gpt", "human", "function_call", "tool_call", "observation", "developer"),
)
CONTAINERS = (
    [],
    {},
    [[]],
    [None],
    [1, "a"],
    {"": {}},
    {1: 2},
    {None: None},
    (1, 2),
    {1, 2},
    {"name": {}},
    [{"name": None}],
)
DEPTHS = (30, 60, 65, 200, 400, 700, 990, 3000)
ENDINGS = "[{(\"'\\"
NOISE = (
    "\0",
    "\ud83d",
    "\x7f",
    "\u202e",
    "😀",
    '"',
    "'",
    "\\",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ",",
    ":",
    "=",
    "<",
    "\n",
    "\\u",
)
MARKS = (
    "<functioncall>",
    "<TOOLCALL>",
    "</TOOLCALL>",
    "USER:",
    "ASSISTANT:",
    "api_list = ",
    "you can invoke:",
    "<tool_call>",
)


def mutate(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A copy of the row with one to three things wrong."""
    row = copy.deepcopy(row)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _mutate_container(row, rng, inside=True)
    return row


def outcome_of(source: Source, row: dict[str, Any]) -> str:
    """`kept`, or the reason for which the reader or one of the rules that are always on rejects the row.

    Raises:
      AssertionError: a reject without its place, or a conversation that does not survive being stored.
    """
    source.recognises(row)
    assert source.subset is None or isinstance(source.subset(row), str)
    outcome = source.read(row, PLACE)
    if isinstance(outcome, Conversation):
        _survives(outcome)
        outcome = RowTask(source=source.name, rules=RuleSettings()).decide(outcome, PLACE)
    if isinstance(outcome, Conversation):
        _survives(outcome).encode()
        return "kept"
    assert isinstance(outcome, Reject)
    json.dumps(dataclasses.asdict(outcome))
    assert all(isinstance(text, str) for text in (outcome.id, outcome.reason, outcome.detail))
    assert outcome.where == PLACE
    return outcome.reason


def _survives(conversation: Conversation) -> str:
    """The conversation as JSON, once it is known to come back from there as it was."""
    text = json.dumps(conversation_to_dict(conversation), ensure_ascii=False, allow_nan=False)
    again = conversation_from_dict(json.loads(text))
    assert again == conversation
    # 1, 1.0 and True are equal and not the same.
    assert json.dumps(conversation_to_dict(again), ensure_ascii=False) == text
    return text


def _mutate_container(container: Any, rng: random.Random, *, inside: bool) -> None:
    places = list(_places(container))
    if not places:
        return
    holder, key = rng.choice(places)
    value = holder[key]
    inner = _parsed(value) if inside and rng.random() < 0.7 else None
    if inner is not None:
        _mutate_container(inner, rng, inside=True)
        try:
            holder[key] = json.dumps(inner, ensure_ascii=rng.random() < 0.5)
        except (TypeError, ValueError, RecursionError):  # bytes and the like have no JSON: leave them as objects
            holder[key] = inner
    else:
        rng.choice(_MUTATIONS)(holder, key, rng)


def _places(value: Any, depth: int = 0) -> Iterator[Place]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        if depth < 12:
            yield from _places(item, depth + 1)


def _parsed(value: Any) -> Any:
    """The container that a text is the JSON of, None for anything else."""
    try:
        inner = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict | list) and inner else None


def _drop(holder: Any, key: Any, rng: random.Random) -> None:
    del holder[key]


def _double(holder: Any, key: Any, rng: random.Random) -> None:
    if isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), holder[key])
    else:
        holder[f"{key}s" if isinstance(key, str) else "more"] = holder[key]


def _rename(holder: Any, key: Any, rng: random.Random) -> None:
    if isinstance(holder, dict):
        holder[rng.choice(("", "id", "name", "type", "arguments", "\ud800", "content", 1))] = holder.pop(key)
    else:
        holder.reverse()


def _swap(holder: Any, key: Any, rng: random.Random) -> None:
    other = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


def _retype(holder: Any, key: Any, rng: random.Random) -> None:
    holder[key] = copy.deepcopy(rng.choice(SCALARS + CONTAINERS))


def _wrap(holder: Any, key: Any, rng: random.Random) -> None:
    value = holder[key]
    holder[key] = rng.choice(([value], {"function": value}, {"value": value}, short(value, 10_000)))


def _deepen(holder: Any, key: Any, rng: random.Random) -> None:
    depth = rng.choice(DEPTHS)
    holder[key] = rng.choice(
        (
            nested(depth, "list"),
            nested(depth, "dict"),
            "[" * depth + "]" * depth,
            '{"a":' * depth + "1" + "}" * depth,
        )
    )


def _text(change: Callable[[str, random.Random], str]) -> Callable[[Any, Any, random.Random], None]:
    def mutation(holder: Any, key: Any, rng: random.Random) -> None:
        value = holder[key]
        if isinstance(value, str):
            holder[key] = change(value, rng)
        else:
            _retype(holder, key, rng)

    return mutation


def _cut(text: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _flip(text: str, rng: random.Random) -> str:
    letters = list(text)
    for _ in range(rng.choice((1, 1, 2, 8)) if letters else 0):
        letters[rng.randrange(len(letters))] = rng.choice(NOISE) if rng.random() < 0.7 else chr(rng.randrange(0x3000))
    return "".join(letters)


def _insert(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    piece = rng.choice((*NOISE, *MARKS, rng.choice(ENDINGS) * 500, "9" * 5000))
    return text[:at] + piece + text[at:]


def _remove(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + text[at + rng.choice((1, 1, 5, 40)) :]


def _repeat(text: str, rng: random.Random) -> str:
    return text * rng.choice((2, 20))


_MUTATIONS = (
    *(_drop, _double, _rename, _swap, _retype, _retype, _retype, _wrap, _deepen),
    *map(_text, (_cut, _cut, _flip, _flip, _flip, _insert, _insert, _remove, _remove, _repeat)),
)
