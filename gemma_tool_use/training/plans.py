"""Which rows of a run go into which batch, from the config and the sizes of the rows. No JAX.

plan = training_plan(config, rows, pad_id=tokenizer.pad_id, row_multiple=8)
plan.efficiency, total_steps(config, plan)
"""

import math

from gemma_tool_use.data.packing import BatchPlan, plan_batches
from gemma_tool_use.data.rows import BatchShape, RowSizes, padded_length, row_sizes
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.prepare_rows import Rows


def training_plan(config: TrainConfig, rows: Rows, *, pad_id: int, row_multiple: int = 1) -> BatchPlan:
    """All passes of the run, shuffled. `row_multiple`: devices that share the rows of a micro-batch."""
    sizes = row_sizes(rows.train)
    return plan_batches(
        sizes,
        _shape(config, sizes, pad_id, row_multiple, accumulation=config.gradient_accumulation),
        epochs=math.ceil(config.epochs),
        seed=config.seed,
        packing=config.packing,
        stages=rows.stages,
    )


def held_out_plan(config: TrainConfig, rows: Rows, *, pad_id: int, row_multiple: int = 1) -> BatchPlan | None:
    """One pass over the held-out rows; None when there are none."""
    if not len(rows.held_out):
        return None
    sizes = row_sizes(rows.held_out)
    shape = _shape(config, sizes, pad_id, row_multiple, accumulation=1)
    return plan_batches(sizes, shape, shuffle=False, packing=config.packing)


def total_steps(config: TrainConfig, plan: BatchPlan) -> int:
    """Optimizer steps of the whole run."""
    steps = plan.steps(config.epochs)
    return min(steps, config.max_steps or steps)


def _shape(config: TrainConfig, sizes: RowSizes, pad_id: int, row_multiple: int, *, accumulation: int) -> BatchShape:
    return BatchShape(
        batch_size=config.batch_size,
        length=config.tokens_per_packed_row if config.packing else padded_length(sizes),
        pad_id=pad_id,
        accumulation=accumulation,
        row_multiple=row_multiple,
    )
