"""The real training step, compiled ahead of time for TPUs: whether it compiles, fits, and how long it takes at least.

Needs libtpu (`uv sync --extra tpu`), no TPU and no weights. Whole models take minutes to compile.
"""

import dataclasses
import importlib.util

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from gemma_tool_use.models.gemma3 import GEMMA3_270M
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.sharding import AXES
from gemma_tool_use.training.ahead_of_time import (
    StepCost,
    _abstract_batch,
    _abstract_step,
    _block_pairs,
    _unseen,
    compile_ahead,
)

_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: uv sync --extra tpu"
)
_TWO_LAYERS = dataclasses.replace(GEMMA3_270M, name="gemma-3-270m-2-layers", num_layers=2)


@pytest.mark.tpu
@_libtpu
def test_a_step_of_270m_on_v5e_2x4_takes_at_most_50_ms_and_4_gb_besides_its_arguments() -> None:
    cost = compile_ahead("v5e:2x4", rows=8, length=1024)
    assert cost.seconds <= 0.050
    assert cost.temporary_bytes <= 4e9
    assert cost.argument_bytes + cost.temporary_bytes <= cost.chip.memory


@pytest.mark.tpu
@_libtpu
@pytest.mark.parametrize("topology", ["v5e:1x1", "v6e:2x4"])
def test_two_layers_compile_with_every_kernel_for_other_chips(topology: str) -> None:
    cost = compile_ahead(topology, rows=8, length=1024, spec=_TWO_LAYERS)
    assert cost.chips == (1 if topology == "v5e:1x1" else 8)
    # Kept logits of one layer alone would be 0.5 GB in float32, those of the vocabulary as much.
    assert cost.temporary_bytes <= 0.5e9
    # Without kernels: 12.7 GB.
    assert cost.bytes_accessed <= 7e9


def test_the_step_that_is_compiled_ahead_updates_model_and_optimizer() -> None:
    spec = dataclasses.replace(_TWO_LAYERS, embed_dim=32, hidden_dim=64, vocab_size=256)
    step, state = _abstract_step(spec, LoraSpec(rank=2), "none")
    mesh = Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), AXES)
    (loss, _, norm), after = jax.eval_shape(step, state, _abstract_batch(mesh, 2, 128))
    assert loss.shape == norm.shape == ()
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)


def test_the_least_time_is_that_of_the_arithmetic_or_of_the_traffic() -> None:
    cost = StepCost(
        topology="v5e:2x4",
        chips=8,
        rows=8,
        length=1024,
        trained_share=0.1,
        argument_bytes=0,
        temporary_bytes=0,
        output_bytes=0,
        flops=197e12,
        bytes_accessed=81.9e9,
        unseen_flops=0.0,
        unseen_bytes=0.0,
        compile_seconds=1.0,
    )
    assert cost.seconds == pytest.approx(1.0)
    assert dataclasses.replace(cost, flops=1.97e12).seconds == pytest.approx(0.1)


def test_blocks_that_no_query_sees_are_not_counted() -> None:
    # Four blocks. The first query of a block sees 511 tokens before it with a window of 512, 513 with one of 514.
    assert _block_pairs(2048, 512, None) == 10
    assert _block_pairs(2048, 512, 512) == 7
    assert _block_pairs(2048, 512, 514) == 9


def test_what_xla_does_not_see_grows_with_the_sweeps_over_the_vocabulary() -> None:
    table = GEMMA3_270M.vocab_size * GEMMA3_270M.embed_dim
    one, two = (_unseen(GEMMA3_270M, 8, 1024, share) for share in (0.05, 0.1))
    assert two[0] - one[0] == 4 * 512 * table
    assert two[1] - one[1] == 2 * table * 2 + 2 * 8192 * 640 * 4
