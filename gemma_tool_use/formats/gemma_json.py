"""The project's own format: JSON in the turns Gemma already knows.

    <start_of_turn>user
    Here are the available tools that you can use:
    <tools>
    [
      {
        "name": "get_weather",
        "description": "Weather in a city",
        "parameters": {"type": "object", ...}        (also indented by two)
      }
    ]
    </tools>

    Weather in Oslo?<end_of_turn>
    <start_of_turn>model
    <think>
    The user wants weather.
    </think>
    Let me look.
    <tool_call>
    {"name": "get_weather", "args": {"city": "Oslo"}}
    </tool_call><end_of_turn>
    <start_of_turn>user
    <tool_response>
    {"name": "get_weather", "result": {"temp": 3}}
    </tool_response><end_of_turn>
    <start_of_turn>model
    3 degrees.<end_of_turn>

Reasoning and text are optional; several calls follow each other on new lines. A tool's result that is JSON stands as
it is, any other as a JSON string. In a call, a string that holds one of the format's tags has its `<` written as
`\\u003c`; in text and reasoning such a tag gets a backslash (`scan.guard`). Source of the format: this project's
PLAN.md.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, final

from gemma_tool_use.conversation import Message, Segment, ToolSpec
from gemma_tool_use.formats.dialect import said, tag
from gemma_tool_use.formats.json_value import read_json_call, result_json, write_json
from gemma_tool_use.formats.layouts import END_OF_TURN, GemmaTurns
from gemma_tool_use.formats.scan import Findings
from gemma_tool_use.formats.tagged_calls import TaggedCalls


class _GemmaJsonTurns(GemmaTurns):
    indent: ClassVar[int | None]
    stop_texts: ClassVar[tuple[str, ...]] = (END_OF_TURN,)
    calls: ClassVar[TaggedCalls] = TaggedCalls(
        opening="<tool_call>\n",
        closing="\n</tool_call>",
        stop_texts=(END_OF_TURN,),
        write=lambda call, tags: write_json({"name": call.name, "args": call.arguments}, avoid=tags),
        read=lambda text: read_json_call(text, name_key="name", arguments_key="args"),
    )

    @final
    def tools_block(self, tools: Sequence[ToolSpec]) -> list[Segment]:
        text = write_json([dataclasses.asdict(tool) for tool in tools], indent=self.indent)
        return [
            tag("Here are the available tools that you can use:\n<tools>\n"),
            said(text),
            tag("\n</tools>"),
        ]

    @final
    def result_block(self, name: str, content: str) -> list[Segment]:
        result = f'{{"name": {write_json(name)}, "result": {result_json(content)}}}'
        return [tag("<tool_response>\n"), said(result), tag("\n</tool_response>")]

    @final
    def render_body(self, reply: Message) -> list[Segment]:
        return [said(self.calls.write_body(reply)), tag(END_OF_TURN)]

    @final
    def read_body(self, body: str, findings: Findings) -> None:
        self.calls.read_body(body, findings)


@final
class GemmaJson(_GemmaJsonTurns):
    """Tools as JSON indented by two, calls as one line of JSON in `<tool_call>` tags (module docstring)."""

    name: ClassVar[str] = "gemma_json"
    indent: ClassVar[int | None] = 2


@final
class GemmaJsonCompact(_GemmaJsonTurns):
    """As `GemmaJson`, with the tools on one line: `[{"name": "get_weather", ...}, ...]`; a third fewer tool tokens."""

    name: ClassVar[str] = "gemma_json_compact"
    indent: ClassVar[int | None] = None
