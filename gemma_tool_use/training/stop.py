"""How a run is asked to end early: Ctrl-C by its user, SIGTERM by a machine that is taken away."""

import signal
import sys
from types import FrameType


class Stopped(Exception):
    """Ends an evaluation in its midst; the run saves and ends as it does between two steps."""


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a request to stop after the running step; another Ctrl-C stops at once.

    with StopRequest() as stop:
        ...
        if stop.signal: ...
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal is None:
            self.signal = signal.Signals(number)
            print("\nstopping after this step and saving a checkpoint; Ctrl-C once more stops at once", file=sys.stderr)
        elif number == signal.SIGINT:  # a machine that is taken away may say so twice, and still leaves time to save
            raise KeyboardInterrupt
