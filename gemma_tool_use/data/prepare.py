"""The command `gemma-tool-use prepare`: dataset files in, a folder of filtered conversations out.

    gemma-tool-use prepare --source toucan-sft --input train-00000-of-00003.parquet --output prepared/toucan

writes, and prints a funnel whose numbers add up to the rows read:

    prepared/toucan/train-00000-of-00001.parquet    text columns id, source, license, tools, messages, meta (the last
                    eval-00000-of-00001.parquet     three JSON); the second with --eval-share
                    rejects.jsonl                   {"id", "reason", "detail", "where"} of every row left out
                    manifest.json                   inputs, settings, counts, name, size and sha256 of every file
                    funnel.svg                      the funnel, drawn
                    run.json                        when, where, how long: what two equal runs do not share

The folder appears only when it is complete. A run that was killed goes on where it stopped when the same command is
given again; what it has done waits in `prepared/toucan.partial`. Training and every other command read the folder back.

Rows are also drawn and changed here, seeded and with a record in the meta of each row; by default nothing is:

    --weights toucan-sft:3 xlam:1 --mix.max-no-call-share 0.2 --augment.distractor-share 0.3 --augment.mask-share 0.33
"""

import dataclasses
import datetime
import json
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from tqdm import tqdm

from gemma_tool_use.commands import EXIT_OK, run
from gemma_tool_use.data.augment import STAGES, AugmentFlags, AugmentSettings, MixFlags, MixSettings, read_tools
from gemma_tool_use.data.augment.stages import stage_flags
from gemma_tool_use.data.rules import RULES, RuleSettings
from gemma_tool_use.errors import suggest
from gemma_tool_use.flags import parse
from gemma_tool_use.settings import export_to_libraries, load_settings

if TYPE_CHECKING:
    from gemma_tool_use.data.engine.changes import Changes

RUN_FILE = "run.json"
LIST_RULES = "--list-rules"
AUTO = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig(RuleSettings):
    """Flags of `gemma-tool-use prepare`."""

    input: tuple[str, ...]
    """Files, folders or dataset ids on the Hugging Face hub (Agent-Ark/Toucan-1.5M), one or several."""
    output: Path
    """Folder to write; must not exist, or be empty."""
    source: tuple[str, ...] = (AUTO,)
    """Form of the rows, one for all inputs or one for each; auto finds out by looking."""
    weights: tuple[str, ...] = ()
    """Proportions in the result: of each input, as in `2 1`, or of sources and their subsets, as in `toucan-sft:3
    toucan-sft/irrelevant:1 xlam:2`; nothing keeps every row."""
    mix: MixFlags = dataclasses.field(default_factory=MixFlags)
    """How many of which rows are taken; shares are those before rows are merged."""
    augment: AugmentFlags = dataclasses.field(default_factory=AugmentFlags)
    """What is changed in them; `meta` keeps what was done, and how to undo it."""
    tools_pool: Path | None = None
    """Tools that --augment.distractor-share and --mix.make-no-call may add: a file of OpenAI or MCP tools, or the
    answer of MCP's tools/list; none for those of the rows of the same side."""
    stages: tuple[str, ...] = ()
    """Stages of a curriculum: single-turn, irrelevance, diversified, multi-turn. Keeps the rows of these, each by the
    rules of its stage, writes them in this order and the stage of each into its meta, where training finds it. Up to
    half of stage 1 moves to stage 2, so that it does not hold rows without a call only; --mix.max-no-call-share 0.1
    leaves some of these out."""
    exact_duplicates: bool = True
    """Leave out rows that have question and tools in common with an earlier row."""
    near_duplicates: bool = True
    """Leave out rows whose question is nearly that of an earlier row that calls the same tools."""
    eval_share: float = 0.0
    """Share of the rows written to eval files, with no question and no API in common with the train files."""
    seed: int = 0
    """Of every choice: the split, the mix, augmentation."""
    limit: int | None = None
    """Read no further once this many conversations pass the rules; none for all."""
    max_bad_share: float = 0.1
    """Stop when more than this share of the rows cannot be read (rows a rule leaves out do not count)."""
    skip_bad_files: bool = False
    """Go on without the parts of files that are damaged, and name them, instead of stopping."""
    allow_non_commercial: bool = False
    """Read sources whose licence does not allow commercial use."""
    shard_rows: int = 50_000
    """Most rows of an output file."""
    workers: int | None = None
    """Processes that read and filter; none for one on each core, 0 for none but this."""
    engine: Literal["local", "beam"] = "local"
    """Who reads and filters: processes of this machine, or the workers of an Apache Beam runner, with the same result.
    For beam, inputs and output lie on a filesystem that every worker sees under the same path."""
    beam_options: tuple[str, ...] = ()
    """Options of Beam and its runner, given on as they are but written without dashes, as in `runner=DaskRunner
    dask_client_address=tcp://10.0.0.1:8786`."""

    def problems(self) -> list[str]:
        found = super().problems()
        if not 0 <= self.max_bad_share <= 1:
            found.append(f"max_bad_share is a share from 0 to 1, got {self.max_bad_share}")
        if not 0 <= self.eval_share < 1:
            found.append(f"eval_share is a share from 0 to less than 1, got {self.eval_share}")
        least = {"limit": 1, "shard_rows": 1, "workers": 0, "seed": 0}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                found.append(f"{name} must be {smallest} or more, got {value}")
        if self.beam_options and self.engine != "beam":
            found.append(f"beam_options need --engine beam, got {self.engine}")
        if not self.input:
            found.append("input names no file, folder or dataset")
        if len(self.source) not in (1, len(self.input)):
            found.append(f"source must be one for all or one for each of {len(self.input)} inputs, got {self.source}")
        return found + self._weight_problems() + self._change_problems()

    def _weight_problems(self) -> list[str]:
        numbers = [_number(text.rpartition(":")[2]) for text in self.weights]
        named = [":" in text for text in self.weights]
        if None in numbers or (any(named) and not all(named)):
            return [f"weights must all look like 2, or all like toucan-sft:2, got {' '.join(self.weights)}"]
        if any(named) and any(number <= 0 for number in numbers if number is not None):
            return [f"weights of sources must be above 0, got {' '.join(self.weights)}; --subsets leaves subsets out"]
        if self.weights and not any(named) and len(self.weights) != len(self.input):
            return [f"weights must be one for each of {len(self.input)} inputs, got {len(self.weights)}"]
        if any(number < 0 for number in numbers if number is not None) or (numbers and not any(numbers)):
            return [f"weights must be 0 or more and not all 0, got {' '.join(self.weights)}"]
        return []

    def _change_problems(self) -> list[str]:
        found = []
        if unknown := [name for name in self.stages if name not in STAGES]:
            found.append(f"stages: {unknown[0]!r} is not a stage. {suggest(unknown[0], STAGES)}")
        if self.stages and (given := stage_flags(self.rules)):
            found.append(f"the stages decide about {', '.join(given)}; leave these out, or leave out --stages")
        if self.tools_pool is not None and not self.changes.adds_tools:
            found.append("tools_pool needs --augment.distractor-share or --mix.make-no-call, which add tools")
        return found

    @property
    def input_weights(self) -> tuple[float, ...] | None:
        """Weights of the inputs, in their order; None when there are none or they are of sources."""
        return tuple(map(float, self.weights)) if self.weights and ":" not in self.weights[0] else None

    @property
    def changes(self) -> "Changes":
        """The flags that draw, change and order rows."""
        from gemma_tool_use.data.engine.changes import Changes

        pairs = [text.rpartition(":") for text in self.weights if ":" in text]
        weights = {name: float(number) for name, _, number in pairs}
        return Changes(
            mix=MixSettings(**vars(self.mix), weights=weights, seed=self.seed),
            augment=AugmentSettings(**vars(self.augment), seed=self.seed),
            tools_pool=self.tools_pool,
            stages=tuple(sorted(self.stages, key=lambda name: STAGES[name].number)),
        )

    @property
    def rules(self) -> RuleSettings:
        """The flags that are the rules'."""
        return RuleSettings(**{field.name: getattr(self, field.name) for field in dataclasses.fields(RuleSettings)})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0."""
    words = list(sys.argv[1:] if argv is None else argv)
    if LIST_RULES in words:
        _print_rules(Console())
        return EXIT_OK
    config = parse(
        PrepareConfig,
        words,
        prog="gemma-tool-use prepare",
        description=f"Filters rows into a folder. {LIST_RULES} prints the rules, in order, and the reasons they give.",
    )
    from gemma_tool_use.data.engine.summary import print_result

    export_to_libraries(load_settings())
    manifest = prepare(config)
    print_result(manifest, Console())
    print(f"written to {config.output}")  # not by rich, for which [name] in a path is markup
    return EXIT_OK


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Reads, filters, decides and writes; returns the manifest.

    Raises:
      ConfigError: an unknown source, a licence that was not accepted, or Beam is not installed.
      Others as `engine.run.run`.
    """
    from gemma_tool_use.data.engine.beam import beam_mapper
    from gemma_tool_use.data.engine.decide import GlobalSettings
    from gemma_tool_use.data.engine.manifest import RunSettings, Tolerance
    from gemma_tool_use.data.engine.pool import default_workers
    from gemma_tool_use.data.engine.run import run as run_engine

    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    output = config.output.expanduser().absolute()
    map_ahead = beam_mapper(config.beam_options) if config.engine == "beam" else None
    inputs = _inputs(config)
    if config.tools_pool is not None:
        read_tools(config.tools_pool)  # what is wrong with it is said now, not after all rows were read
    settings = RunSettings(
        rules=config.rules,
        among_all=GlobalSettings(
            exact_duplicates=config.exact_duplicates,
            near_duplicates=config.near_duplicates,
            eval_share=config.eval_share,
            seed=config.seed,
            weights=config.input_weights,
            limit=config.limit,
        ),
        changes=config.changes,
        shard_rows=config.shard_rows,
    )
    workers = default_workers() if config.workers is None else config.workers
    with tqdm(unit=" rows", desc="reading", disable=None) as bar:
        manifest = run_engine(
            inputs,
            settings,
            output=output,
            workers=workers,
            tolerance=Tolerance(max_bad_share=config.max_bad_share, skip_bad_files=config.skip_bad_files),
            progress=bar.update,
            map_ahead=map_ahead,
        )
    about = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 1),
        "host": socket.gethostname(),
        "engine": config.engine,
        "workers": workers,
        "inputs": [str(path.absolute()) for each in inputs for path in each.files],
        "output": str(output),
    }
    (output / RUN_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return manifest


def _inputs(config: PrepareConfig) -> list[Any]:
    """The inputs with their files; a licence that was not accepted is refused before anything is read."""
    from gemma_tool_use.data.engine.manifest import Input
    from gemma_tool_use.data.sources import load as sources

    names = config.source if len(config.source) > 1 else config.source * len(config.input)
    inputs = []
    for name, location in zip(names, config.input, strict=True):
        source, files = sources.locate(name, location, allow_non_commercial=config.allow_non_commercial)
        inputs.append(Input(name=_name(location), source=source, files=tuple(files)))
    return inputs


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _name(location: str) -> str:
    """A file or folder without where it lies, and a dataset id as it is."""
    path = Path(location).expanduser()
    return path.absolute().name if path.exists() else location


def _print_rules(console: Console) -> None:
    for rule in RULES.values():
        console.print(f"{rule.name}: keeps {rule.keeps}", highlight=False, markup=False)
        for reason in rule.reasons:
            console.print(f"    {reason}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(run(main))
