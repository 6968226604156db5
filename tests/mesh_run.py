"""Trains a tiny model on several layouts of eight virtual devices and prints what came out; run by test_mesh.py.

python tests/mesh_run.py FOLDER data=8 data=2,fsdp=4

Prints one JSON object: by layout the losses, and the largest distance of an adapter array from that of one device,
relative to the length of the array. `one` is one device.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Little is computed and much compiled.
    os.environ["XLA_FLAGS"] = (
        "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
        "--xla_llvm_disable_expensive_passes=true"
    )

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tiny_checkpoint import tiny_params, write_hf
from tiny_model import random_lora

from gemma_tool_use.models.adapter import adapter_arrays
from gemma_tool_use.models.gemma3 import tiny
from gemma_tool_use.models.load import load_base
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.resolve import resolve
from gemma_tool_use.models.sharding import on_mesh
from gemma_tool_use.training.loss import token_loss_sum
from gemma_tool_use.training.mesh import build_mesh, parse_mesh, place_batch, row_share

# Four query heads and one key/value head, which two devices along "tensor" have to share.
SPEC = tiny(num_layers=1, sliding_window=24, hidden_dim=96)
STEPS, ROWS, LENGTH = 4, 8, 48


def batches() -> list[dict[str, np.ndarray]]:
    """Packed rows of two segments; the last row is empty, and one has nothing to train, so devices differ in work."""
    rng = np.random.default_rng(0)
    result = []
    for _ in range(STEPS):
        tokens = rng.integers(5, 400, (1, ROWS, LENGTH)).astype(np.int32)
        place = np.arange(LENGTH, dtype=np.int32)
        cut = rng.integers(10, LENGTH - 10, (1, ROWS, 1)).astype(np.int32)
        positions = np.where(place < cut, place, place - cut)
        segment_ids = 1 + (place >= cut).astype(np.int32)
        loss_mask = (rng.random(tokens.shape) < 0.2) & (positions > 0)
        loss_mask[:, 2] = False
        for array in (tokens, positions, segment_ids, loss_mask):
            array[:, -1] = 0
        arrays = {"tokens": tokens, "loss_mask": loss_mask, "positions": positions, "segment_ids": segment_ids}
        result.append({**arrays, "normalizer": np.asarray(loss_mask.sum(), np.float32)})
    return result


def run(folder: Path, mesh: jax.sharding.Mesh | None) -> tuple[list[float], dict[str, np.ndarray]]:
    """Losses and adapter of one layout."""
    base = load_base(resolve(str(folder)), dtype=jnp.float32, mesh=mesh)
    model = attach_lora(base, LoraSpec(rank=4), seed=1, mesh=mesh)
    random_lora(model)
    graphdef, lora, frozen = nnx.split(model, nnx.LoRAParam, ...)
    optimizer = optax.adamw(1e-2)

    @jax.jit
    def step(lora: Any, frozen: Any, state: Any, batch: dict[str, jax.Array]) -> tuple[Any, Any, jax.Array]:
        def loss(lora: Any) -> jax.Array:
            micro = {name: array[0] for name, array in batch.items() if name != "normalizer"}
            return token_loss_sum(nnx.merge(graphdef, lora, frozen), **micro) / batch["normalizer"]

        value, gradients = jax.value_and_grad(loss)(lora)
        updates, state = optimizer.update(gradients, state, lora)
        return optax.apply_updates(lora, updates), state, value

    losses = []
    with on_mesh(mesh):
        state = optimizer.init(lora)
        for batch in batches():
            lora, state, value = step(lora, frozen, state, place_batch(mesh, batch, row_share(mesh)))
            losses.append(float(value))
    nnx.update(model, lora)
    return losses, adapter_arrays(model)


def main(folder: Path, layouts: list[str]) -> dict[str, Any]:
    params = tiny_params(SPEC)
    params["embedder.input_embedding"] /= 8
    write_hf(folder, params, SPEC)
    losses, one = run(folder, None)
    result: dict[str, Any] = {"one": {"losses": losses}}
    for layout in layouts:
        losses, adapter = run(folder, build_mesh(parse_mesh(layout)))
        distance = [np.linalg.norm(adapter[name] - array) / np.linalg.norm(array) for name, array in one.items()]
        result[layout] = {"losses": losses, "adapter": float(max(distance))}
    return result


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:])))
