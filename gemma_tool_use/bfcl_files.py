"""Where the files of the Berkeley Function-Calling Leaderboard v4 are. They come with PyPI's bfcl-eval.

    data_folder()                                  # of the installed package, which is not imported
    data_folder(Path("bfcl_eval"))                 # of an unpacked one: that folder, or the folder data in it

Training data is kept apart from these questions and the evaluation asks them, so both find them here.
"""

import importlib.util
from pathlib import Path

from gemma_tool_use.errors import DataError

VERSION = "2026.3.23"
"""Of bfcl-eval: the release that questions, rule and official scoring were compared with."""
PACKAGE = "bfcl_eval"
INSTALL = f"uv pip install --no-deps bfcl-eval=={VERSION}"
"""Without its dependencies, which ask for another NumPy than JAX; only its data is read here."""
PREFIX = "BFCL_v4_"
QUESTION_FILES = (f"{PREFIX}*.json", "memory_prereq_conversation/*.json")
NOT_QUESTIONS = f"{PREFIX}format_sensitivity.json"
"""Ids of the other files' questions."""


def data_folder(given: Path | None = None) -> Path:
    """The folder that holds `BFCL_v4_*.json`.

    Args:
      given: that folder, the one above it, or None for the installed package.

    Raises:
      DataError: no such folder; says how to install the package.
    """
    if given is None:
        package = importlib.util.find_spec(PACKAGE)
        places = [Path(place) / "data" for place in (package.submodule_search_locations or ())] if package else []
        if not places:
            raise DataError(f"the questions of BFCL come with the package bfcl-eval, which is not installed: {INSTALL}")
    else:
        given = given.expanduser()
        places = [given, given / "data", given / PACKAGE / "data"]
    for place in places:
        if any(place.glob(QUESTION_FILES[0])):
            return place
    raise DataError(
        f"{given or places[0]} holds no {QUESTION_FILES[0]}; expected the folder {PACKAGE}/data of bfcl-eval: {INSTALL}"
    )


def question_files(folder: Path) -> list[Path]:
    """Every file of questions in a data folder, in the order of the names."""
    files = [file for pattern in QUESTION_FILES for file in sorted(folder.glob(pattern))]
    return [file for file in files if file.name != NOT_QUESTIONS]
