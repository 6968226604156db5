"""Builds the fingerprints of BFCL v4 that this package ships. Needed again for a new version of the benchmark only.

pip download --no-deps bfcl-eval==2026.3.23 && unzip bfcl_eval-2026.3.23-py3-none-any.whl
python -m gemma_tool_use.data.contamination.build --bfcl bfcl_eval/data --version 2026.3.23
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from gemma_tool_use.commands import EXIT_OK, run
from gemma_tool_use.data.contamination.fingerprints import BFCL, FOLDER, fingerprint, save
from gemma_tool_use.data.contamination.questions import bfcl_questions
from gemma_tool_use.flags import parse


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Flags of `python -m gemma_tool_use.data.contamination.build`."""

    bfcl: Path
    """The folder bfcl_eval/data of the package bfcl-eval."""
    version: str
    """Version of that package, recorded with the fingerprints."""
    output: Path = FOLDER / "bfcl_v4.npz"
    """File to write; a .json with source, version and counts goes beside it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0."""
    config = parse(BuildConfig, argv, prog="python -m gemma_tool_use.data.contamination.build")
    questions = list(bfcl_questions(config.bfcl))
    prints = fingerprint(BFCL, questions)
    about = {
        "source": f"https://pypi.org/project/bfcl-eval/{config.version}/",
        "version": config.version,
        "licence": "Apache-2.0",
        "content": "hashes and MinHash signatures of the user messages of every category; no text",
        "user_messages": len(questions),
    }
    save(prints, config.output, about)
    print(f"{len(prints.items)} questions of {len(questions)} user messages written to {config.output}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run(main))
