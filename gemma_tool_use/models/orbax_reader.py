"""Reads a Gemma checkpoint in Kaggle's layout: an Orbax folder with one flat level of module paths.

    reader = OrbaxReader(Path("gemma-3-270m-it"))
    reader.shapes["transformer/layer_0/attn/q_einsum/w"]     # (4, 640, 256)

The tree in the file is `{"transformer/layer_0/attn/q_einsum": {"w": array}, ...}`, as written by
https://github.com/google-deepmind/gemma; deeper nesting of the same path is read the same way.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.models.families import spec_from_flax_shapes
from gemma_tool_use.models.readers import Reader
from gemma_tool_use.models.spec import ModelSpec


class OrbaxReader(Reader):
    """An Orbax folder. All arrays are restored at the first `read`, in one call, and handed out once each."""

    def __init__(self, folder: Path):
        self.files = sorted(path for path in folder.rglob("*") if path.is_file())
        # Orbax takes absolute paths only.
        self._folder = folder.resolve()
        self._checkpointer = ocp.PyTreeCheckpointer()
        self._tree = self._metadata_tree()
        self.shapes = {name: tuple(leaf.shape) for name, leaf in _flatten(self._tree).items()}
        self._arrays: dict[str, np.ndarray] | None = None
        self._lock = threading.Lock()

    @property
    def spec(self) -> ModelSpec:
        return spec_from_flax_shapes(self.shapes, str(self._folder))

    def read(self, name: str) -> np.ndarray:
        with self._lock:
            if self._arrays is None:
                self._arrays = self._restore()
            array = self._arrays.pop(name)
        return array.astype(np.float32, copy=False)

    def _metadata_tree(self) -> Mapping[str, Any]:
        try:
            metadata = self._checkpointer.metadata(self._folder).item_metadata
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise self._damaged(error) from error
        tree = getattr(metadata, "tree", None)
        if not isinstance(tree, Mapping):
            raise self._damaged("it has no readable _METADATA")
        return tree

    def _restore(self) -> dict[str, np.ndarray]:
        """Everything as NumPy arrays: the file names the devices it was saved from, which are not those here."""
        plain = _map_leaves(self._tree, lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray))
        try:
            restored = self._checkpointer.restore(self._folder, args=ocp.args.PyTreeRestore(restore_args=plain))
        except (ValueError, KeyError, OSError) as error:
            raise self._damaged(error) from error
        return _flatten(restored)

    def _damaged(self, why: object) -> CheckpointError:
        first_line = str(why).split("\n", 1)[0][:300]
        return CheckpointError(f"{self._folder} is not a whole Orbax checkpoint ({first_line}); download it again")


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a/b": {"w": x}}` -> `{"a/b/w": x}`"""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat.update(_flatten(value, f"{path}/") if isinstance(value, Mapping) else {path: value})
    return flat


def _map_leaves(tree: Mapping[str, Any], change: Any) -> dict[str, Any]:
    return {
        key: _map_leaves(value, change) if isinstance(value, Mapping) else change(value) for key, value in tree.items()
    }
