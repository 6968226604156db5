"""Reads what the teacher wrote. It is a stranger's text: read by one linear scan, never run, and refused by name.

read_requests('{"requests": ["Weather in Oslo?"]}')                        # ["Weather in Oslo?"]
read_calls('{"calls": [], "missing": ["city"], "reply": "Which city?"}')   # AssistantTurn(...)
"""

import dataclasses
import json
from typing import Any

from gemma_tool_use.conversation import ToolCall
from gemma_tool_use.data.files import strict_json
from gemma_tool_use.data.rejects import short

NOT_JSON = "answer is not JSON"
WRONG_FORM = "answer has another form"
_TRIES = 4  # objects begun in prose before the answer ("use {city} as ..."), each a scan of its own


class AnswerError(Exception):
    """The answer cannot be used; becomes a reject, and the text of a repair question."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclasses.dataclass(frozen=True, kw_only=True)
class AssistantTurn:
    """The teacher's idea of what the assistant does: calls, or a reply, and which values it lacks."""

    calls: tuple[ToolCall, ...] = ()
    missing: tuple[str, ...] = ()
    reply: str = ""


def read_requests(text: str) -> list[Any]:
    """The list of requests; what is in it is checked one by one elsewhere.

    Raises:
      AnswerError: there is none.
    """
    requests = json_object(text).get("requests")
    if not isinstance(requests, list):
        raise AnswerError(WRONG_FORM, f'"requests" must be a list of texts, got {short(requests, 80)}')
    return requests


def read_calls(text: str) -> AssistantTurn:
    """The assistant's turn.

    Raises:
      AnswerError: a part of it is not what was asked for.
    """
    value = json_object(text)
    calls, missing, reply = value.get("calls"), value.get("missing") or [], value.get("reply") or ""
    if not isinstance(calls, list):
        raise AnswerError(WRONG_FORM, f'"calls" must be a list, got {short(calls, 80)}')
    if not isinstance(missing, list) or not all(isinstance(name, str) for name in missing):
        raise AnswerError(WRONG_FORM, f'"missing" must be a list of names, got {short(missing, 80)}')
    if not isinstance(reply, str):
        raise AnswerError(WRONG_FORM, f'"reply" must be a text, got {short(reply, 80)}')
    return AssistantTurn(calls=tuple(map(_call, calls)), missing=tuple(missing), reply=reply.strip())


def json_object(text: str) -> dict[str, Any]:
    """The JSON object in an answer: alone, in a code fence, after reasoning in `<think>` tags, or after some words.

    Raises:
      AnswerError: there is none.
    """
    text = text.rpartition("</think>")[2].strip()
    start, problem = -1, "no object in it"
    for _ in range(_TRIES):
        start = text.find("{", start + 1)
        if start < 0:
            break
        try:
            # The span first, then the strict reading: the decoder's own hooks cannot say where an object ends.
            _, end = json.JSONDecoder().raw_decode(text, start)
            value = strict_json(text[start:end])
        except (ValueError, RecursionError) as error:
            problem = str(error)[:120]
            continue
        if isinstance(value, dict):
            return value
    raise AnswerError(NOT_JSON, f"{problem}: {short(text, 120)}")


def _call(value: Any) -> ToolCall:
    function = value.get("function", value) if isinstance(value, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str):
        raise AnswerError(WRONG_FORM, f"a call needs a name and arguments, got {short(value, 80)}")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = json_object(arguments)  # as OpenAI's own calls have it
    if not isinstance(arguments, dict):
        raise AnswerError(WRONG_FORM, f"arguments of {name!r} must be a JSON object, got {short(arguments, 80)}")
    return ToolCall(name=name, arguments=arguments)
