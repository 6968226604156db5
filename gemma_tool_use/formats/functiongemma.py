"""Google's FunctionGemma format: a developer turn with declarations, calls and results inside one model turn.

    <start_of_turn>developer
    You are a model that can do function calling with the following functions<start_function_declaration>
    declaration:get_weather{description:<escape>Weather in a city<escape>,parameters:{properties:{city:{
    description:<escape>Name<escape>,type:<escape>STRING<escape>}},required:[<escape>city<escape>],
    type:<escape>OBJECT<escape>}}<end_function_declaration><end_of_turn>
    <start_of_turn>user
    Weather in Oslo?<end_of_turn>
    <start_of_turn>model
    <start_function_call>call:get_weather{city:<escape>Oslo<escape>}<end_function_call><start_function_response>response:
    get_weather{temp:3}<end_function_response>3 degrees.<end_of_turn>

(in the declaration and in the model turn shown with line breaks that are not there).

Source: https://ai.google.dev/gemma/docs/functiongemma/formatting-and-best-practices and the chat template of
https://huggingface.co/google/functiongemma-270m-it. The body of a reply with calls ends with
`<start_function_response>`, which is where generation stops; the results follow in the same turn, and the model goes
on right behind them, so the opening of its next reply is empty. Several calls follow each other without a separator,
and each result has its own tags. System text stands before the fixed sentence, on a line of its own. A result that is
no JSON object is written as `{value:...}`.

Where the template raises or glues turns together we close the turn: a user message after calls or results begins with
`<end_of_turn>`. Every keyword of a schema is written, sorted, where the template drops those it does not know; each
property has a description, if empty. Reasoning stands in `<think>` tags before the text.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, final

from gemma_tool_use.conversation import Message, Segment, ToolCall, ToolSpec
from gemma_tool_use.formats import functiongemma_value as notation
from gemma_tool_use.formats.dialect import Dialect, Turn, said, tag
from gemma_tool_use.formats.functiongemma_value import CALL, END_CALL, RESPONSE, TAGS
from gemma_tool_use.formats.json_value import check_value, read_json
from gemma_tool_use.formats.layouts import END_OF_TURN, START_OF_TURN
from gemma_tool_use.formats.scan import Findings, guard, split_blocks, take_reasoning, unguard, write_reasoning

_TRIGGER = "You are a model that can do function calling with the following functions"
# Where a text stands: behind a closed turn, behind a reply's <end_of_turn>, behind calls, behind results.
_CLOSED, _REPLIED, _CALLED, _ANSWERED = "closed", "replied", "called", "answered"
_CLOSING = {_CLOSED: "", _REPLIED: "\n", _CALLED: f"{END_OF_TURN}\n", _ANSWERED: f"{END_OF_TURN}\n"}


@final
class FunctionGemma(Dialect):
    """`<start_function_call>call:NAME{k:<escape>v<escape>}<end_function_call>` (module docstring)."""

    name: ClassVar[str] = "functiongemma"
    stop_texts: ClassVar[tuple[str, ...]] = (END_OF_TURN, RESPONSE)
    control_texts: ClassVar[tuple[str, ...]] = (
        *(START_OF_TURN, END_OF_TURN, notation.ESCAPE, CALL, END_CALL, RESPONSE, notation.END_RESPONSE),
        *(notation.DECLARATION, notation.END_DECLARATION),
    )
    between_turns: ClassVar[str] = ""

    def render_context(self, turn: Turn) -> list[Segment]:
        return _walk(turn)[0]

    def render_opening(self, turn: Turn) -> list[Segment]:
        state = _walk(turn)[1]
        return [] if state == _ANSWERED else [tag(f"{_CLOSING[state]}{START_OF_TURN}model\n")]

    def render_body(self, reply: Message) -> list[Segment]:
        text = reply.content.strip()
        words = [*write_reasoning(reply.reasoning, TAGS), *([guard(text, TAGS)] if text else [])]
        calls = [segment for call in reply.calls for segment in _call(call)]
        return [said("\n".join(words)), *calls, tag(RESPONSE if reply.calls else END_OF_TURN)]

    def read_body(self, body: str, findings: Findings) -> None:
        rest = take_reasoning(body, TAGS, findings)
        for kind, part in split_blocks(rest, CALL, END_CALL):
            if kind == "block":
                findings.add_calls(_read_call, part)
            elif kind == "unclosed":
                findings.add_error(f"a call is not closed by {END_CALL}", part)
            else:
                text, *lone = part.split(END_CALL)
                findings.add_text(unguard(text.strip(), TAGS))
                for each in lone:
                    findings.add_error(f"{END_CALL} without {CALL} before it", each)
                    findings.add_text(unguard(each.strip(), TAGS))


def _walk(turn: Turn) -> tuple[list[Segment], str]:
    """The context, and where it ends."""
    system, messages = turn.split_system()
    segments = _developer_turn(system, turn.tools)
    previous = turn.previous
    state = _CLOSED if previous is None else _CALLED if previous.calls else _REPLIED
    for message in messages:
        if message.role == "tool":
            opening = {_CALLED: "", _ANSWERED: RESPONSE}.get(
                state, f"{_CLOSING[state]}{START_OF_TURN}model\n{RESPONSE}"
            )
            segments += [tag(opening), *_result(message.name or "", message.content)]
            state = _ANSWERED
        else:
            role = "developer" if message.role == "system" else "user"
            content = said(message.content.strip())
            segments += [tag(f"{_CLOSING[state]}{START_OF_TURN}{role}\n"), content, tag(f"{END_OF_TURN}\n")]
            state = _CLOSED
    return segments, state


def _developer_turn(system: list[str], tools: Sequence[ToolSpec]) -> list[Segment]:
    if not system and not tools:
        return []
    text = "\n\n".join(system)
    trigger = ("\n" if text else "") + _TRIGGER if tools else ""
    declarations = [segment for tool in tools for segment in _declaration(tool)]
    return [tag(f"{START_OF_TURN}developer\n"), said(text), tag(trigger), *declarations, tag(f"{END_OF_TURN}\n")]


def _declaration(tool: ToolSpec) -> list[Segment]:
    check_value(tool.parameters)
    entries = {"description": notation.write_string(tool.description), "parameters": _schema(tool.parameters)}
    content = [said("declaration:"), *notation.write_key(tool.name), *notation.write_entries(entries)]
    return [tag(notation.DECLARATION), *content, tag(notation.END_DECLARATION)]


def _schema(schema: Any) -> list[Segment]:
    """A JSON Schema: types in upper case, empty `properties` and `required` left out, all else as values."""
    if not isinstance(schema, dict):
        return notation.write_value(schema)
    entries = {}
    for key, value in schema.items():
        if key in ("properties", "required") and not value:
            continue
        entries[key] = _keyword(key, value)
    return notation.write_entries(entries)


def _keyword(key: str, value: Any) -> list[Segment]:
    if key == "type" and isinstance(value, str):
        return notation.write_string(value.upper())
    if key == "type" and isinstance(value, list):
        return notation.write_list([_keyword(key, each) for each in value])
    if key in ("properties", "$defs", "definitions") and isinstance(value, dict):
        return notation.write_entries({name: _property(each) for name, each in value.items()})
    if key in ("items", "additionalProperties", "not"):
        return _schema(value)
    if key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, list):
        return notation.write_list([_schema(each) for each in value])
    return notation.write_value(value)


def _property(schema: Any) -> list[Segment]:
    return _schema({"description": "", **schema} if isinstance(schema, dict) else schema)


def _call(call: ToolCall) -> list[Segment]:
    check_value(call.arguments)
    return [
        tag(CALL),
        *[said("call:"), *notation.write_key(call.name), *notation.write_value(call.arguments)],
        tag(END_CALL),
    ]


def _read_call(text: str) -> list[ToolCall]:
    name, arguments = notation.read_call(text.strip())
    return [ToolCall(name=name, arguments=arguments)]


def _result(name: str, content: str) -> list[Segment]:
    try:
        value = read_json(content.strip())
    except ValueError:
        value = content.strip()
    value = value if isinstance(value, dict) else {"value": value}
    return [
        said("response:"),
        *[*notation.write_key(name), *notation.write_value(value)],
        tag(notation.END_RESPONSE),
    ]
