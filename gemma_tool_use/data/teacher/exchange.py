"""One HTTP exchange with the teacher: bounded in size and time, and every way it can fail sorted by what to do next.

    answer = await exchange(http, endpoint, {"model": ..., "messages": [...]}, timeout=120)
    answer.text        # what the teacher wrote: data, never an instruction
    answer.tokens      # Tokens(sent=812, written=96), as the endpoint counted them

Format: https://platform.openai.com/docs/api-reference/chat (also of vLLM, llama.cpp, Ollama, TGI, Mistral, OpenRouter).
"""

import asyncio
import dataclasses
import email.utils
import json
import time
from typing import Any, NoReturn, TypeGuard

import httpx

from gemma_tool_use.data.files import strict_json
from gemma_tool_use.data.rejects import short
from gemma_tool_use.data.teacher.cost import Tokens
from gemma_tool_use.data.teacher.endpoint import Endpoint, TeacherError

MAX_BODY_BYTES = 1_000_000  # reasoning included; a useful answer is under 10 kB
MAX_TEXT_CHARACTERS = 64 * 1024
MAX_ERROR_BYTES = 16 * 1024
_MOST_TOKENS = 10**8

TOO_LONG = "answer is too long"
CUT_OFF = "answer was cut off"
REFUSED = "teacher refused to answer"
EMPTY = "answer is empty"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back and is paid for.

    Attributes:
      text: what the teacher wrote.
      fault: why the text cannot be used (one of the reasons above), empty when it can.
      tokens: what the endpoint counted; None when it did not say.
      model: the model that the endpoint says has answered.
    """

    text: str = ""
    fault: str = ""
    tokens: Tokens | None = None
    model: str = ""


class TransientError(Exception):
    """May work when tried again. `wait` is what the endpoint asked for, `paid` whether the tokens may be charged."""

    def __init__(self, problem: str, *, wait: float | None = None, paid: bool = False, connected: bool = True) -> None:
        super().__init__(problem)
        self.problem, self.wait, self.paid, self.connected = problem, wait, paid, connected


class RefusedError(Exception):
    """The endpoint does not take this request as it is (HTTP 400, 413, 422 and the like)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message


async def exchange(http: httpx.AsyncClient, endpoint: Endpoint, body: dict[str, Any], *, timeout: float) -> Answer:
    """Sends one request and reads its answer.

    Args:
      http: the client; it must not follow redirects, which could carry the key elsewhere.
      endpoint: whom to ask.
      body: the request.
      timeout: seconds for everything, from the connection to the last byte.

    Raises:
      TransientError: worth another try.
      RefusedError: this request is not accepted.
      TeacherError: no request will be; says what to do.
    """
    content = json.dumps(body, ensure_ascii=True).encode()
    try:
        async with asyncio.timeout(timeout):
            async with http.stream("POST", endpoint.url, content=content, headers=endpoint.headers()) as response:
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise TeacherError(
                        f"{endpoint.host} compresses its answers unasked; use an address without that proxy"
                    )
                limit = MAX_BODY_BYTES if response.status_code == httpx.codes.OK else MAX_ERROR_BYTES
                raw, whole = await _read(response, limit)
    except TimeoutError:
        raise TransientError(f"no whole answer within {timeout:g} s", paid=True) from None
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise TransientError(f"no connection ({_words(error)})", connected=False) from None
    except httpx.TransportError as error:
        raise TransientError(f"the connection broke ({_words(error)})", paid=True) from None
    if response.status_code == httpx.codes.OK:
        return _answer(endpoint, response, raw) if whole else Answer(fault=TOO_LONG)
    _raise_status(endpoint, response, raw)


async def _read(response: httpx.Response, limit: int) -> tuple[bytes, bool]:
    """Up to `limit` bytes of the body, and whether that is all of it."""
    parts, size = [], 0
    async for part in response.aiter_raw():
        parts.append(part)
        size += len(part)
        if size > limit:
            return b"".join(parts)[:limit], False
    return b"".join(parts), True


def _answer(endpoint: Endpoint, response: httpx.Response, raw: bytes) -> Answer:
    if _is_html(response, raw):
        raise TeacherError(
            f"{endpoint.host} answers with a web page instead of JSON; --teacher needs the API's base URL, "
            "which usually ends in /v1"
        )
    try:
        value = strict_json(raw)
    except ValueError:
        raise TransientError(f"the answer is not JSON: {short(raw[:80])}", paid=True) from None
    value = value if isinstance(value, dict) else {}
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        # Some routers report an overloaded model with status 200 and an `error` in the body.
        problem = _message(endpoint, raw) if "error" in value else "the answer has no choices"
        raise TransientError(problem, paid="error" not in value)
    message = choices[0].get("message")
    message = message if isinstance(message, dict) else {}
    text = _content(message.get("content"))
    model = value.get("model")
    return Answer(
        text="" if len(text) > MAX_TEXT_CHARACTERS else endpoint.hide_key(text),
        fault=_fault(choices[0].get("finish_reason"), message, text),
        tokens=_tokens(value.get("usage")),
        model=endpoint.hide_key(model)[:100] if isinstance(model, str) else "",
    )


def _fault(finish: object, message: dict[str, Any], text: str) -> str:
    if len(text) > MAX_TEXT_CHARACTERS:
        return TOO_LONG
    if finish == "content_filter" or (message.get("refusal") and not text):
        return REFUSED
    if finish == "length":
        return CUT_OFF
    return "" if text.strip() else EMPTY


def _content(value: object) -> str:
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _tokens(usage: object) -> Tokens | None:
    usage = usage if isinstance(usage, dict) else {}
    sent, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return Tokens(sent=sent, written=written) if _is_count(sent) and _is_count(written) else None


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _MOST_TOKENS


def _raise_status(endpoint: Endpoint, response: httpx.Response, raw: bytes) -> NoReturn:
    status, host, said = response.status_code, endpoint.host, _message(endpoint, raw)
    if status in (401, 403):
        have = "was refused" if endpoint.key else "is not set"
        raise TeacherError(
            f"{host} answers {status} ({said}): {endpoint.key_name} {have}. Set it in the environment or in .env"
        )
    if status == 402 or "insufficient_quota" in raw.decode("utf-8", "replace"):
        raise TeacherError(f"{host} answers {status} ({said}): the account has no credit left; top it up and run again")
    if status == 404:
        raise TeacherError(
            f"{host} answers 404 ({said}): it has no model {endpoint.model!r} or no {httpx.URL(endpoint.url).path}; "
            "check --teacher-model and --teacher (the base URL usually ends in /v1)"
        )
    if 300 <= status < 400:
        raise TeacherError(f"{host} redirects ({status}); give --teacher the URL it redirects to. No key is sent on")
    if status in (408, 409, 425, 429) or status >= 500:
        raise TransientError(f"HTTP {status} ({said})", wait=_retry_after(response.headers))
    if _is_html(response, raw):
        raise TeacherError(f"{host} answers {status} with a web page; --teacher needs the API's base URL, often .../v1")
    raise RefusedError(status, said)


def _is_html(response: httpx.Response, raw: bytes) -> bool:
    return "html" in response.headers.get("content-type", "").lower() or raw.lstrip()[:1] == b"<"


def _message(endpoint: Endpoint, raw: bytes) -> str:
    """What the endpoint says about a failure, quoted: it is a stranger's text and goes to a terminal."""
    try:
        value = strict_json(raw)
    except ValueError:
        value = raw.decode("utf-8", "replace")
    for key in ("error", "message", "detail"):
        value = value.get(key, value) if isinstance(value, dict) else value
    text = value if isinstance(value, str) else json.dumps(value)
    return ascii(endpoint.hide_key(text)[:300])


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds from `Retry-After` (a number or a date, RFC 9110 section 10.2.3) or `retry-after-ms`."""
    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * factor
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:160].rstrip(": ")
