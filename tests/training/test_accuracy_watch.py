"""When a model in training is measured, and which one is kept as the best."""

import json
import shutil

import pytest

from gemma_tool_use.errors import FileError
from gemma_tool_use.training.accuracy import AccuracyWatch, Best, read_best


class Model:
    """Has the next of the scripted accuracies at each measurement."""

    def __init__(self, *exact):
        self.exact, self.saved = list(exact), []

    def measure(self):
        return {"exact": self.exact.pop(0), "errors": 0.0}

    def save(self, folder, step):
        self.saved.append(step)
        (folder / "weights").write_text(str(step))


def watch(folder, model, **changes):
    return AccuracyWatch(
        folder / "best", **{"every": 10, "steps": 25} | changes, measure=model.measure, save=model.save
    )


def kept(folder):
    best = read_best(folder / "best")
    return best and best.step


def test_a_model_is_measured_every_so_many_steps_and_after_the_last(tmp_path):
    found = watch(tmp_path, Model(0.0))
    assert [step for step in range(26) if found.due(step)] == [10, 20, 25]
    found.look(10)
    found.measured_before(20)
    assert [step for step in range(26) if found.due(step)] == [25]


def test_the_best_is_kept_whole_and_of_equals_the_earliest(tmp_path):
    model = Model(0.2, 0.5, 0.5, 0.4)
    found = watch(tmp_path, model)
    for step in (10, 20, 25, 30):
        found.look(step)
    assert model.saved == [10, 20]
    assert found.best == read_best(tmp_path / "best") == Best(step=20, values={"exact": 0.5, "errors": 0.0})
    assert (tmp_path / "best" / "weights").read_text() == "20"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_continued_run_has_to_beat_what_it_had(tmp_path):
    watch(tmp_path, Model(0.5)).look(10)
    model = Model(0.5, 0.6)
    found = watch(tmp_path, model)
    found.look(20)
    assert model.saved == []
    found.look(25)
    assert (model.saved, kept(tmp_path)) == ([25], 25)


def test_a_run_killed_between_two_renames_has_its_best_still(tmp_path):
    watch(tmp_path, Model(0.5)).look(10)
    (tmp_path / "best").rename(tmp_path / ".old-best")
    found = watch(tmp_path, Model(0.4, 0.9))
    assert found.best == Best(step=10, values={"exact": 0.5, "errors": 0.0})
    found.look(20)
    found.look(25)
    assert kept(tmp_path) == 25


def test_a_save_that_fails_leaves_the_best_that_was(tmp_path):
    watch(tmp_path, Model(0.5)).look(10)

    def full(folder, step):
        raise OSError(28, "No space left on device")

    later = Model(0.9)
    later.save = full
    with pytest.raises(FileError, match="No space left on device"):
        watch(tmp_path, later).look(20)
    assert kept(tmp_path) == 10


def test_a_damaged_best_is_told_of(tmp_path):
    watch(tmp_path, Model(0.5)).look(10)
    (tmp_path / "best" / "best.json").write_text(json.dumps({"step": 10}))
    with pytest.raises(FileError, match=r"best\.json cannot be read"):
        watch(tmp_path, Model())
    shutil.rmtree(tmp_path / "best")
    assert watch(tmp_path, Model()).best is None
