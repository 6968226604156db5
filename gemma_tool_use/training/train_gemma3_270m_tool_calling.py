"""Teaches Gemma 3 270M to call tools. `gemma-tool-use train` and this script are the same.

python gemma_tool_use/training/train_gemma3_270m_tool_calling.py --preset quickstart
gemma-tool-use train --data my_rows.jsonl --learning-rate 2e-4 --output-dir my_run
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:
    # Run by path: Python put this folder first on the path, where modules of common names would be found by accident.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from gemma_tool_use.commands import EXIT_INTERRUPTED, EXIT_OK, run
from gemma_tool_use.errors import ConfigError
from gemma_tool_use.flags import parse
from gemma_tool_use.heap import keep_freed_memory
from gemma_tool_use.settings import Settings, export_to_libraries, load_settings
from gemma_tool_use.training.config import PRESETS, TrainConfig
from gemma_tool_use.training.launcher import launched_by

if TYPE_CHECKING:
    from gemma_tool_use.conversation import Conversation, Reply
    from gemma_tool_use.evaluation.comparison import Comparison
    from gemma_tool_use.models.resolve import LocalCheckpoint
    from gemma_tool_use.training.accuracy import AccuracyWatch
    from gemma_tool_use.training.fit import Prepared
    from gemma_tool_use.training.run_folder import RunFolder

_LONGEST_REPLY = 96
_ROOM = 32
"""Tokens that a reply may have beyond the longest right one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, trains, writes the run folder, prints a summary."""
    config = parse(
        TrainConfig,
        argv,
        prog="gemma-tool-use train",
        description="Fine-tune Gemma 3 with LoRA to call tools.",
        presets=PRESETS,
        default_preset="default",
    )
    keep_freed_memory()
    settings = load_settings()
    export_to_libraries(settings)  # before a hub library is imported
    launcher = launched_by(settings)
    if config.num_processes != 1 and (config.coordinator or launcher):
        return _train_together(config, settings, launcher)
    if config.dry_run:
        return _dry_run(config, settings)
    from gemma_tool_use.training.run_folder import RunFolder

    folder = RunFolder.claim(config)
    try:
        return _train(config, settings, folder)
    finally:
        folder.release_if_empty()


def _train_together(config: TrainConfig, settings: Settings, launcher: str | None) -> int:
    """One of several processes: connected before JAX looks for devices, and left when all have come to the end."""
    from gemma_tool_use.training.distributed import check_shared, is_writer, leave_together, start, together
    from gemma_tool_use.training.run_folder import RunFolder

    start(config, launcher=launcher)
    alone = {
        "--compare-requests": config.compare_requests,
        "--accuracy-every": config.accuracy_every,
        "--dry-run": config.dry_run,
    }
    if flags := [flag for flag, value in alone.items() if value]:
        raise ConfigError(f"{', '.join(flags)} is done by one process; leave it out, or give --num-processes 1")
    with together("claiming the run folder"):
        folder = RunFolder.claim(config) if is_writer() else RunFolder.of(config)
    check_shared(folder.path)
    try:
        code = _train(config, settings, folder)
    finally:
        if is_writer():
            folder.release_if_empty()
    leave_together()
    return code


def _dry_run(config: TrainConfig, settings: Settings) -> int:
    from gemma_tool_use.training.dry_run import describe, foresee

    _, prepared = _prepare(config, settings)
    print("\n".join(describe(config, prepared, foresee(config, prepared))))
    return EXIT_OK


def _prepare(config: TrainConfig, settings: Settings) -> "tuple[LocalCheckpoint, Prepared]":
    """Rows, weights and compiled programs of earlier runs."""
    from gemma_tool_use.models.resolve import resolve
    from gemma_tool_use.training.compilation_cache import keep_compiled
    from gemma_tool_use.training.fit import prepare

    if config.compilation_cache:
        keep_compiled(settings.cache_dir / "compiled")
    token = settings.hf_token.reveal() if settings.hf_token else None
    tokens = Path(config.cache_dir).expanduser().absolute() if config.cache_dir else settings.cache_dir / "tokens"
    local = resolve(config.model, cache_dir=settings.cache_dir, token=token)
    return local, prepare(config, local, cache=tokens)


def _train(config: TrainConfig, settings: Settings, folder: "RunFolder") -> int:
    from rich.console import Console

    from gemma_tool_use.training.distributed import check_same, is_writer, together
    from gemma_tool_use.training.fit import check_space, fit
    from gemma_tool_use.training.report import Record, print_start, print_summary, same_inputs
    from gemma_tool_use.training.stop import StopRequest

    console = Console(quiet=not is_writer())
    with together("preparing the run"):
        local, prepared = _prepare(config, settings)
        if config.resume:
            folder.check_same_inputs(same_inputs(prepared))
        check_space(config, prepared, folder)
    check_same(
        same_inputs(prepared) | {"mesh": str(prepared.mesh)} | config.shared_flags(),
        remedy="Give every process the same command, but for --process-id, and the same files",
    )
    print_start(config, prepared, console)
    record = Record(config, prepared, folder)
    comparison = _comparison(config, prepared) if config.compare_requests else None
    if comparison:
        comparison.run("before")
    save = functools.partial(_save, config, prepared, local)
    accuracy = _accuracy(config, prepared, folder, save) if config.accuracy_every else None
    with StopRequest() as stop:
        on_start = record.start if is_writer() else _nothing
        result = fit(config, prepared, folder, stop, on_start=on_start, accuracy=accuracy)
    save(folder.path, result.steps)
    if comparison and not result.stopped_by:
        comparison.run("after")
        comparison.write(folder.path / "samples.jsonl")
        comparison.print(console)
    scores = comparison.scores() if comparison else None
    best = accuracy.best if accuracy else None
    if is_writer():
        record.finish(result, scores, best)
    print_summary(result, folder, scores, console, best)
    return EXIT_INTERRUPTED if result.stopped_by == "SIGINT" else EXIT_OK


def _save(config: TrainConfig, prepared: "Prepared", local: "LocalCheckpoint", folder: Path, step: int) -> None:
    """Writes what was trained up to `step` into a folder."""
    from gemma_tool_use.training.methods import save_trained

    details = {
        "base": dataclasses.asdict(prepared.identity),
        "tokenizer_sha256": prepared.tokenizer.fingerprint,
        "dialect": prepared.dialect.name,
        "step": step,
    }
    save_trained(config, prepared.model, local, folder, details=details)


def _accuracy(
    config: TrainConfig, prepared: "Prepared", folder: "RunFolder", save: Callable[[Path, int], None]
) -> "AccuracyWatch":
    """Held-out rows of the run, answered by the model that is being trained."""
    from gemma_tool_use.data.rows import row_sizes
    from gemma_tool_use.evaluation.checkpoint_scores import point
    from gemma_tool_use.evaluation.encoded_rows import ask, encoded_suite
    from gemma_tool_use.inference.sampler import Sampler
    from gemma_tool_use.inference.sampling import SamplingConfig
    from gemma_tool_use.inference.writing import Writer
    from gemma_tool_use.training.accuracy import AccuracyWatch
    from gemma_tool_use.training.plans import total_steps

    dialect, tokenizer, rows = prepared.dialect, prepared.tokenizer, prepared.rows.held_out
    suite, prompts = encoded_suite(rows, dialect, tokenizer, limit=config.accuracy_rows, seed=config.seed)
    longest = int(row_sizes(rows).targets.max()) + _ROOM
    sampling = SamplingConfig(max_new_tokens=longest, max_length=config.max_length + longest)
    sampler = Sampler(prepared.model, compute_dtype=prepared.compute_dtype)
    writer = Writer(sampler, tokenizer, dialect, sampling)

    def measure() -> dict[str, float]:
        with prepared.on_mesh():
            found = point(0, ask(suite, prompts, writer, dialect.parse))
        return {
            "exact": found.exact.value,
            "tool_call_accuracy": found.tool_call_accuracy,
            "parameter_accuracy": found.parameter_accuracy,
            "generation_errors": float(found.errors),
        }

    steps = total_steps(config, prepared.plan)
    return AccuracyWatch(folder.best, every=config.accuracy_every, steps=steps, measure=measure, save=save)


def _nothing() -> None:
    """What a process that does not write does at the start."""


def _comparison(config: TrainConfig, prepared: "Prepared") -> "Comparison":
    """Held-out synthetic requests, answered by the model that is being trained."""
    from gemma_tool_use.data.synthetic.generate import generate, kind_of
    from gemma_tool_use.evaluation.comparison import Comparison
    from gemma_tool_use.inference.replies import reply_to
    from gemma_tool_use.inference.sampler import Sampler, SamplingConfig

    held_out = generate(
        count=config.compare_requests,
        seed=config.seed,
        split="heldout",
        kinds=config.kinds,
        most_tools=config.max_tools_offered,
        idle_options=config.idle_options,
    )
    prepared.begun.ready()
    sampler = Sampler(prepared.model, compute_dtype=prepared.compute_dtype)
    sampling = SamplingConfig(max_new_tokens=_LONGEST_REPLY)

    def answer(questions: "Sequence[Conversation]") -> "list[Reply]":
        with prepared.on_mesh():
            return reply_to(sampler, prepared.tokenizer, prepared.dialect, questions, config=sampling)

    return Comparison(held_out, [kind_of(conversation) for conversation in held_out], answer)


if __name__ == "__main__":
    sys.exit(run(main))
