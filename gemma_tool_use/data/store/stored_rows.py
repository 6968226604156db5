"""Encoded rows and texts that stay on disk until they are asked for.

rows = StoredRows(files, lengths, targets)
rows[7]                      # Encoded, read and checked by ArrayRecord's checksums
rows.take([7, 2])            # a sequence of two rows
rows.sizes.lengths           # tokens of every row, without reading one
"""

import functools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, final, overload

import grain
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rows import RowSequence, RowSizes
from gemma_tool_use.data.store.record import unpack
from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.encode import Encoded


@final
class StoredRows:
    """Rows of a store in its order, or those at given places. Can be sent to a worker process, which opens it anew.

    Attributes:
      sizes: tokens and trained targets of each row.
    """

    def __init__(self, files: Sequence[Path], sizes: RowSizes, places: np.ndarray | None = None) -> None:
        self._files, self.sizes, self._places = files, sizes, places

    def __len__(self) -> int:
        return len(self.sizes.lengths)

    def __getitem__(self, index: int, /) -> Encoded:
        """
        Raises:
          DataError: the record on disk is damaged.
        """
        place = range(len(self))[index] if self._places is None else int(self._places[index])
        try:
            return unpack(self._source[place])
        except (RuntimeError, ValueError, IndexError) as error:
            folder = self._files[0].parent
            raise DataError(
                f"row {place} of the tokenised rows in {folder} cannot be read ({error}). The next start finds the "
                "damage and tokenises again; --resume continues from the newest checkpoint"
            ) from None

    def __iter__(self) -> Iterator[Encoded]:
        return (self[index] for index in range(len(self)))

    def take(self, indices: Iterable[int]) -> "StoredRows":
        """The rows at `indices`, in that order."""
        chosen = np.fromiter(indices, np.int64)
        places = chosen if self._places is None else self._places[chosen]
        return StoredRows(self._files, self.sizes.take(chosen), places)

    @functools.cached_property
    def _source(self) -> grain.sources.ArrayRecordDataSource:
        return grain.sources.ArrayRecordDataSource([str(path) for path in self._files])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_source"}


@final
class StoredTexts(Sequence[str]):
    """A text column of a store's index; iterating holds a few at a time, asking for one reads the column."""

    def __init__(self, index: Path, column: str, places: np.ndarray | range) -> None:
        self._index, self._column, self._places = index, column, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredTexts": ...
    def __getitem__(self, index: int | slice) -> "str | StoredTexts":
        if isinstance(index, slice):
            return StoredTexts(self._index, self._column, np.asarray(self._places)[index])
        return self._texts[int(self._places[index])].as_py()

    def __iter__(self) -> Iterator[str]:
        whole = isinstance(self._places, range)
        return self._stream() if whole else (self[index] for index in range(len(self)))

    def take(self, indices: Iterable[int]) -> "StoredTexts":
        """The texts at `indices`, in that order."""
        return StoredTexts(self._index, self._column, np.asarray(self._places)[np.fromiter(indices, np.int64)])

    def _stream(self) -> Iterator[str]:
        with pq.ParquetFile(self._index) as file:
            for batch in file.iter_batches(columns=[self._column]):
                yield from batch.column(0).to_pylist()

    @functools.cached_property
    def _texts(self) -> pa.ChunkedArray:
        return pq.read_table(self._index, columns=[self._column]).column(0)


@final
class StoredRejects(Collection[Reject]):
    """The rejects of a store, read one at a time."""

    def __init__(self, file: Path, count: int) -> None:
        self._file, self._count = file, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Reject]:
        with self._file.open(encoding="ascii") as lines:
            for line in lines:
                yield Reject(**json.loads(line))

    def __contains__(self, reject: object) -> bool:
        return any(reject == one for one in self)


def pick(rows: RowSequence, indices: Sequence[int]) -> RowSequence:
    """The rows at `indices`, in that order; those of a store stay on disk."""
    return rows.take(indices) if isinstance(rows, StoredRows) else [rows[i] for i in indices]


def pick_texts(texts: Sequence[str], indices: Sequence[int]) -> Sequence[str]:
    """The texts at `indices`, in that order; those of a store stay on disk."""
    return texts.take(indices) if isinstance(texts, StoredTexts) else [texts[i] for i in indices]
