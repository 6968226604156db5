"""Where a run's numbers go: metrics.jsonl and TensorBoard event files, on disk before the checkpoint of their step.

    log = JsonlBackend(folder.metrics)
    curves = TensorBoardBackend(folder.tensorboard, first_step=101)     # continues after the checkpoint of step 100
    logger = Logger([log, curves])
    logger.log("", "loss", 0.42, "train", 101)
    logger.flush()                                                      # {"step": 101, "train/loss": 0.42}

A killed run is continued from its newest checkpoint. So that no step is lost, its numbers must be written before that
checkpoint is whole; so that none is doubled, those of later steps are dropped (`RunFolder.drop_metrics_after`) or
declared void (`first_step`).
"""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tunix.sft import metrics_logger


class Backend(Protocol):
    """Tunix's `LoggingBackend`, and `flush`."""

    def log_scalar(self, event: str, value: float | np.ndarray, **kwargs: Any) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class JsonlBackend:
    """Writes one JSON line per step."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", encoding="utf-8")
        self._line: dict[str, Any] = {}

    def log_scalar(self, event: str, value: float | np.ndarray, **kwargs: Any) -> None:
        step = int(kwargs.get("step") or 0)
        if self._line and self._line["step"] != step:
            self._write()
        self._line.setdefault("step", step)
        self._line[event.lstrip("/")] = float(value)

    def flush(self) -> None:
        self._write()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._write()
        self._file.close()

    def _write(self) -> None:
        if self._line:
            # A non-finite loss must stay readable by strict JSON readers.
            line = {k: v if math.isfinite(v) else str(v) for k, v in self._line.items()}
            self._line = {}
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


class TensorBoardBackend:
    """Writes a TensorBoard event file, in the thread that logs.

    Metrax, which Tunix uses, hands events to a thread that writes every two minutes: a killed run loses them, and on a
    full disk the thread dies and the run waits for it for ever.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        """`first_step`: numbers of this and later steps in older files are void, for a run that takes them again."""
        folder.mkdir(parents=True, exist_ok=True)
        # The name that the writer makes has the second only, and a file of that name would be overwritten.
        self._writer = EventsWriter(str(folder / "events"), filename_suffix=f".{time.time_ns()}")
        start = SessionLog(status=SessionLog.START)
        self._add(step=first_step, session_log=start)
        self.flush()

    def log_scalar(self, event: str, value: float | np.ndarray, **kwargs: Any) -> None:
        step = int(kwargs.get("step") or 0)
        if step != self._step:
            self.flush()
        self._add(step=step, summary=Summary(value=[Summary.Value(tag=event.lstrip("/"), simple_value=float(value))]))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _add(self, *, step: int, **content: Any) -> None:
        self._step = step
        self._writer.write_event(Event(wall_time=time.time(), step=step, **content))


class OwnMetrics:
    """Passes on this run's metrics only.

    Tunix listens to every scalar of `jax.monitoring`, those of Orbax and JAX included, and never stops listening: after
    `close` the scalars are those of another run in the same process.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._open = True

    def log_scalar(self, event: str, value: float | np.ndarray, **kwargs: Any) -> None:
        if self._open and event.lstrip("/").startswith(("train/", "eval/")):
            self._backend.log_scalar(event, value, **kwargs)

    def flush(self) -> None:
        if self._open:
            self._backend.flush()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._backend.close()


class Logger(metrics_logger.MetricsLogger):
    """Tunix's logger with exactly the backends given; by itself it would start Weights & Biases."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        own = [OwnMetrics(backend) for backend in backends]
        self._own = own
        factories: list[Callable[[], Any]] = [lambda backend=backend: backend for backend in own]
        # Tunix takes an empty list for none given, and would make its own backends.
        options = metrics_logger.MetricsLoggerOptions(log_dir="", backend_kwargs={"custom_backend": list(factories)})
        super().__init__(options if factories else None)

    def flush(self) -> None:
        """Writes to disk what was logged so far."""
        for backend in self._own:
            backend.flush()


class WandbBackend:
    """Weights & Biases, which has files of its own; a continued run is a new one there."""

    def __init__(self, name: str) -> None:
        self._backend = metrics_logger.WandbBackend(project="gemma-tool-use", name=name)

    def log_scalar(self, event: str, value: float | np.ndarray, **kwargs: Any) -> None:
        self._backend.log_scalar(event, value, **kwargs)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self._backend.close()
