"""How near the calls of a reply are to the expected ones, call by call and argument by argument.

    score = compare_calls([call("book", day=1, seats=2)], [call("book", day=1, seats="2", row="A")])
    score.named, score.argument_names, score.argument_values      # 1 of 1 calls, 2 of 2 names, 1 of 2 values
    failure_of([call("book", day=1)], reply)                      # ("missing_argument", "book lacks 'seats'")

Calls are paired by function name, each with the one that has most arguments right, so their order is free. Values are
compared as JSON: `1` is not `1.0`, `true` is not `1`, the order of an object's keys is free.
"""

import collections
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from gemma_tool_use.conversation import Reply, ToolCall
from gemma_tool_use.evaluation.exact_call import is_exact
from gemma_tool_use.evaluation.records import Failure

Pair = tuple[ToolCall, ToolCall]
"""The expected call and the one that was made."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallScore:
    """Counts of one reply; those of many are added.

    Attributes:
      expected: calls that are expected.
      made: calls that the reply makes.
      named: calls of both that have a partner of the same name.
      same_arguments: pairs whose arguments have the same names.
      arguments_expected: arguments of all expected calls.
      arguments_made: arguments of all calls made, those of calls without a partner included.
      argument_names: arguments that both calls of a pair have.
      argument_values: those of them that have the expected value.
    """

    expected: int = 0
    made: int = 0
    named: int = 0
    same_arguments: int = 0
    arguments_expected: int = 0
    arguments_made: int = 0
    argument_names: int = 0
    argument_values: int = 0

    def __add__(self, other: "CallScore") -> "CallScore":
        names = [field.name for field in dataclasses.fields(self)]
        return CallScore(**{name: getattr(self, name) + getattr(other, name) for name in names})


def compare_calls(expected: Sequence[ToolCall], made: Sequence[ToolCall]) -> CallScore:
    """The counts of one reply."""
    pairs = pair_calls(expected, made)
    shared = [(one, other, one.arguments.keys() & other.arguments.keys()) for one, other in pairs]
    return CallScore(
        expected=len(expected),
        made=len(made),
        named=len(pairs),
        same_arguments=sum(one.arguments.keys() == other.arguments.keys() for one, other in pairs),
        arguments_expected=sum(len(call.arguments) for call in expected),
        arguments_made=sum(len(call.arguments) for call in made),
        argument_names=sum(len(names) for _, _, names in shared),
        argument_values=sum(
            same_value(one.arguments[name], other.arguments[name]) for one, other, names in shared for name in names
        ),
    )


def pair_calls(expected: Sequence[ToolCall], made: Sequence[ToolCall]) -> list[Pair]:
    """Pairs of one name, the best ones first; no call is in two of them."""

    def rank(i: int, j: int) -> tuple[int, int, int]:
        one, other = expected[i].arguments, made[j].arguments
        right = sum(same_value(one[name], other[name]) for name in one.keys() & other.keys())
        return 2 * right - len(one) - len(other), -i, -j

    possible = [(i, j) for i, one in enumerate(expected) for j, other in enumerate(made) if one.name == other.name]
    left, right, pairs = set[int](), set[int](), []
    for i, j in sorted(possible, key=lambda pair: rank(*pair), reverse=True):
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
            pairs.append((expected[i], made[j]))
    return pairs


def same_names(expected: Sequence[ToolCall], made: Sequence[ToolCall]) -> bool:
    """Whether the same functions are called, each as often, in any order."""
    return collections.Counter(call.name for call in expected) == collections.Counter(call.name for call in made)


def same_value(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, types included."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def failure_of(expected: Sequence[ToolCall], reply: Reply) -> tuple[Failure, str] | None:
    """Why a reply is not exact, and a sentence about it; None when it is.

    Of several reasons the first in this order: over_call, broken_syntax, no_call, wrong_count, wrong_function,
    missing_argument, unknown_argument (one that the right call does not have), wrong_type, wrong_value.
    """
    if is_exact(reply, expected):
        return None
    made = reply.calls
    if not expected and made:
        return "over_call", f"no call is right here; it calls {_names(made)}"
    if reply.errors:
        return "broken_syntax", reply.errors[0]
    if not made:
        return "no_call", f"expected {_names(expected)}"
    if len(made) != len(expected):
        return "wrong_count", f"{len(made)} calls ({_names(made)}), expected {len(expected)} ({_names(expected)})"
    if not same_names(expected, made):
        return "wrong_function", f"it calls {_names(made)}, expected {_names(expected)}"
    return _argument_failure(pair_calls(expected, made))


def _argument_failure(pairs: Sequence[Pair]) -> tuple[Failure, str]:
    for right, made in pairs:
        if missing := [name for name in right.arguments if name not in made.arguments]:
            return "missing_argument", f"{made.name} lacks {missing[0]!r}"
    for right, made in pairs:
        if unknown := [name for name in made.arguments if name not in right.arguments]:
            return "unknown_argument", f"{made.name} has {unknown[0]!r}, which the right call does not have"
    wrong = [
        (made.name, name, value, made.arguments[name])
        for right, made in pairs
        for name, value in right.arguments.items()
        if not same_value(value, made.arguments[name])
    ]
    of_type = next((each for each in wrong if type(each[2]) is not type(each[3])), None)
    function, name, value, found = of_type or wrong[0]
    failure: Failure = "wrong_type" if of_type else "wrong_value"
    return failure, f"{function}: {name} is {_short(found)}, expected {_short(value)}"


def _names(calls: Sequence[ToolCall]) -> str:
    return ", ".join(call.name for call in calls[:5]) + (", ..." if len(calls) > 5 else "")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
