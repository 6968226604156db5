"""Generation with a cache equals running the model over the whole text at every step, whoever the neighbours are."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_model import random_lora, tiny_base

from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.inference import steps
from gemma_tool_use.inference.sampler import Generated, Sampler, SamplingConfig
from gemma_tool_use.models import decoder
from gemma_tool_use.models.cached import decode, empty_cache, empty_fresh
from gemma_tool_use.models.families import build_module
from gemma_tool_use.models.gemma3 import GEMMA3_270M
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.quantize import dense_tree, quantize

NO_STOP: list[int] = []
WIDTH = 80
NEW = 36
"""More than two rounds of decoding, and more than the sliding window of 24."""
# Longer and shorter than the window; the third has nothing to prefill.
PROMPTS = [list(range(300, 305)), list(range(290, 330)), [2], list(range(310, 333))]
GREEDY = SamplingConfig(max_new_tokens=NEW)
MANY = [[2, *np.random.default_rng(i).integers(3, 500, 1 + 5 * i % 43).tolist()] for i in range(30)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("sampler") / "model")


@pytest.fixture(scope="module")
def model(base):
    model = attach_lora(base, LoraSpec(rank=4), seed=0)
    random_lora(model)
    return model


@pytest.fixture(scope="module")
def sampler(model):
    return Sampler(model)


@nnx.jit
def logits_of(model, tokens):
    return model(tokens, np.arange(WIDTH)[None], None, np.tril(np.ones((1, WIDTH, WIDTH), bool)))[0][0]


def without_cache(model, prompt, count):
    tokens = list(prompt)
    for _ in range(count):
        padded = np.array([tokens + [0] * (WIDTH - len(tokens))])
        tokens.append(int(np.argmax(logits_of(model, padded)[len(tokens) - 1])))
    return tokens[len(prompt) :]


def run(sampler, prompts=PROMPTS, config=GREEDY, **options):
    return sampler.generate(prompts, stop_ids=NO_STOP, pad_id=0, config=config, **options)


def rows(sampler, prompts=PROMPTS, config=GREEDY, stop_ids=NO_STOP, **options):
    return sampler.generate_rows(prompts, stop_ids=stop_ids, pad_id=0, config=config, **options)


def stop_of(sampler):
    """A token that ends some replies early, some late and some not at all."""
    replies = run(sampler, MANY)
    counts = {token: sum(token in reply for reply in replies) for reply in replies for token in reply}
    return next(token for token in sorted(counts) if 8 <= counts[token] <= 22)


def test_greedy_replies_equal_those_without_a_cache(model, sampler):
    assert run(sampler) == [without_cache(model, prompt, NEW) for prompt in PROMPTS]


def test_replies_do_not_depend_on_neighbours_or_on_refilled_rows(sampler):
    stop = stop_of(sampler)
    alone = [rows(sampler, [prompt], stop_ids=[stop])[0].tokens for prompt in MANY]
    assert len({len(reply) for reply in alone}) > 5
    for batch_size in (8, 32):
        config = dataclasses.replace(GREEDY, batch_size=batch_size)
        assert [row.tokens for row in rows(sampler, MANY, config, [stop])] == alone


def test_a_stop_token_ends_the_reply_and_is_not_part_of_it(sampler):
    stop = stop_of(sampler)
    for full, row in zip(run(sampler, MANY), rows(sampler, MANY, stop_ids=[500_000, stop]), strict=True):
        assert row.tokens == (full[: full.index(stop)] if stop in full else full)
        assert row.stopped == (stop in full)


def test_a_reply_can_be_ended_by_what_it_says(sampler):
    full = run(sampler)
    ended = rows(sampler, end_of=lambda tokens: 3 if len(tokens) >= 5 and tokens[0] == full[1][0] else None)
    assert ended[1] == Generated(tokens=full[1][:3], stopped=True, seconds=ended[1].seconds)
    assert ended[0].tokens == full[0]


def test_samples_depend_on_the_seed_of_their_prompt_alone(sampler):
    config = SamplingConfig(max_new_tokens=NEW, temperature=1.5, top_k=200, top_p=0.95, batch_size=8)
    seeds = list(range(30))
    together = [row.tokens for row in rows(sampler, MANY, config, seeds=seeds)]
    other = dataclasses.replace(config, seed=5)
    some = slice(17, 9, -1)  # they lie in other rows of the cache than among all thirty
    assert [row.tokens for row in rows(sampler, MANY[some], other, seeds=seeds[some])] == together[some]
    same = [MANY[3]] * 30
    assert len({tuple(reply) for reply in run(sampler, same, config)}) == 30
    assert run(sampler, same, config) == run(sampler, same, config) != run(sampler, same, other)


def test_a_sampler_sees_an_adapter_trained_after_it_was_made(model, sampler):
    before = run(sampler)
    random_lora(model, seed=2)
    after = run(sampler)
    random_lora(model, seed=1)
    assert before != after
    assert run(sampler) == before


def test_without_the_adapter_the_replies_are_those_of_the_base(base, sampler):
    assert run(sampler, adapter=False) == [without_cache(base, prompt, NEW) for prompt in PROMPTS]


def test_bfloat16_keeps_an_adapter_apart_that_rounding_would_swallow(model, monkeypatch):
    kinds = []
    monkeypatch.setattr(steps, "fold_lora", kinds.append)
    graphdef, state = nnx.split(model)
    wide = nnx.merge(graphdef, state)
    Sampler(wide)._ready(True)
    assert len(kinds) == 1
    narrow = nnx.merge(graphdef, jax.tree.map(lambda x: x.astype("bfloat16"), state))
    assert len(run(Sampler(narrow), MANY[:4])) == 4
    assert len(kinds) == 1


def test_packed_weights_are_unpacked(base):
    graphdef, state = nnx.split(base)
    packed = jax.tree.map(lambda x: quantize(x, "nf4", axis=-1) if x.ndim == 2 and x.shape[-1] % 32 == 0 else x, state)
    expected = nnx.merge(graphdef, dense_tree(packed))
    assert run(Sampler(nnx.merge(graphdef, packed)), PROMPTS[:2]) == [
        without_cache(expected, prompt, NEW) for prompt in PROMPTS[:2]
    ]


def test_a_prompt_that_does_not_fit_is_an_error_of_its_own(sampler):
    config = dataclasses.replace(GREEDY, max_length=60)
    prompts = [*PROMPTS, [], [2, 999]]
    told = {}
    found = rows(sampler, prompts, config, on_finish=told.__setitem__)
    assert found == [told[number] for number in range(6)]
    errors = ["has 40 tokens, 76 with max_new_tokens=36", "no tokens", "ids from 2 to 999; the model knows 0 to 511"]
    for number, error in zip((1, 4, 5), errors, strict=True):
        assert error in found[number].error
        assert found[number].tokens == []
    fitting = [number for number, row in enumerate(found) if row.error is None]
    assert [found[number].tokens for number in fitting] == run(sampler, [PROMPTS[0], PROMPTS[2], PROMPTS[3]])


def test_generate_refuses_what_does_not_fit_before_it_starts(sampler):
    with pytest.raises(DataError, match="prompt 1 has no tokens"):
        run(sampler, [[2], []])
    with pytest.raises(DataError, match=r"prompt 1 has 40 tokens, .* raise max_length"):
        run(sampler, config=dataclasses.replace(GREEDY, max_length=60))


def test_the_rest_of_the_prompts_gets_the_replies_of_one_call_for_all(sampler):
    config = dataclasses.replace(GREEDY, batch_size=8)
    whole, told = rows(sampler, MANY, config), {}
    rest = {1, 17, 29}
    rows(sampler, MANY, config, wanted=rest, on_finish=told.__setitem__)
    assert {number: row.tokens for number, row in told.items()} == {number: whole[number].tokens for number in rest}


def few_tokens(size, dtype):
    """Random layers of a real size, with a small vocabulary."""
    spec = dataclasses.replace(size, name="few tokens", num_layers=6, vocab_size=512)
    random = np.random.default_rng(0)
    graphdef, shapes = nnx.split(nnx.eval_shape(lambda: build_module(spec, dtype=jnp.dtype(dtype))))
    filled = jax.tree.map(lambda x: jnp.asarray(random.normal(0, 0.05, x.shape), x.dtype), shapes)
    model: Any = nnx.merge(graphdef, filled)
    model.remat = "none"
    return model


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_has_the_same_bits_at_every_place_of_the_cache(dtype):
    """A continued run puts prompts into other rows."""
    model, random = few_tokens(GEMMA3_270M, dtype), np.random.default_rng(1)
    cache = jax.tree.map(
        lambda x: jnp.asarray(random.normal(size=x.shape), x.dtype), empty_cache(model, rows=64, length=768)
    )
    tokens, start = random.integers(3, 512, 64), random.integers(1, 760, 64)

    @jax.jit
    def logits(cache, tokens, start):
        return decoder.logits_of(model, decode(model, tokens, start, 0, cache, empty_fresh(cache, 16))[0])

    there = np.asarray(logits(cache, tokens, start))
    assert np.isfinite(there).all() and there.std() > 0
    moved = random.permutation(64)
    found = logits(jax.tree.map(lambda x: x[moved], cache), tokens[moved], start[moved])
    np.testing.assert_array_equal(found, there[moved])


def test_each_row_is_told_once_and_early_ones_before_late_ones_are_done(sampler):
    told = []
    config = dataclasses.replace(GREEDY, batch_size=8)
    found = rows(sampler, MANY, config, [stop_of(sampler)], on_finish=lambda number, row: told.append((number, row)))
    assert sorted(number for number, _ in told) == list(range(30))
    assert all(row is found[number] for number, row in told)


def test_few_shapes_are_compiled(sampler):
    def compiled():
        return [f._cache_size() for programs in sampler._programs.values() for f in (programs.decode, programs.prefill)]

    run(sampler, MANY[:20], dataclasses.replace(GREEDY, batch_size=8))
    before = compiled()
    for count in (12, 17, 30):
        run(sampler, MANY[:count], dataclasses.replace(GREEDY, batch_size=8, max_new_tokens=30 + count))
    assert compiled() == before


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError):
        SamplingConfig(max_new_tokens=0)
