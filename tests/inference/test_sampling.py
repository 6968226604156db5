"""Which token is drawn: the likeliest, or by the distribution that temperature, top-k and top-p leave."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma_tool_use.errors import ConfigError
from gemma_tool_use.inference.sampling import SamplingConfig, choose, restrict

CHANCES = np.array([0.05, 0.4, 0.1, 0.25, 0.2])
LOGITS = jnp.log(jnp.asarray(CHANCES, jnp.float32))[None]
DRAWS = 20_000


def drawn(config: SamplingConfig) -> np.ndarray:
    """The share of each token among many draws."""
    keys = jax.random.split(jax.random.key(0), DRAWS)
    tokens = jax.jit(choose, static_argnums=2)(jnp.tile(LOGITS, (DRAWS, 1)), keys, config)
    return np.bincount(tokens, minlength=CHANCES.size) / DRAWS


def renormalised(kept: list[int], temperature: float = 1.0) -> np.ndarray:
    weights = np.where(np.isin(np.arange(CHANCES.size), kept), CHANCES ** (1 / temperature), 0)
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SamplingConfig(temperature=1), CHANCES),
        (SamplingConfig(temperature=2), renormalised([0, 1, 2, 3, 4], 2)),
        (SamplingConfig(temperature=1, top_k=2), renormalised([1, 3])),
        (SamplingConfig(temperature=1, top_p=0.66), renormalised([1, 3, 4])),
        # Of the top three 0.4, 0.25, 0.2 the first two have 0.76.
        (SamplingConfig(temperature=1, top_k=3, top_p=0.7), renormalised([1, 3])),
        (SamplingConfig(temperature=0), np.array([0, 1, 0, 0, 0])),
    ],
    ids=["all", "hotter", "top_k", "top_p", "both", "greedy"],
)
def test_tokens_are_drawn_by_the_distribution_that_is_left(config, expected):
    # Five standard deviations of a share.
    np.testing.assert_allclose(drawn(config), expected, atol=5 * (0.25 / DRAWS) ** 0.5)


@pytest.mark.parametrize("top_k", [1, 7, 1000, 5000])
def test_top_k_keeps_what_sorting_would(top_k):
    logits = np.random.default_rng(0).normal(0, 5, (3, 1000)).astype(np.float32)
    kept = np.isfinite(restrict(jnp.asarray(logits), SamplingConfig(temperature=1, top_k=top_k)))
    np.testing.assert_array_equal(kept, logits >= np.sort(logits)[:, [-min(top_k, 1000)]])


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.95, 0.999])
def test_top_p_keeps_what_sorting_would(top_p):
    logits = np.random.default_rng(0).normal(0, 2, (3, 1000)).astype(np.float32)
    chances = np.exp(logits.astype(np.float64))
    chances /= chances.sum(axis=1, keepdims=True)
    order = np.argsort(-chances)
    before = np.cumsum(np.take_along_axis(chances, order, 1), axis=1) - np.take_along_axis(chances, order, 1)
    expected = np.empty_like(chances, bool)
    np.put_along_axis(expected, order, before < top_p, 1)
    kept = np.isfinite(restrict(jnp.asarray(logits), SamplingConfig(temperature=1, top_p=top_p)))
    np.testing.assert_array_equal(kept, expected)


def test_tokens_as_likely_as_the_last_kept_one_are_kept_too():
    kept = restrict(jnp.array([[1.0, 0.0, 1.0, 1.0, -0.0]]), SamplingConfig(temperature=1, top_k=2))
    assert np.isfinite(kept).tolist() == [[True, False, True, True, False]]


def test_every_setting_that_is_not_usable_is_named():
    with pytest.raises(ConfigError) as raised:
        SamplingConfig(
            max_new_tokens=0, temperature=float("nan"), top_k=0, top_p=0, seed=-1, batch_size=0, max_length=0
        )
    for name in ("max_new_tokens", "temperature", "top_k", "top_p", "seed", "batch_size", "max_length"):
        assert f"{name} is" in str(raised.value)
