"""Checkpoints of a run: trained arrays, optimizer, random state and the place in the rows. Whole and right, or unused.

    checkpoints = Checkpoints(folder.checkpoints, save_every=100, keep=3)
    checkpoints.save(200, model, optimizer, save_only_lora_params=True, custom_metadata={"data": stream.state(200)})
    step, metadata = checkpoints.maybe_restore(model, optimizer, restore_only_lora_params=True)   # 200, {"data": ...}

Orbax writes in the background under a temporary name and renames at the end, so a killed run leaves whole checkpoints
only. Three things are added: what is read must have the sums of what was saved (of 6 bits flipped in stored values,
Orbax noticed none); a checkpoint that cannot be read or has other sums is set aside, and the one before is taken; and
the place in the rows is part of the checkpoint rather than of its metadata, which Orbax writes without looking back.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding
from tunix.sft import checkpoint_manager

from gemma_tool_use.errors import CheckpointError, ConfigError, GemmaToolUseError, TrainingError

DAMAGED = "damaged-"
# The names of Tunix's own manager, whose tools can read the arrays.
MODEL, _OPTIMIZER, _STATE = "model_params", "optimizer_state", "run_state"


class Checkpoints(checkpoint_manager.CheckpointManager):
    """Takes the place of Tunix's manager in its trainer.

    `latest_step`, `save`, `maybe_restore` and `close` are what the trainer calls.
    """

    def __init__(self, folder: Path, *, save_every: int, keep: int) -> None:
        """
        Args:
          folder: absolute; made if need be.
          save_every: optimizer steps between checkpoints; the first step a run takes is saved as well.
          keep: how many of the newest stay.
        """
        super().__init__(None)
        # Orbax warns at every save and logs every error once per thread; what a user needs to know is raised by us.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._folder, self._keep = folder, keep
        self._bytes, self._writing = 0, False
        self._manager = ocp.CheckpointManager(
            folder,
            options=ocp.CheckpointManagerOptions(
                save_interval_steps=save_every, max_to_keep=keep, cleanup_tmp_directories=True
            ),
            item_handlers=item_handlers(),
        )

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def should_save(self, step: int) -> bool:
        """
        Raises:
          TrainingError: an earlier checkpoint could not be written in the background.
        """
        if self._writing and not self._manager.is_saving_in_progress():
            self.wait()  # Orbax keeps an error of its threads until somebody waits for them
        return self._manager.should_save(step)

    def save(
        self,
        step: int,
        model: nnx.Module,
        optimizer: nnx.Optimizer | None = None,
        save_only_lora_params: bool = False,
        force: bool = False,
        custom_metadata: dict[str, Any] | None = None,
    ) -> bool:
        """Begins to write a checkpoint if it is time for one, and returns when training may go on.

        Raises:
          TrainingError: it, or an earlier one, could not be written.
        """
        if not force and not self.should_save(step):
            return False
        assert optimizer is not None
        arrays = _arrays(model, optimizer, save_only_lora_params)
        self._bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays))
        content = {"sums": _sums(arrays), "metadata": custom_metadata or {}}
        items = {name: ocp.args.PyTreeSave(tree) for name, tree in arrays.items()}
        state = ocp.args.JsonSave(content | {"sha256": _digest(content)})
        with self.explained():
            self._writing = self._manager.save(step, args=ocp.args.Composite(**items, **{_STATE: state}), force=True)
        return self._writing

    def wait(self) -> None:
        """Returns when everything is written.

        Raises:
          TrainingError: it could not be.
        """
        self._writing = False
        with self.explained():
            self._manager.wait_until_finished()

    def close(self) -> None:
        with self.explained():
            self._manager.close()

    def maybe_restore(
        self,
        model: nnx.Module,
        optimizer: nnx.Optimizer | None = None,
        step: int | None = None,
        restore_only_lora_params: bool = False,
    ) -> tuple[int, dict[str, Any]]:
        """Puts the newest good checkpoint into `model` and `optimizer`.

        Those that turn out to be damaged are renamed to `damaged-STEP`, with a warning.

        Returns:
          Its step and metadata; 0 and nothing when there is none.

        Raises:
          CheckpointError: there are checkpoints, and none of them is good.
        """
        assert optimizer is not None
        arrays = _arrays(model, optimizer, restore_only_lora_params)
        bad: dict[int, str] = {}
        for found in sorted(self._manager.all_steps() if step is None else [step], reverse=True):
            try:
                restored, metadata = read_arrays(self._manager, found, arrays)
            except Exception as error:  # Orbax raises ValueError, KeyError, plain Exception, ... for damaged files
                bad[found] = reason(error)
                continue
            if bad:
                self._set_aside(bad, found)
            nnx.update(model, restored[MODEL])
            nnx.update(optimizer, restored[_OPTIMIZER])
            return found, metadata
        if bad:
            details = "; ".join(f"{number} ({why})" for number, why in bad.items())
            raise CheckpointError(
                f"no checkpoint in {self._folder} can be read: {details}. If the files are damaged, move that folder "
                "away, and --resume starts at the first step; nothing was changed"
            )
        return 0, {}

    def _set_aside(self, bad: Mapping[int, str], good: int) -> None:
        """Renames, so that the next checkpoints of these steps have room, and nothing is lost."""
        for step, why in bad.items():
            if jax.process_index() == 0:
                aside = _free_name(self._folder / f"{DAMAGED}{step}")
                (self._folder / str(step)).rename(aside)
                print(
                    f"warning: the checkpoint of step {step} is damaged ({why}); it is now {aside}. "
                    f"Continuing from the one of step {good}",
                    file=sys.stderr,
                )
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints are set aside")
        self._manager.reload()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turns what a storage that fails makes Orbax and others raise into one clear message.

        Raises:
          TrainingError: where, how much is free, what is still good, what to do.
        """
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            if isinstance(error, GemmaToolUseError) or not any(map(_storage_reason, _chain(error))):
                raise
            raise self._storage_error(reason(error)) from error

    def _storage_error(self, why: str) -> TrainingError:
        steps = [int(path.name) for path in self._folder.iterdir() if path.name.isdigit()]
        last = f"The newest whole checkpoint is that of step {max(steps)}" if steps else "There is no checkpoint yet"
        return TrainingError(
            f"{self._folder} cannot be written: {why}; {shutil.disk_usage(self._folder).free:,} bytes are free there. "
            f"{last}. A checkpoint takes {self._bytes:,} bytes, and up to {self._keep + 1} exist at a time (--keep "
            f"{self._keep}). Free some space, or move the folder to where there is some, and go on with --resume"
        )


def item_handlers() -> dict[str, Any]:
    """How the parts of a checkpoint are read and written."""
    return {
        MODEL: ocp.PyTreeCheckpointHandler(),
        _OPTIMIZER: ocp.PyTreeCheckpointHandler(),
        _STATE: ocp.JsonCheckpointHandler(),
    }


def read_arrays(
    manager: ocp.CheckpointManager, step: int, arrays: Mapping[str, Any]
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The arrays of a checkpoint, each where its like in `arrays` is, and its metadata.

    Raises:
      CheckpointError: values are not those that were saved.
      Exception: whatever Orbax raises for damaged files.
    """
    items = {name: _restore_args(tree) for name, tree in arrays.items()}
    restored = manager.restore(step, args=ocp.args.Composite(**items, **{_STATE: ocp.args.JsonRestore()}))
    state = dict(restored[_STATE])
    if state.pop("sha256", None) != _digest(state):
        raise CheckpointError(f"{_STATE} has another sha256 than when it was saved")
    trees = {name: restored[name] for name in arrays}
    for name, sums in _sums(trees).items():
        if sums != state["sums"].get(name):
            raise CheckpointError(f"values in {name} are not those that were saved")
    return trees, state["metadata"]


def model_arrays(model: nnx.Module, *, only_lora: bool) -> nnx.State:
    """What a checkpoint holds of a model."""
    return nnx.state(model, nnx.Any(nnx.LoRAParam if only_lora else nnx.Param, nnx.RngState))


def require_space(folder: Path, *, checkpoint_bytes: int, keep: int) -> None:
    """
    Args:
      folder: of the checkpoints, below a folder that exists. Those that a continued run has already are counted.
      checkpoint_bytes: of one.
      keep: how many stay.

    Raises:
      ConfigError: the disk has no room for `keep` checkpoints, the one that is being written, and as much again for the
        adapter and the logs.
    """
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    needed, free = checkpoint_bytes * (keep + 2) - there, shutil.disk_usage(folder.parent).free
    if free < needed:
        has = f", less the {there:,} of those it has" if there else ""
        raise ConfigError(
            f"{folder.parent} has {free:,} bytes free, and this run needs {needed:,}: {keep + 2} times "
            f"{checkpoint_bytes:,} for checkpoints{has}. Free some space, choose an --output-dir on another disk, or "
            f"lower --keep {keep} or the rank"
        )


def _arrays(model: nnx.Module, optimizer: nnx.Optimizer, only_lora: bool) -> dict[str, Any]:
    return {
        MODEL: model_arrays(model, only_lora=only_lora),
        _OPTIMIZER: nnx.state(optimizer, nnx.optimizer.OptState),
    }


def _restore_args(tree: Any) -> Any:
    """Every array where it is now. Numbers have to be on every device that the other arrays are on."""
    mesh = next((x.sharding.mesh for x in jax.tree.leaves(tree) if isinstance(x.sharding, NamedSharding)), None)

    def sharding(array: jax.Array) -> Any:
        single = isinstance(array.sharding, SingleDeviceSharding)
        return NamedSharding(mesh, PartitionSpec()) if mesh is not None and single else array.sharding

    shardings = jax.tree.map(sharding, tree)
    return ocp.args.PyTreeRestore(
        item=tree, restore_args=ocp.checkpoint_utils.construct_restore_args(tree, sharding_tree=shardings)
    )


@jax.jit
def _array_sums(leaves: list[jax.Array]) -> jax.Array:
    """The sum of each array's bits, as words, modulo 2^32: the same however the array is cut over devices."""

    def bit_sum(array: jax.Array) -> jax.Array:
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            array = jax.random.key_data(array)
        if array.dtype == bool:
            array = array.astype(jnp.uint8)
        words = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[array.dtype.itemsize]
        return jnp.sum(jax.lax.bitcast_convert_type(array, words).astype(jnp.uint32), dtype=jnp.uint32)

    return jnp.stack([bit_sum(leaf) for leaf in leaves])


def _sums(arrays: Mapping[str, Any]) -> dict[str, list[int]]:
    """`{"model_params": [3716834203, ...], ...}`, a number for each array in the order of the tree."""
    return {name: np.asarray(_array_sums(jax.tree.leaves(tree))).tolist() for name, tree in arrays.items()}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def reason(error: BaseException) -> str:
    """The first line of the real cause; Orbax may bury it under the end of its own event loop."""
    chain = _chain(error)
    if storage := next(filter(None, map(_storage_reason, chain)), None):
        return storage
    real = next((link for link in chain if "Event loop is closed" not in str(link)), error)
    return (str(real).strip() or type(real).__name__).splitlines()[0][:300]


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def _storage_reason(error: BaseException) -> str | None:
    """What the operating system said, as Python and as TensorStore tell it; None for other errors."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    found = re.search(r"\[os_error_code='(\d+)'", str(error))
    return found and os.strerror(int(found[1]))


def _free_name(path: Path) -> Path:
    names = itertools.chain([path], (path.with_name(f"{path.name}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not name.exists())
