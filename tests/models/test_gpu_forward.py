"""The forward pass on a GPU gives the numbers it gives on a CPU."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_model import tiny_base

from gemma_tool_use.models.decoder import hidden_states


def _gpu() -> jax.Device | None:
    try:
        return jax.devices("gpu")[0]
    except RuntimeError:
        return None


@pytest.mark.gpu
@pytest.mark.skipif(_gpu() is None, reason="JAX sees no GPU: run on a machine with one, after uv sync --extra cuda")
def test_packed_rows_have_the_same_hidden_states_on_a_gpu_and_on_the_cpu(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(5, 200, (2, 64)), jnp.int32)
    positions = jnp.asarray([[*range(40), *range(24)], [*range(64)]], jnp.int32)
    segment_ids = jnp.asarray([[1] * 40 + [2] * 24, [1] * 64], jnp.int32)
    results = []
    for device in (_gpu(), jax.devices("cpu")[0]):
        with jax.default_device(device), jax.default_matmul_precision("highest"):
            folder = tmp_path / str(len(results))
            results.append(np.asarray(hidden_states(tiny_base(folder), tokens, positions, segment_ids)))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-4)
