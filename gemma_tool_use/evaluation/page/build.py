"""Writes report.html beside scores.json: one self-contained page about one evaluation and the run it belongs to.

    write_report(Path("run/evaluation/adapter"))                       # run/evaluation/adapter/report.html
    write_report(Path("run/evaluation/adapter"), base=Path("elsewhere/evaluation/base"))

The run is the folder two levels up, when it holds run.json; its metrics.jsonl gives the curves. The base is the same
model without its adapter, evaluated beside it, unless another is named.
"""

import json
from pathlib import Path
from typing import Any

from gemma_tool_use.errors import DataError, FileError
from gemma_tool_use.evaluation.evaluated import TIMING
from gemma_tool_use.evaluation.folder import EVALUATIONS, Evaluation, find_base, read_evaluation
from gemma_tool_use.evaluation.page import tables
from gemma_tool_use.evaluation.page.answers import chosen
from gemma_tool_use.evaluation.page.checkpoints import checkpoints
from gemma_tool_use.evaluation.page.curves import curves, mean, read_metrics
from gemma_tool_use.evaluation.page.run_facts import cost_of_answers, cost_of_training, flat, read_run, trained_on
from gemma_tool_use.evaluation.paired import Pair, PairedSuite, compare, match
from gemma_tool_use.pages.page import Section, render, write_page

TEMPLATE = Path(__file__).with_name("page.html.jinja")
REPORT, CHECKPOINTS = "report.html", "checkpoints.json"


def write_report(folder: Path, *, base: Path | None = None) -> Path:
    """Writes the page and returns its path.

    Args:
      folder: an evaluation, or a folder that holds one.
      base: the evaluation to compare with; None for the one that `find_base` finds.

    Raises:
      ConfigError: no evaluation there.
      DataError: a file that evaluate or train did not write, or a base that answered no common question.
      FileError: a file cannot be read or written.
    """
    evaluation = read_evaluation(folder)
    base = base or find_base(evaluation)
    path = evaluation.path / REPORT
    write_page(path, report(evaluation, None if base is None else read_evaluation(base)))
    return path


def report(evaluation: Evaluation, base: Evaluation | None) -> str:
    """The page as HTML text; reads the files of the run that the evaluation belongs to.

    Raises:
      DataError, FileError: as `write_report`.
    """
    pairs = [] if base is None else match(base.results, evaluation.results, common=True)
    paired = compare(pairs, "strict") if pairs else {}
    suites = evaluation.scores["suites"]
    run_folder = evaluation.path.resolve().parent.parent
    run = read_run(run_folder)
    return render(
        TEMPLATE,
        title=f"Evaluation: {evaluation.label}" + ("" if run is None else f" of {run_folder.name}"),
        tiles=[tile for name, of in suites.items() for tile in tables.tiles(name, of, paired.get(name))],
        sections=[*_scores(evaluation, base, pairs, paired), *_of_run(evaluation, run, run_folder)],
        about=_about(evaluation, base),
        count=len(evaluation.results),
        answers=chosen(evaluation.results, {(p.item.suite, p.item.id): p.a for p in pairs}),
    )


def _about(evaluation: Evaluation, base: Evaluation | None) -> str:
    errors = sum(result.answer.error is not None for result in evaluation.results)
    compared = "" if base is None else f" Compared with {base.label}."
    failed = f" Without an answer, and counted as wrong: {errors:,}. These scores are not final." if errors else ""
    return f"{len(evaluation.results):,} questions.{compared}{failed}"


def _scores(
    evaluation: Evaluation, base: Evaluation | None, pairs: list[Pair], paired: dict[str, PairedSuite]
) -> list[Section]:
    suites = evaluation.scores["suites"]
    found = [
        Section(
            "scores",
            "Scores",
            plots=[tables.picture(name, of, paired.get(name)) for name, of in suites.items()],
            tables=[tables.scores(name, of) for name, of in suites.items()],
        )
    ]
    if base is not None:
        found.append(
            Section(
                "base",
                "Against the base",
                f"{len(pairs):,} of {len(evaluation.results):,} questions were answered by both.",
                tables=[tables.against(name, suite, base.label) for name, suite in paired.items()],
            )
        )
    found.append(Section("failures", "Failures", tables=[tables.failures(name, of) for name, of in suites.items()]))
    if any(of["measures"] for of in suites.values()):
        further = [tables.measures(name, of) for name, of in suites.items() if of["measures"]]
        found.append(Section("measures", "Further measures", tables=further))
    return found


def _of_run(evaluation: Evaluation, run: dict[str, Any] | None, folder: Path) -> list[Section]:
    metrics = folder / "metrics.jsonl"
    series = read_metrics(metrics) if run is not None and metrics.is_file() else {}
    speed = series.get("train/tokens_per_second")
    cost = cost_of_answers(_timing(evaluation.path / TIMING))
    found = []
    if run is not None:
        found = [Section("training", "Trained on what", facts=trained_on(run), plots=curves(series))]
        cost = [*cost_of_training(run, mean(speed) if speed else None), *cost]
    compared = checkpoints(folder / EVALUATIONS / CHECKPOINTS) if run is not None else None
    if compared is not None:
        found.append(Section("checkpoints", "Checkpoints", tables=[compared]))
    if cost:
        found.append(Section("cost", "Cost and speed", facts=cost))
    return [*found, Section("asked", "What was asked, how", facts=flat(evaluation.scores["provenance"]))]


def _timing(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); run evaluate again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold an object; run evaluate again")
    return content
