"""Several processes as one run: how they find each other, agree, and stop together. With one process all of it is free.

    start(config, launcher=settings.launcher)        # before anything asks JAX for devices
    with together("preparing the run"):              # a mistake in one process ends all of them
        prepared = ...
    check_same(describe(config))                     # the processes were given the same flags and rows
    vote = StopVote(mesh)
    vote(signal_number)                              # before every step: what any process has asked for
    if is_writer(): ...                              # one process writes the run folder

Every process runs the same program on its own rows. What they decide (stop, skip, save) has to be the same in each, or
one waits for ever in an exchange that the others never enter; so decisions are made of values that all of them hold:
the loss, the gradient norm, and votes.

A process that dies silently is noticed by the others after `HEARTBEAT_SECONDS`: JAX then ends them with a message that
says which process stopped sending heartbeats, and exit code 134. `--resume` continues from the last checkpoint.
"""

import collections
import contextlib
import hashlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gemma_tool_use.errors import ConfigError, TrainingError
from gemma_tool_use.models.sharding import AXES, replicated

# How long the processes wait for each other: to start (a pod's workers do not boot at once), for a sign of life, and at
# the end, where they leave together except after an error in one of them.
START_SECONDS, HEARTBEAT_SECONDS, LEAVE_SECONDS = 300, 60, 20


class Launch(Protocol):
    """The flags of a run that say how its processes find each other."""

    @property
    def coordinator(self) -> str | None: ...
    @property
    def num_processes(self) -> int | None: ...
    @property
    def process_id(self) -> int | None: ...


def start(
    launch: Launch,
    *,
    launcher: str | None,
    start_seconds: int = START_SECONDS,
    heartbeat_seconds: int = HEARTBEAT_SECONDS,
) -> None:
    """Connects this process with the others of the run, if there are any. Must come before the first use of a device.

    Args:
      launch: --coordinator, --num-processes, --process-id; they win over the launcher.
      launcher: what started this process beside others ("slurm", "Cloud TPU"), None if nothing did; JAX finds the
        addresses of these by itself.
      start_seconds: how long to wait for the others.
      heartbeat_seconds: after how long without a sign of life a process counts as lost.

    Raises:
      ConfigError: the others cannot be reached.
    """
    if launch.num_processes == 1 or (launch.coordinator is None and launcher is None):
        return
    given: dict[str, Any] = {}
    if launch.coordinator is not None:
        given = {
            "coordinator_address": launch.coordinator,
            "num_processes": launch.num_processes,
            "process_id": launch.process_id,
            "cluster_detection_method": "deactivate",
        }
    # JAX's own SIGTERM handler would swallow the signal until training has begun; ours stops all processes at one step.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=start_seconds,
            heartbeat_timeout_seconds=heartbeat_seconds,
            shutdown_timeout_seconds=LEAVE_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        where = f"--coordinator {launch.coordinator}" if launch.coordinator else f"the launcher {launcher}"
        raise ConfigError(
            f"{where}: the processes of this run did not find each other ({error}). Start the same command on every "
            "host with its own --process-id, open the port, or give --num-processes 1 to run alone"
        ) from None


def is_writer() -> bool:
    """Whether this process writes files and prints; exactly one does."""
    return jax.process_index() == 0


def broadcast_text(text: str) -> str:
    """The text of process 0 in every process; the others' is not looked at."""
    if jax.process_count() == 1:
        return text
    encoded = np.frombuffer(text.encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.asarray(len(encoded), np.int32)))
    buffer = np.zeros(length, np.uint8)
    if is_writer():
        buffer[:] = encoded
    return np.asarray(multihost_utils.broadcast_one_to_all(buffer)).astype(np.uint8).tobytes().decode()


def check_same(values: Mapping[str, str], *, remedy: str) -> None:
    """Compares what the processes of a run must have in common. All of them have to call it.

    Args:
      values: anything by name, as text; the names are the same everywhere.
      remedy: what the message tells the user to do.

    Raises:
      ConfigError: in every process, with the names whose values differ between processes.
    """
    if jax.process_count() == 1:
        return
    digests = [hashlib.sha256(value.encode()).digest()[:8] for value in values.values()]
    mine = np.frombuffer(b"".join(digests), np.int32).reshape(len(digests), 2)
    everyones = np.asarray(multihost_utils.process_allgather(mine))
    different = (everyones != everyones[0]).any(axis=2)
    if different.any():
        processes = ", ".join(map(str, np.flatnonzero(different.any(axis=1))))
        names = ", ".join(np.array(list(values))[different.any(axis=0)])
        raise ConfigError(f"processes {processes} differ from process 0 in: {names}. {remedy}")


@contextlib.contextmanager
def together(doing: str) -> Iterator[None]:
    """Ends all processes when the body fails in one: that one with its own error, the others with a pointer to it.

    The body must not exchange anything between processes.

    Raises:
      TrainingError: another process failed.
    """
    failed, others = True, np.zeros(0, int)
    try:
        yield
        failed = False
    finally:
        if jax.process_count() > 1:
            others = np.flatnonzero(multihost_utils.process_allgather(np.asarray(failed)))
    if len(others):
        raise TrainingError(f"process {others[0]} failed while {doing}; its own output says why")


class StopVote:
    """Makes a wish to stop known to all processes, so that they stop before the same step.

    Called once before each step, it tells what was wished before the step before: the exchange of a number between the
    devices waits behind the running step, and its answer is there when the next one is asked for. So it costs a launch,
    and never makes a device wait for the host.
    """

    def __init__(self, mesh: Mesh | None) -> None:
        self._mesh = mesh if jax.process_count() > 1 else None
        self._votes: collections.deque[jax.Array] = collections.deque()
        if self._mesh is not None:
            self._by_device = NamedSharding(self._mesh, PartitionSpec(AXES))
            self._largest = jax.jit(jnp.max, out_shardings=replicated(self._mesh))

    def __call__(self, wish: int) -> int:
        """`wish`: a signal number, 0 for none. Returns the largest of all processes; with one process, `wish`."""
        if self._mesh is None:
            return wish
        mine = np.full(len(self._mesh.local_devices), wish, np.int32)
        votes = jax.make_array_from_process_local_data(self._by_device, mine, (self._mesh.size,))
        self._votes.append(self._largest(votes))
        return int(self._votes.popleft()) if len(self._votes) > 1 else 0


def check_shared(folder: Path) -> None:
    """
    Raises:
      ConfigError: in every process, when one does not see what process 0 writes into `folder`.
    """
    if jax.process_count() == 1:
        return
    file = folder / f".seen-by-all-{broadcast_text(secrets.token_hex(8))}"
    if is_writer():
        file.touch()
    multihost_utils.sync_global_devices("the file is there")
    unseen = np.flatnonzero(multihost_utils.process_allgather(np.asarray(not file.exists())))
    if is_writer():
        file.unlink()
    multihost_utils.sync_global_devices("the file is gone")  # before any process looks at what the folder holds
    if len(unseen):
        raise ConfigError(
            f"processes {', '.join(map(str, unseen))} do not see what process 0 writes into {folder}. Choose an "
            "--output-dir on storage that all hosts share (NFS, Filestore, a mounted bucket)"
        )


def leave_together() -> None:
    """Waits until every process has come here, so that none is taken for lost while another still writes."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("the run is over")
