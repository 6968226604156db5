"""A trace holds the steps it should, and whole ones; a run that is too short says that it has none."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from gemma_tool_use.training.step_trace import step_trace


class Trainer:
    """What a trace asks of a trainer, and a step that shows in it."""

    def __init__(self) -> None:
        self.train_steps = 0
        self.model = nnx.Dict(weight=nnx.Param(jnp.ones(4)))

    def step(self) -> None:
        with jax.profiler.TraceAnnotation(f"step number {self.train_steps + 1}"):
            self.model.weight.set_value(self.model.weight.get_value() * 2)
        self.train_steps += 1


def train(folder, *, traced: int, steps: int, fails: bool = False) -> None:
    trainer = Trainer()
    with step_trace(folder, steps=traced) as trace:
        for _ in range(steps):
            if trace:
                trace.before_step(trainer)
            trainer.step()
        if fails:
            raise OSError("disk full")
        if trace:
            trace.stop(trainer)


def steps_in(folder) -> set[str]:
    (file,) = folder.rglob("perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    return {event["name"] for event in events if event.get("name", "").startswith("step number")}


def test_a_trace_holds_the_steps_after_the_second_and_says_how_to_open_it(tmp_path, capsys):
    train(tmp_path, traced=2, steps=6)
    assert steps_in(tmp_path) == {"step number 3", "step number 4"}
    assert list(tmp_path.rglob("*.xplane.pb"))
    said = capsys.readouterr().err
    assert "trace of steps 3 to 4: tensorboard --logdir" in said
    assert "ui.perfetto.dev" in said


def test_a_run_that_ends_sooner_has_the_trace_of_what_it_took(tmp_path, capsys):
    train(tmp_path, traced=10, steps=3)
    assert steps_in(tmp_path) == {"step number 3"}
    assert "trace of steps 3 to 3" in capsys.readouterr().err


def test_a_run_of_two_steps_says_that_there_is_no_trace(tmp_path, capsys):
    train(tmp_path, traced=1, steps=2)
    assert not list(tmp_path.iterdir())
    assert "no more than 2 steps, so there is no trace" in capsys.readouterr().err


def test_a_run_that_fails_leaves_no_trace_running(tmp_path):
    with pytest.raises(OSError, match="disk full"):
        train(tmp_path / "failed", traced=5, steps=4, fails=True)
    train(tmp_path / "next", traced=1, steps=4)
    assert steps_in(tmp_path / "next") == {"step number 3"}


def test_without_the_flag_nothing_is_traced(tmp_path, capsys):
    train(tmp_path, traced=0, steps=4)
    assert not list(tmp_path.iterdir())
    assert not capsys.readouterr().err
