"""What decides the content of a store: the rows, how they are rendered, the tokenizer, the longest length.

The folder's name is the hash of all of it, so a change of any part is another store and never a wrong one.
"""

import hashlib
import json
from typing import Any

from gemma_tool_use import __version__
from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data.store import record
from gemma_tool_use.data.store.encode_unit import Recipe
from gemma_tool_use.formats.encode import encode

STORE_FORMAT = 2


def identity(content: str, recipe: Recipe) -> dict[str, Any]:
    """All that decides the content; `content` names the conversations and their order.

    The version of the package is part of it, because a correction of a dialect makes other tokens of the same rows; the
    probe finds such a change between two versions as well, where it shows in that conversation.
    """
    return {
        "store_format": STORE_FORMAT,
        "record_format": record.FORMAT,
        "version": __version__,
        "content": content,
        "dialect": recipe.dialect.name,
        "probe": _probe(recipe),
        "tokenizer": recipe.tokenizer.fingerprint,
        "max_length": recipe.max_length,
    }


def name_of(identity: dict[str, Any]) -> str:
    """The folder's name: 40 hexadecimal digits of the sha256 of the identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:40]


def _probe(recipe: Recipe) -> str:
    """sha256 of the tokens and the mask of `_PROBE`."""
    encoded = encode(recipe.dialect.segments(_PROBE), recipe.tokenizer)
    return hashlib.sha256(record.pack(encoded)).hexdigest()


_CITY = {"type": "string", "description": "City name", "enum": ["Oslo", "São Paulo"]}
_PARAMETERS = {
    "type": "object",
    "properties": {
        "city": _CITY,
        "days": {"type": "integer", "default": 1, "minimum": 1},
        "points": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": ["number", "null"]}}}},
    },
    "required": ["city"],
}
_CALLS = (
    ToolCall(name="get_weather", arguments={"city": "São Paulo", "days": 2, "points": [{"x": -1.5e-7}, {"x": None}]}),
    ToolCall(name="now"),
)
_PROBE = Conversation(
    id="probe",
    tools=(
        ToolSpec(name="get_weather", description='The "weather" of a city', parameters=_PARAMETERS),
        ToolSpec(name="now"),
    ),
    messages=(
        Message(role="system", content="Be brief."),
        Message(role="user", content=" How is it in São Paulo?\n\n<b>Now</b> \U0001f326 "),
        Message(role="assistant", content="Let me see.", reasoning="Two tools.", calls=_CALLS),
        Message(role="tool", name="get_weather", content='{"sky": "clear", "wind": [1, true]}'),
        Message(role="tool", name="now", content="12:00 it's noon"),
        Message(role="assistant", content="Clear; it is noon."),
        Message(role="user", content="Thanks"),
        Message(role="assistant", content="Any time."),
    ),
)
