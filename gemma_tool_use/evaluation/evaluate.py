"""The command `gemma-tool-use evaluate`: BFCL and held-out rows, answered by a model and judged.

    $ gemma-tool-use evaluate my_run --with-base --categories simple_python irrelevance --limit 100
    gemma-3-270m: 200/200 prompts, 2.1/s
    my_run: 200/200 prompts, 2.0/s
                          items  official             strict               errors  most frequent failure
    gemma-3-270m
      bfcl/simple_python    100    1.0 % [0.2, 5.4]     1.0 % [0.2, 5.4]        0  97 no_call
    ...
    what was asked, answered and judged: my_run/evaluation/my_run/report.html

Of `--model`, `--adapter` and `--run` (also the first word) one is asked; an adapter and a run name their base weights
and their dialect themselves. Killed and started again with the same flags, it goes on with the answers it has. The exit
code is 1 when a question could not be answered, such as a prompt that is too long.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma_tool_use import __version__
from gemma_tool_use.commands import EXIT_BLOCKED, EXIT_OK, run
from gemma_tool_use.errors import ConfigError
from gemma_tool_use.evaluation.aggregate import Measure
from gemma_tool_use.evaluation.answer_store import AnswerStore
from gemma_tool_use.evaluation.answering import Asker, dialect_prompt
from gemma_tool_use.evaluation.bfcl.suite import BfclSuite
from gemma_tool_use.evaluation.evaluate_config import SYNTHETIC, EvaluateConfig, slug
from gemma_tool_use.evaluation.evaluated import Finished, evaluate_in
from gemma_tool_use.evaluation.folder import EVALUATIONS
from gemma_tool_use.evaluation.held_out import NAME as HELD_OUT
from gemma_tool_use.evaluation.held_out import held_out_suite
from gemma_tool_use.evaluation.held_out_measures import measures, text_measures
from gemma_tool_use.evaluation.page.build import write_report
from gemma_tool_use.evaluation.progress import Progress
from gemma_tool_use.evaluation.records import Result, Suite
from gemma_tool_use.evaluation.tables import print_scores
from gemma_tool_use.flags import name_first_words, parse
from gemma_tool_use.settings import export_to_libraries, load_settings
from gemma_tool_use.visible import visible

if TYPE_CHECKING:
    from gemma_tool_use.conversation import Conversation
    from gemma_tool_use.inference.subject import Chosen, LoadedModel

_SYNTHETIC_ROWS = 200


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 when a question has no answer."""
    from rich.console import Console

    from gemma_tool_use.inference.subject import choose, load
    from gemma_tool_use.models.resolve import resolve

    words = name_first_words(sys.argv[1:] if argv is None else argv, ("run",))
    config = parse(
        EvaluateConfig, words, prog="gemma-tool-use evaluate", description="Asks a model and judges its tool calls."
    )
    settings = load_settings()
    export_to_libraries(settings)
    console = Console()
    chosen = choose(model=config.model, adapter=config.adapter, run=config.run)
    suites, about = _suites(config, console)
    token = settings.hf_token.reveal() if settings.hf_token else None
    local = resolve(chosen.model, cache_dir=settings.cache_dir, token=token)
    dialect = "python_calls" if config.official_prompt else config.dialect
    loaded = load(chosen, local, dtype=config.dtype, dialect=dialect)
    finished = {
        label: _evaluate(config, loaded, suites, about, label=label, adapter=adapter)
        for label, adapter in _labels(config, chosen).items()
    }
    print_scores({label: one.scores for label, one in finished.items()}, console)
    for one in finished.values():
        page = write_report(one.path)
        console.print(f"what was asked, answered and judged: {page}", soft_wrap=True, markup=False, highlight=False)
    return _exit_code(finished)


def _exit_code(finished: Mapping[str, Finished]) -> int:
    for label, one in finished.items():
        if one.errors:
            first = next(result for result in one.results if result.answer.error is not None)
            print(
                f"{label}: no answer to {one.errors:,} of {len(one.results):,} questions, so its scores are too low. "
                f"The first is {visible(first.item.id)}: {visible(first.answer.error or '')}. The same command asks "
                "them again",
                file=sys.stderr,
            )
    return EXIT_BLOCKED if any(one.errors for one in finished.values()) else EXIT_OK


def _labels(config: EvaluateConfig, chosen: "Chosen") -> dict[str, bool]:
    """Label to whether the adapter is on, the base weights first."""
    base = slug(chosen.model.rstrip("/").rpartition("/")[2].rpartition(":")[2])
    folder = config.run or config.adapter
    own = config.label or (base if folder is None else slug(folder.expanduser().resolve().name))
    if not config.with_base:
        return {own: chosen.adapter is not None}
    if chosen.adapter is None:
        raise ConfigError(f"--with-base: {config.run} was trained with --method full, so it has no base weights in it")
    return {base if base != own else f"{base}-base": False, own: True}


def _suites(config: EvaluateConfig, console: Any) -> tuple[list[Suite], dict[str, Any]]:
    """What is asked, and what provenance says about it."""
    suites: list[Suite] = []
    about: dict[str, Any] = {}
    if "bfcl" in config.suites:
        suite = BfclSuite(
            folder=config.bfcl_data,
            categories=config.categories,
            limit=config.limit,
            official_prompt=config.official_prompt,
        )
        suite.items()  # a missing package is told of before weights are loaded
        suites.append(suite)
        about["bfcl"] = {
            "categories": list(suite.categories),
            "limit": config.limit,
            "official_prompt": config.official_prompt,
        }
    if HELD_OUT in config.suites:
        location, conversations = _held_out(config)
        suite, left_out = held_out_suite(conversations, first_call=config.first_call)
        suites.append(suite)
        about[HELD_OUT] = {
            "rows": location,
            "source": config.source,
            "limit": config.limit,
            "seed": config.seed,
            "first_call": config.first_call,
            "left_out": left_out,
        }
        told = "".join(f", {count:,} left out: {reason}" for reason, count in left_out.items())
        console.print(f"{len(suite.items()):,} held-out rows of {location}{told}", markup=False, highlight=False)
    return suites, about


def _held_out(config: EvaluateConfig) -> "tuple[str, Sequence[Conversation]]":
    from gemma_tool_use.data.held_out import held_out_rows
    from gemma_tool_use.data.synthetic.generate import generate

    location = config.held_out or _rows_of_run(config.run)
    if location == SYNTHETIC:
        return location, generate(count=config.limit or _SYNTHETIC_ROWS, seed=config.seed, split="heldout")
    rows = held_out_rows(location, source=config.source, limit=config.limit, seed=config.seed)
    return location, rows.conversations


def _rows_of_run(folder: Path | None) -> str:
    """Where the rows are that a run was not trained on.

    Raises:
      ConfigError: it split its rows itself, so they stand in no file.
    """
    from gemma_tool_use.data.prepared import open_prepared
    from gemma_tool_use.inference.subject import run_config

    config = run_config(folder) if folder is not None else {}
    if config.get("source") == SYNTHETIC:
        return SYNTHETIC
    data = str(config.get("data") or "")
    prepared = open_prepared(Path(data).expanduser()) if data else None
    if prepared is None or not prepared.held_out:
        raise ConfigError(
            f"{folder} was not trained on a folder that prepare split, so its held-out rows stand in no file. Give "
            "others with --held-out; evaluate-checkpoints asks those of the run"
        )
    return data


def _evaluate(
    config: EvaluateConfig,
    loaded: "LoadedModel",
    suites: Sequence[Suite],
    about: Mapping[str, Any],
    *,
    label: str,
    adapter: bool,
) -> Finished:
    from gemma_tool_use.inference.sampling import SamplingConfig
    from gemma_tool_use.inference.writing import Writer

    dialect, tokenizer = loaded.dialect, loaded.tokenizer
    sampling = SamplingConfig(
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        seed=config.seed,
        batch_size=config.batch_size,
        max_length=config.max_length,
    )
    writer = Writer(loaded.sampler, tokenizer, dialect, sampling, adapter)
    identity = loaded.describe(adapter=adapter) | {"sampling": dataclasses.asdict(sampling)}
    versions = {"gemma-tool-use": __version__, "jax": metadata.version("jax")}
    provenance = identity | {"suites": dict(about), "versions": versions}

    def measures_of(suite: str, results: Sequence[Result]) -> dict[str, Measure]:
        if suite != HELD_OUT:
            return {}
        return measures(results, check_arguments=_arguments_valid) | text_measures(results, dialect, tokenizer)

    folder = config.output_dir or config.run or config.adapter or Path()
    with Progress(label) as progress:

        def asker(store: AnswerStore) -> Asker:
            prompt = dialect_prompt(dialect, tokenizer)
            return Asker(generate=writer, prompt=prompt, identity=identity, store=store, tell=progress.tell)

        path = folder.expanduser() / EVALUATIONS / label
        return evaluate_in(path, suites, provenance, asker, parse=dialect.parse, measures_of=measures_of)


def _arguments_valid(schema: dict[str, Any], arguments: dict[str, Any]) -> bool | None:
    from gemma_tool_use.data.rules.schemas import faults, validator

    check = validator(schema)
    return None if isinstance(check, str) else not faults(check, arguments)


if __name__ == "__main__":
    sys.exit(run(main))
