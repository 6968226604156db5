"""Where the teacher is: a base URL as OpenAI's clients take it, a model name, and the key that goes with that host.

    endpoint = endpoint_at("http://127.0.0.1:8000/v1", "qwen3-32b", keys={})
    endpoint.url       # "http://127.0.0.1:8000/v1/chat/completions"
    endpoint.host      # "127.0.0.1:8000", all that a manifest or an error says about it

A key only ever goes to the host it is for: `OPENAI_API_KEY` to openai.com, `TEACHER_API_KEY` to whatever was asked for.
"""

import dataclasses
import ipaddress
from collections.abc import Callable, Mapping

import httpx

from gemma_tool_use.errors import ConfigError, GemmaToolUseError

PATH = "/chat/completions"
TEACHER_KEY, OPENAI_KEY = "TEACHER_API_KEY", "OPENAI_API_KEY"
_SHORTEST_HIDDEN = 12  # placeholders of local servers ("EMPTY", "none") are shorter, and are words of real answers

Reveal = Callable[[], str]


class TeacherError(GemmaToolUseError, OSError):
    """The endpoint cannot be used, or not any longer; the answers received so far are in the journal."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An endpoint to ask. Build it with `endpoint_at`.

    Attributes:
      url: full address of the chat completions.
      model: name of the model, as the endpoint knows it.
      key: gives the API key when called; None sends no key.
      key_name: the variable the key came from, for error messages.
    """

    url: str
    model: str
    key: Reveal | None = dataclasses.field(default=None, repr=False)
    key_name: str = TEACHER_KEY

    @property
    def host(self) -> str:
        """Host and port."""
        return httpx.URL(self.url).netloc.decode("ascii")

    @property
    def is_local(self) -> bool:
        """Whether the address is of this very machine."""
        return _is_loopback(httpx.URL(self.url).host)

    @property
    def shows_key(self) -> bool:
        """Whether a key would travel unencrypted over a network."""
        return self.key is not None and self.url.startswith("http://") and not self.is_local

    def headers(self) -> dict[str, str]:
        """What every request carries. Compressed answers are not asked for: their size could not be bounded."""
        key = {} if self.key is None else {"Authorization": f"Bearer {self.key()}"}
        return {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity", **key}

    def hide_key(self, text: str) -> str:
        """The text without the key, should an endpoint have quoted it."""
        key = "" if self.key is None else self.key()
        return text.replace(key, "[key]") if len(key) >= _SHORTEST_HIDDEN else text


def endpoint_at(url: str, model: str, keys: Mapping[str, Reveal]) -> Endpoint:
    """The endpoint at a base URL.

    `https://api.example.org`, `https://api.example.org/v1` and `https://api.example.org/v1/chat/completions` all mean
    the last of them.

    Args:
      url: the base URL.
      model: name of the model; required by every endpoint.
      keys: what gives each key that is set, by the name of its variable.

    Raises:
      ConfigError: the URL is not one, or carries a password or a query; lists every problem.
    """
    parsed = httpx.URL()
    problems = [] if model.strip() else ["teacher_model is empty; give the name that the endpoint lists under /models"]
    try:
        parsed = httpx.URL(url.strip())
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise httpx.InvalidURL("no host")
    except httpx.InvalidURL:
        problems.append("teacher is not a URL, expected one like https://api.openai.com/v1 or http://127.0.0.1:8000/v1")
    else:
        if parsed.userinfo or parsed.query or parsed.fragment:
            problems.append(f"teacher must be a plain URL; a key belongs into the environment variable {TEACHER_KEY}")
    if problems:
        raise ConfigError("; ".join(problems))
    path = parsed.path.rstrip("/").removesuffix(PATH) or "/v1"
    is_openai = parsed.scheme == "https" and (parsed.host == "openai.com" or parsed.host.endswith(".openai.com"))
    name = OPENAI_KEY if is_openai and TEACHER_KEY not in keys else TEACHER_KEY
    full = str(parsed.copy_with(path=path + PATH))
    return Endpoint(url=full, model=model.strip(), key=keys.get(name), key_name=name)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
