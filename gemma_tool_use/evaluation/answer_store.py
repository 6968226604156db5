"""Answers on disk, found again by what they are answers to. A killed evaluation continues where it was.

    with AnswerStore(folder / "answers.jsonl") as store:
        key = answer_key(identity, prompt_tokens)       # sha256 of model, adapter, dialect, sampling and prompt
        if (found := store.get(key)) is None:
            store.put(key, Stored(text="...", prompt_tokens=211, new_tokens=18, seconds=0.4))

Each answer is a line, written when it is there. Of a killed process at most the last line is torn; it is recognised and
taken away. Generation errors are not stored: they are tried again.
"""

import dataclasses
import fcntl
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from gemma_tool_use.errors import DataError, FileError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """What a model wrote: raw text, tokens of prompt and reply, and the seconds it took (None: not measured)."""

    text: str
    prompt_tokens: int
    new_tokens: int
    seconds: float | None = None


def answer_key(identity: Mapping[str, Any], prompt: Sequence[int]) -> str:
    """sha256 of a prompt's tokens and of everything else that decides the answer.

    Args:
      identity: JSON values: model, adapter, dialect, compute dtype, sampling.
      prompt: token ids, `<bos>` included.
    """
    content = json.dumps({"identity": identity, "prompt": list(prompt)}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(content.encode("ascii")).hexdigest()


class AnswerStore:
    """The answers of one file. One process at a time has it open."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
          FileError: it cannot be read or written, or another process has it open.
          DataError: a line before the last is no answer.
        """
        self._path = path
        try:
            self._file = path.open("a+b", buffering=0)  # what was written is the system's, whatever becomes of us
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror or error}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._answers, self.torn = self._read()
        except BlockingIOError:
            self._file.close()
            raise FileError(
                f"another process writes {path}; wait for it, or give this one another --output-dir"
            ) from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Stored | None:
        """The answer of that key, if there is one."""
        return self._answers.get(key)

    def put(self, key: str, answer: Stored) -> None:
        """Writes an answer. It outlives the process from here on.

        Raises:
          FileError: it cannot be written.
        """
        line = memoryview(json.dumps({"key": key, **dataclasses.asdict(answer)}).encode("ascii") + b"\n")
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            raise FileError(
                f"cannot write {self._path}: {error.strerror or error}. What it holds is kept: the same command goes on"
            ) from None
        self._answers[key] = answer

    def _read(self) -> tuple[dict[str, Stored], bool]:
        """The answers, and whether a torn last line was taken away."""
        self._file.seek(0)
        content = self._file.read()
        whole, _, torn = content.rpartition(b"\n")
        if torn:
            self._file.truncate(len(content) - len(torn))
        answers: dict[str, Stored] = {}
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                fields = json.loads(line)
                key = fields.pop("key")
                answers[key] = Stored(**fields)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise DataError(
                    f"{self._path}: line {number} is no stored answer ({error!r}). Take the line away, and its "
                    "question is asked again"
                ) from None
        return answers, bool(torn)
