"""The nouns of the project: what a source converts into and what a dialect renders from. No JAX.

Stored form (one JSON object in the OpenAI chat layout that TRL and the Hub use; `arguments` is always an object):

    {"id": "demo:1", "source": "demo",
     "tools": [{"type": "function", "function": {"name": "get_weather", "description": "Weather in a city",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}],
     "messages": [{"role": "user", "content": "Weather in Oslo?"},
                  {"role": "assistant", "content": "", "tool_calls": [
                      {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}]}]}
"""

import dataclasses
import json
from typing import Any, Literal, cast, get_args

from gemma_tool_use.errors import DataError

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """One function a model may call. `parameters` is a JSON Schema of type object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = dataclasses.field(default_factory=lambda: {"type": "object", "properties": {}})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One call: a function name and its arguments, always a dict of JSON values."""

    name: str
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Message:
    """One turn. `reasoning` and `calls` only on `assistant`; `name` (of the function that answered) only on `tool`."""

    role: Role
    content: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise DataError(f"role {self.role!r} is none of {', '.join(ROLES)}")
        if self.role != "assistant" and (self.calls or self.reasoning):
            raise DataError(f"a {self.role} message carries calls or reasoning; only an assistant message may")
        if self.role != "tool" and self.name is not None:
            raise DataError(f"a {self.role} message carries a function name; only a tool message may")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversation:
    """Tools and messages of one row; the one form every source converts into and every dialect renders from.

    `meta` is what else is known of the row (`names`: written name to the source's own); no dialect renders it.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    id: str = ""
    source: str = ""
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Segment:
    """A piece of rendered text.

    Attributes:
      text: the text.
      trained: whether its tokens contribute to the loss.
      control: whether turn tags in it become control tokens. False for whatever a user, tool or schema wrote.
    """

    text: str
    trained: bool = False
    control: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model wrote, parsed. `errors` names every call that could not be read; `raw` is the text as it came."""

    raw: str
    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    errors: tuple[str, ...] = ()


def tool_to_dict(tool: ToolSpec) -> dict[str, Any]:
    """`ToolSpec(name="now")` gives `{"type": "function", "function": {"name": "now", "description": "", ...}}`."""
    # Not dataclasses.asdict: it copies every value of a schema, which took half of the time to write a row.
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def message_to_dict(message: Message) -> dict[str, Any]:
    """`Message(role="user", content="hi")` gives `{"role": "user", "content": "hi"}`; absent fields are left out."""
    result: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        result["reasoning"] = message.reasoning
    if message.calls:
        result["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in message.calls
        ]
    if message.name is not None:
        result["name"] = message.name
    return result


def tool_from_dict(value: Any) -> ToolSpec:
    """Reads an OpenAI tool, with or without its `{"type": "function", "function": ...}` wrapper.

    Raises:
      DataError: no name, or parameters that are not an object.
    """
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise DataError(f"a tool needs a name, got {_short(value)}")
    parameters = function.get("parameters")
    if parameters is None:
        parameters = {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise DataError(f"tool {function['name']!r}: parameters must be a JSON object, got {_short(parameters)}")
    description = function.get("description") or ""
    if not isinstance(description, str):
        raise DataError(f"tool {function['name']!r}: description must be text, got {_short(description)}")
    return ToolSpec(name=function["name"], description=description, parameters=parameters)


def conversation_to_dict(conversation: Conversation) -> dict[str, Any]:
    """The stored form shown in the module docstring; absent fields are left out."""
    result = {
        "id": conversation.id,
        "source": conversation.source,
        "tools": [tool_to_dict(tool) for tool in conversation.tools],
        "messages": [message_to_dict(message) for message in conversation.messages],
    }
    return result | {"meta": conversation.meta} if conversation.meta else result


def conversation_from_dict(row: Any) -> Conversation:
    """Reads the stored form, and what others write in the same layout.

    Also accepted: `tools`, `messages` and `meta` as JSON strings, `arguments` as a JSON string, `content` null or a
    list of text parts, role `developer` (read as system), `reasoning_content` for `reasoning`, a call without its
    `function` wrapper.

    Raises:
      DataError: the first thing that does not fit, with its path (`messages[1].tool_calls[0].arguments`).
    """
    if not isinstance(row, dict):
        raise DataError(f"a row must be a JSON object, got {_short(row)}")
    tools, messages = _json_list(row.get("tools"), "tools"), _json_list(row.get("messages"), "messages")
    if not messages:
        raise DataError("messages is missing or empty")
    meta = row.get("meta")
    meta = _json(meta, "meta") if isinstance(meta, str) and meta else meta or {}
    if not isinstance(meta, dict):
        raise DataError(f"meta must be an object, got {_short(meta)}")
    return Conversation(
        id=str(row.get("id") or ""),
        source=str(row.get("source") or ""),
        meta=meta,
        tools=tuple(tool_from_dict(tool) for tool in tools),
        messages=tuple(_message_from_dict(message, f"messages[{i}]") for i, message in enumerate(messages)),
    )


def _message_from_dict(value: Any, where: str) -> Message:
    if not isinstance(value, dict):
        raise DataError(f"{where} must be an object, got {_short(value)}")
    role = "system" if value.get("role") == "developer" else value.get("role")
    if role not in ROLES:
        raise DataError(f"{where}.role is {_short(role)}, expected one of {', '.join(ROLES)}")
    calls = _json_list(value.get("tool_calls"), f"{where}.tool_calls")
    name = value.get("name") if role == "tool" else None
    if not isinstance(name, str | None):
        raise DataError(f"{where}.name must be text, got {_short(name)}")
    try:
        return Message(
            role=cast(Role, role),
            content=_text(value.get("content"), f"{where}.content"),
            reasoning=_text(value.get("reasoning") or value.get("reasoning_content"), f"{where}.reasoning"),
            calls=tuple(_call_from_dict(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls)),
            name=name,
        )
    except DataError as error:
        raise error if str(error).startswith(where) else DataError(f"{where}: {error}") from None


def _call_from_dict(value: Any, where: str) -> ToolCall:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise DataError(f"{where} needs a function name, got {_short(value)}")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = _json(arguments, f"{where}.arguments")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise DataError(f"{where}.arguments must be an object, got {_short(arguments)}")
    return ToolCall(name=function["name"], arguments=arguments)


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in value):
        return "".join(part["text"] for part in value)
    if not isinstance(value, str):
        raise DataError(f"{where} must be text, got {_short(value)}")
    return value


def _json_list(value: Any, where: str) -> list[Any]:
    if isinstance(value, str):
        value = _json(value, where)
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"{where} must be a list, got {_short(value)}")
    return value


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON ({error}): {_short(text)}") from None


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested deeper than Python follows, or an integer of over 4,300 digits
        text = f"{type(value).__name__} beyond showing"
    return text if len(text) <= 80 else text[:77] + "..."
