"""Asks the teacher: pays each step once, keeps to the limits, tries again where that can help, gives up by name.

    answer = await client.ask("12.3", messages, REQUESTS_SHAPE)

The first request goes alone. It finds out what the endpoint takes: structured output by JSON Schema, by "some JSON
object", or none; `max_tokens` or its newer name; a temperature or only the model's own; a seed or none.
"""

import asyncio
import dataclasses
import json
import random
from typing import Any, Literal

import httpx

from gemma_tool_use.data.teacher.cost import Ledger, Tokens
from gemma_tool_use.data.teacher.endpoint import Endpoint, TeacherError
from gemma_tool_use.data.teacher.exchange import Answer, RefusedError, TransientError, exchange
from gemma_tool_use.data.teacher.journal import Journal
from gemma_tool_use.data.teacher.pace import FIRST_WAIT, Pace, backoff

Structured = Literal["auto", "json_schema", "json_object", "off"]
_WEAKER: dict[str, str] = {"json_schema": "json_object", "json_object": "off"}
LONGEST_PAUSE = 600.0  # an endpoint that asks for more has used up a daily limit
_TRIES_WITHOUT_CONNECTION = 3  # of the first request: most likely the URL is wrong or the server is not running
MOST_REFUSALS = 5  # in a row: a content filter refuses some requests, a changed endpoint all
NOT_TAKEN = "endpoint does not take the request"


class Stopping(Exception):
    """No further request is sent, because another one found that the run cannot go on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asking:
    """How to ask.

    Attributes:
      temperature: None leaves it to the endpoint.
      max_answer_tokens: most tokens of one answer, reasoning included.
      structured: form of structured output to begin with; auto begins with the strongest.
      timeout: seconds for one whole answer.
      retries: how often a failed request is sent again.
      concurrency: most requests under way at once.
    """

    temperature: float | None = 1.0
    max_answer_tokens: int = 2048
    structured: Structured = "auto"
    timeout: float = 120.0
    retries: int = 6
    concurrency: int = 8


class Client:
    """See the module docstring. `stop_reason` is set once no further request is sent."""

    def __init__(
        self,
        *,
        http: httpx.AsyncClient,
        endpoint: Endpoint,
        asking: Asking,
        journal: Journal,
        ledger: Ledger,
        pace: Pace,
    ) -> None:
        self._http, self._endpoint, self._asking = http, endpoint, asking
        self._journal, self._ledger, self._pace = journal, ledger, pace
        self._structured: str = "json_schema" if asking.structured == "auto" else asking.structured
        self._limit_name = "max_tokens"
        self._sends = {"temperature": asking.temperature is not None, "seed": True}
        self._slots = asyncio.Semaphore(asking.concurrency)
        self._first = asyncio.Lock()
        self._answered = False  # by this process: its first request finds out what the endpoint takes
        self._refused_in_a_row = 0
        self._rng = random.Random()  # only spreads waits; nothing that is written depends on it
        self.stop_reason: BaseException | None = None

    async def ask(self, step: str, messages: list[dict[str, str]], shape: dict[str, Any], *, seed: int) -> Answer:
        """The answer to a step, from the journal if it is there.

        Raises:
          TeacherError: the endpoint cannot be used any longer.
          BudgetReached: no money is left for this request.
          Stopping: another step met one of these first.
        """
        if (known := self._journal.answers.get(step)) is not None:
            return known
        async with self._slots:
            async with self._first:
                if not self._answered:
                    return await self._stoppable(step, messages, shape, seed)
            return await self._stoppable(step, messages, shape, seed)

    async def _stoppable(self, step: str, messages: list[dict[str, str]], shape: dict[str, Any], seed: int) -> Answer:
        if self.stop_reason is not None:
            raise Stopping
        try:
            return await self._persist(step, messages, shape, seed)
        except Stopping:
            raise
        except Exception as error:
            self.stop_reason = self.stop_reason or error
            raise

    async def _persist(self, step: str, messages: list[dict[str, str]], shape: dict[str, Any], seed: int) -> Answer:
        attempt = negotiated = 0
        while True:
            try:
                answer = await self._once(step, self._body(messages, shape, seed))
                self._answered, self._refused_in_a_row = True, 0
                return answer
            except RefusedError as error:
                if negotiated < 6 and self._adapt(error.message):
                    negotiated += 1
                    continue
                self._refused_in_a_row += 1
                if self._refused_in_a_row > MOST_REFUSALS or not (self._answered or self._journal.answers):
                    raise TeacherError(
                        f"{self._endpoint.host} does not take the request (HTTP {error.status}): {error.message}"
                    ) from None
                answer = Answer(fault=NOT_TAKEN, tokens=Tokens())
                self._journal.add(step, answer, Tokens())
                return answer
            except TransientError as error:
                await self._wait(step, attempt, error)
                attempt += 1

    async def _once(self, step: str, body: dict[str, Any]) -> Answer:
        # Two bytes a token: a text has fewer tokens than that in every script.
        most = Tokens(sent=len(json.dumps(body["messages"]).encode()) // 2, written=self._asking.max_answer_tokens)
        promised, used = await self._ledger.reserve(most), Tokens()
        try:
            await self._pace.turn(most.total)
            if self.stop_reason is not None:
                raise Stopping
            answer = await exchange(self._http, self._endpoint, body, timeout=self._asking.timeout)
            used = most if answer.tokens is None else answer.tokens
            self._journal.add(step, answer, used)
            return answer
        except TransientError as error:
            if error.paid:
                used = most
                self._journal.add_lost(error.problem, used)
            raise
        except asyncio.CancelledError:
            used = most
            self._journal.add_lost("interrupted", used)
            raise
        finally:
            await self._ledger.settle(promised, used)
            self._pace.correct(most.total - used.total)

    async def _wait(self, step: str, attempt: int, error: TransientError) -> None:
        """Waits before the next try, everybody if the endpoint asked for it.

        Raises:
          TeacherError: there have been enough tries, or the wait is hopeless.
          Stopping: the run ends anyway.
        """
        if self.stop_reason is not None:
            raise Stopping
        host, tries = self._endpoint.host, self._asking.retries
        if not error.connected and not self._answered:
            tries = min(tries, _TRIES_WITHOUT_CONNECTION - 1)
        if error.wait is not None and error.wait > LONGEST_PAUSE:
            raise TeacherError(
                f"{host} asks to wait {error.wait:.0f} s ({error.problem}); a limit of the account is used up. "
                "Run the same command again later, it continues"
            ) from None
        if attempt >= tries:
            raise TeacherError(
                f"gave up on {host} after {attempt + 1} tries of step {step}: {error.problem}. {self._remedy(error)} "
                "Run the same command again, it continues"
            ) from None
        wait = backoff(attempt, self._rng)
        if error.wait is not None:
            self._pace.pause(error.wait)
            wait = error.wait + backoff(0, self._rng) * min(1.0, error.wait / FIRST_WAIT)
        await asyncio.sleep(wait)

    @staticmethod
    def _remedy(error: TransientError) -> str:
        if not error.connected:
            return "Is the server running, the URL right, and the network there?"
        if "HTTP 429" in error.problem:
            return "Lower --requests-per-minute, --tokens-per-minute or --concurrency."
        if "within" in error.problem:
            return "Raise --timeout or lower --concurrency."
        return "Is the endpoint healthy?"

    def _body(self, messages: list[dict[str, str]], shape: dict[str, Any], seed: int) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._endpoint.model, "messages": messages}
        body[self._limit_name] = self._asking.max_answer_tokens
        if self._sends["temperature"]:
            body["temperature"] = self._asking.temperature
        if self._sends["seed"]:
            body["seed"] = seed
        if self._structured == "json_schema":
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": shape}}
        elif self._structured == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def _adapt(self, message: str) -> bool:
        """Leaves out what the refusal names, or weakens the structured output; whether there was anything to do."""
        if self._answered:  # so the form is taken, and the refusal is about this one request
            return False
        if self._limit_name == "max_tokens" and "max_completion_tokens" in message:
            self._limit_name = "max_completion_tokens"
            return True
        for name, sent in self._sends.items():
            if sent and name in message:
                self._sends[name] = False
                return True
        if self._asking.structured == "auto" and self._structured in _WEAKER:
            self._structured = _WEAKER[self._structured]
            return True
        return False
