"""Every answer that was received, one a line, on the disk before it is used: what makes a killed run continue.

    {"format": 1, "settings": {"model": "qwen3-32b", "seed": 0, ...}}
    {"step": "0", "text": "{\"requests\": [...]}", "tokens": [812, 96], "counted": true, "model": "qwen3-32b"}
    {"step": "0.1", "fault": "answer was cut off", "tokens": [640, 2048], "counted": true}
    {"lost": "no whole answer within 120 s", "tokens": [700, 2048]}

Lines are only appended, each followed by fsync. What a kill leaves of the last line is cut off. Rows are derived from
the answers alone, so nothing else has to survive: no row can be lost or doubled, and no answer is paid for twice except
those that were under way.
"""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from gemma_tool_use.data.files import strict_json
from gemma_tool_use.data.rejects import short
from gemma_tool_use.data.teacher.cost import Tokens
from gemma_tool_use.data.teacher.exchange import Answer
from gemma_tool_use.errors import ConfigError, DataError, FileError

FORMAT = 1
_MAX_LINE_BYTES = 2 * 1024 * 1024


class Journal:
    """An open journal; a context manager. One process at a time can hold it.

    Attributes:
      answers: every answer so far, by step.
      tokens: all tokens so far, those of lost attempts included.
      uncounted: how many entries of `tokens` are estimates, because the endpoint did not say.
      lost: how many attempts may have been charged without an answer.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        """Opens or begins the journal.

        Raises:
          FileError: it cannot be read or written, or another process holds it.
          DataError: a line before the last is damaged.
          ConfigError: it was begun with other settings; names them.
        """
        self.path = path
        self.answers: dict[str, Answer] = {}
        self.tokens = Tokens()
        self.uncounted = self.lost = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("a+b")
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror or error}") from None
        try:
            _lock(self._file, path)
            self._load(settings)
        except OSError as error:
            self._file.close()
            raise error if isinstance(error, FileError) else FileError(f"cannot read {path}: {error}") from None
        except ValueError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, step: str, answer: Answer, tokens: Tokens) -> None:
        """Records an answer; `tokens` are charged for it. On the disk when it returns.

        Raises:
          FileError: the disk is full or gone.
        """
        line: dict[str, Any] = {"step": step, "text": answer.text, "fault": answer.fault, "model": answer.model}
        self._append(line | {"tokens": [tokens.sent, tokens.written], "counted": answer.tokens is not None})
        self._take(step, answer, tokens)

    def add_lost(self, problem: str, tokens: Tokens) -> None:
        """Records an attempt that brought no answer and may be charged all the same."""
        self._append({"lost": problem, "tokens": [tokens.sent, tokens.written]})
        self._take_lost(tokens)

    def _take(self, step: str, answer: Answer, tokens: Tokens) -> None:
        self.answers[step] = answer
        self.tokens += tokens
        self.uncounted += answer.tokens is None

    def _take_lost(self, tokens: Tokens) -> None:
        self.tokens += tokens
        self.lost += 1

    def _append(self, line: dict[str, Any]) -> None:
        try:
            # ASCII: a teacher can spell a lone surrogate, which UTF-8 has no form for.
            self._file.write(json.dumps(line).encode("ascii") + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise FileError(f"cannot write {self.path}: {error.strerror or error}") from None

    def _load(self, settings: dict[str, Any]) -> None:
        self._file.seek(0)
        number = whole = 0
        while line := self._file.readline(_MAX_LINE_BYTES):
            if not line.endswith(b"\n") and len(line) < _MAX_LINE_BYTES:
                break  # the line that was being written when the run was killed
            number += 1
            self._read_line(line, number, settings)
            whole = self._file.tell()
        self._file.truncate(whole)
        if not whole:
            self._append({"format": FORMAT, "settings": settings})
            _sync_folder(self.path.parent)

    def _read_line(self, line: bytes, number: int, settings: dict[str, Any]) -> None:
        try:
            entry = strict_json(line)
            if number == 1:
                begun = {"format": entry["format"], **entry["settings"]}
                self._compare(begun, {"format": FORMAT, **settings})
                return
            tokens = Tokens(sent=int(entry["tokens"][0]), written=int(entry["tokens"][1]))
            if "lost" in entry:
                self._take_lost(tokens)
            else:
                answer = Answer(
                    text=str(entry["text"]),
                    fault=str(entry["fault"]),
                    tokens=tokens if entry["counted"] else None,
                    model=str(entry["model"]),
                )
                self._take(str(entry["step"]), answer, tokens)
        except ConfigError:
            raise
        except (ValueError, KeyError, TypeError, IndexError):
            raise DataError(
                f"{self.path}:{number} is damaged: {short(line[:80])}. Delete this line (its answer is asked for "
                "again), or choose another --output"
            ) from None

    def _compare(self, begun: dict[str, Any], now: dict[str, Any]) -> None:
        changed = [key for key in now | begun if begun.get(key) != now.get(key)]
        if changed:
            was = "; ".join(f"{key} was {short(begun.get(key), 60)}, is {short(now.get(key), 60)}" for key in changed)
            raise ConfigError(
                f"{self.path} was begun with other settings ({was}). Repeat them, or choose another --output"
            )


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileError(f"{path} is in use by another run; wait for it or choose another --output") from None


def _sync_folder(folder: Path) -> None:
    """Makes the name of a new file survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
