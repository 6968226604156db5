"""Two YAML lines per call, under Zephyr's role lines.

    <|system|>
    Available tools:
    {"name": "get_weather", "description": "Weather in a city", "parameters": {"type": "object", ...}}
    Call a tool as
    <tool_call>
    name: tool name
    parameters: {"argument": "value"}
    </tool_call><eos>
    <|user|>
    Weather in Oslo?<eos>
    <|assistant|>
    <tool_call>
    name: get_weather
    parameters: {"city": "Oslo"}
    </tool_call><eos>
    <|tool|>
    <tool_response>
    name: get_weather
    result: {"temp": 3}
    </tool_response><eos>

Source: the role lines are Zephyr's (`layouts.ZephyrTurns`); the call is YAML 1.2 with the parameters in its JSON
subset (https://yaml.org/spec/1.2.2/). A name that is not made of letters, digits and `_ . / -` is written in double
quotes. Reasoning, text and several calls as in `gemma_json`.
"""

from collections.abc import Sequence
from typing import ClassVar, final

from gemma_tool_use.conversation import Segment, ToolCall
from gemma_tool_use.formats.dialect import said, tag
from gemma_tool_use.formats.json_value import read_json, result_json, write_json
from gemma_tool_use.formats.layouts import ZephyrTurns
from gemma_tool_use.formats.tagged_calls import TaggedCalls

_PLAIN_PUNCTUATION = frozenset("_./-")


def _name(name: str, tags: Sequence[str] = ()) -> str:
    """Plain where YAML reads the same text back: `null` or `1.5` would become other types, a leading dash a list."""
    plain = all((char.isascii() and char.isalnum()) or char in _PLAIN_PUNCTUATION for char in name)
    other_type = name.lower() in ("null", "true", "false") or not name[:1].isalpha()
    return name if plain and not other_type else write_json(name, avoid=tags)


def _write(call: ToolCall, tags: Sequence[str]) -> str:
    return f"name: {_name(call.name, tags)}\nparameters: {write_json(call.arguments, avoid=tags)}"


def _read(text: str) -> list[ToolCall]:
    """The call in `name: f` newline `parameters: {...}`; the JSON may go on over several lines."""
    first, _, second = text.partition("\n")
    key, _, name = first.partition(":")
    second_key, _, parameters = second.partition(":")
    if key.strip() != "name" or second_key.strip() != "parameters":
        raise ValueError("a call must have the lines name: and parameters:")
    name = name.strip()
    if name.startswith('"'):
        name = read_json(name)
    arguments = read_json(parameters.strip())
    if not name or not isinstance(arguments, dict):
        raise ValueError("a call needs a name, and an object as parameters")
    return [ToolCall(name=name, arguments=arguments)]


@final
class YamlCall(ZephyrTurns):
    """`name: f` and `parameters: {...}` in `<tool_call>` tags (module docstring)."""

    name: ClassVar[str] = "yaml_call"
    how_to_call: ClassVar[str] = (
        'Call a tool as\n<tool_call>\nname: tool name\nparameters: {"argument": "value"}\n</tool_call>'
    )
    calls: ClassVar[TaggedCalls] = TaggedCalls(
        opening="<tool_call>\n", closing="\n</tool_call>", stop_texts=ZephyrTurns.stop_texts, write=_write, read=_read
    )

    def result_block(self, name: str, content: str) -> list[Segment]:
        result = f"name: {_name(name)}\nresult: {result_json(content)}"
        return [tag("<tool_response>\n"), said(result), tag("\n</tool_response>")]
