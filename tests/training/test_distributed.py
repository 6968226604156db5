"""Several processes are one run: they find each other, train what one trains, stop at one step, and write once."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import write_tiny_model

import gemma_tool_use.training.train_gemma3_270m_tool_calling as command
from gemma_tool_use.commands import EXIT_OK, run
from gemma_tool_use.conversation import conversation_to_dict
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.errors import ConfigError
from gemma_tool_use.models.adapter import read_adapter
from gemma_tool_use.models.gemma3 import tiny
from gemma_tool_use.settings import load_settings
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.launcher import launched_by

TESTS = Path(__file__).parents[1]
SLURM = {
    "SLURM_NTASKS": "2",
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}


def processes(script: str, arguments: list[list[str]], devices: int = 1) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of one process for each list of arguments, all started at once."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent))),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0 "
        "--xla_llvm_disable_expensive_passes=true",
    }
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [
        subprocess.Popen([sys.executable, str(TESTS / script), *each], env=environment, **pipes) for each in arguments
    ]
    ended = [(*process.communicate(timeout=300), process.returncode) for process in started]
    return [(code, output, errors) for output, errors, code in ended]


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def agreed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes say of each check of process_checks.py."""
    address, folder = free_address(), str(tmp_path_factory.mktemp("shared"))
    ended = processes("process_checks.py", [[address, str(me), "agree", folder] for me in range(2)])
    for code, _, errors in ended:
        assert code == 0, errors
    return [json.loads(output.splitlines()[-1]) for _, output, _ in ended]


def test_one_process_writes(agreed: list[dict[str, Any]]):
    assert [each["writer"] for each in agreed] == [True, False]
    assert [each["broadcast"] for each in agreed] == ["of zero", "of zero"]


def test_processes_with_other_flags_end_with_the_flag_named(agreed: list[dict[str, Any]]):
    for each in agreed:
        assert each["same"] == "None"
        assert each["different"] == "ConfigError: processes 1 differ from process 0 in: --rank. Look."


def test_a_mistake_in_one_process_ends_the_others_too(agreed: list[dict[str, Any]]):
    assert agreed[1]["failed"] == "DataError: row 7 is broken"
    assert agreed[0]["failed"].startswith("TrainingError: process 1 failed while reading rows")


def test_a_folder_that_not_all_processes_see_is_refused(agreed: list[dict[str, Any]]):
    for each in agreed:
        assert each["shared"] == "None"
        assert "processes 1 do not see what process 0 writes" in each["unshared"]
        assert each["left"] == []


def test_a_wish_to_stop_reaches_every_process_before_the_same_step(agreed: list[dict[str, Any]]):
    assert [each["votes"] for each in agreed] == [[0, 0, 15, 0]] * 2


def test_the_death_of_a_process_ends_the_others_with_a_message():
    address = free_address()
    (waiting, _, errors), (dead, _, _) = processes("process_checks.py", [[address, "0", "wait"], [address, "1", "die"]])
    assert dead == -9
    assert waiting not in (0, None)
    assert "stopped sending heartbeats" in errors


def flags(home: Path, name: str, *more: str) -> list[str]:
    settings = (
        "--max-length 1200 --rank 2 --batch-size 2 --epochs 6 --learning-rate 0.01 --eval-share 0.2 --eval-every 4 "
        "--save-every 4 --dialect gemma_json_compact --dtype float32 --no-compilation-cache"
    )
    where = ["--model", str(home / "model"), "--data", str(home / "rows.jsonl"), "--output-dir", str(home / name)]
    return [*where, *settings.split(), *more]


def losses(folder: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len({(line["step"], "train/loss" in line) for line in lines}) == len(lines), "a line was written twice"
    return {line["step"]: line["train/loss"] for line in lines if "train/loss" in line}


def test_two_processes_stopped_by_sigterm_and_continued_by_one_train_what_one_process_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_tiny_model(tmp_path / "model", tiny(num_layers=1, sliding_window=24, hidden_dim=96))
    rows = generate(count=10, seed=3, kinds={"one_call": 1.0})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(conversation_to_dict(row)) + "\n" for row in rows))
    assert run(command.main, flags(tmp_path, "one")) == EXIT_OK

    address = free_address()
    several = flags(tmp_path, "two", "--mesh", "data=2,fsdp=2", "--coordinator", address, "--num-processes", "2")
    # Process 1 is told to stop after step 2.
    first, second = processes(
        "stopped_train.py",
        [[str(2 if me else 99), *several, "--process-id", str(me)] for me in range(2)],
        devices=2,
    )
    assert (first[0], second[0]) == (EXIT_OK, EXIT_OK), first[2] + second[2]
    stopped = json.loads((tmp_path / "two" / "run.json").read_text())
    assert stopped["status"] == "stopped by SIGTERM"
    assert 2 <= stopped["steps"] < stopped["total_steps"]
    assert stopped["device"].startswith("4 x")
    assert "stopped by SIGTERM" in first[1]
    assert "loss" not in second[1]

    assert run(command.main, flags(tmp_path, "two", "--resume")) == EXIT_OK
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    one, two = (read_adapter(tmp_path / name)[1] for name in ("one", "two"))
    for name, array in one.items():
        assert np.linalg.norm(two[name] - array) < 1e-5 * np.linalg.norm(array), name


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"coordinator": "10.0.0.1:1234"}, "go together"),
        ({"num_processes": 2}, "go together"),
        ({"process_id": 1, "num_processes": 2}, "go together"),
        ({"coordinator": "10.0.0.1", "num_processes": 2, "process_id": 0}, "must look like 10.0.0.1:1234"),
        ({"coordinator": "10.0.0.1:99999", "num_processes": 2, "process_id": 0}, "must look like 10.0.0.1:1234"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "counts from 0 to --num-processes - 1 = 1"),
        ({"num_processes": 0}, "--num-processes must be at least 1"),
    ],
)
def test_flags_of_processes_that_cannot_be_are_refused(settings: dict[str, Any], complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        TrainConfig(**settings)
    assert TrainConfig(num_processes=1).coordinator is None


@pytest.mark.parametrize(
    ("environment", "launcher"),
    [
        ({}, None),
        (SLURM, "SLURM"),
        ({**SLURM, "SLURM_NTASKS": "1"}, None),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}, None),  # the shell of an allocation, without srun
        ({"TPU_WORKER_HOSTNAMES": "host-0,host-1"}, "Cloud TPU"),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),  # Kaggle
        ({"TPU_PROCESS_ADDRESSES": "local", "TPU_WORKER_HOSTNAMES": "a,b"}, None),
    ],
)
def test_a_launcher_of_several_processes_is_recognised(
    tmp_path: Path, environment: dict[str, str], launcher: str | None
):
    settings = load_settings(tmp_path / "none", {**environment, "TPU_SKIP_MDS_QUERY": "1"})
    assert launched_by(settings, has_tpu=True) == launcher


@pytest.fixture
def metadata_server() -> Iterator[HTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.endswith("/worker-network-endpoints") and self.headers["Metadata-Flavor"] == "Google"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(b"worker-0,worker-1,worker-2,worker-3" if known else b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_a_tpu_vm_of_a_slice_is_recognised_by_its_metadata_server(tmp_path: Path, metadata_server: HTTPServer):
    host = f"127.0.0.1:{metadata_server.server_port}"
    settings = load_settings(tmp_path / "none", {"GCE_METADATA_IP": host})
    assert launched_by(settings, has_tpu=True) == "Cloud TPU"
    assert launched_by(settings, has_tpu=False) is None
    nobody = load_settings(tmp_path / "none", {"GCE_METADATA_IP": free_address()})
    assert launched_by(nobody, has_tpu=True) is None
