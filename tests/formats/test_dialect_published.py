"""Published examples of the formats, and details the pictures do not show."""

import pytest

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.formats.dialects import DIALECTS
from gemma_tool_use.formats.python_call import write_call
from gemma_tool_use.formats.tool_code import python_type, signature

# The weather flow of https://ai.google.dev/gemma/docs/functiongemma/formatting-and-best-practices.
FUNCTIONGEMMA_TOOL = ToolSpec(
    name="get_current_weather",
    description="Gets the current weather in a given location.",
    parameters={
        "type": "object",
        "properties": {
            "location": {
                "type": "string",
                "description": 'The city and state, e.g. "San Francisco, CA" or "Tokyo, JP"',
            },
            "unit": {
                "type": "string",
                "enum": ["celsius", "fahrenheit"],
                "description": "The unit to return the temperature in.",
            },
        },
        "required": ["location"],
    },
)
FUNCTIONGEMMA_FLOW = (
    "<start_of_turn>developer\n"
    "You are a model that can do function calling with the following functions<start_function_declaration>"
    "declaration:get_current_weather{description:<escape>Gets the current weather in a given location.<escape>,"
    "parameters:{properties:{location:{description:<escape>The city and state, e.g. "
    '"San Francisco, CA" or "Tokyo, JP"<escape>,type:<escape>STRING<escape>},unit:{description:<escape>The unit to '
    "return the temperature in.<escape>,enum:[<escape>celsius<escape>,<escape>fahrenheit<escape>],type:<escape>STRING"
    "<escape>}},required:[<escape>location<escape>],type:<escape>OBJECT<escape>}}<end_function_declaration><end_of_turn>\n"
    "<start_of_turn>user\nHey, what's the weather in Tokyo right now?<end_of_turn>\n"
    "<start_of_turn>model\n"
    "<start_function_call>call:get_current_weather{location:<escape>Tokyo, Japan<escape>}<end_function_call>"
    "<start_function_response>response:get_current_weather{temperature:15,weather:<escape>sunny<escape>}"
    "<end_function_response>"
    "The current weather in Tokyo is sunny with a temperature of 15 degrees Celsius.<end_of_turn>"
)


def test_the_weather_flow_of_functiongemmas_guide_is_reproduced() -> None:
    conversation = Conversation(
        tools=(FUNCTIONGEMMA_TOOL,),
        messages=(
            Message(role="user", content="Hey, what's the weather in Tokyo right now?"),
            Message(
                role="assistant",
                calls=(ToolCall(name="get_current_weather", arguments={"location": "Tokyo, Japan"}),),
            ),
            Message(role="tool", content='{"temperature": 15, "weather": "sunny"}'),
            Message(
                role="assistant",
                content="The current weather in Tokyo is sunny with a temperature of 15 degrees Celsius.",
            ),
        ),
    )
    segments = DIALECTS["functiongemma"].segments(conversation)
    assert "".join(segment.text for segment in segments) == FUNCTIONGEMMA_FLOW


@pytest.mark.parametrize(
    "call, written",
    [
        (ToolCall(name="math.sqrt", arguments={"x": 2.0}), "math.sqrt(x=2.0)"),
        (ToolCall(name="get-weather"), "get-weather()"),
        (ToolCall(name="f", arguments={"from": "a", "b-c": 1, "d": None}), "f(d=None, **{'from': 'a', 'b-c': 1})"),
        (ToolCall(name="get weather", arguments={"größe": [True]}), "'get weather'(größe=[True])"),
        (ToolCall(name="f", arguments={"a": "it's", "b": "é\n"}), "f(a=\"it's\", b='é\\n')"),
    ],
)
def test_python_calls_look_as_python_does_wherever_python_can(call: ToolCall, written: str) -> None:
    assert write_call(call) == written


def test_a_signature_lists_required_parameters_first_and_defaults() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "limit": {"type": "integer", "default": 5},
            "query": {"type": "string", "description": "Words"},
            "mode": {"enum": ["fast", 2]},
        },
        "required": ["query"],
    }
    assert signature(ToolSpec(name="search", description="Searches", parameters=parameters)) == (
        "def search(query: str, limit: int = 5, mode: Literal['fast', 2] = None):\n"
        '    """Searches\n\n    Args:\n      query: Words\n    """'
    )
    assert signature(ToolSpec(name="now")) == "def now(): ..."


@pytest.mark.parametrize(
    "schema, python",
    [
        ({"type": "array", "items": {"type": "string"}}, "list[str]"),
        ({"type": ["number", "null"]}, "float | None"),
        ({"anyOf": [{"type": "integer"}, {"type": "object"}]}, "int | dict"),
        *[(schema, "Any") for schema in ({}, True, {"type": "tuple"}, {"type": 3}, {"type": []})],
    ],
)
def test_a_schema_becomes_a_python_type(schema: object, python: str) -> None:
    assert python_type(schema) == python
