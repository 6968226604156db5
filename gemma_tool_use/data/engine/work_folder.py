"""The folder in which a run keeps what it has finished, so that the same command goes on after a kill.

    with open_work_folder(Path("prepared/toucan"), plan) as work:      # prepared/toucan.partial
        ...
        work.publish()                                                 # prepared/toucan

`plan` says what the result depends on: the inputs with their sha256, the settings, the seed, the versions. A folder
that another plan began is refused, because its finished parts would not fit; so is one that another process works in.
"""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gemma_tool_use.data.engine.atomic import remove_temporary, sync, write_json
from gemma_tool_use.errors import FileError

PLAN_FILE, LOCK_FILE, UNITS, RESULT = "plan.json", "lock", "units", "result"


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkFolder:
    """Where a run keeps its work.

    Attributes:
      path: the folder.
      output: what the result will be called.
      continued: whether there was work to go on with.
      finished: whether the run was killed after its output was complete.
    """

    path: Path
    output: Path
    continued: bool
    finished: bool

    @property
    def units(self) -> Path:
        return self.path / UNITS

    @property
    def result(self) -> Path:
        return self.path / RESULT

    def publish(self) -> None:
        """Makes `result` the output, in one step, and removes the rest."""
        if self.output.exists():
            self.output.rmdir()  # it was found empty
        self.result.rename(self.output)
        sync(self.output.parent)
        self.remove()

    def remove(self) -> None:
        """Removes the work; the plan last, so that a kill in between leaves what is understood."""
        shutil.rmtree(self.units, ignore_errors=True)
        shutil.rmtree(self.path)


@contextlib.contextmanager
def open_work_folder(output: Path, plan: Mapping[str, Any]) -> Iterator[WorkFolder]:
    """The work folder beside `output`, new or continued, for this process alone.

    Raises:
      FileError: the output exists with content, the folder cannot be made, another plan began it, or another process
        works in it.
    """
    output = output.expanduser().absolute()
    path = output.with_name(output.name + ".partial")
    try:
        taken = output.exists() and (not output.is_dir() or any(output.iterdir()))
        finished = taken and (path / PLAN_FILE).exists() and not (path / RESULT).exists()
        if taken and not finished:
            raise FileError(f"{output} exists already; nothing is overwritten. Choose another --output")
        path.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            continued = _same_plan(path, plan)
            if not finished:
                for folder in (path / UNITS, path / RESULT):
                    folder.mkdir(exist_ok=True)
                for folder in (path, path / UNITS, path / RESULT):
                    remove_temporary(folder)
            yield WorkFolder(path=path, output=output, continued=continued, finished=finished)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot write {output}: {error.strerror or error}") from None


def _same_plan(path: Path, plan: Mapping[str, Any]) -> bool:
    try:
        begun = json.loads((path / PLAN_FILE).read_text(encoding="ascii"))
    except FileNotFoundError:
        write_json(path / PLAN_FILE, plan)
        return False
    asked = json.loads(json.dumps(plan))
    if begun != asked:
        raise FileError(
            f"{path} holds the unfinished work of another run, with other {_difference(begun, asked)}. Give that "
            "command again to finish it, or remove the folder to start anew"
        )
    return True


def _difference(begun: Any, asked: Any, name: str = "") -> str:
    """The path of the first value that differs, with both: `settings.seed (0, now 1)`."""
    if isinstance(begun, dict) and isinstance(asked, dict):
        for key in sorted(begun.keys() | asked.keys()):
            if begun.get(key) != asked.get(key):
                return _difference(begun.get(key), asked.get(key), f"{name}.{key}".removeprefix("."))
    if isinstance(begun, list) and isinstance(asked, list) and len(begun) == len(asked):
        for number, (first, second) in enumerate(zip(begun, asked, strict=True)):
            if first != second:
                return _difference(first, second, f"{name}[{number}]")
    return f"{name} ({json.dumps(begun):.120}, now {json.dumps(asked):.120})"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The lock goes away with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows: two runs at once into one folder are not noticed
        yield
        return
    with (path / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileError(f"another process is preparing {path.with_suffix('')}; wait for it or stop it") from None
        yield
