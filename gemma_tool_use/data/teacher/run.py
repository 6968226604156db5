"""Runs the plan until there are enough rows: many requests at once, the result in the order of the plan.

    result = await collect(plan, ask, count=100, batch=4, concurrency=8)
    result.rows        # the first 100 rows of the plan that pass every check
    result.rejects     # everything else that was written up to there
    result.ended       # "enough"

A scenario is begun only while those begun could still fall short if every open one brought all its rows. So the number
of scenarios depends on the answers only, not on their order, and the same answers give the same rows and rejects.
"""

import asyncio
import dataclasses
import math
from collections import Counter
from collections.abc import Callable

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.teacher.client import Stopping
from gemma_tool_use.data.teacher.cost import BudgetReached
from gemma_tool_use.data.teacher.plan import Plan
from gemma_tool_use.data.teacher.rows import Ask, Item, Seen, duplicate, write_rows
from gemma_tool_use.errors import GemmaToolUseError

ENOUGH, BUDGET, GIVEN_UP = "enough", "cost limit reached", "too few answers can be used"
SURPLUS = "more rows than asked for"
FIRST_SCENARIOS = 10  # without one row from these, no more money is spent
MOST_WASTE = 4  # scenarios begun at most, as a multiple of those that perfect answers would need

Progress = Callable[[int, int], None]
"""Called after each scenario with the rows so far and the rejects so far."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collected:
    """Rows and rejects in the order of the plan, and why the run ended; `error` when it could not go on."""

    rows: list[Conversation]
    rejects: list[Reject]
    ended: str
    error: GemmaToolUseError | None = None


async def collect(
    plan: Plan,
    ask: Ask,
    *,
    count: int,
    batch: int,
    concurrency: int,
    repair: bool = True,
    progress: Progress = lambda rows, rejects: None,
) -> Collected:
    """Rows of the plan, `count` if the teacher is able to write them."""
    return await _Run(plan, ask, count=count, batch=batch, repair=repair, progress=progress).collect(concurrency)


class _Run:
    def __init__(self, plan: Plan, ask: Ask, *, count: int, batch: int, repair: bool, progress: Progress) -> None:
        self._plan, self._ask, self._progress = plan, ask, progress
        self._count, self._batch, self._repair = count, batch, repair
        self._seen = Seen()
        self._done: dict[int, list[Item]] = {}
        self._rows: dict[str, Item] = {}  # by key, so that an earlier item takes the place of a later one
        self._rejected = 0
        self._ended = ENOUGH
        self._error: GemmaToolUseError | None = None
        self._most = FIRST_SCENARIOS + MOST_WASTE * math.ceil(count / batch)

    async def collect(self, concurrency: int) -> Collected:
        open_jobs: dict[asyncio.Task[list[Item]], int] = {}
        begun = 0
        try:
            while True:
                while len(open_jobs) < concurrency and self._wants(begun, len(open_jobs)):
                    rows = write_rows(self._plan[begun], self._ask, self._seen, batch=self._batch, repair=self._repair)
                    open_jobs[asyncio.create_task(rows)] = begun
                    begun += 1
                if not open_jobs:
                    break
                done, _ = await asyncio.wait(open_jobs, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    self._take(open_jobs.pop(task), task)
        finally:
            for task in open_jobs:
                task.cancel()
            await asyncio.gather(*open_jobs, return_exceptions=True)
        if self._ended == ENOUGH and len(self._rows) < self._count:
            self._ended = GIVEN_UP
        return self._result()

    def _wants(self, begun: int, under_way: int) -> bool:
        most = self._most if self._rows else FIRST_SCENARIOS
        short_of = self._count - len(self._rows) - under_way * self._batch
        return self._ended == ENOUGH and self._error is None and begun < most and short_of > 0

    def _take(self, job: int, task: "asyncio.Task[list[Item]]") -> None:
        try:
            items = task.result()
        except Stopping:
            return
        except BudgetReached:
            self._ended = BUDGET
            return
        except GemmaToolUseError as error:
            self._error = self._error or error
            return
        self._done[job] = items
        for item in items:
            if isinstance(item.outcome, Conversation):
                known = self._rows.get(item.key)
                if self._seen.is_first(item.key, item.place) and (known is None or item.place < known.place):
                    self._rows[item.key] = item
            else:
                self._rejected += 1
        self._drop_late(items)
        self._progress(min(len(self._rows), self._count), self._rejected)

    def _drop_late(self, items: list[Item]) -> None:
        """Takes out rows whose request one of `items` made earlier in the plan, even if that one became no row."""
        for item in items:
            known = self._rows.get(item.key)
            if known is not None and not self._seen.is_first(item.key, known.place):
                del self._rows[item.key]

    def _result(self) -> Collected:
        rows: list[Conversation] = []
        rejects: list[Reject] = []
        for job in sorted(self._done):
            for item in self._done[job]:
                outcome = item.outcome
                # Also what was refused for another reason: whether its answer was asked for at all is a matter of time.
                if item.key and not self._seen.is_first(item.key, item.place):
                    outcome = duplicate(item, self._plan[job]).outcome
                if isinstance(outcome, Conversation) and len(rows) == self._count:
                    outcome = Reject(id=outcome.id, reason=SURPLUS)
                if isinstance(outcome, Conversation):
                    rows.append(outcome)
                else:
                    rejects.append(outcome)
        return Collected(rows=rows, rejects=rejects, ended=self._ended, error=self._error)


def reasons(rejects: list[Reject]) -> dict[str, int]:
    """Each reason and how often, the most frequent first."""
    return dict(Counter(reject.reason for reject in rejects).most_common())
