"""The contenders of `train_throughput.py` that run on JAX: ours, stock Tunix, and the machine's matrix rate.

    python benchmarks/throughput_jax.py stock FOLDER       # waits on stdin for `step`

The training contenders are the jitted step of their trainer, called the way the trainer's loop calls it, on the same
rows, with AdamW and LoRA of rank 16 on all six module kinds.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import qwix
from flax import nnx
from throughput_child import serve
from tunix.sft import peft_trainer

from gemma_tool_use.data.packing import plan_batches
from gemma_tool_use.data.pipeline import batches
from gemma_tool_use.data.rows import STEP_ARRAYS, BatchShape, row_sizes
from gemma_tool_use.formats.encode import Encoded
from gemma_tool_use.models.load import load_base
from gemma_tool_use.models.resolve import resolve
from gemma_tool_use.training.checkpoints import Checkpoints
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.methods import load_trainable
from gemma_tool_use.training.optimizer import make_optimizer
from gemma_tool_use.training.trainer import ToolCallTrainer

Step = Callable[[], dict[str, Any]]
LEARNING_RATE = 1e-4
_TUNIX = peft_trainer.TrainingConfig(eval_every_n_steps=10**9, max_steps=10**6)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    options = json.loads((arguments.folder / "options.json").read_text())
    serve(CONTENDERS[arguments.contender](arguments.folder, options))
    return 0


def read_rows(folder: Path) -> list[Encoded]:
    """The rows that the parent wrote."""
    with np.load(folder / "rows.npz", allow_pickle=False) as file:
        ends = np.cumsum(file["lengths"])[:-1]
        pairs = zip(np.split(file["tokens"], ends), np.split(file["loss_mask"], ends), strict=True)
        return [Encoded(tokens=tokens, loss_mask=mask) for tokens, mask in pairs]


def ours(dtype: Any, folder: Path, options: dict[str, Any]) -> Step:
    """Packed rows, `ToolCallTrainer`, the base weights and the arithmetic in `dtype`."""
    rows, config = read_rows(folder), TrainConfig()
    shape = BatchShape(batch_size=options["our_rows"], length=options["our_length"], pad_id=0)
    stream = iter(batches(rows, plan_batches(row_sizes(rows), shape, epochs=100, seed=0)))
    trainer = ToolCallTrainer(
        load_trainable(config, resolve(options["model"]), dtype=dtype, mesh=None),
        make_optimizer("adamw", optax.constant_schedule(LEARNING_RATE), weight_decay=0.0, clip_norm=config.clip_norm),
        _TUNIX,
        compute_dtype=dtype,
        checkpoints=Checkpoints(folder / "checkpoints", save_every=10**9, keep=1),
        batch_state=lambda step: {},
    )
    train_step = trainer.jit_train_and_eval_step(cache_nnx_graph=True)[0]

    def step() -> dict[str, Any]:
        element = next(stream)
        loss: Any = train_step(trainer.place({name: element[name] for name in STEP_ARRAYS}))[0]
        segments = element["row_index"][element["row_index"] >= 0]
        return {
            "loss": float(loss),
            "lengths": [len(rows[i].tokens) for i in segments],
            "trained": int(element["normalizer"]),
        }

    return step


def stock(folder: Path, options: dict[str, Any]) -> Step:
    """Padded rows, Tunix's PeftTrainer with its default loss, Qwix as Tunix's examples use it."""
    rows, config = read_rows(folder), TrainConfig()
    base: Any = load_base(resolve(options["model"]), dtype=jnp.float32)
    lora = config.lora.resolved(base.spec.family.lora_modules)
    provider = qwix.LoraProvider(module_path=lora.module_path, rank=lora.rank, alpha=lora.alpha)
    model: Any = qwix.apply_lora_to_model(base, provider, rngs=nnx.Rngs(0), **base.get_model_input())
    optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adamw(LEARNING_RATE, weight_decay=0.0))
    trainer = peft_trainer.PeftTrainer(model, optimizer, _TUNIX)
    train_step = trainer.jit_train_and_eval_step(cache_nnx_graph=True)[0]
    stream = _padded(rows, options["stock_rows"], options["max_length"])

    def step() -> dict[str, Any]:
        lengths, batch = next(stream)
        loss: Any = train_step(batch)[0]
        return {"loss": float(loss), "lengths": lengths, "trained": int(batch["input_mask"][:, 1:].sum())}

    return step


def _padded(rows: list[Encoded], batch_size: int, length: int) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
    """Batches of Tunix's default loss, in an order drawn once."""
    order = np.random.default_rng(0).permutation(len(rows))
    causal = np.tril(np.ones((length, length), bool))
    while True:
        for start in range(0, len(order) - batch_size + 1, batch_size):
            chosen = [rows[i] for i in order[start : start + batch_size]]
            tokens = np.zeros((batch_size, length), np.int32)
            mask = np.zeros((batch_size, length), bool)
            real = np.zeros((batch_size, length), bool)
            for i, row in enumerate(chosen):
                n = len(row.tokens)
                tokens[i, :n], mask[i, :n], real[i, :n] = row.tokens, row.loss_mask, True
            yield (
                [len(row.tokens) for row in chosen],
                {
                    "input_tokens": tokens,
                    "input_mask": mask,
                    "positions": np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape).copy(),
                    "attention_mask": causal & real[:, None, :],
                },
            )


def matrix(dtype: Any, folder: Path, options: dict[str, Any]) -> Step:
    """The rate of XLA's product of two 2048 x 2048 matrices with sums in float32, the best of a round, in GFLOP/s."""
    size, repeats = 2048, 8
    x = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(functools.partial(jnp.matmul, preferred_element_type=jnp.float32))
    product(x, x).block_until_ready()

    def step() -> dict[str, Any]:
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            product(x, x).block_until_ready()
            seconds.append(time.perf_counter() - start)
        return {"gflops": 2 * size**3 / min(seconds) / 1e9}

    return step


CONTENDERS: dict[str, Callable[[Path, dict[str, Any]], Step]] = {"stock": stock} | {
    f"{name}_{dtype}": functools.partial(contender, jnp.dtype(dtype))
    for name, contender in {"ours": ours, "matrix": matrix}.items()
    for dtype in ("float32", "bfloat16")
}

if __name__ == "__main__":
    sys.exit(main())
