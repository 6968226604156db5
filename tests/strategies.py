"""Random conversations for property tests: valid ones, full of tags, quotes, odd names and every JSON type.

@given(conversations())
def test_something(conversation): ...
"""

import string

from hypothesis import strategies as st

from gemma_tool_use.conversation import Conversation, Message, Role, ToolCall, ToolSpec

# Pieces of every dialect's syntax, whole, guarded and torn.
FRAGMENTS = (
    *("<end_of_turn>", "<start_of_turn>model\n", "<bos>", "<eos>", "<|im_end|>", "<|im_start|>user\n", "<|user|>"),
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tools>", "<think>", "</think>", "<\\tool_call>"),
    *("<\\\\think>", "<escape>", "<\\escape>", "<start_function_call>", "<end_function_call>"),
    *("<start_function_response>", "call:f{", "```", "```tool_code\n", "```tool_output", "````", "`\\``tool_code"),
    *("\nThought:", "Action:", "\n\\Action: {}", "\nFinal Answer:", "Observation:", "\nObservation: 3"),
    *("\n[f(a=1)]", "[f(", "\\[f()]", "[1] see (2)", "\n[", "](", "{", "}", '"', "'", "\\", "\\n", "\n", "\n\n"),
    *("\t", "\r\n", ",", ":", "**", "#", "<", ">", "\0", "\u2028", "\x85", "Zürich", "日本"),
    *("\U0001f469\u200d\U0001f467", "e\u0301", "Weather in Oslo?", "null", "True", "1e5", "name: f", "<|tool|>"),
)

_ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")

texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=6), max_size=6).map("".join)

identifiers = st.text(string.ascii_letters + "_", min_size=1, max_size=8)
function_names = (
    identifiers
    | st.sampled_from(["math.sqrt", "get-weather", "a/b:c", "get weather", "größe", "3d", "from", "null", "1.5", "x]y"])
    | texts.filter(bool)
)
keys = identifiers | st.sampled_from(["from", "a-b", "", "class", " x ", "naïve", "a:b", "{", "type"]) | texts

_numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_corner_numbers = st.sampled_from([0, -0.0, 1, 1.0, 1e-7, 1e22, 10**40, -(2**63), 0.1, 5e-324, 1.7976931348623157e308])
json_leaves = st.none() | st.booleans() | _numbers | _corner_numbers | texts
json_values = st.recursive(
    json_leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(keys, json_values, max_size=3)
calls = st.builds(ToolCall, name=function_names, arguments=arguments)

_schemas = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "number", "boolean", "dict", "any", ["string", "null"]]),
            "description": texts,
            "enum": st.lists(json_leaves, max_size=3),
            "default": json_leaves,
        },
    ),
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(keys, inner, max_size=2)})
    ),
    max_leaves=3,
)
tools = st.builds(
    lambda name, description, properties, required: ToolSpec(
        name=name,
        description=description,
        parameters={"type": "object", "properties": properties, "required": list(properties)[:required]},
    ),
    function_names,
    texts,
    st.dictionaries(keys, _schemas, max_size=2),
    st.integers(0, 2),
)


def replies() -> st.SearchStrategy[Message]:
    """Assistant messages with any mix of text, reasoning and calls."""
    return st.builds(
        Message,
        role=st.just("assistant"),
        content=texts,
        reasoning=st.just("") | texts,
        calls=st.lists(calls, max_size=3).map(tuple),
    )


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Messages in any order; a tool message always has a name or a call it answers."""
    messages: list[Message] = []
    open_calls = 0
    for role in draw(st.lists(st.sampled_from(_ROLES), max_size=6)):
        if role == "assistant":
            messages.append(draw(replies()))
            open_calls = len(messages[-1].calls)
        elif role == "tool":
            name = draw(st.none() | function_names) if open_calls > 0 else draw(function_names)
            messages.append(Message(role="tool", name=name, content=draw(texts | json_values.map(repr))))
            open_calls -= 1
        else:
            messages.append(Message(role=role, content=draw(texts)))
    return Conversation(messages=tuple(messages), tools=tuple(draw(st.lists(tools, max_size=2))))
