"""How full packed batches are, what planning and making them costs, and whether reading ahead helps.

    uv run python benchmarks/packing.py --scratch scratch               # writes benchmarks/packing.json
    uv run python benchmarks/packing.py --scratch scratch --source openai-jsonl --data rows.jsonl

Rows are generated unless `--data` names others; those of more than 640 tokens are left out. `plans` compares three
passes of the plan with rows padded one by one, and one pass over 5,000 rows in random order with Grain's best-fit
packer. `ahead` has a consumer that sleeps 50 ms a batch, as one that waits for an accelerator does, once with the
thread that reads ahead and once without; the wait is what a step loses to its batch.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grain
import numpy as np
from grain.experimental import BestFitPackIterDataset

from gemma_tool_use.data.packing import BatchPlan, plan_batches
from gemma_tool_use.data.pipeline import batches, eval_batches
from gemma_tool_use.data.rows import BatchShape, Element, RowSequence, RowSizes, row_sizes
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.formats.tokenizer import load_tokenizer
from gemma_tool_use.models.resolve import resolve
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.prepare_rows import prepare_rows

LONGEST, LENGTHS, PASSES = 640, (640, 768, 1024, 1280, 2048), 3
GRAIN_ROWS, GRAIN_BINS = 5000, (64, 1024)
ELEMENTS, PACKED_ROWS, STEP_SECONDS = 60, 64, 0.05


def plan_of(sizes: RowSizes, length: int, batch_size: int = 8, **settings: Any) -> BatchPlan:
    return plan_batches(sizes, BatchShape(batch_size=batch_size, length=length, pad_id=0), **settings)


def planned(sizes: RowSizes, length: int) -> dict[str, Any]:
    start = time.process_time()
    plan = plan_of(sizes, length, epochs=PASSES)
    seconds = time.process_time() - start
    few = sizes.take(np.random.default_rng(0).permutation(len(sizes.lengths))[:GRAIN_ROWS])
    return {
        "efficiency": round(plan.efficiency, 4),
        "rows_per_packed_row": round(len(plan.order) / plan.packed_rows, 2),
        "most_segments": plan.segments,
        "microseconds_a_row": round(seconds / len(plan.order) * 1e6, 2),
        "one_pass_over_5000_rows": {
            "ours": round(_fill(few, plan_of(few, length).packed_rows, length), 4),
            **{f"grain_{bins}_bins": _grain(few, length, bins) for bins in GRAIN_BINS},
        },
    }


def _fill(sizes: RowSizes, packed_rows: int, length: int) -> float:
    return int(sizes.lengths.sum(dtype=np.int64)) / (packed_rows * length)


def _grain(sizes: RowSizes, length: int, bins: int) -> dict[str, float]:
    cells = np.zeros(length, np.int8)
    light = grain.MapDataset.range(len(sizes.lengths)).map(lambda row: {"cells": cells[: sizes.lengths[row]]})
    stream = light.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    start = time.process_time()
    packed = sum(1 for _ in BestFitPackIterDataset(stream, length_struct={"cells": length}, num_packing_bins=bins))
    seconds = time.process_time() - start
    return {
        "efficiency": round(_fill(sizes, packed, length), 4),
        "microseconds_a_row": round(seconds / len(sizes.lengths) * 1e6, 1),
    }


def made(rows: RowSequence) -> dict[str, Any]:
    """Making elements of 64 x 1,024 tokens, then the same under a consumer that waits."""
    plan = plan_of(row_sizes(rows), 1024, batch_size=PACKED_ROWS)
    count = min(ELEMENTS, plan.elements)
    seconds = []
    iterator = iter(eval_batches(rows, plan))
    for _ in range(count):
        start = time.process_time()
        next(iterator)
        seconds.append(time.process_time() - start)
    median = float(np.median(seconds))
    return {
        "rows_per_cpu_second": round(len(plan.order) / plan.elements / median),
        "cpu_milliseconds_an_element": round(median * 1e3, 2),
        "ahead": {
            "milliseconds_waited_without": _waited(eval_batches(rows, plan), count),
            "milliseconds_waited_with": _waited(batches(rows, plan), count),
        },
    }


def _waited(elements: Iterable[Element], count: int) -> float:
    """Median time from asking for an element to having it."""
    iterator, waits = iter(elements), []
    for _ in range(count):
        start = time.perf_counter()
        next(iterator)
        waits.append(time.perf_counter() - start)
        time.sleep(STEP_SECONDS)
    return round(float(np.median(waits)) * 1e3, 2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--source", default="synthetic")
    parser.add_argument("--data", default="")
    arguments = parser.parse_args()
    tokenizer = load_tokenizer(resolve("embedded:gemma-3-270m").require_tokenizer())
    config = TrainConfig(
        source=arguments.source,
        data=arguments.data,
        synthetic_rows=arguments.rows,
        max_length=LONGEST,
        dialect="gemma_json_compact",
        eval_share=0,
        max_tools_offered=100,
        max_tools_used=100,
        single_turn=False,
        first_call_only=False,
    )
    rows = prepare_rows(config, get_dialect(config.dialect), tokenizer, cache=arguments.scratch / "tokens").train
    sizes = row_sizes(rows)
    padded = plan_of(sizes, LONGEST, packing=False).efficiency
    result = {
        "command": "uv run python benchmarks/packing.py --scratch scratch",
        "machine": {"processor": platform.machine(), "python": platform.python_version(), "grain": grain.__version__},
        "rows": len(rows),
        "tokens_of_a_row": dict(zip(("5%", "50%", "95%"), np.percentile(sizes.lengths, [5, 50, 95]), strict=True)),
        "padded_one_by_one_to_640": round(padded, 4),
        "plans": {length: planned(sizes, length) for length in LENGTHS},
        "from_store": made(rows),
        "from_memory": made([rows[i] for i in range(min(len(rows), 20_000))]),
    }
    text = json.dumps(result, indent=2) + "\n"
    if arguments.source == "synthetic":
        Path(__file__).with_suffix(".json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
