"""Every problem of a configuration is named at once, before anything is loaded."""

import pytest

from gemma_tool_use.errors import ConfigError
from gemma_tool_use.training.config import PRESETS, TrainConfig


def test_the_default_is_the_format_run_of_the_plan():
    config = PRESETS["default"]
    assert (config.batch_size, config.epochs, config.learning_rate, config.max_length) == (2, 3.0, 1e-4, 512)
    assert (config.max_tools_used, config.max_tools_offered, config.rank, config.alpha) == (2, 3, 16, 16.0)
    assert config.model == "google/gemma-3-270m-it"


def test_all_problems_are_named_at_once():
    with pytest.raises(ConfigError) as error:
        TrainConfig(rank=0, learning_rate=-1.0, eval_share=2.0, max_length=3)
    for flag in ("--rank", "--learning-rate", "--eval-share", "--max-length"):
        assert flag in str(error.value)


def test_a_broken_module_pattern_is_named():
    with pytest.raises(ConfigError, match=r"--modules.*'\('"):
        TrainConfig(modules=("(",))


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_learning_rate_that_is_no_positive_number_is_refused(value):
    with pytest.raises(ConfigError, match="--learning-rate"):
        TrainConfig(learning_rate=value)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"quantization": "int8"}, "--quantization int8 needs --method qlora, got --method lora"),
        ({"method": "full", "quantization": "nf4"}, "--quantization nf4 needs --method qlora, got --method full"),
        ({"method": "full", "rank": 8}, "--rank shapes an adapter"),
        ({"method": "full", "modules": ("q_einsum",)}, "--modules shapes an adapter"),
    ],
)
def test_flags_that_the_method_has_no_use_for_are_refused(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        TrainConfig(**settings)


def test_base_weights_are_packed_with_qlora_only():
    assert TrainConfig().packed_as is None
    assert TrainConfig(method="full").packed_as is None
    assert TrainConfig(method="qlora").packed_as == "nf4"
    assert TrainConfig(method="qlora", quantization="int8").packed_as == "int8"


def test_a_packed_row_is_1024_tokens_or_the_longest_conversation():
    assert TrainConfig().tokens_per_packed_row == 1024
    assert TrainConfig(max_length=1100).tokens_per_packed_row == 1152
    assert TrainConfig(max_length=300, packed_length=300).tokens_per_packed_row == 300


def test_a_packed_row_that_is_too_short_or_unused_is_refused():
    with pytest.raises(ConfigError, match="--packed-length 256 is shorter than --max-length 512"):
        TrainConfig(packed_length=256)
    with pytest.raises(ConfigError, match="--packed-length 1024 says nothing with --no-packing"):
        TrainConfig(packing=False, packed_length=1024)
