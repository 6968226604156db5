"""One model asked all questions of its suites, and what is left on disk.

    finished = evaluate_in(run / "evaluation" / "adapter", suites, provenance, asker, parse=dialect.parse)
    finished.scores["suites"]["bfcl"]["total"]["strict"]["value"]      # 0.47

    evaluation/adapter/provenance.json     what was asked whom and how; an evaluation is continued only when it is equal
    evaluation/adapter/answers.jsonl       each answer as soon as it is there
    evaluation/adapter/results.jsonl       questions, answers, verdicts
    evaluation/adapter/scores.json         shares with intervals, failure classes, measures
    evaluation/adapter/timing.json         speed; the only file that depends on the clock

An evaluation that is killed and started again ends with the same results.jsonl and scores.json, byte for byte.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma_tool_use.conversation import Reply
from gemma_tool_use.errors import ConfigError, FileError
from gemma_tool_use.evaluation.aggregate import Measure, aggregate, scores_to_dict, write_scores
from gemma_tool_use.evaluation.answer_store import AnswerStore
from gemma_tool_use.evaluation.answering import Asker, answer_items
from gemma_tool_use.evaluation.folder import RESULTS, SCORES
from gemma_tool_use.evaluation.records import Result, Suite, items_sha256, judged, write_results

TEMPORARY = ".tmp-"
PROVENANCE, ANSWERS, TIMING = "provenance.json", "answers.jsonl", "timing.json"

MeasuresOf = Callable[[str, Sequence[Result]], Mapping[str, Measure]]
"""Further numbers of a suite: its name and results in, measures by name out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """What an evaluation came to. `scores` is the content of scores.json, `timing` that of timing.json."""

    path: Path
    results: list[Result]
    scores: dict[str, Any]
    timing: dict[str, Any]

    @property
    def errors(self) -> int:
        """Questions without an answer."""
        return sum(suite["total"]["errors"] for suite in self.scores["suites"].values())


def evaluate_in(
    path: Path,
    suites: Sequence[Suite],
    provenance: Mapping[str, Any],
    asker: Callable[[AnswerStore], Asker],
    *,
    parse: Callable[[str], Reply],
    measures_of: MeasuresOf = lambda suite, results: {},
) -> Finished:
    """Asks, judges and writes; goes on where an earlier start of the same evaluation was stopped.

    Args:
      path: folder of this evaluation; made if need be.
      suites: what is asked.
      provenance: JSON values that decide the result: model, adapter, dialect, sampling, versions. The hashes of the
        questions are added.
      asker: makes the one that is asked.
      parse: reads an answer (`Dialect.parse`).
      measures_of: further numbers of a suite.

    Raises:
      ConfigError: the folder holds an evaluation of something else; names what differs.
      FileError: a file cannot be written, or another process writes there.
    """
    whole = {**provenance, "items": {suite.name: items_sha256(suite.items()) for suite in suites}}
    claim(path, whole)
    with AnswerStore(path / ANSWERS) as store:
        items = [(suite, item) for suite in suites for item in suite.items()]
        answers = answer_items([item for _, item in items], asker(store))
    results = [judged(suite, item, answer, parse) for (suite, item), answer in zip(items, answers, strict=True)]
    write_results(path / RESULTS, results)
    by_suite = {suite.name: [result for result in results if result.item.suite == suite.name] for suite in suites}
    measures = {name: measures_of(name, of_suite) for name, of_suite in by_suite.items()}
    scores = scores_to_dict(aggregate(results), provenance=whole, measures=measures)
    write_scores(path / SCORES, scores)
    timing = _timing(results)
    _write_json(path / TIMING, timing)
    return Finished(path=path, results=results, scores=scores, timing=timing)


def claim(path: Path, provenance: Mapping[str, Any]) -> None:
    """Makes the folder of an evaluation, or opens that of the same one.

    Raises:
      ConfigError: it holds another evaluation, or other files.
      FileError: it cannot be written.
    """
    file = path / PROVENANCE
    now = json.loads(json.dumps(provenance))
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            if others := sorted(each.name for each in path.iterdir() if not each.name.startswith(TEMPORARY)):
                raise ConfigError(
                    f"{path} holds {', '.join(others[:3])}, but no evaluation; choose another --output-dir"
                )
            _write_json(file, now)
            return
        before = json.loads(file.read_text(encoding="ascii"))
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{file} is damaged ({error}); move {path} away, or choose another --output-dir") from None
    except OSError as error:
        raise FileError(f"{path} cannot be written ({error.strerror or error}); choose another --output-dir") from None
    if changed := _differences(before, now):
        raise ConfigError(
            f"{path} holds an evaluation of something else, and nothing in it is overwritten. {'; '.join(changed)}. "
            "Give the same flags to continue it, or another --output-dir or --label"
        )


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """`["sampling.temperature: was 0.0, is 0.7"]`."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*before, *now])
        return [one for key in keys for one in _differences(before.get(key), now.get(key), f"{name}.{key}".strip("."))]
    return [] if before == now else [f"{name}: was {_short(before)}, is {_short(now)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _timing(results: Sequence[Result]) -> dict[str, Any]:
    """Seconds of the model, summed over answers; those of earlier starts count as they were measured then."""
    timed = [result.answer for result in results if result.answer.seconds is not None]
    seconds, tokens = sum(answer.seconds or 0.0 for answer in timed), sum(answer.new_tokens for answer in timed)
    return {
        "answers": len(timed),
        "seconds": round(seconds, 3),
        "new_tokens": tokens,
        "prompt_tokens": sum(answer.prompt_tokens for answer in timed),
        "answers_per_second": round(len(timed) / seconds, 3) if seconds else None,
        "new_tokens_per_second": round(tokens / seconds, 3) if seconds else None,
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    try:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="ascii")
        temporary.replace(path)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from None
