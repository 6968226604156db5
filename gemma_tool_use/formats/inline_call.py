"""Python calls in tags, under Zephyr's role lines.

    <|system|>
    Available tools:
    {"name": "get_weather", "description": "Weather in a city", "parameters": {"type": "object", ...}}
    Call a tool as <tool_call>name(argument='value')</tool_call>.<eos>
    <|user|>
    Weather in Paris?<eos>
    <|assistant|>
    <tool_call>get_weather(location='Paris', unit='celsius')</tool_call><eos>
    <|tool|>
    <tool_response>{"name": "get_weather", "result": {"temp": 21}}</tool_response><eos>
    <|assistant|>
    21 degrees.<eos>

Source: the role lines are Zephyr's (`layouts.ZephyrTurns`); the call is what small TRL projects write. Values are
Python literals; `python_call` says how keys and names that Python has no syntax for are written. Reasoning, text and
several calls as in `gemma_json`.
"""

from typing import ClassVar, final

from gemma_tool_use.conversation import Segment
from gemma_tool_use.formats.dialect import said, tag
from gemma_tool_use.formats.json_value import result_json, write_json
from gemma_tool_use.formats.layouts import ZephyrTurns
from gemma_tool_use.formats.python_call import read_call, write_call
from gemma_tool_use.formats.tagged_calls import TaggedCalls


@final
class InlineCall(ZephyrTurns):
    """`<tool_call>get_weather(location='Paris')</tool_call>` (module docstring)."""

    name: ClassVar[str] = "inline_call"
    how_to_call: ClassVar[str] = "Call a tool as <tool_call>name(argument='value')</tool_call>."
    calls: ClassVar[TaggedCalls] = TaggedCalls(
        opening="<tool_call>",
        closing="</tool_call>",
        stop_texts=ZephyrTurns.stop_texts,
        write=lambda call, tags: write_call(call, avoid=tags),
        read=read_call,
    )

    def result_block(self, name: str, content: str) -> list[Segment]:
        result = f'{{"name": {write_json(name)}, "result": {result_json(content)}}}'
        return [tag("<tool_response>"), said(result), tag("</tool_response>")]
