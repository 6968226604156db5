"""The format of the Berkeley Function-Calling Leaderboard's prompt mode, in Gemma's turns.

    <start_of_turn>user
    You are an expert in composing functions.You are given a question and a set of possible functions. ...
    Here is a list of functions in json format that you can invoke.
    [
        {
            "name": "get_weather", ...               (indented by four, other letters than ASCII as \\uXXXX)
        }
    ]

    Weather in Oslo and Bergen?<end_of_turn>
    <start_of_turn>model
    [get_weather(city='Oslo'), get_weather(city='Bergen', days=2)]<end_of_turn>
    <start_of_turn>tool
    {"temp": 3}<end_of_turn>
    <start_of_turn>tool
    {"temp": 5}<end_of_turn>
    <start_of_turn>model
    3 and 5 degrees.<end_of_turn>

Source: bfcl-eval 2025.12 and 2026.3, `constants/default_prompts.py` (style "classic", plain text, python; the missing
blank after its first sentence and the two before "You SHOULD NOT" are its own), `model_handler/utils.py` (own system
text comes after the functions) and `model_handler/local_inference/gemma.py` (turns; a result is a turn of the role
`tool`).

A line is taken for calls when it starts with `[` and a round bracket comes before the square one closes; such a line
of the model's own words gets a backslash before it. Reasoning (in `<think>` tags) and text may precede the calls.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import ClassVar, final

from gemma_tool_use.conversation import Message, Segment, ToolSpec
from gemma_tool_use.formats.dialect import said, tag
from gemma_tool_use.formats.json_value import check_value
from gemma_tool_use.formats.layouts import END_OF_TURN, GemmaTurns
from gemma_tool_use.formats.python_call import read_call_list, write_call
from gemma_tool_use.formats.scan import (
    THINK_CLOSE,
    THINK_OPEN,
    Findings,
    guard,
    take_reasoning,
    unguard,
    write_reasoning,
)

_TAGS = (END_OF_TURN, THINK_OPEN, THINK_CLOSE)
_INSTRUCTIONS = (
    "You are an expert in composing functions.You are given a question and a set of possible functions. Based on "
    "the question, you will need to make one or more function/tool calls to achieve the purpose. If none of the "
    "functions can be used, point it out. If the given question lacks the parameters required by the function, "
    "also point it out.\n"
    "\n"
    "You should only return the function calls in your response.\n"
    "\n"
    "If you decide to invoke any of the function(s), you MUST put it in the format of "
    "[func_name1(params_name1=params_value1, params_name2=params_value2...), func_name2(params)].  You SHOULD "
    "NOT include any other text in the response.\n"
    "\n"
    "At each turn, you should try your best to complete the tasks requested by the user within the current turn. "
    "Continue to output functions to call until you have fulfilled the user's request to the best of your "
    "ability. Once you have no more functions to call, the system will consider the current turn complete and "
    "proceed to the next turn or task.\n"
    "\n"
    "Here is a list of functions in json format that you can invoke.\n"
)


@final
class PythonCalls(GemmaTurns):
    """`[f(a=1, b='x'), g()]` after BFCL's system prompt (module docstring)."""

    name: ClassVar[str] = "python_calls"
    stop_texts: ClassVar[tuple[str, ...]] = (END_OF_TURN,)
    tools_before_system: ClassVar[bool] = True
    result_role: ClassVar[str] = "tool"

    def tools_block(self, tools: Sequence[ToolSpec]) -> list[Segment]:
        functions = [dataclasses.asdict(tool) for tool in tools]
        check_value(functions)
        return [tag(_INSTRUCTIONS), said(json.dumps(functions, indent=4))]

    def result_block(self, name: str, content: str) -> list[Segment]:
        return [said(content.strip())]

    def render_body(self, reply: Message) -> list[Segment]:
        text = reply.content.strip()
        parts = write_reasoning(reply.reasoning, _TAGS)
        if text:
            parts.append(_shift_call_lines(guard(text, _TAGS), lambda slashes: slashes + "\\"))
        if reply.calls:
            parts.append(f"[{', '.join(write_call(call, avoid=_TAGS) for call in reply.calls)}]")
        return [said("\n".join(parts)), tag(END_OF_TURN)]

    def read_body(self, body: str, findings: Findings) -> None:
        text = take_reasoning(body, _TAGS, findings).strip()
        position = start = 0
        while position < len(text):
            newline = text.find("\n", position)
            end = newline if newline >= 0 else len(text)
            if not _is_call_line(text, position, end, newline < 0):
                position = end + 1
                continue
            _read_text(text[start:position], findings)
            try:
                calls, start = read_call_list(text, position)
                findings.calls += calls
            except ValueError as error:
                findings.add_error(str(error), text[position:end])
                start = end
            # Words behind the closing bracket are text; the next line may be calls again.
            newline = text.find("\n", start)
            position = newline + 1 if newline >= 0 else len(text)
        _read_text(text[start:], findings)


def _is_call_line(text: str, start: int, end: int, is_last: bool) -> bool:
    """Whether the line in `text[start:end]` is meant as calls; `[1] A source.` and `[a](b)` are not."""
    if not text.startswith("[", start):
        return False
    bracket, closing = text.find("(", start, end), text.find("]", start, end)
    if bracket < 0:
        return closing < 0 and is_last
    return closing < 0 or bracket < closing


def _shift_call_lines(text: str, change: Callable[[str], str]) -> str:
    """Changes the backslashes before each line that is meant as calls."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        content = line.lstrip("\\")
        if _is_call_line(content, 0, len(content), index == len(lines) - 1):
            lines[index] = change(line[: len(line) - len(content)]) + content
    return "\n".join(lines)


def _read_text(part: str, findings: Findings) -> None:
    findings.add_text(unguard(_shift_call_lines(part.strip(), lambda slashes: slashes[1:]), _TAGS))
