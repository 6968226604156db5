"""The checkpoints of a run as models, one after the other, for their evaluation. Nothing of the run is changed.

saved = SavedModels(folder.checkpoints)
saved.steps                                      # [100, 200, 300]
saved.load(200, model, only_lora=True)           # `model` is now what it was after 200 steps
"""

import logging
from pathlib import Path

import orbax.checkpoint as ocp
from flax import nnx

from gemma_tool_use.errors import CheckpointError, ConfigError
from gemma_tool_use.training.checkpoints import MODEL, item_handlers, model_arrays, read_arrays, reason


class SavedModels:
    """Reads trained arrays. The run may go on meanwhile; checkpoints that it adds later are not seen."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
          folder: absolute; that of a run's checkpoints.

        Raises:
          ConfigError: it holds no checkpoint.
        """
        logging.getLogger("absl").setLevel(logging.CRITICAL)  # errors are raised by us
        if not folder.is_dir():
            raise ConfigError(f"{folder.parent} has no checkpoints; give the folder of a run, which train wrote")
        options = ocp.CheckpointManagerOptions(read_only=True)
        self._folder = folder
        self._manager = ocp.CheckpointManager(folder, options=options, item_handlers=item_handlers())
        self.steps = sorted(self._manager.all_steps())
        if not self.steps:
            raise ConfigError(f"{folder} holds no whole checkpoint yet; --save-every of train says when there is one")

    def load(self, step: int, model: nnx.Module, *, only_lora: bool) -> None:
        """Puts the arrays of a checkpoint into `model`.

        Args:
          step: one of `steps`.
          model: of the same run: its base weights and method.
          only_lora: whether the run trained an adapter (`--method` other than full).

        Raises:
          CheckpointError: the checkpoint is damaged, or of another model.
        """
        try:
            arrays, _ = read_arrays(self._manager, step, {MODEL: model_arrays(model, only_lora=only_lora)})
        except Exception as error:  # Orbax raises ValueError, KeyError, plain Exception, ... for damaged files
            raise CheckpointError(
                f"the checkpoint {self._folder / str(step)} cannot be read: {reason(error)}"
            ) from None
        nnx.update(model, arrays[MODEL])

    def close(self) -> None:
        """Lets go of the folder."""
        self._manager.close()
