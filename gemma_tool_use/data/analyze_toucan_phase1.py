"""Analyses the single-turn rows of Toucan, those with one user message: `toucan_analysis_phase1.csv` and a page.

python gemma_tool_use/data/analyze_toucan_phase1.py
python gemma_tool_use/data/analyze_toucan_phase1.py --input toucan/SFT --output analysis

The same as `gemma-tool-use analyze`, with the Toucan hub id as its input and file names of its own.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    # Run by path: Python put this folder first on the path, where modules of common names would be found by accident.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from gemma_tool_use.commands import EXIT_OK, run
from gemma_tool_use.data.analysis.report import AnalyzeConfig, analyze
from gemma_tool_use.data.sources import toucan
from gemma_tool_use.flags import parse
from gemma_tool_use.models.resolve import tokenizer_file
from gemma_tool_use.settings import export_to_libraries, load_settings

STEM = "toucan_analysis_phase1"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0."""
    default = AnalyzeConfig(input=toucan.HUB_ID, source=toucan.NAME)
    config = parse(
        AnalyzeConfig, argv, prog="analyze_toucan_phase1.py", description="Counts Toucan rows.", default=default
    )
    settings = load_settings()
    export_to_libraries(settings)
    tokenizer = tokenizer_file(config.model, cache_dir=settings.cache_dir)
    found = analyze(config, tokenizer, stem=STEM, single_turn=True)
    print(f"{found.statistics.rows:,} of {found.statistics.rows_read:,} rows counted\n{found.html}\n{found.csv}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run(main))
