"""Hermes function calling: ChatML turns, tools in the system turn, JSON calls.

    <|im_start|>system
    You are a function calling AI model. You are provided with function signatures within <tools></tools> XML tags. ...
    Here are the available tools: <tools> {"type": "function", "function": {"name": "get_weather", ...}} </tools> ...
    <tool_call>
    {"name": <function-name>, "arguments": <args-dict>}
    </tool_call><|im_end|>
    <|im_start|>user
    Weather in Oslo?<|im_end|>
    <|im_start|>assistant
    <tool_call>
    {"name": "get_weather", "arguments": {"city": "Oslo"}}
    </tool_call><|im_end|>
    <|im_start|>tool
    <tool_response>
    {"name": "get_weather", "content": {"temp": 3}}
    </tool_response><|im_end|>
    <|im_start|>assistant
    3 degrees.<|im_end|>

Source: https://github.com/NousResearch/Hermes-Function-Calling (README, "Prompt Format for Function Calling"), with
the JSON spelling and key order of the `tool_use` template of the Hermes 2 Pro and Hermes 3 models; the system text is
theirs, since it is part of the format. Reasoning stands in `<think>` tags before the text, as in Hermes 4. Gemma's
tokenizers have no ChatML pieces: there the turn tags are ordinary text.
"""

from collections.abc import Sequence
from typing import ClassVar, final

from gemma_tool_use.conversation import Segment, ToolSpec, tool_to_dict
from gemma_tool_use.formats.dialect import said, tag
from gemma_tool_use.formats.json_value import read_json_call, result_json, write_json
from gemma_tool_use.formats.layouts import RoleTurns
from gemma_tool_use.formats.tagged_calls import TaggedCalls

_END = "<|im_end|>"
_BEFORE_TOOLS = (
    "You are a function calling AI model. You are provided with function signatures within <tools></tools> XML "
    "tags. You may call one or more functions to assist with the user query. Don't make assumptions about what "
    "values to plug into functions. Here are the available tools: <tools> "
)
_AFTER_TOOLS = (
    ' </tools> Use the following pydantic model json schema for each tool call you will make: {"properties": '
    '{"name": {"title": "Name", "type": "string"}, "arguments": {"title": "Arguments", "type": "object"}}, '
    '"required": ["name", "arguments"], "title": "FunctionCall", "type": "object"}\n'
    "For each function call return a json object with function name and arguments within <tool_call></tool_call> "
    "XML tags as follows:\n"
    "<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-dict>}\n'
    "</tool_call>"
)


@final
class Hermes(RoleTurns):
    """ChatML, tools as one JSON object per line in the system text (module docstring)."""

    name: ClassVar[str] = "hermes"
    stop_texts: ClassVar[tuple[str, ...]] = (_END,)
    control_texts: ClassVar[tuple[str, ...]] = ("<|im_start|>", _END)
    opening_tag: ClassVar[str] = "<|im_start|>{role}\n"
    end_tag: ClassVar[str] = _END
    calls: ClassVar[TaggedCalls] = TaggedCalls(
        opening="<tool_call>\n",
        closing="\n</tool_call>",
        stop_texts=(_END,),
        write=lambda call, tags: write_json({"name": call.name, "arguments": call.arguments}, avoid=tags),
        read=lambda text: read_json_call(text, name_key="name", arguments_key="arguments"),
    )

    def tools_block(self, tools: Sequence[ToolSpec]) -> list[Segment]:
        lines = "\n".join(write_json(tool_to_dict(tool)) for tool in tools)
        return [tag(_BEFORE_TOOLS), said(lines), tag(_AFTER_TOOLS)]

    def result_block(self, name: str, content: str) -> list[Segment]:
        result = f'{{"name": {write_json(name)}, "content": {result_json(content)}}}'
        return [tag("<tool_response>\n"), said(result), tag("\n</tool_response>")]
