"""Random rows whose calls are declared and valid, what augmentation is given: each schema is drawn with a value."""

import json

import jsonschema_rs
from hypothesis import strategies as st
from strategies import FRAGMENTS, identifiers, keys, texts

from gemma_tool_use.conversation import (
    Conversation,
    Message,
    ToolCall,
    ToolSpec,
    conversation_from_dict,
    conversation_to_dict,
)
from gemma_tool_use.data.augment import ToolPool

Typed = tuple[dict, object]

WORDS = ("weather", "stocks", "hotel", "translate", "dice", "poem", "city", "lamp", "protein", "chess")
SMALL_WORDS = ("the", "find", "of", "a", "with", "for")
sentences = st.lists(st.sampled_from(WORDS + SMALL_WORDS), min_size=3, max_size=8).map(" ".join)
# Mostly such that the steps do something; now and then anything at all.
descriptions = st.sampled_from([True] * 9 + [False]).flatmap(lambda usual: sentences if usual else texts)

_leaves: st.SearchStrategy[Typed] = st.one_of(
    texts.map(lambda value: ({"type": "string"}, value)),
    st.integers(-9, 9).map(lambda value: ({"type": "integer"}, value)),
    st.booleans().map(lambda value: ({"type": "boolean"}, value)),
    st.lists(st.sampled_from(FRAGMENTS), min_size=1, unique=True).map(lambda v: ({"enum": v}, v[-1])),
    st.just(({"type": ["number", "null"], "default": 1.5}, None)),
)


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    parts = draw(st.dictionaries(keys | st.sampled_from(WORDS), inner, min_size=1, max_size=3))
    described = {
        name: schema | ({"description": draw(descriptions)} if draw(st.booleans()) else {})
        for name, (schema, _) in parts.items()
    }
    given = {name: value for name, (_, value) in parts.items() if draw(st.sampled_from([True, True, False]))}
    schema = {"type": "object", "properties": described, "required": list(given)}
    if draw(st.booleans()):
        schema["additionalProperties"] = False
    return schema, given


def _arrays(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return inner.map(lambda pair: ({"type": "array", "items": pair[0]}, [pair[1]]))


def _choices(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return inner.map(lambda pair: ({"anyOf": [pair[0], {"type": "null"}]}, pair[1]))


_values = st.recursive(_leaves, lambda v: _objects(v) | _arrays(v) | _choices(v), max_leaves=4)


@st.composite
def rows(draw: st.DrawFn, *, calls: int = 2, single_turn: bool = False) -> Conversation:
    """A request, up to `calls` calls, their results, an answer; sometimes a second turn."""
    names = draw(st.lists(identifiers | st.sampled_from(["get_weather", "a/b"]), min_size=1, max_size=3, unique=True))
    tools, arguments = [], {}
    for name in names:
        schema, arguments[name] = draw(_objects(_values))
        tools.append(ToolSpec(name=name, description=draw(descriptions), parameters=schema))
    called = draw(st.lists(st.sampled_from(names), max_size=calls))
    messages = [
        Message(role="user", content=draw(descriptions)),
        Message(
            role="assistant",
            content=draw(texts) if not called else "",
            calls=tuple(ToolCall(name=name, arguments=arguments[name]) for name in called),
        ),
        *(Message(role="tool", name=name, content="3") for name in called),
    ]
    if called:
        messages.append(Message(role="assistant", content=draw(sentences)))
    if not single_turn and draw(st.booleans()):
        messages += [Message(role="user", content=draw(sentences)), Message(role="assistant", content=draw(sentences))]
    return Conversation(
        id=draw(identifiers),
        source="demo",
        tools=tuple(tools),
        messages=tuple(messages),
        meta=draw(st.sampled_from([{}, {"names": {"a": "A b"}}])),
    )


def stored(conversation: Conversation) -> Conversation:
    """The conversation as it comes back from a file."""
    return conversation_from_dict(json.loads(json.dumps(conversation_to_dict(conversation))))


def all_calls_fit(conversation: Conversation) -> bool:
    """Whether each call is declared once and its arguments validate against the schema of its tool."""
    schemas = {tool.name: tool.parameters for tool in conversation.tools}
    calls = [call for message in conversation.messages for call in message.calls]
    return len(schemas) == len(conversation.tools) and all(
        call.name in schemas and jsonschema_rs.is_valid(schemas[call.name], call.arguments) for call in calls
    )


def tool(name: str, description: str, **properties: dict) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=description,
        parameters={"type": "object", "properties": properties, "required": list(properties)},
    )


def text(description: str) -> dict:
    return {"type": "string", "description": description}


def row(row_id: str, request: str, offered: list[ToolSpec], *calls: ToolCall, answer: str = "") -> Conversation:
    reply = Message(role="assistant", content=answer, calls=calls)
    return Conversation(
        id=row_id, source="demo", tools=tuple(offered), messages=(Message(role="user", content=request), reply)
    )


WEATHER = tool("get_weather", "Current weather and forecast of a city", city=text("Name of the city"))
DICE = tool("roll_dice", "Roll a number of dice with so many sides each", sides=text("Sides of each die"))
LAMP = tool("dim_lamp", "Set the brightness of a lamp in the living room", brightness=text("From dark to bright"))
POEM = tool("compose_poem", "Compose a short poem in the manner of an old poet", manner=text("Which poet"))
CHESS = tool("chess_opening", "Name the opening of a chess game from its pawn moves", moves=text("Pawn moves"))
POOL = ToolPool.of([WEATHER, DICE, LAMP, POEM, CHESS])

OSLO = row("w", "What is the weather in Oslo?", [WEATHER], ToolCall(name="get_weather", arguments={"city": "Oslo"}))
ROLL = row("d", "Please roll a die with 20 sides", [DICE], ToolCall(name="roll_dice", arguments={"sides": "20"}))
