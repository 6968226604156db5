"""Parsing what a model wrote: total, linear, and a call that cannot be read is an error, never {} and never dropped."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FRAGMENTS

from gemma_tool_use.conversation import Reply, ToolCall
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.dialects import DIALECTS

every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
any_text = st.lists(st.sampled_from(FRAGMENTS) | st.text(st.characters(), max_size=8), max_size=12).map("".join)

# Around the inside of one call, for the dialects that are given in the tests below.
FRAMES = {
    "gemma_json": ("<tool_call>\n", "\n</tool_call><end_of_turn>"),
    "hermes": ("<tool_call>\n", "\n</tool_call><|im_end|>"),
    "qwen3": ("<tool_call>\n", "\n</tool_call><|im_end|>"),
    "functiongemma": ("<start_function_call>", "<end_function_call><start_function_response>"),
    "python_calls": ("[", "]<end_of_turn>"),
    "tool_code": ("```tool_code\n", "\n```<end_of_turn>"),
    "inline_call": ("<tool_call>", "</tool_call><eos>"),
    "yaml_call": ("<tool_call>\n", "\n</tool_call><eos>"),
    "thought_act_observe": ("Thought: Hm.\nAction: ", "<end_of_turn>"),
}


def parse_call(dialect: str, inside: str) -> Reply:
    before, after = FRAMES[dialect]
    return DIALECTS[dialect].parse(f"{before}{inside}{after}")


@every_dialect
@given(text=any_text)
def test_any_text_parses_and_is_kept_as_raw(dialect: Dialect, text: str) -> None:
    reply = dialect.parse(text)
    assert reply.raw == text
    assert all(isinstance(call.arguments, dict) and call.name for call in reply.calls)


@pytest.mark.parametrize(
    "dialect, inside",
    [
        *[("gemma_json", text) for text in ('{"name": "f", "args": {"a": 1}}', ' {"args":{"a":1},\n"name":"f"} ')],
        ("hermes", '{"arguments": {"a": 1}, "name": "f"}'),
        *[("functiongemma", text) for text in ("call:f{a:1}", " call:f{<escape>a<escape>:1}\n")],
        *[("python_calls", text) for text in ("f(a=1)", " f( a = 1, ) ", "f(**{'a': 1})", "'f'(a=+1)")],
        *[("tool_code", text) for text in ("f(a=1)", "f(\n    a=1,\n)")],
        ("inline_call", 'f(**{"a": 1})'),
        *[("yaml_call", text) for text in ('name: f\nparameters: {"a": 1}', 'name: "f"\nparameters: {\n"a": 1}')],
        ("thought_act_observe", '{"action": "f",\n "action_input": {"a": 1}}'),
    ],
)
def test_other_spellings_of_the_same_call_are_read(dialect: str, inside: str) -> None:
    reply = parse_call(dialect, inside)
    assert reply.calls == (ToolCall(name="f", arguments={"a": 1}),)
    assert reply.errors == ()


JSON_PROBLEMS = [
    *("", "{}", "[]", "null", '{"NAME": "f"}', '{"NAME": "f", "ARGS": {}} x', '{"NAME": "f", "ARGS": "{}"}'),
    *('{"NAME": "", "ARGS": {}}', '{"NAME": 1, "ARGS": {}}', '{"NAME": "f", "ARGS": {"a": 1, "a": 2}}'),
    *('{"NAME": "f", "ARGS": {"a": NaN}}', '{"NAME": "f", "ARGS": {"a": 1e999}}', "{'NAME': 'f', 'ARGS': {}}"),
    *('{"NAME": "f", "ARGS": {"a": ' + "9" * 5000 + "}}", '{"NAME": "f", "ARGS": {}, "id": 1}', '{"NAME": "f"'),
    *('{"NAME": "f", "ARGS": ' + '{"a":' * 99 + "1" + "}" * 99 + "}", '{"a":' * 100_000, "[" * 100_000),
]
PYTHON_PROBLEMS = [
    *("f(1)", "f(a)", "f(a=b)", "f(a=g())", "f(a=1, a=2)", "f(a=1, **{'a': 2})", "f(a=1", "f(a='x)", "f)("),
    *("f(a=1))", "f(a=1 + 1)", "f(a=nan)", "f(a=1e999)", f"f(a={'9' * 5000})", "f(a=007)", "f(a='x' 'y')"),
    *("f(a=f'x')", "f(,)", "f(a={1: 2})", "f(a={'b': 1, 'b': 2})", "f(from=1)", "f(**a)", "f(*[1])", "f(a=(1))"),
    *("1f(a=1)", "''(a=1)", "f(a=__import__('os'))", "f(a=" + "[" * 100_000),
    *("f(a=" + "(" * 99 + "1," + ")" * 99 + ")", "f(a='\\xg0')", "f(a='\\N{DASH}')", "f(a='\\", "f(a='x\ny')"),
    *("f(a=[1 2])", "f(a={'b' 1})", "f(a=1) g", "lambda x: (x)"),
]
FUNCTIONGEMMA_PROBLEMS = [
    *("", "call:f", "call:{}", "f{a:1}", "call:f{a}", "call:f{a:b}", "call:f{a:1,a:2}", "call:f{a:1}}"),
    *("call:f[1]", "call:f{a:<escape>x}", "call:f{a:1", "call:f{a:NaN}", "call:f{a:1e999}", "call:f{a:[1,]}"),
    *("call:f{,}", "call:f{a:" + "[" * 100_000, f"call:f{{a:{'9' * 5000}}}", "call:f{a:trueish}", "call:f{a:}"),
]
YAML_PROBLEMS = [
    *("", "name: f", "parameters: {}", "name: f\nparameters:", "name:\nparameters: {}", "name: f\nparameters: []"),
    *('name: f\nparameters: {"a": 1, "a": 2}', 'name: "f\nparameters: {}', "f\n{}", "name: f\nparameters: {a: 1}"),
]


def as_json(problems: list[str], name: str, arguments: str) -> list[str]:
    return [problem.replace("NAME", name).replace("ARGS", arguments) for problem in problems]


@pytest.mark.parametrize(
    "dialect, inside",
    [
        *[("gemma_json", text) for text in as_json(JSON_PROBLEMS, "name", "args")],
        *[("gemma_json", '{"name": "f", "arguments": {}}'), ("hermes", '{"name": "f", "args": {}}')],
        *[("hermes", text) for text in as_json(JSON_PROBLEMS, "name", "arguments")],
        *[("thought_act_observe", text) for text in as_json(JSON_PROBLEMS, "action", "action_input")],
        *[(dialect, text) for dialect in ("tool_code", "inline_call", "python_calls") for text in PYTHON_PROBLEMS],
        *[("functiongemma", text) for text in FUNCTIONGEMMA_PROBLEMS],
        *[("yaml_call", text) for text in YAML_PROBLEMS],
    ],
    ids=lambda value: value[:40],
)
def test_a_call_that_cannot_be_read_is_an_error(dialect: str, inside: str) -> None:
    reply = parse_call(dialect, inside)
    assert reply.calls == ()
    assert len(reply.errors) == 1
    assert len(reply.errors[0]) < 400


@pytest.mark.parametrize(
    "dialect, text",
    [
        ("gemma_json", '<tool_call>\n{"name": "f", "args": {}}\n<tool_call>\n{"name": "g", "args": {}}\n</tool_call>'),
        ("gemma_json", '{"name": "f", "args": {}}</tool_call><tool_call>{"name": "g", "args": {}}</tool_call>'),
        ("functiongemma", "<start_function_call>call:f{}<start_function_call>call:g{}<end_function_call>"),
        ("functiongemma", "call:f{}<end_function_call><start_function_call>call:g{}<end_function_call>"),
        ("tool_code", "```tool_code\nf()\n```tool_code\ng()\n```"),
        ("python_calls", "[f(\n[g()]"),
        ("thought_act_observe", 'Action: f\nAction: {"action": "g", "action_input": {}}'),
    ],
)
def test_a_broken_call_does_not_take_its_neighbour_with_it(dialect: str, text: str) -> None:
    reply = DIALECTS[dialect].parse(text)
    assert reply.calls == (ToolCall(name="g"),)
    assert len(reply.errors) == 1


@pytest.mark.parametrize("dialect", [name for name in FRAMES if name != "thought_act_observe"])
def test_a_call_cut_off_by_the_token_limit_is_an_error(dialect: str) -> None:
    before, _ = FRAMES[dialect]
    reply = DIALECTS[dialect].parse(f"Let me look.\n{before}get_wea")
    assert (reply.calls, reply.text, len(reply.errors)) == ((), "Let me look.", 1)


def test_reasoning_that_is_not_closed_is_an_error_and_hides_no_call_silently() -> None:
    reply = DIALECTS["gemma_json"].parse('<think>\nHm. <tool_call>\n{"name": "f", "args": {}}\n</tool_call>')
    assert reply.calls == ()
    assert reply.reasoning.startswith("Hm.")
    assert "the reasoning is not closed by </think>" in reply.errors[0]


def test_text_around_calls_is_kept_in_order() -> None:
    reply = DIALECTS["gemma_json"].parse(
        '<think>a</think> b <tool_call>{"name": "f", "args": {}}</tool_call> c '
        '<tool_call>{"name": "g", "args": {}}</tool_call>d'
    )
    assert (reply.reasoning, reply.text) == ("a", "b\nc\nd")
    assert [call.name for call in reply.calls] == ["f", "g"]


@pytest.mark.parametrize("text", ["[1] A source.", "[a](b) and (c)", "[note] see", "x [f(a=1)]", "[]", "[[1]](x)"])
def test_square_brackets_in_prose_are_no_calls(text: str) -> None:
    assert DIALECTS["python_calls"].parse(text) == Reply(raw=text, text=text)


def test_words_behind_a_call_list_are_text_and_the_next_line_is_read_again() -> None:
    reply = DIALECTS["python_calls"].parse("[f()] done\nand\n[g()]")
    assert ([call.name for call in reply.calls], reply.text, reply.errors) == (["f", "g"], "done\nand", ())


def test_a_fence_of_another_language_is_text() -> None:
    text = "Try\n```python\nprint(1)\n```\nor"
    reply = DIALECTS["tool_code"].parse(f"{text}\n```tool_code\nf()\n```")
    assert (reply.text, reply.calls, reply.errors) == (text, (ToolCall(name="f"),), ())


def test_several_calls_in_one_tool_code_block_are_read() -> None:
    reply = DIALECTS["tool_code"].parse("```tool_code\nf()\ng(a='x')\n```")
    assert reply.calls == (ToolCall(name="f"), ToolCall(name="g", arguments={"a": "x"}))


@pytest.mark.parametrize("stop", ["\nObservation: 3", "<end_of_turn>"])
def test_what_a_model_imagines_behind_a_stop_text_is_ignored(stop: str) -> None:
    text = 'Action: {"action": "f", "action_input": {}}' + stop + "\nFinal Answer: 3"
    reply = DIALECTS["thought_act_observe"].parse(text)
    assert (reply.calls, reply.text) == ((ToolCall(name="f"),), "")


HOSTILE = [
    *("<tool_call>", "</tool_call>", '<tool_call>{"a":["', "<tool_call>f(a='\\'", "<think>", "<\\", "{", "[", "\n"),
    *("```tool_code\n", "```tool_code f(a=[", "`", "[f(", "[f(a=[\n", "[1,(2\n", "[f(a=1)\n", "\nAction: {", "\\"),
    *("<start_function_call>", "<start_function_call>call:f{a:<escape>", "<escape>", "<end_function_call>", "\ud800"),
]


def seconds(dialect: Dialect, text: str) -> float:
    start = time.process_time()
    dialect.parse(text)
    return time.process_time() - start


@every_dialect
def test_time_is_linear_in_hostile_texts(dialect: Dialect) -> None:
    for unit in HOSTILE:
        short, long = unit * (20_000 // len(unit)), unit * (200_000 // len(unit))
        # 30 ms of allowance, since the short text may take less than the clock can tell.
        allowed = 15 * min(seconds(dialect, short) for _ in range(2)) + 0.03
        assert min(seconds(dialect, long) for _ in range(2)) <= allowed, unit


@every_dialect
def test_a_megabyte_of_openings_is_read_in_seconds(dialect: Dialect) -> None:
    for unit in ("<tool_call>", "<start_function_call>", "```tool_code\n", "\nAction:", "[f(\n"):
        assert seconds(dialect, unit * (1_000_000 // len(unit))) < 8
