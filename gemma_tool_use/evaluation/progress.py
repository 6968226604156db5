"""How far an evaluation is: a bar on a terminal, otherwise a line every half minute.

adapter: 120/400 prompts, 2.1/s, 2:13 left
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Self, TextIO

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Told with `tell(finished, total)`; what was finished at the first telling does not count for the speed."""

    def __init__(
        self, label: str, *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label, self._stream, self._clock = label, stream or sys.stderr, clock
        self._bar: tqdm[Any] | None = None
        self._first: tuple[int, float] | None = None
        self._told = -_SECONDS_BETWEEN_LINES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def tell(self, finished: int, total: int) -> None:
        """Shows that `finished` of `total` prompts have an answer."""
        now = self._clock()
        self._first = self._first or (finished, now)
        if self._stream.isatty():
            bar: tqdm[Any] = (
                self._bar
                if self._bar is not None
                else tqdm(total=total, initial=finished, desc=self._label, unit=" prompts", file=self._stream)
            )
            bar.update(finished - bar.n)
            self._bar = bar
        elif finished == total or now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            print(self._line(finished, total, now), file=self._stream, flush=True)

    def _line(self, finished: int, total: int, now: float) -> str:
        before, start = self._first or (finished, now)
        count = f"{self._label}: {finished:,}/{total:,} prompts"
        if finished == before or now <= start:
            return count + (f", {before:,} of them answered by an earlier start" if before else "")
        speed = (finished - before) / (now - start)
        left = "" if finished == total else f", {clock_text((total - finished) / speed)} left"
        return f"{count}, {speed:.2g}/s{left}"


def clock_text(seconds: float) -> str:
    """`1:02:03`, or `2:03` below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
