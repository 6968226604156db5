"""run.json and what a run prints before its first and after its last step."""

import dataclasses
import itertools
import json
import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import psutil
from rich.console import Console

from gemma_tool_use.data.counts import counts_table
from gemma_tool_use.data.packing import BatchPlan
from gemma_tool_use.data.rows import RowSequence, row_sizes
from gemma_tool_use.training.accuracy import CHOSEN_BY, Best
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.fit import FitResult, Prepared
from gemma_tool_use.training.methods import count_parameters, describe_method
from gemma_tool_use.training.plans import total_steps
from gemma_tool_use.training.run_folder import RunFolder, environment


def same_inputs(prepared: Prepared) -> dict[str, str]:
    """What a run that is continued must have in common with the one that was started; see `check_same_inputs`."""
    return {
        "base weights": prepared.identity.sha256,
        "tokenizer": prepared.tokenizer.fingerprint,
        "rows": prepared.rows.fingerprint,
        "compute dtype": str(jax.numpy.dtype(prepared.compute_dtype)),
    }


class Record:
    """run.json: `start` writes it when training starts, `finish` completes it."""

    def __init__(self, config: TrainConfig, prepared: Prepared, folder: RunFolder) -> None:
        rows = prepared.rows
        tokens, trained = _totals(rows.train)
        self._folder = folder
        self._content: dict[str, Any] = {
            "status": "running",
            "config": dataclasses.asdict(config),
            "environment": environment(),
            "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
            "compute_dtype": str(jax.numpy.dtype(prepared.compute_dtype)),
            "base": dataclasses.asdict(prepared.identity),
            "tokenizer_sha256": prepared.tokenizer.fingerprint,
            "parameters": dataclasses.asdict(count_parameters(prepared.model)),
            "data": {
                "fingerprint": rows.fingerprint,
                "counts": rows.counts,
                "train_rows": len(rows.train),
                "held_out_rows": len(rows.held_out),
                "train_tokens": tokens,
                "trained_tokens": trained,
            },
        }
        self._rejects = rows.rejects

    def start(self) -> None:
        """Writes what is known before the first step, and the rows that could not be used."""
        self._folder.write_run(self._content)
        if any(map(len, self._rejects)):
            rejects = itertools.chain.from_iterable(self._rejects)
            with self._folder.rejects.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(dataclasses.asdict(reject), ensure_ascii=False) + "\n" for reject in rejects)

    def finish(self, result: FitResult, quickstart: Mapping[str, Any] | None, best: Best | None = None) -> None:
        """Adds steps, losses, timings and memory, and which step had the best accuracy."""
        started = psutil.Process().create_time()
        self._content |= {
            "status": "finished" if result.stopped_by is None else f"stopped by {result.stopped_by}",
            "steps": result.steps,
            "total_steps": result.total_steps,
            "skipped_steps": result.skipped_steps,
            "first_loss": result.losses[0] if result.losses else None,
            "final_loss": result.losses[-1] if result.losses else None,
            "eval_loss": result.eval_loss,
            "seconds_to_first_step": result.first_step_done and round(result.first_step_done - started, 1),
            "seconds_training": round(result.seconds, 1),
            "seconds_total": round(time.time() - started, 1),
            "peak_rss_gb": round(peak_rss_gb(), 2),
        }
        if quickstart is not None:
            self._content["quickstart"] = dict(quickstart)
        if best is not None:
            self._content["best"] = dataclasses.asdict(best)
        self._folder.write_run(self._content)


def peak_rss_gb() -> float:
    """Largest resident memory of this process so far, in GB (10^9 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9  # macOS counts bytes, Linux KiB


def print_start(config: TrainConfig, prepared: Prepared, console: Console) -> None:
    """Where every row went, and what is about to be trained on what."""
    rows = prepared.rows
    console.print(counts_table(rows.counts))
    if rows.tokenised:
        console.print(rows.tokenised, markup=False, highlight=False, soft_wrap=True)
    tokens, trained = _totals(rows.train)
    console.print(
        f"{prepared.identity.architecture} on {jax.device_count()} x {jax.devices()[0].device_kind}, "
        f"{jax.numpy.dtype(prepared.compute_dtype)}; {describe_method(config, prepared.model)}\n"
        f"{len(rows.train)} rows to train on ({tokens:,} tokens, {trained / tokens:.0%} trained), "
        f"{len(rows.held_out)} held out\n"
        f"{total_steps(config, prepared.plan)} steps of {config.gradient_accumulation} x {_shape(prepared.plan)}, "
        f"{prepared.plan.efficiency:.0%} of them real tokens"
    )


def _shape(plan: BatchPlan) -> str:
    return f"{plan.shape.rows} x {plan.shape.length} tokens"


def _totals(rows: RowSequence) -> tuple[int, int]:
    """Tokens and trained tokens of all rows."""
    sizes = row_sizes(rows)
    return int(sizes.lengths.sum(dtype=np.int64)), int(sizes.targets.sum(dtype=np.int64))


def print_summary(
    result: FitResult,
    folder: RunFolder,
    quickstart: Mapping[str, Any] | None,
    console: Console,
    best: Best | None = None,
) -> None:
    """How it went and where things are."""
    if result.losses:
        evaluation = "" if result.eval_loss is None else f", evaluation loss {result.eval_loss:.3f}"
        console.print(
            f"step {result.steps} of {result.total_steps}: loss {result.losses[0]:.3f} -> {result.losses[-1]:.3f}"
            f"{evaluation}; {result.seconds:.0f} s of training, peak memory {peak_rss_gb():.1f} GB"
        )
    if quickstart and "exact_after" in quickstart:
        console.print(
            f"exact calls on {quickstart['count']} held-out requests: "
            f"{quickstart['exact_before']:.0%} before, [bold]{quickstart['exact_after']:.0%} after[/bold]"
        )
    if best is not None:
        exact = best.values[CHOSEN_BY]
        console.print(f"best on held-out rows: step {best.step}, {exact:.1%} exact: {folder.best}", soft_wrap=True)
    console.print(f"what was trained, metrics and checkpoints: {folder.path}", soft_wrap=True)
    console.print(f"curves: tensorboard --logdir {folder.tensorboard}", soft_wrap=True)
    if result.stopped_by:
        console.print(
            f"stopped by {result.stopped_by}; the same command with --resume continues at step {result.steps}"
        )
