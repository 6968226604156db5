"""The command `gemma-tool-use evaluate-checkpoints`: every checkpoint of a run on rows it was not trained on.

    $ gemma-tool-use evaluate-checkpoints my_run --limit 100
    step                exact  tool_call_accuracy  parameter_accuracy  rows with a call  errors    loss
       0     0.0 % [0.0, 3.7]               0.0 %               0.0 %                 0       0
     100  41.0 % [31.9, 50.8]              88.2 %              50.6 %                85       0  0.6120
     200  63.0 % [53.2, 71.8]              94.6 %              68.8 %                93       0  0.4871  best
    best: step 200, 63.0 % exact. my_run/evaluation/checkpoints.json, checkpoints.png

Step 0 is the model before training. The rows are those the run held out, unless `--held-out` names others. What
was answered stands in my_run/evaluation/step_200/; a command that was stopped goes on there. The exit code is 1 when a
checkpoint is damaged or a row could not be answered.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gemma_tool_use import __version__
from gemma_tool_use.commands import EXIT_BLOCKED, EXIT_OK, run
from gemma_tool_use.conversation import Reply
from gemma_tool_use.errors import CheckpointError, ConfigError
from gemma_tool_use.evaluation.answer_store import AnswerStore
from gemma_tool_use.evaluation.answering import Asker, Generate, Prompt, dialect_prompt
from gemma_tool_use.evaluation.checkpoint_scores import (
    JSON_NAME,
    PLOT_NAME,
    Point,
    best,
    checkpoint_table,
    point,
    write_checkpoints,
)
from gemma_tool_use.evaluation.encoded_rows import encoded_suite
from gemma_tool_use.evaluation.evaluated import evaluate_in
from gemma_tool_use.evaluation.folder import EVALUATIONS
from gemma_tool_use.evaluation.held_out import HeldOutSuite, held_out_suite
from gemma_tool_use.evaluation.progress import Progress
from gemma_tool_use.evaluation.tables import print_wide
from gemma_tool_use.flags import name_first_words, parse
from gemma_tool_use.settings import Settings, export_to_libraries, load_settings

if TYPE_CHECKING:
    from gemma_tool_use.formats.dialect import Dialect
    from gemma_tool_use.formats.tokenizer import Tokenizer
    from gemma_tool_use.models.resolve import LocalCheckpoint
    from gemma_tool_use.training.config import TrainConfig
    from gemma_tool_use.training.run_folder import RunFolder


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointsConfig:
    """Flags of `gemma-tool-use evaluate-checkpoints`."""

    run: Path
    """A folder that train wrote, also taken as the first word; the run may still go on."""
    model: str | None = None
    """Where the base weights are, if not where the run found them."""
    held_out: str | None = None
    """Other rows to ask: a folder that prepare split, a file, a folder or a hub id; none for those the run held out."""
    source: str = "auto"
    """How to read --held-out: auto (by looking), or the name of a form, as in train --source."""
    first_call: bool = False
    """Of --held-out rows expect the first reply with calls instead of the last answer."""
    limit: int | None = 200
    """Most rows; none for all."""
    seed: int = 0
    """Seed of the sample of rows."""
    steps: tuple[int, ...] = ()
    """Which checkpoints; none for all and the model before training, which is step 0."""
    max_new_tokens: int = 256
    """Longest reply in tokens."""
    batch_size: int = 64
    """Prompts that are decoded together."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute dtype; auto is bfloat16 on a TPU or GPU and float32 on a CPU."""

    def __post_init__(self) -> None:
        problems = [
            f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}"
            for name in ("limit", "max_new_tokens", "batch_size")
            if getattr(self, name) is not None and getattr(self, name) < 1
        ]
        if self.held_out is None and (self.first_call or self.source != "auto"):
            problems.append("--source and --first-call are about the rows of --held-out, which is not given")
        if problems:
            raise ConfigError("\n".join(problems))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """What of a run its checkpoints are asked with.

    Attributes:
      folder: of the run.
      suite: the rows.
      prompt: writes their prompts.
      about: what provenance says of them.
      generate: the model.
      identity: what tells the model and its sampling from others, but for the step.
      set_step: makes the model that of a step; gives the sha256 of what was trained.
      parse: reads a reply.
    """

    folder: "RunFolder"
    suite: HeldOutSuite
    prompt: Prompt
    about: dict[str, Any]
    generate: Generate
    identity: dict[str, Any]
    set_step: Callable[[int], str]
    parse: Callable[[str], Reply]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 when a checkpoint or a row had to be left out."""
    from rich.console import Console

    from gemma_tool_use.training.run_folder import RunFolder
    from gemma_tool_use.training.saved_models import SavedModels

    words = name_first_words(sys.argv[1:] if argv is None else argv, ("run",))
    description = "Asks every checkpoint of a run the rows it held out, and names the best one."
    config = parse(CheckpointsConfig, words, prog="gemma-tool-use evaluate-checkpoints", description=description)
    settings = load_settings()
    export_to_libraries(settings)
    folder = RunFolder(config.run.expanduser().resolve())
    trained = folder.read_config()
    saved = SavedModels(folder.checkpoints)
    steps = _steps(config, saved.steps)
    found = _open(config, trained, folder, saved, settings)
    points, damaged = [], []
    for step in steps:
        try:
            points.append(_evaluate(found, step))
        except CheckpointError as error:
            damaged.append(f"step {step} is left out: {error}")
    saved.close()
    if not points:
        raise CheckpointError("no checkpoint could be asked: " + "; ".join(damaged))
    write_checkpoints(folder.path / EVALUATIONS, points, found.identity | {"rows": found.about})
    print_wide(checkpoint_table(points), Console())
    _tell(points, damaged, folder.path / EVALUATIONS)
    return EXIT_BLOCKED if damaged or any(one.errors for one in points) else EXIT_OK


def _tell(points: Sequence[Point], damaged: Sequence[str], where: Path) -> None:
    chosen = best(points)
    print(f"best: step {chosen.step}, {chosen.exact.value:.1%} exact. {where / JSON_NAME}, {PLOT_NAME}")
    for line in damaged:
        print(line, file=sys.stderr)
    for one in points:
        if one.errors:
            print(
                f"step {one.step}: {one.errors} rows have no answer; the same command asks them again", file=sys.stderr
            )


def _steps(config: CheckpointsConfig, there: Sequence[int]) -> list[int]:
    known = [0, *(step for step in there if step)]
    if unknown := [step for step in config.steps if step not in known]:
        raise ConfigError(f"--steps {' '.join(map(str, unknown))}: {config.run} has {' '.join(map(str, known))}")
    return [step for step in known if not config.steps or step in config.steps]


def _open(
    config: CheckpointsConfig, trained: "TrainConfig", folder: "RunFolder", saved: Any, settings: Settings
) -> _Run:
    """Reads the rows, then the weights as they were before training."""
    from gemma_tool_use.formats.dialects import get_dialect
    from gemma_tool_use.formats.tokenizer import load_tokenizer
    from gemma_tool_use.formats.turn_tags import in_turns_of
    from gemma_tool_use.inference.sampler import Sampler
    from gemma_tool_use.inference.sampling import SamplingConfig
    from gemma_tool_use.inference.subject import device_kind
    from gemma_tool_use.inference.writing import Writer
    from gemma_tool_use.models.resolve import resolve

    token = settings.hf_token.reveal() if settings.hf_token else None
    local = resolve(config.model or trained.model, cache_dir=settings.cache_dir, token=token)
    tokenizer = load_tokenizer(local.require_tokenizer())
    dialect = in_turns_of(get_dialect(trained.dialect), tokenizer)
    suite, prompt, about = _rows(config, trained, folder, dialect, tokenizer, settings)
    sampling = SamplingConfig(max_new_tokens=config.max_new_tokens, batch_size=config.batch_size)
    model, identity, set_step = _model(config, trained, folder, local, saved)
    return _Run(
        folder=folder,
        suite=suite,
        prompt=prompt,
        about=about,
        generate=Writer(Sampler(model), tokenizer, dialect, sampling),
        identity=identity
        | {
            "tokenizer_sha256": tokenizer.fingerprint,
            "dialect": dialect.name,
            "sampling": dataclasses.asdict(sampling),
            "device": device_kind(),
            "versions": {"gemma-tool-use": __version__, "jax": metadata.version("jax")},
        },
        set_step=set_step,
        parse=dialect.parse,
    )


def _rows(
    config: CheckpointsConfig,
    trained: "TrainConfig",
    folder: "RunFolder",
    dialect: "Dialect",
    tokenizer: "Tokenizer",
    settings: Settings,
) -> tuple[HeldOutSuite, Prompt, dict[str, Any]]:
    from gemma_tool_use.data.held_out import held_out_rows
    from gemma_tool_use.training.prepare_rows import prepare_rows

    about = {"held_out": config.held_out, "limit": config.limit, "seed": config.seed, "first_call": config.first_call}
    if config.held_out is not None:
        rows = held_out_rows(config.held_out, source=config.source, limit=config.limit, seed=config.seed)
        suite, left_out = held_out_suite(rows.conversations, first_call=config.first_call)
        return suite, dialect_prompt(dialect, tokenizer), about | {"source": config.source, "left_out": left_out}
    kept = Path(trained.cache_dir).expanduser().absolute() if trained.cache_dir else settings.cache_dir / "tokens"
    encoded = prepare_rows(trained, dialect, tokenizer, cache=kept)
    folder.check_same_inputs({"tokenizer": tokenizer.fingerprint, "rows": encoded.fingerprint})
    if not len(encoded.held_out):
        raise ConfigError(f"{config.run} held no rows out (--eval-share 0); give others with --held-out")
    suite, prompts = encoded_suite(encoded.held_out, dialect, tokenizer, limit=config.limit, seed=config.seed)
    return suite, lambda item: prompts[item.id], about


def _model(
    config: CheckpointsConfig, trained: "TrainConfig", folder: "RunFolder", local: "LocalCheckpoint", saved: Any
) -> tuple[Any, dict[str, Any], Callable[[int], str]]:
    """The model before training, what tells it from others, and `_Run.set_step`."""
    from gemma_tool_use.inference.subject import compute_dtype, dtype_name, trained_sha256
    from gemma_tool_use.models.load import identity
    from gemma_tool_use.training.methods import load_trainable

    known = identity(local)
    folder.check_same_inputs({"base weights": known.sha256})
    dtype, only_lora = compute_dtype(config.dtype), trained.method != "full"
    model = load_trainable(trained, local, dtype=dtype, mesh=None)

    def set_step(step: int) -> str:
        if step:
            saved.load(step, model, only_lora=only_lora)
        return trained_sha256(model)

    about = {
        "model": {"source": known.source, "architecture": known.architecture, "sha256": known.sha256},
        "compute_dtype": dtype_name(dtype),
        "quantization": trained.packed_as,
    }
    return model, about, set_step


def _evaluate(found: _Run, step: int) -> Point:
    """Asks one checkpoint.

    Raises:
      CheckpointError: it is damaged.
    """
    label = f"step_{step}"
    identity = found.identity | {"adapter": {"step": step, "sha256": found.set_step(step)}}
    with Progress(label) as progress:

        def asker(store: AnswerStore) -> Asker:
            return Asker(
                generate=found.generate, prompt=found.prompt, identity=identity, store=store, tell=progress.tell
            )

        provenance = identity | {"suites": {found.suite.name: found.about}}
        path = found.folder.path / EVALUATIONS / label
        finished = evaluate_in(path, [found.suite], provenance, asker, parse=found.parse)
    eval_loss = found.folder.logged("eval/loss", step)
    return point(step, finished.results, eval_loss=eval_loss, folder=f"{EVALUATIONS}/{label}")


if __name__ == "__main__":
    sys.exit(run(main))
