"""The train command on a tiny model, from flags to adapter: what it writes, continues, refuses and survives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from prepared_folder import write_prepared
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_model import SPEC, write_tiny_model

import gemma_tool_use.training.train_gemma3_270m_tool_calling as command
from gemma_tool_use.commands import EXIT_MISTAKE, EXIT_OK, run
from gemma_tool_use.conversation import conversation_from_dict, conversation_to_dict
from gemma_tool_use.data.prepared import open_prepared
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.models.adapter import read_adapter

STEPS = 6


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("train")
    write_tiny_model(home / "model")
    rows = generate(count=10, seed=3, kinds={"one_call": 1.0})
    text = "".join(json.dumps(conversation_to_dict(row)) + "\n" for row in rows)
    (home / "rows.jsonl").write_text(text)
    return home


def flags(home: Path, name: str, *more: str) -> list[str]:
    settings = (
        "--max-length 416 --packed-length 416 --rank 2 --batch-size 2 --epochs 1.5 --learning-rate 0.01 "
        "--eval-share 0.2 --eval-every 2 --save-every 2 --keep 2 --dialect gemma_json_compact --dtype float32"
    )
    where = ["--model", str(home / "model"), "--data", str(home / "rows.jsonl"), "--output-dir", str(home / name)]
    return [*where, *settings.split(), *more]


def adapter(folder: Path) -> dict[str, np.ndarray]:
    return read_adapter(folder)[1]


def assert_same_adapter(one: Path, other: Path, **tolerance: float) -> None:
    first, second = adapter(one), adapter(other)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_allclose(array, second[name], **(tolerance or {"rtol": 0, "atol": 0}), err_msg=name)


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [line["train/loss"] for line in metrics(folder) if "train/loss" in line]


@pytest.fixture(scope="module")
def finished_and_compiled(home):
    """The folder of a run, and the name of every program that it compiled."""
    compiled = []

    def note(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(str(kwargs.get("fun_name", "")))

    jax.monitoring.register_event_duration_secs_listener(note)  # Tunix takes away all listeners when its logger closes
    more = ("--profile", "1", "--accuracy-every", "4")
    assert run(command.main, flags(home, "whole", *more)) == EXIT_OK
    return home / "whole", compiled


@pytest.fixture(scope="module")
def finished(finished_and_compiled):
    return finished_and_compiled[0]


def test_the_step_is_compiled_once_for_the_memory_check_and_for_the_run(finished_and_compiled):
    assert [name for name in finished_and_compiled[1] if "train_step" in name] == ["jit(train_step)"]


def test_a_run_writes_every_adapter_array_and_its_manifest(finished):
    files = list(finished.glob("*.npy"))
    assert len(files) == SPEC.num_layers * 12
    assert all(np.load(file, allow_pickle=False).dtype == np.float32 for file in files)
    manifest = json.loads((finished / "adapter.json").read_text())
    assert (manifest["rank"], manifest["dialect"], manifest["step"]) == (2, "gemma_json_compact", STEPS)
    assert len(manifest["base"]["sha256"]) == 64


def test_a_run_says_what_it_did(finished):
    content = json.loads((finished / "run.json").read_text())
    assert (content["status"], content["steps"]) == ("finished", STEPS)
    assert content["data"]["counts"] == {"kept": 10}
    assert content["data"]["train_rows"] + content["data"]["held_out_rows"] == 10
    assert content["config"]["learning_rate"] == 0.01
    assert content["peak_rss_gb"] > 0
    assert content["seconds_to_first_step"] > 0


def test_metrics_have_a_line_for_every_step_and_nothing_else(finished):
    lines = metrics(finished)
    assert [line["step"] for line in lines if "train/loss" in line] == list(range(1, STEPS + 1))
    names = {name for line in lines for name in line}
    assert names == {
        "step",
        *(f"train/{n}" for n in ("loss", "perplexity", "learning_rate", "grad_norm", "tokens_per_second")),
        "train/trained_token_share",
        "train/skipped_steps",
        "eval/loss",
        "eval/perplexity",
        "eval/learning_rate",
        *(f"eval/{n}" for n in ("exact", "tool_call_accuracy", "parameter_accuracy", "generation_errors")),
    }


def test_accuracy_is_measured_every_so_many_steps_and_the_best_is_kept_as_an_adapter(finished):
    measured = {line["step"]: line["eval/exact"] for line in metrics(finished) if "eval/exact" in line}
    assert sorted(measured) == [4, STEPS]
    best = json.loads((finished / "best" / "best.json").read_text())
    assert best == json.loads((finished / "run.json").read_text())["best"]
    assert best["step"] == max(sorted(measured), key=lambda step: measured[step])
    assert json.loads((finished / "best" / "adapter.json").read_text())["step"] == best["step"]
    assert adapter(finished / "best").keys() == adapter(finished).keys()


def test_accuracy_needs_rows_that_are_held_out(capsys):
    assert run(command.main, ["--accuracy-every", "5", "--eval-share", "0"]) == EXIT_MISTAKE
    assert "--eval-share 0 holds none out" in capsys.readouterr().err


def test_a_profiled_run_has_a_trace_for_tensorboard_and_one_for_perfetto(finished):
    assert len(list((finished / "profile").rglob("*.xplane.pb"))) == 1
    assert len(list((finished / "profile").rglob("perfetto_trace.json.gz"))) == 1


def test_tensorboard_reads_the_same_losses(finished):
    events = EventAccumulator(str(finished / "tensorboard"))
    events.Reload()
    scalars = [event.value for event in events.Scalars("train/loss")]
    np.testing.assert_allclose(scalars, losses(finished), rtol=1e-6)
    assert {"train/learning_rate", "train/grad_norm", "train/tokens_per_second", "eval/loss"} <= set(
        events.Tags()["scalars"]
    )


def test_only_the_newest_checkpoints_are_kept(finished):
    assert sorted(int(path.name) for path in (finished / "checkpoints").iterdir()) == [4, 6]


def test_training_lowers_the_loss(finished):
    assert losses(finished)[-1] < losses(finished)[0]


def test_resume_refuses_other_settings_by_name(home, finished, capsys):
    assert run(command.main, flags(home, "whole", "--resume", "--rank", "4")) == EXIT_MISTAKE
    assert "--rank was 2, is 4" in capsys.readouterr().err


def test_resume_refuses_other_rows(home, finished, capsys):
    text = (home / "rows.jsonl").read_text()
    (home / "rows.jsonl").write_text("\n".join(text.splitlines()[1:]))
    try:
        assert run(command.main, flags(home, "whole", "--resume")) == EXIT_MISTAKE
    finally:
        (home / "rows.jsonl").write_text(text)
    error = capsys.readouterr().err
    assert "was started with others. rows: was " in error
    assert "Give the same --model, --data and --dtype, or start a new run" in error
    assert json.loads((finished / "run.json").read_text())["status"] == "finished"


def test_resume_needs_a_run(home, capsys):
    assert run(command.main, flags(home, "nothing", "--resume")) == EXIT_MISTAKE
    assert "holds no run" in capsys.readouterr().err


def test_an_existing_run_is_never_overwritten(home, finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert run(command.main, flags(home, "whole")) == EXIT_MISTAKE
    assert "already exists" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_accumulated_micro_batches_equal_one_big_batch(home, finished):
    more = ("--batch-size", "1", "--gradient-accumulation", "2")
    assert run(command.main, flags(home, "accumulated", *more)) == EXIT_OK
    assert_same_adapter(finished, home / "accumulated", rtol=2e-3, atol=2e-5)
    np.testing.assert_allclose(losses(home / "accumulated"), losses(finished), rtol=1e-4)


def test_a_prepared_folder_trains_the_same_adapter_and_its_second_start_tokenises_nothing(home, finished, capsys):
    rows = [conversation_from_dict(json.loads(line)) for line in (home / "rows.jsonl").read_text().splitlines()]
    write_prepared(home / "prepared", train=[rows[:4], rows[4:]])
    more = ("--data", str(home / "prepared"), "--cache-dir", str(home / "cache"))
    assert run(command.main, flags(home, "first", *more)) == EXIT_OK
    assert "10 rows tokenised in" in capsys.readouterr().out
    assert run(command.main, flags(home, "second", *more, "--max-steps", "1")) == EXIT_OK
    assert "10 tokenised rows of an earlier start, read in 0." in capsys.readouterr().out
    assert_same_adapter(finished, home / "first")
    assert losses(home / "first") == losses(finished)
    first, second, plain = (
        json.loads((home / n / "run.json").read_text())["data"] for n in ("first", "second", "whole")
    )
    assert first == second
    folder = open_prepared(home / "prepared")
    assert folder is not None
    assert first["fingerprint"] == folder.fingerprint
    assert first | {"fingerprint": ""} == plain | {"fingerprint": ""}


def test_eight_devices_train_the_same_adapter_as_one(home, finished):
    """Batches of 2 rows on 8 devices: rows are padded, weights sharded, losses the same."""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    arguments = [sys.executable, command.__file__, *flags(home, "mesh")]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_OK, done.stderr
    assert json.loads((home / "mesh" / "run.json").read_text())["device"].startswith("8 x")
    np.testing.assert_allclose(losses(home / "mesh"), losses(finished), rtol=1e-4)
    assert_same_adapter(finished, home / "mesh", rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--dialect", "gemma_jsom"), "Did you mean 'gemma_json'"),
        (("--rank", "0"), "--rank must be at least 1"),
        (("--learning-rte", "1e-4"), "did you mean --learning-rate"),
        (("--modules", "q_einsun"), "Did you mean 'q_einsum'"),
        (("--data", "does-not-exist.jsonl"), "does-not-exist.jsonl"),
        (("--max-length", "20"), "longer than 20 tokens"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_no_folder_behind(home, more, expected, capsys):
    assert run(command.main, flags(home, "mistake", *more)) == EXIT_MISTAKE
    assert expected in capsys.readouterr().err
    assert not (home / "mistake").exists()


def test_a_folder_that_cannot_be_made_is_named(home, capsys):
    (home / "file").write_text("not a folder")
    assert run(command.main, flags(home, "file/run")) == EXIT_MISTAKE
    assert "cannot be written" in capsys.readouterr().err
