"""How well the model calls tools while it is being trained, and the best one so far in a folder of its own.

    watch = AccuracyWatch(folder.best, every=100, steps=1000, measure=measure, save=save)
    if watch.due(200):
        watch.look(200)               # {"exact": 0.63, "tool_call_accuracy": 0.95, ...}; saves when 0.63 is a new best
    watch.best                        # Best(step=200, values={"exact": 0.63, ...})

The best is the one with the highest `exact`, of equals the earliest. It is written under a temporary name and renamed,
so `best/` is whole whenever a run is killed.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gemma_tool_use.errors import FileError

CHOSEN_BY = "exact"
"""The measure that decides which checkpoint is best."""
BEST_JSON = "best.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Best:
    """A step and what was measured after it."""

    step: int
    values: dict[str, float]


class AccuracyWatch:
    """Measures every so many steps and after the last one."""

    def __init__(
        self,
        folder: Path,
        *,
        every: int,
        steps: int,
        measure: Callable[[], Mapping[str, float]],
        save: Callable[[Path, int], Any],
    ) -> None:
        """
        Args:
          folder: where the best model is kept; that of a run which is continued counts.
          every: optimizer steps between measurements.
          steps: of the whole run.
          measure: asks the model as it is now; has `CHOSEN_BY` among its names.
          save: writes the model as it is now into a folder, as the one of a step.

        Raises:
          FileError: the folder holds a best model that cannot be read.
        """
        self._folder, self._every, self._steps = folder, every, steps
        self._measure, self._save = measure, save
        self._seen: set[int] = set()
        self.best = read_best(folder)

    def measured_before(self, step: int) -> None:
        """Tells of a measurement that the log has already."""
        self._seen.add(step)

    def due(self, step: int) -> bool:
        """Whether the model after `step` steps is still to be measured."""
        return step > 0 and step not in self._seen and (step % self._every == 0 or step == self._steps)

    def look(self, step: int) -> Mapping[str, float]:
        """Measures, and keeps the model if it is the best so far.

        Raises:
          FileError: it cannot be written.
        """
        self._seen.add(step)
        values = dict(self._measure())
        if self.best is None or values[CHOSEN_BY] > self.best.values[CHOSEN_BY]:
            self.best = Best(step=step, values=values)
            self._keep(self.best)
        return values

    def _keep(self, best: Best) -> None:
        new, old = (self._folder.with_name(f".{which}-{self._folder.name}") for which in ("new", "old"))
        try:
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)
            new.mkdir(parents=True)
            self._save(new, best.step)
            (new / BEST_JSON).write_text(json.dumps(dataclasses.asdict(best), indent=2) + "\n", encoding="ascii")
            if self._folder.exists():
                self._folder.rename(old)
            new.rename(self._folder)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise FileError(f"the best model cannot be written to {self._folder}: {error.strerror or error}") from None


def read_best(folder: Path) -> Best | None:
    """What a run's best model is; None without one.

    Raises:
      FileError: it cannot be read.
    """
    # Between two renames of a killed run there is the old one only.
    for place in (folder, folder.with_name(f".old-{folder.name}")):
        try:
            content = json.loads((place / BEST_JSON).read_text(encoding="ascii"))
            values = {str(name): float(value) for name, value in content["values"].items()}
            return Best(step=int(content["step"]), values=values)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(f"{place / BEST_JSON} cannot be read ({error!r}); move {place} away") from None
    return None
