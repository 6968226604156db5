"""The command `gemma-tool-use report`: writes the page of an evaluation anew.

    $ gemma-tool-use report runs/lora                                   every evaluation of that run
    runs/lora/evaluation/gemma-3-270m/report.html
    runs/lora/evaluation/lora/report.html
    $ gemma-tool-use report runs/lora/evaluation/lora --base runs/other/evaluation/gemma-3-270m

`evaluate` writes the same page at its end. It holds everything it shows: it can be mailed, printed, read on a phone.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from gemma_tool_use.commands import EXIT_OK, run
from gemma_tool_use.evaluation.folder import find_evaluations
from gemma_tool_use.evaluation.page.build import write_report
from gemma_tool_use.flags import name_first_words, parse


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Flags of `gemma-tool-use report`."""

    evaluation: Path
    """Evaluation folder, or a run folder for all of its evaluations; also taken as the first word."""
    base: Path | None = None
    """Evaluation to compare with; none for that of the same model without its adapter, if it stands beside."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0."""
    words = name_first_words(sys.argv[1:] if argv is None else argv, ("evaluation",))
    description = "Writes the page of an evaluation: scores, failures, curves, answers to read."
    config = parse(ReportConfig, words, prog="gemma-tool-use report", description=description)
    for folder in find_evaluations(config.evaluation):
        print(write_report(folder, base=config.base))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run(main))
