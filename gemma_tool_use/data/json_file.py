"""Rows of a JSONL file or of a JSON array, one at a time, each also gzipped.

    for number, row in read_lines(Path("rows.jsonl.gz")): ...      # number of the line, from 1
    for number, row in read_array(Path("rows.json")): ...          # number of the row, from 0

A line that is no JSON object, or longer than `MAX_ROW_BYTES`, is a `Reject`, and reading goes on; a JSON array that is
broken cannot be read beyond that place. Neither file is ever held whole. No JAX.
"""

import contextlib
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

import orjson

from gemma_tool_use.data.limits import MAX_ROW_BYTES, Expansion, cannot_read
from gemma_tool_use.data.rejects import BROKEN_LINE, ROW_TOO_LARGE, Reject, short
from gemma_tool_use.errors import DataError

ENDLESS = 16 * MAX_ROW_BYTES
"""A line as long as this ends the reading: whatever it is, it is not a file of lines."""
MAX_BLANK_LINES = 100_000
"""In a row. Gzip packs a thousand of them into a byte, so they would keep a reader busy for hours."""
_CHUNK = _HEAD = 1024 * 1024
Row = dict[str, Any] | Reject


def strict_json(text: str | bytes) -> Any:
    """`json.loads` of UTF-8 that also refuses what is no JSON or fits no tool: NaN, Infinity, 1e999, endless nesting.

    Integers of any length come out exact. Of a key that stands twice the last value counts, as for `json` itself;
    `formats.json_value.read_json`, with which the arguments of calls are read, refuses it.

    Raises:
      ValueError: not valid JSON, not UTF-8, or nested deeper than 254 levels.
    """
    try:
        value = _DECODER.decode(text if isinstance(text, str) else text.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return shallow(value)


def shallow(value: Any) -> Any:
    """The JSON value, once it is known to have at most 254 levels, so that no later walk over it runs out of stack.

    Raises:
      ValueError: it has more.
    """
    try:
        orjson.dumps(value)  # refuses more levels, in a microsecond
    except TypeError:  # or it holds an integer of more than 64 bits, or half of a surrogate pair
        level = [value]
        for _ in range(255):
            level = [
                item
                for each in level
                if isinstance(each, dict | list)
                for item in (each.values() if isinstance(each, dict) else each)
            ]
            if not level:
                return value
        raise ValueError("nested too deeply") from None
    return value


def read_lines(path: Path, start: int = 0, stop: int | None = None, number: int = 1) -> Iterator[tuple[int, Row]]:
    """Number and row of each line that is not blank. Raises as `jsonl_lines`."""
    for at, line in jsonl_lines(path, start, stop, number):
        try:
            yield at, line if isinstance(line, Reject) else _row(strict_json(line))
        except ValueError as error:
            yield at, Reject(reason=BROKEN_LINE, detail=f"{error}: {short(line)}")


def jsonl_lines(
    path: Path, start: int = 0, stop: int | None = None, number: int = 1
) -> Iterator[tuple[int, bytes | Reject]]:
    """Line number and content of each line that is not blank, without its line end and byte-order mark.

    Args:
      path: the file; `.gz` is unpacked.
      start: byte at which a line starts; not 0 only in a file that is not gzipped.
      stop: byte at which a line starts, not read any more; None for the end.
      number: of the line at `start`.

    Only a newline byte ends a line, so U+2028 inside a string does not. A line over `MAX_ROW_BYTES` is a `Reject`.

    Raises:
      FileError: the file cannot be opened.
      DataError: damaged or bottomless gzip data, an endless line, or endless empty lines.
    """
    with _reading(path) as (file, expansion):
        if start:
            file.seek(start)
        position, blank = start, 0
        while (stop is None or position < stop) and (line := file.readline(MAX_ROW_BYTES + 1)):
            size = len(line)
            while not line.endswith(b"\n") and size > MAX_ROW_BYTES and (more := file.readline(_CHUNK)):
                size += len(more)
                if size > ENDLESS:
                    raise DataError(f"{path}:{number} is longer than {ENDLESS:,} bytes; is this a JSONL file?")
                if more.endswith(b"\n"):
                    break
            expansion.add(size)
            if size > MAX_ROW_BYTES + 1:
                yield number, Reject(reason=ROW_TOO_LARGE, detail=f"{size:,} bytes, more than {MAX_ROW_BYTES:,}")
            elif line := (line.removeprefix(b"\xef\xbb\xbf") if position == 0 else line).strip():
                yield number, line
            blank = 0 if line else blank + 1
            if blank > MAX_BLANK_LINES:
                raise DataError(f"{path}:{number} follows {MAX_BLANK_LINES:,} empty lines; is this a JSONL file?")
            position += size
            number += 1


def line_cuts(path: Path, lines: int) -> Iterator[tuple[int, int]]:
    """Byte and number of every so many-th line: `(0, 1), (81920, 1001), ...` for 1,000 lines.

    Raises: as `jsonl_lines`.
    """
    with _reading(path) as (file, _):
        position, number = 0, 1
        cut: tuple[int, int] | None = (0, 1)
        while piece := file.read(_CHUNK):
            at = 0
            while True:
                if cut is not None:  # a line starts here: there is something to read
                    yield cut
                    cut = None
                at = piece.find(b"\n", at) + 1
                if not at:
                    break
                number += 1
                if (number - 1) % lines == 0:
                    cut = (position + at, number)
                if at == len(piece):
                    break
            position += len(piece)


def read_array(path: Path) -> Iterator[tuple[int, Row]]:
    """Number and row of each element of a JSON array.

    Raises:
      FileError: the file cannot be opened.
      DataError: not a JSON array, broken JSON, an element over `MAX_ROW_BYTES`, or damaged or bottomless gzip data.
    """
    with _reading(path) as (file, expansion):
        # utf-8-sig takes a byte-order mark away. Lines are no matter here, so none is translated.
        text = _Text(path, io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), expansion)
        number = 0
        text.expect("[")
        if text.peek() != "]":
            yield number, _row(text.value(number))
            while text.peek() == ",":
                text.expect(",")
                number += 1
                yield number, _row(text.value(number))
        text.expect("]")
        if text.peek():
            text.broken("something follows the array")


def starts_with(path: Path) -> str:
    """The character with which a file starts, white space aside; `""` when there is none.

    Raises:
      FileError: the file cannot be opened.
      DataError: it is a parquet or gzip file under another name, damaged gzip data, or one JSON object over many lines.
    """
    with _reading(path) as (file, _):
        head = file.read(_HEAD)
    for magic, kind in ((b"PAR1", "a parquet"), (b"\x1f\x8b", "a gzip")):
        if head.startswith(magic):
            raise DataError(f"{path} is {kind} file, not what its name says; give it the right suffix")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    first, _, rest = text.partition(b"\n")
    if first.strip() == b"{" and rest.strip():
        raise DataError(f"{path} is one JSON object over many lines; expected an array, or one row on each line")
    return text[:1].decode("latin-1")


class _Text:
    """The text of a file from a position on, of which never more than a row is held."""

    def __init__(self, path: Path, file: io.TextIOWrapper, expansion: Expansion) -> None:
        self._path, self._file, self._expansion = path, file, expansion
        self._text, self._at, self._whole = "", 0, False

    def peek(self) -> str:
        """The next character that is not white space; `""` at the end."""
        while True:
            self._at = _after_space(self._text, self._at)
            if self._at < len(self._text) or not self._more(_CHUNK):
                return self._text[self._at : self._at + 1]

    def expect(self, char: str) -> None:
        """Goes behind the character, which comes next."""
        if self.peek() != char:
            self.broken(f"expected {char!r}")
        self._at += 1

    def value(self, number: int) -> Any:
        """The JSON value that comes next."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                shallow(value)
            except json.JSONDecodeError as error:
                problem = error.msg
            except (ValueError, RecursionError) as error:
                self.broken(f"row {number}: {error}")
            else:
                # A number may go on in the next piece, so a value counts once something follows it.
                if end - self._at <= MAX_ROW_BYTES and (end < len(self._text) or self._whole):
                    self._at = end
                    return value
                problem = "it does not end"
            held = len(self._text) - self._at
            if held > MAX_ROW_BYTES:
                self.broken(f"row {number} is longer than {MAX_ROW_BYTES:,} characters or broken: {problem}")
            # Twice as much each time, so that a long row is not parsed from its start over and over.
            if not self._more(max(_CHUNK, held)):
                self.broken(f"row {number}: {problem}")

    def broken(self, problem: str) -> NoReturn:
        near = short(self._text[self._at : self._at + 60])
        raise DataError(f"{self._path} is not a whole JSON array of rows: {problem}, at {near}") from None

    def _more(self, size: int) -> bool:
        """Takes up to `size` more characters; False when it was known already that all are there."""
        if self._whole:
            return False
        piece = self._file.read(size)
        self._expansion.add(len(piece))
        self._text, self._at, self._whole = self._text[self._at :] + piece, 0, not piece
        return True


def _after_space(text: str, position: int) -> int:
    match = json.decoder.WHITESPACE.match(text, position)  # pyright: ignore[reportAttributeAccessIssue]
    return match.end()


def _row(value: Any) -> Row:
    return value if isinstance(value, dict) else Reject(reason=BROKEN_LINE, detail=f"no JSON object: {short(value)}")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[tuple[BinaryIO, Expansion]]:
    """The file, unpacked, and the count of what it gives; its errors are the project's."""
    expansion = Expansion(path)
    try:
        with path.open("rb") as file:
            if path.suffix != ".gz":
                yield file, expansion
                return
            with gzip.GzipFile(fileobj=file) as unpacked, io.BufferedReader(unpacked, _CHUNK) as buffered:  # pyright: ignore[reportArgumentType]
                yield cast(BinaryIO, buffered), expansion
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is not a whole gzip file ({error}); fetch the file again") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason}); convert it, or fetch the file again") from None
    except OSError as error:
        cannot_read(path, error)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is more than a number can hold")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant)
