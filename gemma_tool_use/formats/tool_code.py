"""Gemma's prompt-guide style: Python signatures in, a fenced `tool_code` block per call out.

    <start_of_turn>user
    You can call the Python functions below. Write each call in a block of its own that starts with ```tool_code and
    ends with ```. The results come back in ```tool_output blocks.                                     (one line)

    ```python
    def get_weather(city: str, unit: Literal['celsius', 'fahrenheit'] = None):
        \"\"\"Weather in a city

        Args:
          city: Name of the city
        \"\"\"
    ```

    Weather in Oslo?<end_of_turn>
    <start_of_turn>model
    Let me look.
    ```tool_code
    get_weather(city='Oslo')
    ```<end_of_turn>
    <start_of_turn>user
    ```tool_output
    {"temp": 3}
    ```<end_of_turn>
    <start_of_turn>model
    3 degrees.<end_of_turn>

Source: the function-calling guides for Gemma 3 (https://www.philschmid.de/gemma-function-calling); the fences are
theirs, the instruction is our own. Optional parameters get their schema's default, or None. When read, a block may
hold several calls. Values are Python literals (`python_call`); a string that holds a fence has its backticks written
as `\\x60`. Reasoning and text as in `gemma_json`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, final

from gemma_tool_use.conversation import Message, Segment, ToolSpec
from gemma_tool_use.formats.dialect import said, tag
from gemma_tool_use.formats.json_value import check_value
from gemma_tool_use.formats.layouts import END_OF_TURN, GemmaTurns
from gemma_tool_use.formats.python_call import read_call_lines, write_call
from gemma_tool_use.formats.scan import Findings
from gemma_tool_use.formats.tagged_calls import TaggedCalls

# A model that runs on writes the result itself.
_STOP_TEXTS = (END_OF_TURN, "```tool_output")
_INSTRUCTIONS = (
    "You can call the Python functions below. Write each call in a block of its own that starts with "
    "```tool_code and ends with ```. The results come back in ```tool_output blocks.\n"
    "\n"
    "```python\n"
)
_PYTHON_TYPES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "float": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
    "dict": "dict",
    "null": "None",
}


@final
class ToolCode(GemmaTurns):
    """A fenced `tool_code` block per call (module docstring)."""

    name: ClassVar[str] = "tool_code"
    stop_texts: ClassVar[tuple[str, ...]] = _STOP_TEXTS
    calls: ClassVar[TaggedCalls] = TaggedCalls(
        opening="```tool_code\n",
        closing="\n```",
        stop_texts=_STOP_TEXTS,
        write=lambda call, tags: write_call(call, avoid=tags),
        read=read_call_lines,
        lone_closing=False,
    )

    def tools_block(self, tools: Sequence[ToolSpec]) -> list[Segment]:
        return [tag(_INSTRUCTIONS), said("\n\n".join(signature(tool) for tool in tools)), tag("\n```")]

    def result_block(self, name: str, content: str) -> list[Segment]:
        return [tag("```tool_output\n"), said(content.strip()), tag("\n```")]

    def render_body(self, reply: Message) -> list[Segment]:
        return [said(self.calls.write_body(reply)), tag(END_OF_TURN)]

    def read_body(self, body: str, findings: Findings) -> None:
        self.calls.read_body(body, findings)


def signature(tool: ToolSpec) -> str:
    """The tool as a Python function without a body (module docstring); required parameters first.

    Raises:
      DataError: parameters that are no JSON value.
    """
    check_value(tool.parameters)
    properties = _mapping(tool.parameters.get("properties"))
    required = tool.parameters.get("required")
    required = required if isinstance(required, list) else []
    ordered = sorted(properties, key=lambda name: name not in required)
    parameters = [
        f"{name}: {python_type(properties[name])}"
        + ("" if name in required else f" = {_mapping(properties[name]).get('default')!r}")
        for name in ordered
    ]
    docs = [(name, _mapping(properties[name]).get("description")) for name in ordered]
    lines = [f"      {name}: {text}" for name, text in docs if text]
    arguments = ["", "    Args:", *lines] if lines else []
    if not tool.description and not lines:
        return f"def {tool.name}({', '.join(parameters)}): ..."
    # Without arguments to explain, the docstring is one line.
    body = [f'    """{tool.description}', *arguments, '    """'] if arguments else [f'    """{tool.description}"""']
    return "\n".join([f"def {tool.name}({', '.join(parameters)}):", *body])


def python_type(schema: Any) -> str:
    """`{"type": "array", "items": {"type": "string"}}` gives `list[str]`; `Any` where the schema says nothing."""
    schema = _mapping(schema)
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list) and schema[key]:
            return _union([python_type(each) for each in schema[key]])
    kind = schema.get("type")
    if isinstance(kind, list) and kind:
        return _union([python_type({**schema, "type": each}) for each in kind])
    if kind == "array" and schema.get("items"):
        return f"list[{python_type(schema['items'])}]"
    return _PYTHON_TYPES.get(kind, "Any") if isinstance(kind, str) else "Any"


def _union(types: list[str]) -> str:
    return " | ".join(dict.fromkeys(types))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
