"""From results to the numbers of scores.json: per category right answers with intervals, failure classes, examples.

    suites = aggregate(results)                               # results of one model
    multiple = suites["bfcl"].categories["multiple"]
    multiple.official                                         # Share(right=110, count=200, low=0.4808, high=0.6174)
    multiple.failures["wrong_value"]                          # FailureClass(count=31, examples=("multiple_3", ...))
    write_scores(folder / "scores.json", scores_to_dict(suites, provenance={...}))

A generation error is an item that is not right, and is counted apart. Nothing here depends on the clock.
"""

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma_tool_use.errors import DataError, FileError
from gemma_tool_use.evaluation.records import FAILURES, Result, items_sha256
from gemma_tool_use.evaluation.statistics import wilson

MOST_EXAMPLES = 20


@dataclasses.dataclass(frozen=True)
class Share:
    """`right` of `count` with the 95 % Wilson interval."""

    right: int
    count: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """Between 0 and 1; 0 of nothing is 0."""
        return self.right / self.count if self.count else 0.0


@dataclasses.dataclass(frozen=True)
class FailureClass:
    """How many answers failed for one reason, and the ids of the first of them."""

    count: int
    examples: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """What one category came to.

    Attributes:
      count: items.
      errors: items without an answer; not right under either rule.
      official: right by the rule that published figures follow.
      strict: right, and where no call is wanted there is also no broken attempt at one.
      failures: of the items that are not right under the strict rule, by `Verdict.failure`; adds up to their number.
      called: replies with at least one call that could be read.
      broken: replies with something that could not be read as a call.
      prompt_tokens: of all prompts.
      new_tokens: of all replies.
    """

    count: int
    errors: int
    official: Share
    strict: Share
    failures: dict[str, FailureClass]
    called: int
    broken: int
    prompt_tokens: int
    new_tokens: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuiteScores:
    """Scores of a suite: of each category in the order of its items, and over all items as if they were one."""

    total: Score
    categories: dict[str, Score]
    items_sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that only one suite has, such as the share of right argument values.

    Attributes:
      value: the number, between 0 and 1.
      count: how many things it is the share or mean of.
      low, high: its 95 % interval, where one is known.
    """

    value: float
    count: int
    low: float | None = None
    high: float | None = None


def share(right: int, count: int) -> Share:
    """`share(110, 200)` gives `Share(right=110, count=200, low=0.4808, high=0.6174)`."""
    interval = wilson(right, count)
    return Share(right, count, interval.low, interval.high)


def share_measure(right: int, count: int) -> Measure:
    """A measure that counts: with its Wilson interval."""
    counted = share(right, count)
    return Measure(value=counted.value, count=count, low=counted.low, high=counted.high)


def aggregate(results: Sequence[Result]) -> dict[str, SuiteScores]:
    """Suite name to its scores, in the order of the results.

    Raises:
      DataError: no results, an item twice, or a verdict that says both right and wrong.
    """
    if not results:
        raise DataError("there are no results to score")
    suites: dict[str, dict[str, Result]] = {}
    for result in results:
        item, verdict = result.item, result.verdict
        if item.id in suites.setdefault(item.suite, {}):
            raise DataError(f"item {item.id!r} of suite {item.suite} has two results; it would count twice")
        if verdict.strict == (verdict.failure is not None):
            raise DataError(
                f"item {item.id!r} of suite {item.suite} is {'' if verdict.strict else 'not '}right and its failure is "
                f"{verdict.failure}; a verdict has a failure exactly when it is not right"
            )
        suites[item.suite][item.id] = result
    return {name: _suite(list(of_suite.values())) for name, of_suite in suites.items()}


def scores_to_dict(
    suites: Mapping[str, SuiteScores],
    *,
    provenance: Mapping[str, Any],
    measures: Mapping[str, Mapping[str, Measure]] | None = None,
) -> dict[str, Any]:
    """The content of scores.json.

    {"provenance": {...},
     "suites": {"bfcl": {"items_sha256": "...", "total": SCORE, "categories": {"multiple": SCORE}, "measures": {}}}}

    where a SCORE is {"count": 200, "errors": 0, "official": {"right": 110, "count": 200, "value": 0.55, "low": ...,
    "high": ...}, "strict": {...}, "failures": {"wrong_value": {"count": 31, "examples": [...]}}, "called": 199, ...}.

    Args:
      suites: from `aggregate`.
      provenance: what was asked how: model, adapter, dialect, sampling, versions; JSON values.
      measures: further numbers by suite and name.
    """
    extra = measures or {}
    return {
        "provenance": dict(provenance),
        "suites": {
            name: {
                "items_sha256": suite.items_sha256,
                "total": _score_to_dict(suite.total),
                "categories": {category: _score_to_dict(score) for category, score in suite.categories.items()},
                "measures": {key: dataclasses.asdict(measure) for key, measure in extra.get(name, {}).items()},
            }
            for name, suite in suites.items()
        },
    }


def write_scores(path: Path, content: Mapping[str, Any]) -> None:
    """Writes scores.json; the file is there whole or not at all.

    Raises:
      FileError: it cannot be written.
    """
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="ascii")
        temporary.replace(path)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _suite(results: Sequence[Result]) -> SuiteScores:
    categories: dict[str, list[Result]] = {}
    for result in results:
        categories.setdefault(result.item.category, []).append(result)
    return SuiteScores(
        total=_score(results),
        categories={category: _score(group) for category, group in categories.items()},
        items_sha256=items_sha256(result.item for result in results),
    )


def _score(results: Sequence[Result]) -> Score:
    failed: dict[str, list[str]] = collections.defaultdict(list)
    for result in results:
        if result.verdict.failure is not None:
            failed[result.verdict.failure].append(result.item.id)
    return Score(
        count=len(results),
        errors=sum(result.answer.error is not None for result in results),
        official=share(sum(result.verdict.official for result in results), len(results)),
        strict=share(sum(result.verdict.strict for result in results), len(results)),
        failures={
            name: FailureClass(len(failed[name]), tuple(failed[name][:MOST_EXAMPLES]))
            for name in FAILURES
            if name in failed
        },
        called=sum(bool(result.reply.calls) for result in results),
        broken=sum(bool(result.reply.errors) for result in results),
        prompt_tokens=sum(result.answer.prompt_tokens for result in results),
        new_tokens=sum(result.answer.new_tokens for result in results),
    )


def _score_to_dict(score: Score) -> dict[str, Any]:
    content = dataclasses.asdict(score)
    for rule in ("official", "strict"):
        content[rule]["value"] = getattr(score, rule).value
    return content
