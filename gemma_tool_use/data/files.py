"""Reads rows from parquet and JSONL files, a few at a time, and says clearly when a file is not what it seems.

for number, row in parquet_rows(Path("train.parquet"), ("uuid", "messages")): ...
for number, line in jsonl_lines(Path("rows.jsonl.gz")): ...
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from gemma_tool_use.errors import DataError, FileError

BATCH_ROWS = 256
# A line is one conversation; the longest real ones are under 1 MiB. Without a bound a binary file is one endless line.
MAX_LINE_BYTES = 64 * 1024 * 1024


def parquet_columns(path: Path) -> dict[str, pa.DataType]:
    """Column names and Arrow types of a parquet file.

    Raises:
      FileError: the file cannot be opened.
      DataError: it is empty, truncated or not parquet.
    """
    with _open_parquet(path) as file:
        return {field.name: field.type for field in file.schema_arrow}


def parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Row number from 0 and `{column: text}` of each row, `BATCH_ROWS` decoded at a time.

    Raises:
      FileError: the file cannot be opened.
      DataError: not a parquet file, damaged, without one of `columns`, or one of them does not hold text.
    """
    with _open_parquet(path) as file:
        _check_columns(path, file.schema_arrow, columns)
        number = 0
        try:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
                for row in batch.to_pylist():
                    yield number, row
                    number += 1
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is damaged after row {number} ({error}); fetch the file again") from None


def jsonl_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line number from 1 and content of each line that is not blank, without its line end and byte-order mark.

    Reads `.gz` files as well. Only a newline byte ends a line, so U+2028 inside a string does not.

    Raises:
      FileError: the file cannot be opened.
      DataError: damaged gzip data, a JSON array instead of lines, or an endless line.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                if len(line) == MAX_LINE_BYTES:
                    raise DataError(f"{path}:{number} is longer than {MAX_LINE_BYTES} bytes; is this a JSONL file?")
                line = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip()
                if line.startswith(b"[") and number == 1:
                    raise DataError(
                        f"{path} starts with '[': it is a JSON array, but one JSON object per line is expected. "
                        "`jq -c '.[]' FILE > FILE.jsonl` converts it."
                    )
                if line:
                    yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is not a whole gzip file ({error}); fetch the file again") from None
    except OSError as error:
        _cannot_read(path, error)


def strict_json(text: str | bytes) -> Any:
    """`json.loads` that also refuses NaN and Infinity, which are not JSON and which no tool could be sent.

    Raises:
      ValueError: not valid JSON, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def existing(location: str | Path) -> Path:
    """The path, once it is known to exist.

    Raises:
      FileError: no such file or folder.
    """
    path = Path(location).expanduser()
    try:
        path.stat()
    except OSError as error:
        _cannot_read(path, error)
    return path


def identity(path: Path) -> dict[str, Any]:
    """`{"file": name, "bytes": size, "sha256": hex}` of a file."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"file": str(path), "bytes": path.stat().st_size, "sha256": digest}
    except OSError as error:
        _cannot_read(path, error)


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        # Without pre-buffering, one row group of a 300 MB shard is decoded piece by piece instead of held whole.
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=1024 * 1024)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not a whole parquet file ({error}); fetch the file again") from None
    except OSError as error:
        _cannot_read(path, error)


def _check_columns(path: Path, schema: pa.Schema, columns: Sequence[str]) -> None:
    if missing := [name for name in columns if name not in schema.names]:
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))}; its columns are {', '.join(schema.names)}. "
            "Is this the right --source?"
        )
    for name in columns:
        kind = schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
            raise DataError(
                f"{path}: column {name!r} is {kind}, expected text. Store tools and messages as JSON strings: an Arrow "
                "struct fills every absent argument with null."
            )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _cannot_read(path: Path, error: OSError) -> NoReturn:
    raise FileError(f"cannot read {path}: {error.strerror or error}") from None
