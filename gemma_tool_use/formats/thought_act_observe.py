"""ReAct lines in Gemma's turns: a thought, an action as JSON, the observation shown back.

    <start_of_turn>user
    Answer as well as you can. These tools are available:
    {"name": "get_weather", "description": "Weather in a city", "parameters": {"type": "object", ...}}
    Write one line per step:
    Thought: what to do next
    Action: {"action": "tool name", "action_input": {"argument": "value"}}
    The result comes back as an Observation. When you know enough, write:
    Final Answer: your answer

    Weather in Oslo?<end_of_turn>
    <start_of_turn>model
    Thought: I need the weather.
    Action: {"action": "get_weather", "action_input": {"city": "Oslo"}}<end_of_turn>
    <start_of_turn>user
    Observation: {"temp": 3}<end_of_turn>
    <start_of_turn>model
    Final Answer: 3 degrees.<end_of_turn>

Source: the Hugging Face agents course, unit 1 (https://huggingface.co/learn/agents-course/unit1/dummy-agent-library);
the markers and JSON keys are theirs, the instruction is our own, and observations get a turn of their own. Reasoning
is the Thought; text of a reply with calls stands before it, without a marker. Several calls are several Action lines.
A line of the model's own words that starts like a marker gets a backslash before it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import ClassVar, final

from gemma_tool_use.conversation import Message, Segment, ToolSpec
from gemma_tool_use.formats.dialect import said, tag
from gemma_tool_use.formats.json_value import read_json_call, write_json
from gemma_tool_use.formats.layouts import END_OF_TURN, GemmaTurns
from gemma_tool_use.formats.scan import Findings, guard, unguard

_THOUGHT, _ACTION, _ANSWER, _OBSERVATION = "Thought:", "Action:", "Final Answer:", "Observation:"
_MARKERS = (_THOUGHT, _ACTION, _ANSWER, _OBSERVATION)
_TAGS = (*(f"\n{marker}" for marker in _MARKERS), END_OF_TURN)
_BEFORE_TOOLS = "Answer as well as you can. These tools are available:\n"
_AFTER_TOOLS = (
    "\nWrite one line per step:\nThought: what to do next\n"
    'Action: {"action": "tool name", "action_input": {"argument": "value"}}\n'
    "The result comes back as an Observation. When you know enough, write:\nFinal Answer: your answer"
)


@final
class ThoughtActObserve(GemmaTurns):
    """`Thought:`, `Action: {json}`, `Observation:`, `Final Answer:` (module docstring)."""

    name: ClassVar[str] = "thought_act_observe"
    stop_texts: ClassVar[tuple[str, ...]] = (END_OF_TURN, f"\n{_OBSERVATION}")

    def tools_block(self, tools: Sequence[ToolSpec]) -> list[Segment]:
        lines = "\n".join(write_json(dataclasses.asdict(tool)) for tool in tools)
        return [tag(_BEFORE_TOOLS), said(lines), tag(_AFTER_TOOLS)]

    def result_block(self, name: str, content: str) -> list[Segment]:
        return [tag(f"{_OBSERVATION} "), said(content.strip())]

    def render_body(self, reply: Message) -> list[Segment]:
        text, reasoning = _guard(reply.content.strip()), _guard(reply.reasoning.strip())
        lines = [text] if text and reply.calls else []
        lines += [f"{_THOUGHT} {reasoning}"] if reasoning else []
        for call in reply.calls:
            value = {"action": call.name, "action_input": call.arguments}
            lines.append(f"{_ACTION} {write_json(value, avoid=(END_OF_TURN,))}")
        lines += [f"{_ANSWER} {text}"] if text and not reply.calls else []
        return [said("\n".join(lines)), tag(END_OF_TURN)]

    def read_body(self, body: str, findings: Findings) -> None:
        for marker, content in _sections(body.strip()):
            if marker == _OBSERVATION:
                return
            if marker == _ACTION:
                findings.add_calls(
                    lambda text: read_json_call(text.strip(), name_key="action", arguments_key="action_input"), content
                )
            elif marker == _THOUGHT:
                findings.add_reasoning(_unguard(content.strip()))
            else:
                findings.add_text(_unguard(content.strip()))


def _guard(text: str) -> str:
    """Protects lines that start like a marker; the first line counts as one."""
    return guard(f"\n{text}", _TAGS)[1:]


def _unguard(text: str) -> str:
    return unguard(f"\n{text}", _TAGS)[1:]


def _sections(body: str) -> Iterator[tuple[str, str]]:
    """Each marker with what follows it; the text before the first has the marker ""."""
    text = f"\n{body}"
    marker, start, newline = "", 1, 0
    while newline >= 0:
        found = next((each for each in _MARKERS if text.startswith(each, newline + 1)), None)
        if found is not None:
            yield marker, text[start:newline]
            marker, start = found, newline + 1 + len(found)
        newline = text.find("\n", newline + 1)
    yield marker, text[start:]
