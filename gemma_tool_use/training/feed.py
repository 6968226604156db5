"""The batches of a run as Tunix takes them: training batches that know their place, and those of an evaluation.

feed = BatchFeed(batches(rows, plan), stop, steps=300)
feed.restore(100, state)              # the next batch is that of step 101; what came before is not read
for batch in feed: ...                # until step 300, or until somebody presses Ctrl-C
feed.state(140)                       # where the rows are after exactly 140 steps, for the checkpoint of that step
feed.take(140)                        # BatchInfo(tokens=1873, trained=214, rows=[7, 12, 3])
"""

import dataclasses
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from gemma_tool_use.data.rows import STEP_ARRAYS, Element
from gemma_tool_use.training.stop import Stopped, StopRequest


class BatchStream(Protocol):
    """The elements of a run; see `data/pipeline.py`."""

    def __iter__(self) -> Iterator[Element]: ...

    def state(self, trained: int | None = None) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchInfo:
    """What the log tells of a step: tokens, how many of them are trained, and the numbers of its rows."""

    tokens: int
    trained: float
    rows: list[int]


class BatchFeed:
    """The stream that Tunix iterates: arrays only, with what the log needs of each step kept aside.

    Ends after `steps` steps of the run, or when `stop` was requested.
    """

    def __init__(
        self,
        stream: BatchStream,
        stop: StopRequest,
        *,
        steps: int,
        stages: Sequence[int] | np.ndarray | None = None,
        vote: Callable[[int], int] = int,
    ) -> None:
        """
        Args:
          stream: the elements of the run.
          stop: asked before each step.
          steps: of the whole run.
          stages: that of each row of a curriculum, for the guard of `guard.py`.
          vote: makes of the signal of this process, or 0, the one by which all processes stop (`distributed.StopVote`).
        """
        self._stream, self._stop, self._steps, self._vote = stream, stop, steps, vote
        self._stages = None if stages is None else np.asarray(stages)
        self._done = 0
        self._info: dict[int, BatchInfo] = {}

    def state(self, step: int) -> dict[str, Any]:
        """JSON-able place in the rows after `step` steps, whatever was read ahead."""
        return self._stream.state(step)

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Continues behind `step`, whose `state` was saved."""
        self._stream.restore(state)
        self._done = step

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        if self._done >= self._steps:
            return
        for step, element in enumerate(self._stream, start=self._done + 1):
            if agreed := self._vote(self._stop.signal or 0):
                self._stop.signal = signal.Signals(agreed)
                return
            rows = element["row_index"][element["row_index"] >= 0]
            self._info[step] = BatchInfo(
                tokens=int(element["lengths"].sum()), trained=float(element["normalizer"]), rows=rows.tolist()
            )
            batch = {name: element[name] for name in STEP_ARRAYS}
            yield batch if self._stages is None else batch | {"stage": self._stages[rows].max().astype(np.int32)}
            if step == self._steps:
                return

    def take(self, step: int) -> BatchInfo:
        """What is known of a step, counted from 1; forgets it and all earlier ones."""
        found = self._info[step]
        self._info = {number: info for number, info in self._info.items() if number > step}
        return found


class EvalBatches:
    """The batches of the held-out rows, which may be iterated any number of times and need not fit into memory."""

    def __init__(self, elements: Iterable[Element], count: int, stop: StopRequest) -> None:
        self._elements, self._count, self._stop = elements, count, stop

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """
        Raises:
          Stopped: before all of them were evaluated; a loss of some rows would be that of no step.
        """
        for element in self._elements:
            # Several processes have to leave at the same batch, and agree between training steps only.
            if self._stop.signal is not None and jax.process_count() == 1:
                raise Stopped
            yield {name: element[name] for name in STEP_ARRAYS}
