"""The command `gemma-tool-use analyze`: what a set of conversations holds, as a CSV, plots and one HTML page.

    gemma-tool-use analyze --source openai-jsonl --input rows.jsonl --output analysis

writes `analysis/analysis.csv`, `analysis.html` and `analysis_plots/`: subsets, turns, tools used and offered, argument
types, token lengths in every dialect, what each length limit would lose, duplicates, languages, faults, sample rows.
"""

import sys
from collections.abc import Sequence

from gemma_tool_use.commands import EXIT_OK, run
from gemma_tool_use.data.analysis.report import AnalyzeConfig, analyze
from gemma_tool_use.flags import parse
from gemma_tool_use.models.resolve import tokenizer_file
from gemma_tool_use.settings import export_to_libraries, load_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0."""
    config = parse(AnalyzeConfig, argv, prog="gemma-tool-use analyze", description="Counts what conversations hold.")
    settings = load_settings()
    export_to_libraries(settings)
    tokenizer = tokenizer_file(config.model, cache_dir=settings.cache_dir)
    found = analyze(config, tokenizer, stem="analysis")
    print(f"{found.statistics.rows:,} of {found.statistics.rows_read:,} rows counted\n{found.html}\n{found.csv}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run(main))
