"""What the answers cost: tokens in and out, prices per million, and a ceiling that holds before a request is sent.

ledger = Ledger(Prices(sent=0.15, written=0.60), max_cost=2.0)
held = await ledger.reserve(Tokens(sent=900, written=2048))     # raises BudgetReached where it could pass 2.0
ledger.settle(held, Tokens(sent=812, written=96))
ledger.cost                                                     # 0.0001794
"""

import asyncio
import dataclasses
from typing import Self


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokens:
    """Tokens `sent` to the teacher and `written` by it."""

    sent: int = 0
    written: int = 0

    def __add__(self, other: Self) -> "Tokens":
        return Tokens(sent=self.sent + other.sent, written=self.written + other.written)

    def __sub__(self, other: Self) -> "Tokens":
        return Tokens(sent=self.sent - other.sent, written=self.written - other.written)

    @property
    def total(self) -> int:
        return self.sent + self.written


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices of a million tokens `sent` and `written`, in whatever currency the endpoint charges."""

    sent: float = 0.0
    written: float = 0.0

    def cost(self, tokens: Tokens) -> float:
        return (tokens.sent * self.sent + tokens.written * self.written) / 1e6


class BudgetReached(Exception):
    """The next request could cost more than what is left; the run ends as it was told to."""


class Ledger:
    """Tokens spent and promised. With `max_cost` the two together never cost more."""

    def __init__(self, prices: Prices, max_cost: float | None = None) -> None:
        self.spent = Tokens()
        self.prices = prices
        self.max_cost = max_cost
        self._promised = Tokens()
        self._settled = asyncio.Condition()

    @property
    def cost(self) -> float:
        return self.prices.cost(self.spent)

    async def reserve(self, most: Tokens) -> Tokens:
        """Promises the most that a request can use; waits while only running requests stand in its way.

        Raises:
          BudgetReached: nothing is running, and what is left does not pay for it.
        """
        async with self._settled:
            while self._exceeds(most):
                if not self._promised.total:
                    raise BudgetReached
                await self._settled.wait()
            self._promised += most
        return most

    async def settle(self, promised: Tokens, used: Tokens) -> None:
        """Replaces a promise by what was used (nothing, when the request was not answered)."""
        async with self._settled:
            self._promised -= promised
            self.spent += used
            self._settled.notify_all()

    def _exceeds(self, most: Tokens) -> bool:
        return self.max_cost is not None and self.prices.cost(self.spent + self._promised + most) > self.max_cost
