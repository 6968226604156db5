"""BFCL's matching rule: whether calls are the right ones. A pure function, equal to the leaderboard's `ast_checker`.

    match([ToolCall(name="area", arguments={"base": 10.5})], expected, "python")
    # Mismatch(failure="wrong_type", detail="area: base is 10.5 (float), expected a value of type integer")
    match([ToolCall(name="area", arguments={"base": 10})], expected, "python")        # None: right

What counts as right:
- as many calls as expected, in any order; each expected call takes the first of the calls left that fits it;
- every required argument, no unknown one, and none missing that may not be left out;
- types exactly (`5` is no string, `true` no integer), but an integer does for a float, and what has the type of the
  first right value does for any type: the name of a variable, given as a string, is one;
- strings without blanks, `,./-_*^` and case, and `'` like `"`; also inside lists and dicts, one level deep;
- lists in order; a dict key by key, each with its own right values.

Of Java and JavaScript every argument is a string, read as source code first. The behaviour is that of bfcl-eval
2026.3.23, `eval_checker/ast_eval/ast_checker.py`; `benchmarks/bfcl_rule.py` compares the verdicts. Where that file
raises on what a model wrote, the call is wrong here.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from gemma_tool_use.conversation import ToolCall
from gemma_tool_use.evaluation.bfcl.expected import LEFT_OUT, ExpectedArgument, ExpectedCall
from gemma_tool_use.evaluation.bfcl.languages import LANGUAGES, Language
from gemma_tool_use.evaluation.records import Failure

LONGEST_SOURCE = 2_000
"""Characters of source code that are read; the longest right value of Java and JavaScript has about 200."""

_NOT_COMPARED = str.maketrans("", "", " ,./-_*^")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mismatch:
    """Why calls are wrong. `detail` is one sentence for a reader."""

    failure: Failure
    detail: str


def match(calls: Sequence[ToolCall], expected: Sequence[ExpectedCall], language: str) -> Mismatch | None:
    """None where the calls are right.

    Of several expected calls, the reason is that of the first for which no call fits, compared with the call that
    comes nearest: one of the same name, or else the first left.
    """
    if len(calls) != len(expected):
        return Mismatch(failure="wrong_count", detail=f"{len(calls)} calls, expected {len(expected)}")
    left = list(calls)
    for one in expected:
        reasons: list[Mismatch] = []
        for number, call in enumerate(left):
            reason = _call(call, one, LANGUAGES[language])
            if reason is None:
                del left[number]
                break
            reasons.append(reason)
        else:
            return next((reason for reason in reasons if reason.failure != "wrong_function"), reasons[0])
    return None


def _call(call: ToolCall, expected: ExpectedCall, language: Language) -> Mismatch | None:
    if call.name != expected.name:
        return Mismatch(failure="wrong_function", detail=f"{_short(call.name)} called, expected {expected.name}")
    given = call.arguments
    optional = [name for name, argument in expected.arguments.items() if LEFT_OUT in argument.values]
    missing = [name for name in expected.required if name not in given]
    if not missing:
        for name, value in given.items():
            argument = expected.arguments.get(name)
            if argument is None or argument.type is None:
                return Mismatch(failure="unknown_argument", detail=f"{call.name}: {_short(name)} is not expected")
            if reason := _argument(value, argument, language):
                failure, expectation = reason
                found = f"{_short(value)} ({type(value).__name__})"
                return Mismatch(failure=failure, detail=f"{call.name}: {name} is {found}, expected {expectation}")
        missing = [name for name in expected.arguments if name not in given and name not in optional]
    if missing:
        return Mismatch(failure="missing_argument", detail=f"{call.name}: without {', '.join(missing)}")
    return None


def _argument(value: Any, argument: ExpectedArgument, language: Language) -> tuple[Failure, str] | None:
    """The failure and what was expected instead; None where the value is right."""
    kind = argument.type or ""
    one_of: tuple[Failure, str] = ("wrong_value", f"one of {_short(argument.values)}")
    if language.read is not None:
        if type(value) is not str:
            return "wrong_type", f"source code of type {kind} in a string"
        if len(value) > LONGEST_SOURCE:
            return one_of
        value = language.read(value, kind, argument.items)
    elif kind == "float" and type(value) is int:
        value = _as_float(value)
    wanted, items = language.types[kind], None if argument.items is None else language.types[argument.items]
    first = next((type(right) for right in argument.values if right != LEFT_OUT), None)
    if type(value) not in (wanted, first):
        return "wrong_type", f"a value of type {kind}"
    if type(value) is wanted and items is not None and not _items_fit(value, argument.values, items):
        return "wrong_type", f"{kind} of {argument.items}"
    if type(value) is wanted and first in (None, wanted):
        right = any(_equal(value, each, items) for each in argument.values)
    else:  # a variable, whose name is compared as it is
        right = value in argument.values
    return None if right else one_of


def _items_fit(values: list[Any], rights: list[Any], wanted: type) -> bool:
    """Whether each element has the wanted type, or that of the first element of one of the right lists.

    Where the argument may be left out the leaderboard does not look at the elements.
    """
    for right in rights:
        if not isinstance(right, list):
            return True
        first = next((type(each) for each in right if each != LEFT_OUT), None)
        if all(type(each) in (wanted, first) for each in values):
            return True
    return False


def _equal(value: Any, right: Any, items: type | None) -> bool:
    """Whether a value of the declared type is the right one."""
    if isinstance(value, str):
        return isinstance(right, str) and _normal(value) == _normal(right)
    if isinstance(value, dict):
        return _dict_equals(value, right)
    if isinstance(value, list):
        # For the leaderboard a right string is a list of characters; "" is therefore the empty list.
        if not isinstance(right, list | str) or len(value) != len(right):
            return False
        if items is dict:
            return all(map(_dict_equals, value, right))
        return [_normal(each) for each in value] == [_normal(each) for each in right]
    return bool(value == right)


def _dict_equals(value: Any, right: Any) -> bool:
    """Whether each key has one of its right values, and none is missing that may not be left out."""
    if not isinstance(value, dict) or not isinstance(right, dict):
        return False
    known = all(key in right and _normal(each) in map(_normal, right[key]) for key, each in value.items())
    return known and all(key in value or LEFT_OUT in rights for key, rights in right.items())


def _normal(value: Any) -> Any:
    """A string without what the leaderboard does not compare; any other value as it is."""
    return value.translate(_NOT_COMPARED).lower().replace("'", '"') if isinstance(value, str) else value


def _as_float(value: int) -> float | int:
    try:
        return float(value)
    except OverflowError:
        return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
