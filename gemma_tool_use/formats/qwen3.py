"""Qwen3's own way of calling tools: ChatML turns, tools in the system turn, JSON calls, results in a user turn.

    <|im_start|>system
    # Tools

    You may call one or more functions to assist with the user query.

    You are provided with function signatures within <tools></tools> XML tags:
    <tools>
    {"type": "function", "function": {"name": "get_weather", ...}}
    </tools>

    For each function call, return a json object with function name and arguments within <tool_call></tool_call> ...
    <tool_call>
    {"name": <function-name>, "arguments": <args-json-object>}
    </tool_call><|im_end|>
    <|im_start|>user
    Weather in Oslo?<|im_end|>
    <|im_start|>assistant
    <think>
    The user wants weather.
    </think>

    <tool_call>
    {"name": "get_weather", "arguments": {"city": "Oslo"}}
    </tool_call><|im_end|>
    <|im_start|>user
    <tool_response>
    {"temp": 3}
    </tool_response><|im_end|>
    <|im_start|>assistant
    3 degrees.<|im_end|>

Source: the chat template of Qwen/Qwen3-0.6B, whose system text is part of the format. Two things are otherwise: the
template drops the reasoning of turns before the last question, and writes an empty `<think>` block into a last turn
without reasoning; here a turn reads the same wherever it stands. The tags of reasoning, calls and results are pieces of
Qwen's vocabulary; elsewhere they are ordinary text.
"""

import re
from collections.abc import Sequence
from typing import ClassVar, final

from gemma_tool_use.conversation import Message, Segment, ToolSpec, tool_to_dict
from gemma_tool_use.formats.dialect import said, tag
from gemma_tool_use.formats.json_value import read_json_call, write_json
from gemma_tool_use.formats.layouts import RoleTurns
from gemma_tool_use.formats.scan import THINK_CLOSE, THINK_OPEN
from gemma_tool_use.formats.tagged_calls import TaggedCalls

_END = "<|im_end|>"
_BEFORE_TOOLS = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
)
_AFTER_TOOLS = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n'
    "</tool_call>"
)
_BODY_TAGS = ("<tool_call>", "</tool_call>", THINK_OPEN, THINK_CLOSE)
_BODY_TAG = re.compile("(" + "|".join(_BODY_TAGS) + ")")


@final
class Qwen3(RoleTurns):
    """The chat template of Qwen3 (module docstring)."""

    name: ClassVar[str] = "qwen3"
    stop_texts: ClassVar[tuple[str, ...]] = (_END,)
    control_texts: ClassVar[tuple[str, ...]] = ("<|im_start|>", _END)
    opening_tag: ClassVar[str] = "<|im_start|>{role}\n"
    end_tag: ClassVar[str] = _END
    result_role: ClassVar[str] = "user"
    calls: ClassVar[TaggedCalls] = TaggedCalls(
        opening="<tool_call>\n",
        closing="\n</tool_call>",
        stop_texts=(_END,),
        write=lambda call, tags: write_json({"name": call.name, "arguments": call.arguments}, avoid=tags),
        read=lambda text: read_json_call(text, name_key="name", arguments_key="arguments"),
        after_reasoning="\n\n",
    )

    def tools_block(self, tools: Sequence[ToolSpec]) -> list[Segment]:
        lines = "\n".join(write_json(tool_to_dict(tool)) for tool in tools)
        return [tag(_BEFORE_TOOLS), said(lines), tag(_AFTER_TOOLS)]

    def result_block(self, name: str, content: str) -> list[Segment]:
        return [tag("<tool_response>\n"), said(content), tag("\n</tool_response>")]

    def render_body(self, reply: Message) -> list[Segment]:
        # What the model says holds these tags with a backslash or an escape only; those that are left are the format's.
        parts = _BODY_TAG.split(self.calls.write_body(reply))
        return [*(tag(part) if part in _BODY_TAGS else said(part) for part in parts if part), tag(_END)]
