"""On the real weights: a reloaded and a merged adapter give the logits of the model that was trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_checkpoint import write_hf

from gemma_tool_use.errors import CheckpointError
from gemma_tool_use.models.adapter import load_adapter, merge_adapter, save_adapter
from gemma_tool_use.models.load import load_base, load_params
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.resolve import resolve

pytestmark = [pytest.mark.interop, pytest.mark.real_weights]

TOKENS = np.random.default_rng(0).integers(300, 200_000, (2, 48)).astype(np.int32)


@jax.jit
def _positions(tokens):
    return jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)


def logits(model):
    graphdef, state = nnx.split(model)
    mask = np.tril(np.ones((2, 48, 48), bool))
    run = jax.jit(lambda state: nnx.merge(graphdef, state)(TOKENS, _positions(TOKENS), None, mask)[0])
    return np.asarray(run(state))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Logits of the live model, of its adapter reloaded, and of weights with the adapter merged."""
    try:
        local = resolve("embedded:gemma-3-270m")
    except CheckpointError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("adapter")
    base = load_base(local, dtype=jnp.float32)
    spec = LoraSpec()
    live = attach_lora(base, spec, seed=0)
    rng = np.random.default_rng(1)
    # As large as after training: a moves little, b reaches a few hundredths.
    state = nnx.state(live, nnx.LoRAParam)
    nnx.update(live, jax.tree.map(lambda x: x + jnp.asarray(rng.normal(0, 0.01, x.shape), x.dtype), state))
    expected = logits(live)
    assert np.abs(expected - logits(base)).max() > 1  # the adapter matters

    save_adapter(folder, live, spec, details={})
    reloaded = logits(load_adapter(base, folder))
    architecture, params = load_params(local)
    write_hf(folder / "merged", merge_adapter(params, folder), architecture)
    merged = logits(load_base(resolve(str(folder / "merged")), dtype=jnp.float32))
    differences = [float(np.abs(other - expected).max()) for other in (reloaded, merged)]
    print(f"largest difference from the live logits: reloaded {differences[0]:.1e}, merged {differences[1]:.1e}")
    return expected, reloaded, merged


def test_a_reloaded_adapter_gives_the_live_logits(three):
    expected, reloaded, _ = three
    assert np.abs(reloaded - expected).max() <= 1e-4


def test_merged_weights_give_the_live_logits_within_float32_rounding(three):
    expected, _, merged = three
    assert np.abs(merged - expected).max() <= 1e-5 * np.abs(expected).max()
    np.testing.assert_array_equal(merged.argmax(-1), expected.argmax(-1))


@pytest.mark.xfail(
    strict=True, reason="the goal; merging rounds each weight again, logits of up to 160 differ by 1e-4 to 9e-4"
)
def test_merged_weights_stay_within_one_ten_thousandth(three):
    expected, _, merged = three
    assert np.abs(merged - expected).max() <= 1e-4
