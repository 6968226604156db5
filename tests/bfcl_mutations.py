"""Right answers to BFCL's questions, and seeded changes to them: most are wrong then, and some still right.

    calls = right_answers(expected, "python")[0]           # [("area", {"x": 5})]
    mutate(calls, functions, "python", random.Random(1))   # ("types", [("area", {"x": "5"})])

    source_text("array", random.Random(1))                 # "[[1, 'd e'], 2"

A change is one of KINDS, at a random place; now and then there are two.
"""

import copy
import itertools
import json
import random
import string
from collections.abc import Sequence
from typing import Any

from gemma_tool_use.evaluation.bfcl.expected import LEFT_OUT, ExpectedCall, as_call
from gemma_tool_use.evaluation.bfcl.languages import LANGUAGES

Calls = list[tuple[str, dict[str, Any]]]
KINDS = ("types", "values", "order", "missing", "extra", "nested", "case", "names", "source")
_ODD = [
    "",
    " ",
    None,
    True,
    False,
    0,
    1,
    -1,
    1.0,
    0.5,
    1e300,
    "1",
    "true",
    "None",
    [],
    [""],
    [[]],
    {},
    {"a": 1},
    10**20,
]
_SOURCE = (
    *("null", "undefined", "true", "5", "5L", "5n", "5f", "-0", "1e3", "1_0", "nan", '"', "''", "{}", "[]", "{{}}"),
    *("new int[]{}", "new int[]{1,2}", "new String[]{a, b}", "new ArrayList<>()", "new ArrayList<>() {{ }}"),
    *("new ArrayList<>() {{ add(1); add(2L); }}", 'new ArrayList<>(Arrays.asList("a", 2, true))', "Arrays.asList(1)"),
    *("new HashMap<>()", 'new HashMap<String, Object>() {{ put("a", 1); put("b", "x"); }}', "new HashMap<>() {}"),
    *("new Array(1, 2)", "new Array([1], [2])", "[[1], [2]]", "[ [1, 2] , [3] ] x", "[[1],[2]", "[1]]", "[[]]"),
    *("{a: 1, b: [1, 2], c: 'x'}", "{'a': {b: 1}}", "{a: 1, b}", '{"a": "b, c: d"}', "{a:\n1}", "{ : 1}"),
)
_PIECES = (
    "new ",
    "int",
    "[]",
    "{",
    "}",
    "{{",
    "}}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ":",
    "'",
    '"',
    " ",
    "\n",
    "L",
    "n",
    "f",
    ".0",
)


_VALUES = (
    "1",
    "-2",
    "3.5",
    "4L",
    "5n",
    "6f",
    "7e1",
    "true",
    "null",
    "abc",
    "'d e'",
    '"f,g"',
    "(x)",
    "",
    " ",
    "\\",
    "\n",
)
_INSIDE = {
    "Array": (*_VALUES, ", ", ",", "}", "{"),
    "ArrayList": (*_VALUES, ", ", ",", "add(", ");", "add(1L);", 'add("a"); ', ")", "))", "}", "}}", " {{ "),
    "HashMap": (*_VALUES, 'put("a", ', 'put("', '", ', ",", ");", 'put("b", 2L); ', "put(k, 1)", "{", "}", ">"),
    "array": (*_VALUES, ", ", ",", "[", "]", "],[", "] , [", "], [", "{a: 1}", ")"),
    "dict": (*_VALUES, "a: ", "'b': ", '"c":', ", ", ",", "[1, 2]", "{d: 1}", "]", "}", ":"),
}
_FORMS = {
    "Array": ("new int[]{%s}", "new String[] { %s }", "x new\tlong[]\n{%s} y"),
    "ArrayList": (
        *("new ArrayList<>(Arrays.asList(%s))", "new  ArrayList<Long>(Arrays.asList(%s)).x()", "new ArrayList<>()%s"),
        *("new ArrayList<Integer>() {{%s}}", "new ArrayList<>(){{ %s }}"),
    ),
    "HashMap": (
        "new HashMap<>() {{%s}}",
        "new HashMap<String, A<B>>() { %s}",
        "new HashMap<>()%s",
        "new HashMap<%s>() {}",
    ),
    "array": ("[%s]", "new Array(%s)", "[[%s]]", " [ [%s] ] ", "new Array( [%s])", "[[1], %s]"),
    "dict": ("{%s}", "{a: %s}", "{a: 1, %s}", "{%s, b: 2} c"),
}


def source_text(kind: str, rng: random.Random) -> str:
    """Something like source code of Java or JavaScript of this type; a few characters may be too many or missing."""
    if rng.random() < 0.1:
        return rng.choice(_SOURCE)
    inside = "".join(rng.choice(_INSIDE.get(kind, _VALUES)) for _ in range(rng.choice((0, 1, 1, 2, 3, 5, 8))))
    text = rng.choice(_FORMS.get(kind, ("%s",))) % inside
    for _ in range(rng.choice((0, 0, 1, 2))):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(("", "", *_PIECES)) + text[at + rng.choice((0, 0, 1)) :]
    return text


def right_answers(expected: Sequence[ExpectedCall], language: str) -> list[Calls]:
    """The shortest right answer, and one more for each further right value of each argument."""
    shortest = [as_call(call, language) for call in expected]
    answers: list[Calls] = [[(call.name, dict(call.arguments)) for call in shortest]]
    for number, call in enumerate(expected):
        for name, argument in call.arguments.items():
            for value in argument.values:
                if value == LEFT_OUT or argument.type is None:
                    continue
                one = ExpectedCall(
                    name=call.name,
                    required=(*call.required, name),
                    arguments={
                        **call.arguments,
                        name: type(argument)(values=[value], type=argument.type, items=argument.items),
                    },
                )
                answer = copy.deepcopy(answers[0])
                answer[number] = (call.name, as_call(one, language).arguments)
                answers.append(answer)
    return answers


def mutate(calls: Calls, functions: Sequence[dict[str, Any]], language: str, rng: random.Random) -> tuple[str, Calls]:
    """The kind of the change (of the last one) and the changed calls, as JSON has them."""
    kind = "values"
    for _ in range(1 if rng.random() < 0.85 else 2):
        # Through JSON, so that no value is part of another, and none of the odd ones is changed.
        calls = [(name, arguments) for name, arguments in json.loads(json.dumps(calls))]
        kind = rng.choice(KINDS if language == "python" else (*KINDS, "source", "source", "source"))
        special = {"order": _order, "missing": _missing, "extra": _extra, "names": _names}
        special.get(kind, _value_change(kind, language))(calls, functions, rng)
    return kind, [(name, arguments) for name, arguments in json.loads(json.dumps(calls))]


def _order(calls: Calls, _functions: Any, rng: random.Random) -> None:
    choice = rng.randrange(3)
    if choice == 0:
        rng.shuffle(calls)
    for number, (name, arguments) in enumerate(calls):
        items = list(arguments.items())
        if choice == 1:
            rng.shuffle(items)
        if choice == 2:
            items = [(key, _reordered(value, rng)) for key, value in items]
        calls[number] = (name, dict(items))


def _reordered(value: Any, rng: random.Random) -> Any:
    if isinstance(value, list):
        return rng.sample(value, len(value))
    if isinstance(value, dict):
        return dict(rng.sample(list(value.items()), len(value)))
    if isinstance(value, str) and "," in value:
        parts = value.split(",")
        return ",".join(rng.sample(parts, len(parts)))
    return value


def _missing(calls: Calls, _functions: Any, rng: random.Random) -> None:
    if not calls:
        return
    if rng.random() < 0.2:
        del calls[rng.randrange(len(calls))]
        return
    _, arguments = rng.choice(calls)
    if arguments:
        key = rng.choice(list(arguments))
        value = arguments[key]
        if isinstance(value, list | dict) and value and rng.random() < 0.6:
            del value[rng.choice(list(value) if isinstance(value, dict) else range(len(value)))]
        else:
            del arguments[key]


def _extra(calls: Calls, functions: Sequence[dict[str, Any]], rng: random.Random) -> None:
    if not calls or rng.random() < 0.2:
        again = copy.deepcopy(rng.choice(calls)) if calls else ("f", {})
        calls.insert(rng.randint(0, len(calls)), again)
        return
    name, arguments = rng.choice(calls)
    declared = [key for each in functions if each["name"] == name for key in each["parameters"]["properties"]]
    grown = [value for value in arguments.values() if isinstance(value, list | dict)]
    if grown and rng.random() < 0.5:
        value = rng.choice(grown)
        if isinstance(value, dict):
            value[rng.choice(["x", "", *value])] = rng.choice(_ODD)
        else:
            value.insert(rng.randint(0, len(value)), rng.choice([*value, *_ODD]))
    else:
        arguments[rng.choice(["x", "", *declared])] = rng.choice([*_ODD, *_SOURCE, *arguments.values()])


def _names(calls: Calls, functions: Sequence[dict[str, Any]], rng: random.Random) -> None:
    if not calls:
        return
    number = rng.randrange(len(calls))
    name, arguments = calls[number]
    others = [each["name"] for each in functions]
    name = rng.choice([*others, *(name.swapcase(), name.replace("_", "."), name.replace(".", "_"), name + "_", "")])
    calls[number] = (name, arguments)


def _value_change(kind: str, language: str) -> Any:
    def change(calls: Calls, _functions: Any, rng: random.Random) -> None:
        filled = [arguments for _, arguments in calls if arguments]
        if not filled:
            return
        arguments = rng.choice(filled)
        key = rng.choice(list(arguments))
        if kind == "case" and rng.random() < 0.2:
            arguments[key.swapcase()] = arguments.pop(key)
        else:
            arguments[key] = _changed(arguments[key], kind, language, rng)

    return change


def _changed(value: Any, kind: str, language: str, rng: random.Random) -> Any:
    """A value changed itself, or in one place inside."""
    if isinstance(value, list | dict) and value and rng.random() < 0.6:
        value = copy.copy(value)
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        value[key] = _changed(value[key], kind, language, rng)
        return value
    if kind == "types":
        return _other_type(value, rng)
    if kind == "nested":
        return rng.choice([[value], [[value]], {"a": value}, {"": [value]}, [value, value], {str(value)[:9]: value}])
    if kind == "case":
        return _case(value, rng) if isinstance(value, str) else value
    if kind == "source":
        return _source(value, language, rng)
    return _other_value(value, rng)


def _other_type(value: Any, rng: random.Random) -> Any:
    forms: list[Any] = [str(value), [value], *_ODD]
    if isinstance(value, int | float) and abs(value) < 1e15:
        forms += [float(value), int(value), bool(value), f"{value}L", -value]
    if isinstance(value, str):
        forms += [list(value), value.split(), {"value": value}]
        forms += [int(value)] if value.strip("-").isdecimal() else []
    if isinstance(value, list):
        forms += [
            ",".join(map(str, value)),
            dict(zip(map(str, value), itertools.repeat(1), strict=False)),
            tuple(value),
        ]
        forms += [[str(each) for each in value], [float(each) if type(each) is int else each for each in value]]
    if isinstance(value, dict):
        forms += [list(value.values()), list(value), list(value.items())]
    return rng.choice(forms)


def _other_value(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice([value + 1, -value, value * 10, value / 3, value + 1e-9, round(value)])
    if isinstance(value, str) and value:
        at = rng.randrange(len(value))
        harmless = [value[:at] + mark + value[at:] for mark in " ,./-_*^"]
        other = [value[:at] + value[at + 1 :], value[:at] + rng.choice(string.printable) + value[at:], value[::-1]]
        return rng.choice([*harmless, *other, value.replace("'", '"'), value.replace(" ", ""), f"'{value}'"])
    if isinstance(value, list):
        return rng.choice([value * 2, value[1:], value[::-1], [*value, ""]])
    return rng.choice(_ODD)


def _case(value: str, rng: random.Random) -> str:
    return rng.choice([value.upper(), value.lower(), value.swapcase(), value.title(), value.replace("i", "İ")])


def _source(value: Any, language: str, rng: random.Random) -> Any:
    """Other source code: of another form, in another language, or with a piece more or less."""
    if rng.random() < 0.25:
        return rng.choice(_SOURCE)
    if not isinstance(value, str):
        return LANGUAGES[rng.choice(("java", "javascript"))].write(
            value, rng.choice(("Array", "ArrayList", "long", "dict"))
        )
    forms = [value + "\n", f" {value} ", f'"{value}"', f"'{value}'", value.strip("\"'"), f"[{value}]", f"({value})"]
    forms += [f"new int[]{{{value}}}", f"new ArrayList<Integer>(Arrays.asList({value}))", f"new Array({value})"]
    forms += [
        f"new ArrayList<>() {{{{ add({value}); }}}}",
        f'new HashMap<String, Object>() {{{{ put("a", {value}); }}}}',
    ]
    forms += [value.replace(" ", ""), value.replace(", ", ",\n"), value.replace("{{", "{ {"), value.replace("[", "[ ")]
    forms += [value.replace("'", '"'), value.replace('"', "'"), value.replace("Object", "int"), value + value]
    at, end = sorted(rng.randrange(len(value) + 1) for _ in range(2))
    forms += [value[:at] + rng.choice(_PIECES) + value[at:], value[:at] + value[at + 1 :], value[:at] + value[end:]]
    return rng.choice(forms * (1 + (language != "python")))
