"""The right answer to a question of BFCL, in the form the rule compares with and in the form a reader is shown.

    read_expected([{"area": {"base": [10], "unit": ["units", ""]}}], [function], "python")
    # (ExpectedCall(name="area", required=("base",), arguments={
    #      "base": ExpectedArgument(values=[10], type="integer"),
    #      "unit": ExpectedArgument(values=["units", ""], type="string")}),)
    as_call(expected, "python")                    # ToolCall("area", {"base": 10})

BFCL lists the right values of each argument; `""` among them says that the argument may be left out. Inside a dict the
right values of each key are listed in the same way.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from gemma_tool_use.conversation import ToolCall
from gemma_tool_use.errors import DataError
from gemma_tool_use.evaluation.bfcl.languages import LANGUAGES

LEFT_OUT = ""
"""Among the right values of an argument: it may be left out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpectedArgument:
    """The right values of one argument.

    Attributes:
      values: any of these is right.
      type: its type as BFCL names it (`float`, `ArrayList`); None where the function declares no such parameter.
      items: type of the elements, for the types whose elements are checked.
    """

    values: list[Any]
    type: str | None
    items: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpectedCall:
    """One right call. `name` is the name the model is shown, `required` what the function cannot do without."""

    name: str
    required: tuple[str, ...]
    arguments: dict[str, ExpectedArgument]


def read_expected(answers: Any, functions: Sequence[Mapping[str, Any]], language: str) -> tuple[ExpectedCall, ...]:
    """The `ground_truth` of BFCL, with what the offered functions say of its arguments.

    Raises:
      DataError: an answer of another form, to a function that is not offered, or of a type the rule does not know.
    """
    if not isinstance(answers, list) or not all(isinstance(one, dict) and len(one) == 1 for one in answers):
        raise DataError(f"a right answer must be a list of {{name: arguments}}, got {answers!r:.120}")
    by_name = {function["name"]: function for function in functions}
    calls = []
    for answer in answers:
        ((name, arguments),) = answer.items()
        if name not in by_name:
            raise DataError(f"the right answer calls {name!r}, which is not among {', '.join(by_name)}")
        parameters = by_name[name]["parameters"]
        declared = parameters["properties"]
        expected = {key: _argument(values, declared.get(key), language) for key, values in arguments.items()}
        calls.append(ExpectedCall(name=name, required=tuple(parameters.get("required", ())), arguments=expected))
    return tuple(calls)


def _argument(values: Any, schema: Mapping[str, Any] | None, language: str) -> ExpectedArgument:
    if not isinstance(values, list):
        raise DataError(f"the right values of an argument must be a list, got {values!r:.80}")
    if schema is None:
        return ExpectedArgument(values=values, type=None)
    rules, kind = LANGUAGES[language], schema["type"]
    items = schema["items"]["type"] if kind in rules.with_items else None
    for each in (kind, items):
        if each is not None and each not in rules.types:
            raise DataError(f"the rule does not know the type {each!r} of {language}")
    return ExpectedArgument(values=values, type=kind, items=items)


def as_call(expected: ExpectedCall, language: str) -> ToolCall:
    """The shortest right call: the first right value of each argument that cannot be left out."""
    rules = LANGUAGES[language]
    arguments = {}
    for name, argument in expected.arguments.items():
        if argument.type is not None and (name in expected.required or LEFT_OUT not in argument.values):
            # Required, yet to be left out: the empty value of its type comes nearest.
            empty = rules.types[argument.type]()
            value = next((_plain(value) for value in argument.values if value != LEFT_OUT), empty)
            arguments[name] = rules.write(value, argument.type, argument.items)
    return ToolCall(name=expected.name, arguments=arguments)


def _plain(value: Any) -> Any:
    """A right value as a model would write it: of the right values of a dict's keys, the first each."""
    if isinstance(value, dict):
        return {key: rights[0] for key, rights in value.items() if LEFT_OUT not in rights}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def to_json(expected: Sequence[ExpectedCall]) -> list[dict[str, Any]]:
    """As it stands in an `Item`: one object a call, arguments with what is known of them."""
    return [dataclasses.asdict(call) | {"required": list(call.required)} for call in expected]


def from_json(value: Sequence[Mapping[str, Any]]) -> tuple[ExpectedCall, ...]:
    """Reads `to_json`."""
    return tuple(
        ExpectedCall(
            name=call["name"],
            required=tuple(call["required"]),
            arguments={name: ExpectedArgument(**argument) for name, argument in call["arguments"].items()},
        )
        for call in value
    )
