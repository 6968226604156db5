"""Whole runs that are killed, taken away, fed bad numbers, or run out of disk: what they end with and what they say."""

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_model import write_tiny_model

import gemma_tool_use.training.fit as fit_module
import gemma_tool_use.training.train_gemma3_270m_tool_calling as command
from gemma_tool_use.commands import EXIT_INTERRUPTED, EXIT_MISTAKE, EXIT_OK, run
from gemma_tool_use.conversation import conversation_to_dict
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.models.adapter import read_adapter
from gemma_tool_use.models.gemma3 import tiny
from gemma_tool_use.training.feed import BatchFeed
from gemma_tool_use.training.progress import ProgressHooks

STEPS = 16
SETTINGS = (
    "--max-length 1200 --no-packing --rank 2 --batch-size 1 --epochs 2 --learning-rate 0.01 --eval-share 0.2 "
    "--eval-every 4 --save-every 3 --keep 3 --log-every 1 --spike-window 4 --max-skipped 3 "
    "--dialect gemma_json_compact --dtype float32"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("safe")
    write_tiny_model(home / "model", tiny(num_layers=1, sliding_window=24, hidden_dim=64))
    rows = generate(count=10, seed=3, kinds={"one_call": 1.0})
    (home / "rows.jsonl").write_text("".join(json.dumps(conversation_to_dict(row)) + "\n" for row in rows))
    return home


def flags(home, folder, *more):
    where = ["--model", str(home / "model"), "--data", str(home / "rows.jsonl"), "--output-dir", str(folder)]
    return [*where, *SETTINGS.split(), *more]


@pytest.fixture(scope="module")
def undisturbed(home):
    assert run(command.main, flags(home, home / "undisturbed")) == EXIT_OK
    return home / "undisturbed"


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def by_step(folder):
    """Everything logged, without what depends on the clock; a number that is logged twice fails."""
    found = {}
    for line in lines(folder):
        for name, value in line.items():
            if name not in ("step", "train/tokens_per_second"):
                assert (line["step"], name) not in found
                found[line["step"], name] = value
    return found


def assert_same_run(one, other):
    """Every bit of the adapter, every metric once, the same curve, the same newest checkpoint."""
    first, second = read_adapter(one)[1], read_adapter(other)[1]
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert by_step(one) == by_step(other)
    assert curve(one) == curve(other)
    assert json.loads((other / "run.json").read_text())["status"] == "finished"


def curve(folder):
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, str(event.value)) for event in events.Scalars("train/loss")]


def child(arguments):
    """In a process of its own, which does not get to its end."""
    run(command.main, arguments)


def wait_for_step(file, step, process, before):
    """Until the run, rather than the one before it whose file it replaces, has logged so many steps."""
    while process.is_alive():
        if inode(file) not in (None, before) and file.read_text().count("train/loss") >= step:
            return
        time.sleep(0.002)


def inode(file):
    return file.stat().st_ino if file.exists() else None


def test_runs_killed_at_random_moments_resume_to_the_same_bits_and_read_no_row_again(home, undisturbed, monkeypatch):
    draw = random.Random(7)
    # The libraries are loaded once; every run is a process of its own all the same.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([command.__name__, fit_module.__name__])
    folder, seen = home / "killed", []
    for last in (7, 14):
        process = context.Process(target=child, args=(flags(home, folder, *(["--resume"] if seen else [])),))
        before = inode(folder / "metrics.jsonl")
        process.start()
        wait_for_step(folder / "metrics.jsonl", draw.randint(max(seen, default=1), last), process, before)
        time.sleep(draw.uniform(0, 0.05))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        steps = [int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit()]
        seen.append(max(steps, default=0))
    fed, batches = [], BatchFeed.__iter__

    def count(feed):
        for batch in batches(feed):
            if feed._steps == STEPS:  # rather than the one batch that the memory needed is worked out with
                fed.append(batch)
            yield batch

    monkeypatch.setattr(BatchFeed, "__iter__", count)
    assert run(command.main, flags(home, folder, "--resume")) == EXIT_OK
    assert seen == sorted(seen)
    assert 0 < seen[-1] < STEPS
    assert len(fed) == STEPS - seen[-1]
    assert_same_run(undisturbed, folder)


def after_step(monkeypatch, wanted, action):
    original = ProgressHooks.on_train_step_end

    def hook(self, trainer, step, loss):
        original(self, trainer, step, loss)
        if step == wanted:
            action()

    monkeypatch.setattr(ProgressHooks, "on_train_step_end", hook)


@pytest.mark.parametrize(
    ("signals", "name", "code"),
    [([signal.SIGTERM] * 2, "SIGTERM", EXIT_OK), ([signal.SIGINT], "SIGINT", EXIT_INTERRUPTED)],
)
def test_a_machine_taken_away_or_ctrl_c_costs_no_step(home, undisturbed, monkeypatch, capsys, signals, name, code):
    folder = home / name
    after_step(monkeypatch, 7, lambda: [os.kill(os.getpid(), number) for number in signals])
    assert run(command.main, flags(home, folder)) == code
    monkeypatch.undo()
    told = capsys.readouterr()
    assert "stopping after this step and saving a checkpoint; Ctrl-C once more stops at once" in told.err
    assert f"stopped by {name}; the same command with --resume continues at step 8" in told.out
    assert json.loads((folder / "run.json").read_text())["status"] == f"stopped by {name}"
    assert (folder / "checkpoints" / "8").is_dir()
    assert run(command.main, flags(home, folder, "--resume")) == EXIT_OK
    assert "continuing after step 8" in capsys.readouterr().err
    assert_same_run(undisturbed, folder)


def test_full_fine_tuning_taken_away_ends_in_the_same_weights(home, monkeypatch):
    """Its weights are donated to the step, and saved while the next one runs."""

    def full(folder):
        return " ".join(flags(home, folder, "--method", "full")).replace(" --rank 2 ", " ").split()

    folders = home / "full", home / "full-taken-away"
    assert run(command.main, full(folders[0])) == EXIT_OK
    after_step(monkeypatch, 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert run(command.main, full(folders[1])) == EXIT_OK
    monkeypatch.undo()
    assert run(command.main, [*full(folders[1]), "--resume"]) == EXIT_OK
    assert by_step(folders[0]) == by_step(folders[1])
    for wanted in (path for path in folders[0].rglob("*.safetensors")):
        assert wanted.read_bytes() == (folders[1] / wanted.relative_to(folders[0])).read_bytes()
    newest = [max(int(path.name) for path in (folder / "checkpoints").iterdir()) for folder in folders]
    assert newest == [STEPS, STEPS]


def test_a_signal_during_an_evaluation_does_not_wait_for_its_end(home, undisturbed, monkeypatch):
    evaluated, original = [], fit_module.EvalBatches.__iter__

    def stop_at_the_third(self):
        for batch in original(self):
            evaluated.append(batch)
            if len(evaluated) == 1:  # of the two batches of the evaluation after step 4
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(fit_module.EvalBatches, "__iter__", stop_at_the_third)
    assert run(command.main, flags(home, home / "evaluating")) == EXIT_OK
    assert len(evaluated) == 1
    monkeypatch.undo()
    assert run(command.main, flags(home, home / "evaluating", "--resume")) == EXIT_OK
    assert_same_run(undisturbed, home / "evaluating")


def test_a_finished_run_resumed_stays_as_it_is(home, undisturbed):
    folder = Path(shutil.copytree(undisturbed, home / "again"))
    assert run(command.main, flags(home, folder, "--resume", "--save-every", "1", "--log-every", "5")) == EXIT_OK
    assert_same_run(undisturbed, folder)


def test_a_run_falls_back_from_a_damaged_checkpoint_and_ends_in_the_same_bits(home, undisturbed, capsys):
    folder = Path(shutil.copytree(undisturbed, home / "damaged"))
    place = folder / "checkpoints" / str(STEPS) / "run_state" / "metadata"
    place.write_text(place.read_text().replace('"next_index": 16', '"next_index": 12'))
    assert run(command.main, flags(home, folder, "--resume")) == EXIT_OK
    assert (
        "warning: the checkpoint of step 16 is damaged (run_state has another sha256 than when it was saved); it is "
        f"now {folder / 'checkpoints' / 'damaged-16'}. Continuing from the one of step 15\n"
    ) in capsys.readouterr().err
    assert_same_run(undisturbed, folder)


def test_a_disk_that_fills_up_stops_the_run_which_goes_on_when_there_is_room(home, undisturbed, monkeypatch, capsys):
    disk = home / "disk"
    disk.mkdir()
    command_line = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command_line, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root; test_checkpoints.py limits the size of files instead")
    try:
        after_step(monkeypatch, 6, lambda: fill(disk / "filler"))
        assert run(command.main, flags(home, disk / "run")) == EXIT_MISTAKE
        monkeypatch.undo()
        error = capsys.readouterr().err.splitlines()[-1]
        assert re.fullmatch(
            rf"error: {disk}/run/checkpoints cannot be written: No space left on device; [\d,]+ bytes are free there\. "
            r"The newest whole checkpoint is that of step [136]\. A checkpoint takes [\d,]+ bytes, and up to 4 exist "
            r"at a time \(--keep 3\)\. Free some space, or move the folder to where there is some, and go on with "
            r"--resume",
            error,
        ), error
        (disk / "filler").unlink()
        assert run(command.main, flags(home, disk / "run", "--resume")) == EXIT_OK
        assert_same_run(undisturbed, disk / "run")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(path):
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def plant(monkeypatch, factors):
    """The loss of step k becomes factors[k] times what it is, and its gradient with it."""
    original = fit_module.batches

    def poisoned(*args, **kwargs):
        stream = original(*args, **kwargs)
        elements = type(stream).__iter__

        def iterate(self):
            for step, element in enumerate(elements(self), start=self.state()["next_index"] + 1):
                factor = np.float32(factors.get(step, 1.0))
                yield element | {"normalizer": np.asarray(element["normalizer"] / factor)}

        monkeypatch.setattr(type(stream), "__iter__", iterate)
        monkeypatch.setattr(fit_module, "batches", original)
        return stream

    monkeypatch.setattr(fit_module, "batches", poisoned)


ROW = r"synthetic:train:3:\d+:[\w:.]+"


@pytest.mark.parametrize(
    ("factor", "why"),
    [(np.nan, r"loss or gradient is not finite \(nan\)"), (50.0, r"the loss is a spike \(\d{3}\.?\d*\)")],
)
def test_a_bad_step_is_skipped_counted_and_its_rows_named(home, monkeypatch, capsys, factor, why):
    name = "nan" if np.isnan(factor) else "spike"
    plant(monkeypatch, {6: factor})
    assert run(command.main, flags(home, home / name)) == EXIT_OK
    monkeypatch.undo()
    assert re.search(rf"^step 6 is skipped: {why}\. Rows: {ROW}$", capsys.readouterr().err, re.MULTILINE)
    skipped = [line["train/skipped_steps"] for line in lines(home / name) if "train/skipped_steps" in line]
    assert skipped == [0.0] * 5 + [1.0] * (STEPS - 5)
    assert json.loads((home / name / "run.json").read_text())["skipped_steps"] == 1
    assert all(np.isfinite(array).all() for array in read_adapter(home / name)[1].values())
    for loss in (line["train/loss"] for line in lines(home / name) if line.get("step", 0) > 6 and "train/loss" in line):
        assert 0 < float(loss) < 10


def test_a_nan_before_a_checkpoint_is_not_in_it(home, monkeypatch, capsys):
    """Step 6 is saved. What it leaves and what a run killed right after it resumes to are the same."""
    plant(monkeypatch, {6: np.nan})
    after_step(monkeypatch, 6, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert run(command.main, flags(home, home / "nan-stopped")) == EXIT_OK
    monkeypatch.undo()
    assert run(command.main, flags(home, home / "nan-stopped", "--resume")) == EXIT_OK
    assert_same_run(home / "nan", home / "nan-stopped")


def test_bad_steps_in_a_row_stop_the_run_with_rows_and_checkpoint_named(home, monkeypatch, capsys):
    plant(monkeypatch, {5: np.inf, 7: np.nan, 8: 80.0, 9: np.nan})
    assert run(command.main, flags(home, home / "stopped")) == EXIT_MISTAKE
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(
        r"error: 3 steps in a row had to be skipped, so the run stops \(--max-skipped 3\)\. Their losses never reached "
        r"the weights\. The newest checkpoint is of step 6\. Lower --learning-rate, take spikes as they are with "
        rf"--spike-sd 0, or look at these rows: step 7, loss or gradient is not finite \(nan\): {ROW}; step 8, the "
        rf"loss is a spike \([\d.]+\): {ROW}; step 9, loss or gradient is not finite \(nan\): {ROW}",
        error,
    ), error


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--seed", "1"), "--seed was 0, is 1"),
        (("--rank", "4"), "--rank was 2, is 4"),
        (("--batch-size", "2"), "--batch-size was 1, is 2"),
        (("--dialect", "hermes"), "--dialect was 'gemma_json_compact', is 'hermes'"),
        (("--dtype", "bfloat16"), "compute dtype: was float32, is bfloat16"),
    ],
)
def test_resume_refuses_what_changes_the_result_with_both_values(home, undisturbed, more, expected, capsys):
    assert run(command.main, flags(home, undisturbed, "--resume", *more)) == EXIT_MISTAKE
    assert expected in capsys.readouterr().err


def test_resume_refuses_other_weights_and_takes_the_same_ones_from_elsewhere(home, undisturbed, capsys):
    folder = Path(shutil.copytree(undisturbed, home / "moved"))
    shutil.copytree(home / "model", home / "copy")
    assert run(command.main, flags(home, folder, "--resume", "--model", str(home / "copy"))) == EXIT_OK
    write_tiny_model(home / "other", tiny(num_layers=1, sliding_window=24, hidden_dim=64), seed=1)
    assert run(command.main, flags(home, folder, "--resume", "--model", str(home / "other"))) == EXIT_MISTAKE
    assert re.search(r"base weights: was [0-9a-f]{64}, is [0-9a-f]{64}", capsys.readouterr().err)


def test_a_run_that_would_fill_the_disk_is_refused_before_it_writes_anything(home, monkeypatch, capsys):
    free = shutil.disk_usage(home).free
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(free, free, 50_000))  # pyright: ignore
    assert run(command.main, flags(home, home / "large")) == EXIT_MISTAKE
    assert re.search(
        r"large has 50,000 bytes free, and this run needs [\d,]+: 5 times [\d,]+ for checkpoints\. Free some space, "
        "choose an --output-dir on another disk, or lower --keep 3 or the rank",
        capsys.readouterr().err,
    )
    assert not (home / "large").exists()
