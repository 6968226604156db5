"""The command `gemma-tool-use bfcl-official`: the real bfcl-eval scores the answers of an evaluation.

    $ gemma-tool-use bfcl-official runs/a/evaluation/base
    category            questions     ours  bfcl-eval
    simple_python         400/400   61.50%     61.50%
    irrelevance           240/240   73.75%     73.75%
    the same verdict on all 640 questions; result files and scores: runs/a/evaluation/base/bfcl_official

It reads `results.jsonl`, writes the leaderboard's result files, and has bfcl-eval score them in an environment of its
own that uv makes (376 MB the first time), or in the one of `--official-python`. The exit code is 0 when every question
has the same verdict as here, and 1 otherwise. Answers that are generation errors are refused.
"""

import contextlib
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma_tool_use.bfcl_files import VERSION
from gemma_tool_use.commands import EXIT_BLOCKED, EXIT_OK, run
from gemma_tool_use.errors import ConfigError, DataError, FileError
from gemma_tool_use.evaluation.bfcl.official import CategoryScore, kind_of, score, write_result_files
from gemma_tool_use.evaluation.bfcl.suite import NAME
from gemma_tool_use.evaluation.records import Result, read_results
from gemma_tool_use.flags import parse
from gemma_tool_use.settings import environment_without_secrets

_RESULTS = "results.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BfclOfficialConfig:
    """Flags of `gemma-tool-use bfcl-official`."""

    results: Path
    """What evaluate wrote: results.jsonl or the folder it is in; also taken as the first word."""
    output_dir: Path | None = None
    """New folder for result files and scores; default: bfcl_official beside results.jsonl."""
    score: bool = True
    """Have bfcl-eval score the result files; --no-score only writes them."""
    official_python: Path | None = None
    """A Python in whose environment bfcl-eval is installed; default: uv makes an environment."""
    json: bool = False
    """Print one JSON object instead of a table."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0 when bfcl-eval agrees on every question, and 1 when it does not."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-") and "=" not in words[0]:
        words.insert(0, "--results")
    config = parse(
        BfclOfficialConfig,
        words,
        prog="gemma-tool-use bfcl-official",
        description="The real bfcl-eval scores the answers of an evaluation, in an environment of its own.",
    )
    path = config.results / _RESULTS if config.results.is_dir() else config.results
    root = config.output_dir or path.parent / "bfcl_official"
    results = [result for result in read_results(path) if result.item.suite == NAME]
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ConfigError(f"{root} exists already; remove it, or name a new folder with --output-dir")
    with _new_folder(root) as folder:
        counts = write_result_files(results, folder)
        report = None
        if config.score:
            environment = environment_without_secrets()
            scores = score(folder, kind_of(results), counts, python=config.official_python, environment=environment)
            report = compare(results, scores)
            (folder / "official_scores.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if report is None:
        print(f"{len(results):,} answers of {len(counts)} categories written below {root / 'result'}")
        return EXIT_OK
    print(json.dumps(report, indent=2) if config.json else table(report, root))
    return EXIT_BLOCKED if report["different"] else EXIT_OK


@contextlib.contextmanager
def _new_folder(root: Path) -> Iterator[Path]:
    """A folder to write to that becomes `root` when all went well, and is gone otherwise."""
    temporary = root.with_name(f".tmp-{root.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(root)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot write {root}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def compare(results: Sequence[Result], scores: Mapping[str, CategoryScore]) -> dict[str, Any]:
    """Both scores of each category, and the ids of the questions with another verdict.

    Raises:
      DataError: bfcl-eval scored another number of answers than there are.
    """
    categories: dict[str, dict[str, Any]] = {}
    different: list[str] = []
    for category, official in scores.items():
        here = [result for result in results if result.item.category == category]
        if official.total != len(here):
            raise DataError(f"bfcl-eval scored {official.total} answers of {category}, and there are {len(here)}")
        right = {result.item.id for result in here if result.verdict.official}
        different += [
            result.item.id for result in here if (result.item.id in right) == (result.item.id in official.failed)
        ]
        categories[category] = {
            "answered": len(here),
            "questions": official.questions,
            "ours": len(right) / len(here),
            "bfcl_eval": official.correct / official.total,
        }
    return {"bfcl_eval": VERSION, "categories": categories, "different": different}


def table(report: Mapping[str, Any], root: Path) -> str:
    """The text of the module's example."""
    lines = [f"{'category':24}{'questions':>12}{'ours':>9}{'bfcl-eval':>11}"]
    for name, row in report["categories"].items():
        asked = f"{row['answered']}/{row['questions']}"
        lines.append(f"{name:24}{asked:>12}{row['ours']:>9.2%}{row['bfcl_eval']:>11.2%}")
    different, total = report["different"], sum(row["answered"] for row in report["categories"].values())
    said = f"another verdict on {len(different)} of {total:,} questions: {', '.join(different[:5])}"
    said = said if different else f"the same verdict on all {total:,} questions"
    return "\n".join([*lines, f"{said}; result files and scores: {root}"])


if __name__ == "__main__":
    sys.exit(run(main))
