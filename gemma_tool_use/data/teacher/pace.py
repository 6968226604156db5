"""When to send: requests and tokens per minute, pauses that the endpoint asks for, and growing waits between tries.

pace = Pace(requests_per_minute=60, tokens_per_minute=None)
await pace.turn(tokens=900)      # returns one second after the turn before it
pace.pause(7.0)                  # nobody gets a turn for 7 seconds: HTTP 429 with `Retry-After: 7`
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]


class Pace:
    """Spreads turns evenly, so that no minute holds more than the limits say, whichever second it starts at."""

    def __init__(
        self,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._requests, self._tokens = requests_per_minute, tokens_per_minute
        self._clock, self._sleep = clock, sleep
        self._next_request = self._next_tokens = self._paused_until = 0.0

    async def turn(self, tokens: int) -> None:
        """Waits until a request of about so many tokens may be sent."""
        now = self._clock()
        due = max(now, self._next_request, self._next_tokens)
        if self._requests:
            self._next_request = due + 60 / self._requests
        if self._tokens:
            self._next_tokens = due + 60 * tokens / self._tokens
        while (wait := max(due, self._paused_until) - self._clock()) > 0:
            await self._sleep(wait)

    def correct(self, tokens: int) -> None:
        """Gives back the time of tokens that were announced and not used."""
        if self._tokens:
            self._next_tokens -= 60 * tokens / self._tokens

    def pause(self, seconds: float) -> None:
        """Lets nobody have a turn for so long."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)


def backoff(attempt: int, rng: random.Random) -> float:
    """Seconds to wait after the failed `attempt` (from 0): up to 1, 2, 4 ... 60, at least half of it.

    The random half keeps requests that failed together from coming back together.
    """
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt, 16))
    return longest * (0.5 + 0.5 * rng.random())
