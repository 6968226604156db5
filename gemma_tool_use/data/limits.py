"""How large a row, and how expansive a compressed file, may be before it is refused.

    expansion = Expansion(Path("rows.jsonl.gz"))
    expansion.add(len(piece))        # DataError once the file gives more than 1,000 times its size

No JAX.
"""

from pathlib import Path
from typing import NoReturn

from gemma_tool_use.errors import DataError, FileError

MAX_ROW_BYTES = 16 * 1024 * 1024
"""Of one row. The longest conversations of published sets have about 1 MiB; parsed, JSON takes up to 25 times more."""
MAX_EXPANSION = 1000
"""Bytes that a stored byte may stand for. JSON compresses 3 to 30 times, a column of few values a few hundred times."""
UNSUSPICIOUS_BYTES = 64 * 1024 * 1024


class Expansion:
    """Counts what was unpacked from a file, and refuses more than `MAX_EXPANSION` times what is stored."""

    def __init__(self, path: Path, stored: int | None = None) -> None:
        """`stored` is the number of stored bytes, by default those of the file."""
        try:
            self._stored = path.stat().st_size if stored is None else stored
        except OSError as error:
            cannot_read(path, error)
        self._path, self._unpacked = path, 0

    def add(self, size: int) -> None:
        """Counts `size` more bytes.

        Raises:
          DataError: they are too many.
        """
        self._unpacked += size
        if self._unpacked > max(UNSUSPICIOUS_BYTES, MAX_EXPANSION * self._stored):
            raise DataError(
                f"{self._path} unpacks to more than {self._unpacked:,} bytes from {self._stored:,}, "
                f"over {MAX_EXPANSION} times as much: no data set does. Check where the file comes from."
            )


def cannot_read(path: Path, error: OSError) -> NoReturn:
    """The file is there or not, but cannot be read.

    Raises:
      FileError: always.
    """
    raise FileError(f"cannot read {path}: {error.strerror or error}") from None
