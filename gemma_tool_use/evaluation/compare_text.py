"""What `compare` prints: tables, one sentence a category, the items that changed; or all of it as JSON values.

sentence("multiple", score, 3)
# "B is better on multiple: +12.5 points [+5.5, +20.0], p = 0.001, 0.004 after Holm for 3 categories"
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma_tool_use.evaluation.paired import Pair, PairedScore, PairedSuite, Rule
from gemma_tool_use.evaluation.records import Result
from gemma_tool_use.pages.row_parts import call_text
from gemma_tool_use.visible import one_line

WIDTH = 150
_HEAD = ("items", "A", "B", "B - A", "95 %", "fixed", "broken", "p", "p (Holm)")
_CHANGES = {1: "fixed", -1: "broken"}


def as_text(
    folders: tuple[Path, Path], rule: Rule, pairs: Sequence[Pair], suites: Mapping[str, PairedSuite], *, show: int
) -> str:
    """The text of the command's example; of each category `show` fixed and `show` broken items."""
    sides = {"A": [pair.a for pair in pairs], "B": [pair.b for pair in pairs]}
    errors = {name: sum(result.answer.error is not None for result in side) for name, side in sides.items()}
    lines = [
        f"A  {folders[0]}",
        f"B  {folders[1]}",
        f"{rule} rule, {_many(len(pairs), 'item')} of both",
        *(f"{name} has no answer to {_many(n, 'item')}; they count as wrong" for name, n in errors.items() if n),
    ]
    if unlike := sum(not pair.shown_alike for pair in pairs):
        lines.append(f"{_many(unlike, 'item')} were shown with another system text, or with tools written otherwise")
    for name, suite in suites.items():
        lines += ["", *_table(name, suite)]
    tested = sum(len(suite.categories) for suite in suites.values())
    for name, suite in suites.items():
        lines += ["", *(sentence(category, score, tested) for category, score in suite.categories.items())]
        if len(suite.categories) > 1:
            lines.append(sentence(f"all of {name}", suite.total, 1))
    if show:
        lines += _changed_lines(pairs, rule, show)
    return "\n".join(lines)


def sentence(where: str, score: PairedScore, tested: int) -> str:
    """Who is better there, by how much, and how sure that is."""
    difference = f"{points(score.difference)} points [{points(score.low)}, {points(score.high)}]"
    chance = f"p {_p_phrase(score.p)}"
    if tested > 1:
        chance += f", {_p_text(score.adjusted)} after Holm for {tested} categories"
    if score.judgement != "unclear":
        return f"B is {score.judgement} on {where}: {difference}, {chance}"
    if not score.fixed + score.broken:
        return f"No difference on {where}: no item of {score.count:,} changed"
    return f"No clear difference on {where}: {difference}, {chance}"


def as_json(
    folders: tuple[Path, Path], rule: Rule, pairs: Sequence[Pair], suites: Mapping[str, PairedSuite]
) -> dict[str, Any]:
    """Everything, as JSON values."""
    return {
        "a": str(folders[0]),
        "b": str(folders[1]),
        "rule": rule,
        "items": len(pairs),
        "suites": {
            name: {
                "total": _score_json(suite.total),
                "categories": {category: _score_json(score) for category, score in suite.categories.items()},
            }
            for name, suite in suites.items()
        },
        "changed": [_pair_json(pair, _CHANGES[pair.change(rule)]) for pair in pairs if pair.change(rule)],
    }


def points(share: float) -> str:
    """`points(0.125)` gives `+12.5`."""
    return f"{100 * share:+.1f}"


def _table(name: str, suite: PairedSuite) -> list[str]:
    rows = [(name, *_HEAD), *(_row(category, score) for category, score in suite.categories.items())]
    if len(suite.categories) > 1:
        rows.append(_row("all", suite.total))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_padded(row, widths)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    return (
        cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )


def _row(name: str, score: PairedScore) -> tuple[str, ...]:
    return (
        one_line(name, 40),
        f"{score.count:,}",
        f"{score.right_a / score.count:.1%}",
        f"{score.right_b / score.count:.1%}",
        points(score.difference),
        f"[{points(score.low)}, {points(score.high)}]",
        str(score.fixed),
        str(score.broken),
        _p_text(score.p),
        _p_text(score.adjusted),
    )


def _p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _p_phrase(p: float) -> str:
    return _p_text(p) if p < 0.001 else f"= {_p_text(p)}"


def _changed_lines(pairs: Sequence[Pair], rule: Rule, show: int) -> list[str]:
    groups: dict[tuple[str, str], dict[int, list[Pair]]] = {}
    for pair in pairs:
        group = groups.setdefault((pair.item.suite, pair.item.category), {1: [], -1: [], 0: []})
        group[pair.change(rule)].append(pair)
    changed = [(name, change, group[change]) for (_, name), group in groups.items() for change in _CHANGES]
    lines = []
    for category, change, group in changed:
        if group:
            lines += ["", f"{category}, {_CHANGES[change]}: {min(show, len(group))} of {len(group)}"]
        for pair in group[:show]:
            lines += _pair_lines(pair, rule)
    return lines


def _pair_lines(pair: Pair, rule: Rule) -> list[str]:
    asked = pair.item.conversation.messages[-1].content
    right = "; ".join(map(call_text, pair.item.expected_calls)) or "no call"
    return [
        one_line(f"{pair.item.id}: {asked}", WIDTH),
        "  expected  " + one_line(right, WIDTH),
        *(f"  {name} {_answer_line(result, rule)}" for name, result in (("A", pair.a), ("B", pair.b))),
    ]


def _answer_line(result: Result, rule: Rule) -> str:
    right = getattr(result.verdict, rule)
    text = f"no answer: {result.answer.error}" if result.answer.error is not None else result.answer.text.strip()
    failure = "" if right or not result.verdict.failure else f"{result.verdict.failure}: "
    return f"{'right' if right else 'wrong'}   " + one_line(failure + (text or "nothing was written"), WIDTH)


def _score_json(score: PairedScore) -> dict[str, Any]:
    return dataclasses.asdict(score) | {"difference": score.difference, "judgement": score.judgement}


def _pair_json(pair: Pair, change: str) -> dict[str, Any]:
    item = pair.item
    sides = {
        name: {"text": result.answer.text, "error": result.answer.error, "failure": result.verdict.failure}
        for name, result in (("a", pair.a), ("b", pair.b))
    }
    return {
        "suite": item.suite,
        "category": item.category,
        "id": item.id,
        "change": change,
        "question": item.conversation.messages[-1].content,
        "expected_calls": [dataclasses.asdict(call) for call in item.expected_calls],
        **sides,
    }


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
