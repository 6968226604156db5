import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_model import tiny_base

from gemma_tool_use.models.decoder import hidden_states
from gemma_tool_use.models.gemma3 import GEMMA3_270M
from gemma_tool_use.models.remat import REMATS, choose_remat, kept_bytes

_TOKENS = 8192
_estimate = functools.partial(kept_bytes, GEMMA3_270M, tokens=_TOKENS, itemsize=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    return tiny_base(tmp_path_factory.mktemp("tiny"))


def _gradient_and_kept(model, remat: str) -> tuple[nnx.State, int]:
    """Gradient of a loss with respect to every norm, and the number of values kept for it."""
    model.remat = remat
    graphdef, norms, rest = nnx.split(model, lambda path, _: "norm" in str(path[-2]), ...)
    tokens = jnp.asarray(np.random.default_rng(0).integers(5, 200, (2, 32)), jnp.int32)
    positions = jnp.broadcast_to(jnp.arange(32), (2, 32))

    def loss(norms: nnx.State) -> jax.Array:
        merged = nnx.merge(graphdef, norms, rest)
        return jnp.sum(jnp.sin(hidden_states(merged, tokens, positions, jnp.ones((2, 32), jnp.int32))))

    _, pull = jax.vjp(loss, norms)
    (gradient,) = pull(jnp.float32(1))
    return gradient, sum(leaf.size for leaf in jax.tree.leaves(pull))


def test_every_remat_gives_the_same_gradient_and_keeps_less_than_the_one_before(model) -> None:
    gradients, kept = zip(*(_gradient_and_kept(model, remat) for remat in REMATS), strict=True)
    for gradient in gradients[1:]:
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), gradient, gradients[0])
    assert kept[0] > kept[1] > kept[2]


def test_the_least_arithmetic_that_fits_is_chosen() -> None:
    room = {remat: _estimate(remat=remat) for remat in REMATS}
    assert room["none"] > room["projections"] > room["layers"]
    choose = functools.partial(choose_remat, GEMMA3_270M, tokens=_TOKENS, itemsize=2)
    assert choose(room=None) == "none"
    assert [choose(room=room[remat]) for remat in REMATS] == list(REMATS)
    assert choose(room=room["none"] - 1) == "projections"
    assert choose(room=0) == "layers"
