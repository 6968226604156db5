"""Our BFCL rule and the leaderboard's own checker, on every question with right and with changed answers.

    uv run python benchmarks/bfcl_rule.py                               # writes bfcl_rule.json
    uv run python benchmarks/bfcl_rule.py --seed 7 --mutations 20 --official-python venv/bin/python

Every question of the ten categories with right answers is judged with each of its right answers and with changed ones
(`tests/bfcl_mutations.py`), by `rule.match` here and by bfcl-eval's `ast_checker` in an environment of its own, which
uv makes (376 MB at the first run). The questions ask for few forms of Java and JavaScript, so random source code is
read as every type by both, too. One other verdict, reason or value ends the run with the answer that did it.
"""

import argparse
import collections
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from bfcl_mutations import mutate, right_answers, source_text  # noqa: E402  # pyright: ignore[reportMissingImports]

from gemma_tool_use.bfcl_files import PREFIX, VERSION, data_folder  # noqa: E402
from gemma_tool_use.conversation import ToolCall  # noqa: E402
from gemma_tool_use.evaluation.bfcl.expected import read_expected  # noqa: E402
from gemma_tool_use.evaluation.bfcl.languages import LANGUAGES  # noqa: E402
from gemma_tool_use.evaluation.bfcl.official import ask  # noqa: E402
from gemma_tool_use.evaluation.bfcl.rule import match  # noqa: E402
from gemma_tool_use.evaluation.bfcl.suite import CATEGORIES, expects, language_of  # noqa: E402
from gemma_tool_use.settings import environment_without_secrets  # noqa: E402

REASONS = {
    "wrong_count": "wrong_count",
    "wrong_func_name": "wrong_function",
    "missing_required": "missing_argument",
    "missing_optional": "missing_argument",
    "unexpected_param": "unknown_argument",
    "type_error": "wrong_type",
    "value_error": "wrong_value",
    "dict_checker": "wrong_value",
    "list_dict_checker": "wrong_value",
}
"""What the checker's error types are in our words; the last or the first part of one decides."""
Case = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description="Our BFCL rule beside the leaderboard's checker.")
    parser.add_argument("--bfcl", type=Path, help="folder of the package bfcl-eval; default: the installed one")
    parser.add_argument("--mutations", type=int, default=12, help="of each question; of Java and JavaScript ten times")
    parser.add_argument("--sources", type=int, default=1_000, help="texts read as each type of Java and JavaScript")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--official-python", type=Path, help="a Python that has bfcl-eval; default: uv makes one")
    arguments = parser.parse_args()
    start = time.perf_counter()
    cases = list(all_cases(data_folder(arguments.bfcl), arguments.mutations, arguments.seed))
    sources = list(all_sources(arguments.sources, arguments.seed))
    with tempfile.TemporaryDirectory() as folder:
        settings = {"python": arguments.official_python, "environment": environment_without_secrets()}
        verdicts = ask("check", cases, Path(folder), **settings)
        values = ask("read", sources, Path(folder), **settings)
    report = {
        "command": "uv run python benchmarks/bfcl_rule.py",
        "bfcl_eval": VERSION,
        "seed": arguments.seed,
        "different_verdicts": 0,  # the first would have ended the run
        "different_reasons": 0,
        **compare(cases, verdicts),
        "different_values": 0,
        **compare_values(sources, values),
        "seconds": round(time.perf_counter() - start, 1),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    (HERE / "bfcl_rule.json").write_text(json.dumps(report, indent=2) + "\n")
    print(
        f"{report['answers']:,} answers, the same verdict every time; {report['source_texts']:,} values, all the same"
    )


def all_cases(data: Path, mutations: int, seed: int) -> Iterator[Case]:
    """Right and changed answers to every question that has right answers."""
    for category in CATEGORIES:
        if expects(category) != "calls":
            continue
        language, name = language_of(category), f"{PREFIX}{category}.json"
        answers = (data / "possible_answer" / name).read_text(encoding="utf-8").splitlines()
        for question, answer in zip((data / name).read_text(encoding="utf-8").splitlines(), answers, strict=True):
            row, truth = json.loads(question), json.loads(answer)["ground_truth"]
            rng = random.Random(f"{row['id']}:{seed}")
            right = right_answers(read_expected(truth, row["function"], language), language)
            changed = [
                mutate(rng.choice(right), row["function"], language, rng)
                for _ in range(mutations * (1 if language == "python" else 10))
            ]
            for change, calls in [*(("right", calls) for calls in right), *changed]:
                yield {
                    "id": row["id"],
                    "change": change,
                    "category": category,
                    "language": language,
                    "kind": "Prompt",
                    "functions": row["function"],
                    "answers": truth,
                    "calls": calls,
                }


def compare(cases: list[Case], verdicts: list[str | None]) -> dict[str, Any]:
    """Counts; ends the program at the first difference."""
    by_category, by_change = collections.Counter[str](), collections.Counter[str]()
    accepted, raised, reasons = collections.Counter[str](), collections.Counter[str](), collections.Counter[str]()
    for case, official in zip(cases, verdicts, strict=True):
        calls = [ToolCall(name=name, arguments=arguments) for name, arguments in case["calls"]]
        mismatch = match(calls, read_expected(case["answers"], case["functions"], case["language"]), case["language"])
        ours = mismatch and mismatch.failure
        if (ours is None) != (official is None) or (official and not same_reason(official, ours)):
            sys.exit(f"ours {ours}, official {official}: {json.dumps({**case, 'functions': None})[:3000]}")
        by_category[case["category"]] += 1
        by_change[case["change"]] += 1
        accepted[case["change"]] += official is None
        raised[case["change"]] += bool(official and official.startswith("raises"))
        reasons[ours or "right"] += 1
    return {
        "answers": len(cases),
        "changed_answers": len(cases) - by_change["right"],
        "by_category": dict(by_category),
        "by_change": {
            name: {"answers": n, "right": accepted[name], "checker_raised": raised[name]}
            for name, n in by_change.items()
        },
        "reasons": dict(reasons.most_common()),
    }


def all_sources(count: int, seed: int) -> Iterator[Case]:
    """Source code to be read as each type, elements as each type."""
    for language in ("java", "javascript"):
        rules, rng = LANGUAGES[language], random.Random(f"{language}:{seed}")
        for kind in rules.types:
            for items in rules.types if kind in rules.with_items else [None]:
                for _ in range(count):
                    yield {"language": language, "text": source_text(kind, rng), "type": kind, "items": items}


def compare_values(sources: list[Case], values: list[str | None]) -> dict[str, Any]:
    """Counts; ends the program at the first difference."""
    read, raised = collections.Counter[str](), 0
    for case, official in zip(sources, values, strict=True):
        reader = LANGUAGES[case["language"]].read
        assert reader is not None
        value = reader(case["text"], case["type"], case["items"])
        if official is not None and official.startswith("raises"):
            raised += 1
        elif repr(value) != official:
            sys.exit(f"ours {value!r}, official {official}: {json.dumps(case)}")
        read[type(value).__name__] += 1
    return {"source_texts": len(sources), "values_by_type": dict(read.most_common()), "reader_raised": raised}


def same_reason(official: str, ours: str | None) -> bool:
    """Where the checker raises, or says only that a call does not fit, it gives no reason to compare."""
    first, _, last = official.partition(":")
    if official.startswith("raises") or last == "cannot_find_match":
        return True
    return REASONS.get(last, REASONS.get(first)) == ours


if __name__ == "__main__":
    main()
