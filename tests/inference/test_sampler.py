"""Sampling with a cache equals running the model over the whole text at every step."""

import numpy as np
import pytest
from flax import nnx
from tiny_model import random_lora, tiny_base

from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.inference.sampler import Sampler, SamplingConfig
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec

NO_STOP = [511]
WIDTH = 64
# Longer and shorter than the sliding window of 24.
PROMPTS = [list(range(300, 305)), list(range(290, 330)), [2], list(range(310, 333))]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    model = attach_lora(tiny_base(tmp_path_factory.mktemp("sampler") / "model"), LoraSpec(rank=4), seed=0)
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


def test_greedy_replies_equal_those_without_a_cache(model, sampler):
    config = SamplingConfig(max_new_tokens=12)
    replies = sampler.generate(PROMPTS, stop_ids=NO_STOP, pad_id=0, config=config)
    assert replies == [without_cache(model, prompt, 12) for prompt in PROMPTS]


def test_a_reply_does_not_depend_on_its_batch(sampler):
    together = sampler.generate(PROMPTS, stop_ids=NO_STOP, pad_id=0, config=SamplingConfig(max_new_tokens=12))
    pairs = SamplingConfig(max_new_tokens=12, batch_size=2)
    assert sampler.generate(PROMPTS, stop_ids=NO_STOP, pad_id=0, config=pairs) == together


def test_a_stop_token_ends_the_reply_and_is_not_part_of_it(sampler):
    config = SamplingConfig(max_new_tokens=12)
    full = sampler.generate(PROMPTS, stop_ids=NO_STOP, pad_id=0, config=config)
    stop = full[0][5]
    stopped = sampler.generate(PROMPTS, stop_ids=[511, stop], pad_id=0, config=config)
    assert stopped == [reply[: reply.index(stop)] if stop in reply else reply for reply in full]


def test_a_temperature_samples_by_seed(sampler):
    def sample(seed):
        config = SamplingConfig(max_new_tokens=12, temperature=1.5, seed=seed)
        return sampler.generate(PROMPTS, stop_ids=NO_STOP, pad_id=0, config=config)

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_a_sampler_sees_an_adapter_trained_after_it_was_made(model, sampler):
    config = SamplingConfig(max_new_tokens=12)
    before = sampler.generate(PROMPTS, stop_ids=NO_STOP, pad_id=0, config=config)
    random_lora(model, seed=2)
    after = sampler.generate(PROMPTS, stop_ids=NO_STOP, pad_id=0, config=config)
    random_lora(model, seed=1)
    assert before != after
    assert sampler.generate(PROMPTS, stop_ids=NO_STOP, pad_id=0, config=config) == before


def test_an_empty_prompt_is_refused(sampler):
    with pytest.raises(DataError, match="prompt 1 has no tokens"):
        sampler.generate([[2], []], stop_ids=NO_STOP, pad_id=0)


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError):
        SamplingConfig(max_new_tokens=0)
