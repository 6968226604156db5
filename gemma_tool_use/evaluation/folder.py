"""A finished evaluation on disk: the folder that `evaluate` leaves, found and read.

read_evaluation(Path("run"))                          # the only one below run/evaluation/
read_evaluation(Path("run/evaluation/step_400"))      # Evaluation(label="step_400", results=[...], scores={...})
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from gemma_tool_use.errors import ConfigError, DataError, FileError
from gemma_tool_use.evaluation.records import Result, read_results

EVALUATIONS, RESULTS, SCORES = "evaluation", "results.jsonl", "scores.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The files of one evaluation.

    Attributes:
      path: the folder.
      results: of results.jsonl.
      scores: of scores.json; see `aggregate.scores_to_dict`.
    """

    path: Path
    results: list[Result]
    scores: dict[str, Any]

    @property
    def label(self) -> str:
        """Name of the folder: of the model, adapter or step."""
        return self.path.name


def find_evaluations(path: Path) -> list[Path]:
    """The folders with results: `path` itself, or those below `path/evaluation` and `path`.

    Raises:
      ConfigError: there is none.
    """
    path = path.expanduser()
    if (path / RESULTS).is_file():
        return [path]
    if not path.is_dir():
        raise ConfigError(f"{path} is no folder; give one that evaluate wrote, or a run folder that holds one")
    found = sorted({file.parent for pattern in ("*", f"{EVALUATIONS}/*") for file in path.glob(f"{pattern}/{RESULTS}")})
    if not found:
        raise ConfigError(f"{path} holds no evaluation ({RESULTS}); run gemma-tool-use evaluate first")
    return found


def find_evaluation(path: Path) -> Path:
    """The only one of `find_evaluations(path)`.

    Raises:
      ConfigError: there is none or more than one; names them.
    """
    found = find_evaluations(path)
    if len(found) > 1:
        raise ConfigError(f"{path} holds {len(found)} evaluations; give one of them: {', '.join(map(str, found))}")
    return found[0]


def find_base(evaluation: Evaluation) -> Path | None:
    """The evaluation beside this one of the same model without its adapter: same questions, same dialect.

    Raises:
      FileError, DataError: the scores.json of a folder beside it cannot be read.
    """
    asked = evaluation.scores["provenance"]
    if not asked.get("adapter"):
        return None
    for folder in sorted(file.parent for file in evaluation.path.resolve().parent.glob(f"*/{SCORES}")):
        other = read_scores(folder / SCORES)["provenance"]
        same = all(other.get(key) == asked.get(key) for key in ("model", "dialect", "items"))
        if same and "adapter" in other and not other["adapter"]:
            return folder
    return None


def read_evaluation(path: Path) -> Evaluation:
    """Reads a folder that `find_evaluation` finds.

    Raises:
      ConfigError: no such folder.
      FileError: a file that cannot be read.
      DataError: a file that evaluate did not write.
    """
    folder = find_evaluation(path)
    return Evaluation(path=folder, results=read_results(folder / RESULTS), scores=read_scores(folder / SCORES))


def read_scores(path: Path) -> dict[str, Any]:
    """Reads scores.json.

    Raises:
      FileError: it cannot be read.
      DataError: it is not JSON with `provenance` and `suites`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}; evaluate writes it at its end") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); run evaluate again") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(k), dict) for k in ("provenance", "suites")):
        raise DataError(f"{path} has no provenance and suites, so evaluate did not write it; run evaluate again")
    return content
