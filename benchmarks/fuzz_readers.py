"""Many thousands of spoilt rows of every source: what each reader made of them, and that none raised an error.

    uv run python benchmarks/fuzz_readers.py                    # 20,000 of each source; writes fuzz_readers.json
    uv run python benchmarks/fuzz_readers.py --mutations 1000 --seed 7 --source glaive

Rows and mutations are those of `tests/source_rows.py` and `tests/row_mutations.py`. An outcome is the reason of a
reject, by the reader or by a rule that is on by default, or `kept`: then the conversation came back from JSON as it
was. An error that escapes, or a conversation that does not survive, ends the run with the row that did it.
"""

import argparse
import collections
import json
import platform
import random
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from row_mutations import mutate, outcome_of  # noqa: E402  # pyright: ignore[reportMissingImports]
from source_rows import ROWS  # noqa: E402  # pyright: ignore[reportMissingImports]

from gemma_tool_use.data.rejects import BAD_REASONS, short  # noqa: E402
from gemma_tool_use.data.sources.registry import SOURCES  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="Spoilt rows of every source, and what the readers made of them.")
    parser.add_argument("--mutations", type=int, default=20_000, help="of each source")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--source", choices=[*SOURCES], help="only this one; nothing is written")
    arguments = parser.parse_args()
    names = [arguments.source] if arguments.source else [*SOURCES]
    start = time.perf_counter()
    results = {name: fuzz(name, arguments.mutations, arguments.seed) for name in names}
    report = {
        "mutations": arguments.mutations * len(names),
        "errors": 0,  # the first would have ended the run
        "seed": arguments.seed,
        "seconds": round(time.perf_counter() - start, 1),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "sources": results,
    }
    if not arguments.source:
        (HERE / "fuzz_readers.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"{report['mutations']:,} rows in {report['seconds']} s, no error")


def fuzz(name: str, mutations: int, seed: int) -> dict[str, object]:
    """Counts by outcome, the most frequent first, and the longest that one row took."""
    rng, outcomes, slowest = random.Random(f"{name}:{seed}"), collections.Counter[str](), 0.0
    for i in range(mutations):
        row = mutate(ROWS[name][i % len(ROWS[name])], rng)
        start = time.perf_counter()
        try:
            outcomes[outcome_of(SOURCES[name], row)] += 1
        except Exception:
            print(f"{name}, seed {seed}, mutation {i}: {short(row, 2000)}", file=sys.stderr)
            raise
        slowest = max(slowest, time.perf_counter() - start)
    print(f"{name:22}{outcomes['kept']:7,} kept of {mutations:,}; slowest row {slowest:.3f} s")
    unreadable = sum(n for reason, n in outcomes.items() if reason in BAD_REASONS)
    return {
        "kept": outcomes["kept"],
        "rejected by the reader as unreadable": unreadable,
        "slowest_seconds": round(slowest, 3),
        "outcomes": dict(outcomes.most_common()),
    }


if __name__ == "__main__":
    main()
