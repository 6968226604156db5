"""The whole loss by way of the TPU kernels, run in Python on a CPU, is the loss in plain JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gemma_tool_use.models import kernels
from gemma_tool_use.models.families import build_module
from gemma_tool_use.models.gemma3 import tiny
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.training.loss import token_loss_sum


def test_the_loss_and_adapter_gradients_by_kernels_are_those_of_plain_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tiny(num_layers=1, embed_dim=128, hidden_dim=128, num_heads=2, head_dim=256, sliding_window=40)
    model = attach_lora(build_module(spec, dtype=jnp.float32), LoraSpec(rank=4), seed=0)
    rng = np.random.default_rng(0)
    graphdef, state = nnx.split(model)
    state = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.05, x.shape), x.dtype), state)
    lora, base = nnx.split_state(state, nnx.LoRAParam, ...)
    tokens = jnp.asarray(rng.integers(0, spec.vocab_size, (2, 128)), jnp.int32)
    loss_mask = jnp.asarray(rng.random((2, 128)) < 0.3)
    positions = jnp.asarray([[*range(70), *range(58)], [*range(128)]], jnp.int32)
    segment_ids = jnp.asarray([[1] * 70 + [2] * 58, [1] * 128], jnp.int32)

    def loss(lora: nnx.State) -> jax.Array:
        return token_loss_sum(nnx.merge(graphdef, lora, base), tokens, loss_mask, positions, segment_ids)

    plain = jax.value_and_grad(loss)(lora)
    used = []
    for name in ("attention", "prepare_heads", "gated_mlp", "vocabulary_softmax"):
        monkeypatch.setattr(kernels, name, _counted(getattr(kernels, name), name, used))
    monkeypatch.setattr(kernels, "tpu_mode", lambda: "interpreted")
    ours = jax.value_and_grad(loss)(lora)
    assert set(used) == {"attention", "prepare_heads", "gated_mlp", "vocabulary_softmax"}
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=5e-5 * float(jnp.abs(other).max()))


def _counted(function, name: str, used: list[str]):
    def call(*args, **kwargs):
        out = function(*args, **kwargs)
        if out is not None:
            used.append(name)
        return out

    return call
