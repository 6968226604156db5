"""Analyses the rows of a location and writes what was found: a CSV, plots, and one HTML page.

    analyze(AnalyzeConfig(input="rows.jsonl", output=Path("analysis")), tokenizer_path, stem="analysis")

    analysis/analysis.csv            subset, filter_type, filter_value, sample_count, percentage, notes
             analysis.html           everything, self-contained
             analysis_plots/*.svg    the plots of the page

The files of one input and seed are the same bytes in every run.
"""

import dataclasses
from pathlib import Path

from tqdm import tqdm

from gemma_tool_use.data.analysis.collect import CountSettings, Job, count_units
from gemma_tool_use.data.analysis.page import About, page
from gemma_tool_use.data.analysis.plots import plots
from gemma_tool_use.data.analysis.statistics import Statistics
from gemma_tool_use.data.analysis.table import as_csv, rows
from gemma_tool_use.data.engine.pool import default_workers
from gemma_tool_use.data.files import jsonl_lines, kind_of, read_rows, units
from gemma_tool_use.data.parquet_file import group_rows
from gemma_tool_use.data.sources import load as sources
from gemma_tool_use.errors import ConfigError, DataError, FileError
from gemma_tool_use.formats.dialects import DEFAULT_DIALECT, DIALECTS, get_dialect
from gemma_tool_use.pages.page import write_page

ROWS_PER_UNIT = 5000


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnalyzeConfig:
    """Flags of the analyze commands."""

    input: str
    """File, folder, or dataset id on a hub."""
    output: Path = Path("analysis")
    """Folder to write to; files that are there already are not overwritten."""
    source: str = sources.AUTO
    """Form of the rows, or auto to find out by looking."""
    dialects: tuple[str, ...] = tuple(DIALECTS)
    """Dialects whose token lengths are counted."""
    model: str = "embedded:gemma-3-270m"
    """Where the tokenizer comes from: a model as `train` takes it, or a tokenizer.model, tokenizer.json or .gguf."""
    length_rows: int | None = 5000
    """Token lengths are counted on about so many rows, chosen by a hash (some 20 ms a row); none for all of them."""
    seed: int = 0
    """Chooses those rows, and the ones shown."""
    workers: int | None = None
    """Processes; none for one per core."""

    def __post_init__(self) -> None:
        problems = []
        for name in self.dialects:
            try:
                get_dialect(name)
            except ConfigError as error:
                problems.append(str(error))
        if not self.dialects:
            problems.append("dialects is empty; name at least one")
        if self.length_rows is not None and self.length_rows < 1:
            problems.append(f"length_rows must be 1 or more, got {self.length_rows}")
        if self.workers is not None and self.workers < 1:
            problems.append(f"workers must be 1 or more, got {self.workers}")
        if problems:
            raise ConfigError("; ".join(problems))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
    """What was counted and the files that were written."""

    statistics: Statistics
    csv: Path
    html: Path
    plots: tuple[Path, ...]


def analyze(config: AnalyzeConfig, tokenizer: Path, *, stem: str, single_turn: bool = False) -> Analysis:
    """Counts and writes.

    Args:
      config: what and where.
      tokenizer: file or folder of the tokenizer, read once in each process.
      stem: the files are called `STEM.csv`, `STEM.html` and `STEM_plots/`.
      single_turn: count rows with exactly one user message only.

    Raises:
      FileError: a file to write exists, or nothing can be written or read there.
      DataError: a damaged file, or no row that could be read.
      ConfigError, HubError: as `sources.locate`.
    """
    html, csv, folder = (config.output / f"{stem}{end}" for end in (".html", ".csv", "_plots"))
    if existing := [path for path in (html, csv, folder) if path.exists()]:
        raise FileError(f"{existing[0]} exists already; nothing is overwritten. Choose another --output")
    source, files = sources.locate(config.source, config.input, allow_non_commercial=True)
    settings = CountSettings(
        dialects=config.dialects,
        measured_share=_share(files, config.length_rows),
        seed=config.seed,
        single_turn=single_turn,
    )
    jobs = [
        Job(source=source.name, unit=unit, settings=settings, tokenizer=tokenizer)
        for path in files
        for unit in units(path, ROWS_PER_UNIT)
    ]
    workers = config.workers or default_workers()
    statistics = count_units(
        jobs, workers=workers, progress=lambda parts: tqdm(parts, total=len(jobs), unit=" parts", disable=None)
    )
    if not statistics.rows:
        reasons = "; ".join(f"{n} x {reason}" for reason, n in statistics.rejects.most_common(5))
        raise DataError(f"{config.input}: no row to analyse ({reasons or 'it is empty'}). Is this the right --source?")
    about = About(
        title=f"{stem}: {config.input}",
        source=source.name,
        licence=f"{source.licence.name} ({source.licence.url})" if source.licence else "",
        files=[(path.name, path.stat().st_size) for path in files],
        dialect=DEFAULT_DIALECT if DEFAULT_DIALECT in config.dialects else config.dialects[0],
        tokenizer=config.model,
        seed=config.seed,
    )
    pictures = plots(statistics)
    texts = {folder / f"{name}.svg": picture.svg for name, picture in pictures.items()}
    texts |= {csv: as_csv(rows(statistics)), html: page(statistics, about, pictures)}
    for path, text in texts.items():
        write_page(path, text)
    return Analysis(statistics=statistics, csv=csv, html=html, plots=tuple(texts)[: len(pictures)])


def _share(files: list[Path], wanted: int | None) -> float:
    """The share of the rows to measure so that about `wanted` are; 1 when there are no more than that."""
    if wanted is None:
        return 1.0
    count = 0
    for path in files:
        match kind_of(path):
            case "parquet":
                count += sum(group_rows(path))
            case "lines":
                count += sum(1 for _ in jsonl_lines(path))
            case "array":
                count += sum(1 for _ in read_rows(path, ()))
    return 1.0 if count <= wanted else wanted / count
