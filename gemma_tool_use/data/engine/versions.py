"""The versions of what makes the bytes of a prepared folder: of its plan, and of every worker that helps.

versions()    # {"gemma-tool-use": "0.1.0", "python": "3.11.7", "pyarrow": "26.0.1", "duckdb": "2.0.0", ...}
"""

import importlib.metadata
import platform

from gemma_tool_use import __version__

LIBRARIES = ("pyarrow", "duckdb", "numpy")


def versions() -> dict[str, str]:
    """Read from what is installed; nothing is imported, for a worker needs no duckdb."""
    libraries = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"gemma-tool-use": __version__, "python": platform.python_version(), **libraries}
