"""Apache Beam as the engine: the bytes of one machine, also when a worker is killed, and faults that are named."""

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import toucan_rows

from gemma_tool_use.commands import run
from gemma_tool_use.data.engine import beam, map_unit
from gemma_tool_use.data.engine.map_unit import UnitJob
from gemma_tool_use.data.engine.versions import versions
from gemma_tool_use.data.files import read_batches, units
from gemma_tool_use.data.prepare import PrepareConfig, main, prepare
from gemma_tool_use.data.row_task import RowTask
from gemma_tool_use.data.rules import RuleSettings
from gemma_tool_use.errors import ConfigError, DataError, FileError, GemmaToolUseError

FILES, ROWS = 12, 150
DASK = ("runner=DaskRunner",)
PROCESSES = ("runner=DirectRunner", "direct_running_mode=multi_processing", "direct_num_workers=2")


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    """Every file is a unit."""
    folder = tmp_path_factory.mktemp("rows")
    for i in range(FILES):
        toucan_rows.write(folder / f"train-{i:05d}.parquet", toucan_rows.rows(ROWS, seed=i, start=ROWS * i))
    return folder


@pytest.fixture(scope="module")
def local(rows, tmp_path_factory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("local") / "out"
    prepare(config(rows, output))
    return contents(output)


def config(rows: Path, output: Path, **settings) -> PrepareConfig:
    defaults = {"input": (str(rows),), "source": ("toucan-sft",), "eval_share": 0.2, "shard_rows": 200, "workers": 0}
    return PrepareConfig(**{**defaults, "output": output, **settings})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "run.json"}


def job(path: Path, folder: Path, **rules) -> UnitJob:
    (unit,) = units(path, 1000)
    task = RowTask(source="toucan-sft", rules=RuleSettings(**rules))
    return UnitJob(number=0, unit=unit, task=task, folder=str(folder))


# Without Beam.


def test_without_beam_the_flag_says_how_to_install_it_before_anything_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    flags = ["--input", str(tmp_path / "absent"), "--output", str(tmp_path / "out"), "--engine", "beam"]
    assert run(main, flags) == 2
    assert capsys.readouterr().err == (
        "error: --engine beam needs Apache Beam, which is not installed: uv sync --extra beam, or pip install "
        '"apache-beam[dask]"\n'
    )
    assert not list(tmp_path.iterdir())


def test_options_of_beam_need_beam(tmp_path):
    with pytest.raises(ConfigError, match="beam_options need --engine beam, got local"):
        config(tmp_path, tmp_path / "out", beam_options=("runner=DaskRunner",))


def test_what_a_worker_mapped_is_not_mapped_again_and_what_it_left_is(rows, local, tmp_path, monkeypatch):
    def every_other(jobs):
        for each in jobs[::2]:
            beam.map_there(each, wanted=versions())
        done.append(len(read))

    def counted(unit, *columns, **options):
        read.append(unit.path.name)
        return read_batches(unit, *columns, **options)

    read: list[str] = []
    done: list[int] = []
    monkeypatch.setattr(map_unit, "read_batches", counted)
    monkeypatch.setattr(beam, "beam_mapper", lambda options: every_other)
    prepare(config(rows, tmp_path / "out", engine="beam"))
    assert contents(tmp_path / "out") == local
    assert done == [FILES / 2]
    assert sorted(read) == [path.name for path in sorted(rows.iterdir())]


def test_a_damaged_unit_leaves_a_note_and_no_result(rows, tmp_path):
    path = tmp_path / "a.parquet"
    damaged = bytearray((rows / "train-00000.parquet").read_bytes())
    damaged[300:400] = bytes(100)
    path.write_bytes(damaged)
    one = job(path, tmp_path)
    beam.map_there(one, wanted=versions())
    assert "a.parquet" in one.path(beam.DAMAGED).read_text()
    assert one.marker() is None


def test_a_worker_that_does_not_see_the_folder_or_the_input_says_so(rows, tmp_path):
    path = tmp_path / "a.parquet"
    shutil.copy(rows / "train-00000.parquet", path)
    with pytest.raises(FileError, match=r"worker .*a\.parquet .*on a filesystem that every worker sees"):
        beam.map_there(job(path, tmp_path / "not" / "here"), wanted=versions())
    one = job(path, tmp_path)
    path.unlink()
    with pytest.raises(FileError, match=r"worker .*a\.parquet .*on a filesystem that every worker sees"):
        beam.map_there(one, wanted=versions())


def test_a_worker_with_another_version_is_refused(rows, tmp_path):
    wanted = {**versions(), "pyarrow": "1.2.3"}
    with pytest.raises(GemmaToolUseError, match=r"worker .* has pyarrow .* instead of 1\.2\.3"):
        beam.map_there(job(rows / "train-00000.parquet", tmp_path), wanted=wanted)
    assert not list(tmp_path.iterdir())


def test_paths_hold_in_the_folder_of_a_worker(rows, tmp_path, monkeypatch):
    monkeypatch.chdir(rows)
    (tmp_path / "questions.txt").write_text("a question of a benchmark\n")
    questions = Path(os.path.relpath(tmp_path / "questions.txt"))
    sent = beam.for_any_folder(job(Path("train-00000.parquet"), tmp_path, keep_out=(questions,)))
    monkeypatch.chdir("/")
    beam.map_there(sent, wanted=versions())
    assert sent.marker() is not None


# With Beam.


@pytest.fixture
def apache_beam():
    return pytest.importorskip("apache_beam", reason="run `uv sync --extra beam`")


@pytest.fixture
def cluster(apache_beam):
    """Two worker processes, each with a nanny that starts it again."""
    distributed = pytest.importorskip("distributed", reason="run `uv sync --extra beam`")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as started:
        yield started
        distributed.default_client().close()  # the runner's


class Killer(threading.Thread):
    """Kills a worker that is in the middle of a unit, once another unit is done."""

    def __init__(self, folder: Path, workers: list[int]) -> None:
        super().__init__(daemon=True)
        self._folder, self._workers = folder, workers
        self.killed: int | None = None
        self.done_before = 0

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while self.killed is None and time.monotonic() < deadline:
            time.sleep(0.001)
            self.done_before = len(list(self._folder.glob("*.json")))
            for worker in self._workers if self.done_before else []:
                if list(self._folder.glob(f".tmp-{worker}-*.kept.parquet")):
                    os.kill(worker, signal.SIGKILL)
                    self.killed = worker
                    return


@pytest.mark.interop
@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
def test_a_run_on_dask_with_a_worker_killed_ends_with_the_bytes_of_one_machine(rows, local, cluster, tmp_path):
    from distributed import Client

    with Client(cluster) as client:
        before = set(client.run(os.getpid).values())
        killer = Killer(tmp_path / "out.partial" / "units", sorted(before))
        killer.start()
        options = (*DASK, f"dask_client_address={cluster.scheduler_address}")
        prepare(config(rows, tmp_path / "out", engine="beam", beam_options=options))
        killer.join()
        after = set(client.run(os.getpid).values())
    assert killer.killed in before - after
    assert 0 < killer.done_before < FILES
    assert contents(tmp_path / "out") == local


@pytest.mark.interop
@pytest.mark.parametrize(
    ("given", "used"), [((), {"partition_size": 1}), (("dask_npartitions=64",), {"npartitions": 64})]
)
def test_dask_gets_a_unit_at_a_time_unless_told_otherwise(apache_beam, given, used):
    dask_runner = pytest.importorskip("apache_beam.runners.dask.dask_runner", reason="run `uv sync --extra beam`")
    pipeline = beam.beam_mapper([*DASK, *given]).keywords["pipeline"]
    options = pipeline.options.view_as(dask_runner.DaskOptions).get_all_options(drop_default=True, current_only=True)
    assert {name: options.get(name) for name in ("npartitions", "partition_size") if name in options} == used


@pytest.mark.interop
def test_a_run_in_processes_of_beam_ends_with_the_bytes_of_one_machine(rows, local, apache_beam, tmp_path):
    prepare(config(rows, tmp_path / "out", engine="beam", beam_options=PROCESSES))
    assert contents(tmp_path / "out") == local


@pytest.mark.interop
def test_a_damaged_file_is_named_as_without_beam(rows, apache_beam, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(rows, folder)
    damaged = bytearray((folder / "train-00003.parquet").read_bytes())
    damaged[300:400] = bytes(100)
    (folder / "train-00003.parquet").write_bytes(damaged)
    with pytest.raises(DataError) as alone:
        prepare(config(folder, tmp_path / "alone"))
    with pytest.raises(DataError) as beamed:
        prepare(config(folder, tmp_path / "beam", engine="beam"))
    assert "train-00003.parquet" in str(alone.value)
    assert str(beamed.value) == str(alone.value)


@pytest.mark.interop
def test_files_that_did_not_arrive_are_missed(rows, apache_beam, tmp_path, monkeypatch):
    monkeypatch.setattr(beam, "map_there", _elsewhere)
    with pytest.raises(FileError, match=r"files of 12 of 12 units are not in .*out\.partial/units.*every worker sees"):
        prepare(config(rows, tmp_path / "out", engine="beam"))


def _elsewhere(job, *, wanted):
    """A worker whose folder of that name is another one."""


@pytest.mark.interop
def test_what_stops_a_worker_is_told_and_the_same_command_goes_on(rows, local, apache_beam, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(beam, "map_there", _full)
        with pytest.raises(GemmaToolUseError, match=r"pipeline failed: .*no space left.*\n.*same command goes on"):
            prepare(config(rows, tmp_path / "out", engine="beam"))
    prepare(config(rows, tmp_path / "out", engine="beam"))
    assert contents(tmp_path / "out") == local


def _full(job, *, wanted):
    raise FileError("no space left")


@pytest.mark.interop
def test_a_runner_that_beam_does_not_know_is_refused_before_anything_is_read(rows, apache_beam, tmp_path):
    with pytest.raises(ConfigError, match=r"--beam-options: .*DuskRunner"):
        prepare(config(rows, tmp_path / "out", engine="beam", beam_options=("runner=DuskRunner",)))
    assert not list(tmp_path.iterdir())
