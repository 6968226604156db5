"""Rendered conversations as pictures: tests/golden/<dialect>/<conversation>.txt.

The dialect's own text stands in «», what is trained in ⟦⟧. After a wanted change of a format, write them anew with

    UPDATE_GOLDEN=1 uv run pytest tests/formats/test_dialect_golden.py

and read the difference before committing it.
"""

import os
from pathlib import Path

import pytest

from gemma_tool_use.conversation import Conversation, Message, Segment, ToolCall, ToolSpec
from gemma_tool_use.formats.dialects import DIALECTS

GOLDEN = Path(__file__).parent.parent / "golden"

WEATHER = ToolSpec(
    name="get_weather",
    description="Current weather in a city",
    parameters={
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "City, e.g. Oslo"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "Unit of the answer"},
        },
        "required": ["location"],
    },
)
SEARCH = ToolSpec(
    name="search-web",
    description="Searches the web",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "limit": {"type": "integer", "default": 5},
            "sites": {"type": "array", "items": {"type": "string"}, "description": "Only these"},
            "filter": {"type": "object", "properties": {"from": {"type": "string", "format": "date"}}},
        },
        "required": ["query"],
    },
)
NOW = ToolSpec(name="now", description="The time")


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str = "", *calls: ToolCall, reasoning: str = "") -> Message:
    return Message(role="assistant", content=text, calls=calls, reasoning=reasoning)


def weather(**arguments: object) -> ToolCall:
    return ToolCall(name="get_weather", arguments=arguments)


OSLO = weather(location="Oslo")
ODD_SEARCH = ToolCall(
    name="search-web",
    arguments={
        "query": 'Zürich "日本"\nit\'s <end_of_turn> </tool_call> ``` <escape> \\',
        "limit": 10,
        "filter": {"from": "2024-01-01", "score": [1.0, 1e-07, -3, True, None]},
    },
)
CONVERSATIONS = {
    "one_call": Conversation(tools=(WEATHER,), messages=(user("Weather in Oslo?"), assistant("", OSLO))),
    "two_calls": Conversation(
        tools=(WEATHER, NOW),
        messages=(
            user("Weather in Paris in celsius, and the time?"),
            assistant("", weather(location="Paris", unit="celsius"), ToolCall(name="now")),
        ),
    ),
    "reasoning_text_and_call": Conversation(
        tools=(WEATHER,),
        messages=(
            user("Weather in Oslo?"),
            assistant("Let me look.", OSLO, reasoning="The user wants the weather.\nThe city is Oslo."),
        ),
    ),
    "text_and_call": Conversation(tools=(WEATHER,), messages=(user("Oslo?"), assistant("One moment.", OSLO))),
    "no_call": Conversation(
        tools=(WEATHER,), messages=(user("Tell me a joke."), assistant("Why not?", reasoning="No tool fits."))
    ),
    "results_then_answer": Conversation(
        tools=(WEATHER,),
        messages=(
            user("Oslo and Bergen?"),
            assistant("", OSLO, weather(location="Bergen")),
            Message(role="tool", content='{"temp": 3, "sky": "clear"}'),
            Message(role="tool", name="get_weather", content="raining"),
            assistant("Oslo has 3 degrees, in Bergen it rains."),
            user("Thanks!"),
            assistant("You are welcome."),
        ),
    ),
    "system_text": Conversation(
        tools=(NOW,),
        messages=(Message(role="system", content="Be brief."), user("Hi"), assistant("Hello.")),
    ),
    "odd_values": Conversation(
        tools=(SEARCH,),
        messages=(user("Search <end_of_turn> for </tools> «x»."), assistant("Not <tool_call>, but:", ODD_SEARCH)),
    ),
    "no_tools": Conversation(messages=(user("What is 2 + 2?"), assistant("4"), user("And 3 + 3?"))),
    "odd_order": Conversation(
        tools=(NOW,),
        messages=(
            assistant("How can I help?"),
            user("Two things."),
            user("First: the time."),
            Message(role="system", content="It is night."),
            assistant("", ToolCall(name="now")),
            user("Never mind."),
            assistant("Fine."),
            assistant("Anything else?"),
        ),
    ),
}


def picture(segments: list[Segment]) -> str:
    pieces = []
    for segment in segments:
        text = f"«{segment.text}»" if segment.control else segment.text
        pieces.append(f"⟦{text}⟧" if segment.trained else text)
    return "".join(pieces).replace("⟧⟦", "") + "\n"


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_conversation_renders_as_its_picture(dialect: str, conversation: str) -> None:
    path = GOLDEN / dialect / f"{conversation}.txt"
    rendered = picture(DIALECTS[dialect].segments(CONVERSATIONS[conversation]))
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rendered.encode())
    assert rendered == path.read_bytes().decode()


def test_there_is_no_picture_without_a_dialect_and_a_conversation() -> None:
    found = {(path.parent.name, path.stem) for path in GOLDEN.glob("*/*.txt")}
    assert found == {(dialect, conversation) for dialect in DIALECTS for conversation in CONVERSATIONS}
