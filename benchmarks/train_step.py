"""Forward plus backward of Gemma 3 270M with LoRA, plain Qwix against the flattened products, in one run.

    uv run python benchmarks/train_step.py            # writes benchmarks/train_step.json

Both use the project's vocabulary loss on the same batch of 4 x 256 tokens, 15 % of them trained, float32, rank 16 on
all six module kinds, and alternate, so that a busy machine slows both.
"""

import json
import platform
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import qwix
from flax import nnx

from gemma_tool_use.models.load import load_base
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.resolve import resolve
from gemma_tool_use.training.loss import token_loss_sum

BATCH, LENGTH, REPEATS = 4, 256, 5


def main() -> None:
    base = load_base(resolve("embedded:gemma-3-270m"), dtype=jnp.float32)
    spec = LoraSpec()
    provider = qwix.LoraProvider(module_path=spec.module_path, rank=spec.rank, alpha=spec.alpha)
    models = {
        "plain": qwix.apply_lora_to_model(base, provider, rngs=nnx.Rngs(0), **base.get_model_input()),
        "flattened": attach_lora(base, spec, seed=0),
    }
    rng = np.random.default_rng(0)
    tokens = rng.integers(300, 200_000, (BATCH, LENGTH)).astype(np.int32)
    mask = np.zeros((BATCH, LENGTH), bool)
    mask[:, -int(0.15 * LENGTH) :] = True
    steps = {name: _step(model) for name, model in models.items()}
    losses = {name: float(step(tokens, mask)[0]) for name, step in steps.items()}  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(REPEATS):
        for name, step in steps.items():
            start = time.perf_counter()
            jax.block_until_ready(step(tokens, mask))
            seconds[name].append(round(time.perf_counter() - start, 3))
    result = {
        "command": "uv run python benchmarks/train_step.py",
        "machine": {"processor": platform.machine(), "devices": str(jax.devices()), "jax": jax.__version__},
        "batch": [BATCH, LENGTH],
        "loss": losses,
        "seconds": seconds,
        "ratio_of_medians": round(float(np.median(seconds["plain"]) / np.median(seconds["flattened"])), 2),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _step(model: nnx.Module):
    graphdef, lora, rest = nnx.split(model, nnx.LoRAParam, ...)

    def loss(lora: nnx.State, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        positions = jnp.broadcast_to(jnp.arange(LENGTH), tokens.shape)
        return token_loss_sum(nnx.merge(graphdef, lora, rest), tokens, mask, positions, jnp.ones_like(tokens))

    step = jax.jit(jax.value_and_grad(loss))
    return lambda tokens, mask: step(lora, tokens, mask)


if __name__ == "__main__":
    main()
