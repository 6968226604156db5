"""The doctor's checks as pictures, and the command as a whole without a network."""

import shutil
import socket
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from gemma_tool_use import doctor
from gemma_tool_use.settings import Secret, Settings

JAX = [Requirement("jax>=0.10"), Requirement("Grain>=0.2.15")]
LOCK = {"jax": {"0.10.2"}, "grain": {"0.2.18"}, "numpy": {"2.4.6", "2.5.5"}}


def states(checks: list[doctor.Check]) -> dict[str, str]:
    return {check.what: check.state for check in checks}


def test_packages_as_locked_are_one_line():
    checks = doctor.check_packages(JAX, {"jax": "0.10.2", "jaxlib": "0.10.2", "grain": "0.2.18"}, LOCK)
    assert states(checks) == {"JAX": "ok", "packages": "ok"}
    assert checks[-1].found == "2 of 2 have the tested version"


def test_a_missing_and_a_too_old_package_block_with_the_remedy():
    checks = doctor.check_packages(JAX, {"jax": "0.7.2", "jaxlib": "0.7.2"}, LOCK)
    assert states(checks)["jax"] == states(checks)["grain"] == "blocked"
    assert all("uv sync" in check.advice for check in checks if check.state == "blocked")


def test_a_newer_package_than_the_lock_is_a_note():
    checks = doctor.check_packages(JAX, {"jax": "0.12.0.1", "jaxlib": "0.12.0", "grain": "0.2.18"}, LOCK)
    assert states(checks)["jax"] == "note"
    assert "0.10.2" in next(check.advice for check in checks if check.what == "jax")


def test_without_a_lock_file_the_lower_bounds_count(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assert doctor.locked() == {}
    names = {requirement.name for requirement in doctor.requirements()}
    assert "jax" in names and "pytest" not in names and "wandb" not in names


def test_the_lock_gives_every_version_of_a_package():
    assert doctor.locked()["jax"] == {"0.10.2"}
    assert len(doctor.locked()["numpy"]) == 2, "one for Python 3.11, one for newer"


def test_old_python_blocks():
    assert doctor.check_python((3, 10, 4)).state == "blocked"
    assert doctor.check_python((3, 12, 1)).state == "ok"


@pytest.mark.parametrize(
    ("platform", "kinds", "present", "state", "hint"),
    [
        ("cpu", ["cpu"], set(), "ok", "quickstart"),
        ("cpu", ["cpu"], {"gpu"}, "note", "jax[cuda12]"),
        ("cpu", ["cpu"], {"tpu"}, "note", "jax[tpu]"),
        ("tpu", ["TPU v5 lite"] * 8, {"tpu"}, "ok", "all of them"),
        ("gpu", ["NVIDIA H200"], {"gpu"}, "ok", "all of them"),
    ],
)
def test_hardware_that_jax_leaves_unused_is_a_note(platform, kinds, present, state, hint):
    check = doctor.describe_device(platform, kinds, present)
    assert check.state == state and hint in check.advice and str(len(kinds)) in check.found


def test_little_memory_is_a_note():
    assert doctor.check_memory(5 * doctor.GIB).state == "note"
    assert doctor.check_memory(12 * doctor.GIB).state == "ok"


@pytest.mark.parametrize(("free_gib", "state"), [(0.1, "blocked"), (1, "note"), (50, "ok")])
def test_disk_is_measured_where_the_folder_will_be(monkeypatch, tmp_path, free_gib, state):
    asked = []

    def usage(path: Path) -> object:
        asked.append(path)
        return shutil._ntuple_diskusage(0, 0, int(free_gib * doctor.GIB))

    monkeypatch.setattr(doctor.shutil, "disk_usage", usage)
    check = doctor.check_disk("disk", tmp_path / "not" / "yet")
    assert check.state == state and asked == [tmp_path]


def test_tokens_are_reported_and_never_shown(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.huggingface_hub, "get_token", lambda: None)
    monkeypatch.setattr(Path, "expanduser", lambda self: tmp_path / self.name)
    planted = Secret("PLANTED-abc")
    found = doctor.check_tokens(Settings(cache_dir=tmp_path, hf_token=planted, wandb_api_key=planted))
    assert [check.found for check in found] == ["present", "absent", "present"]
    assert "PLANTED" not in repr(found)


def test_the_whole_report_needs_no_network_and_shows_no_token(monkeypatch, capsys, tmp_path):
    def refuse(*_: object) -> None:
        raise AssertionError("the doctor must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_TOKEN", "hf_PLANTED")
    assert doctor.main(["--output-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "Ready to train." in out and "device" in out and "PLANTED" not in out


def test_a_missing_package_gives_exit_code_1(monkeypatch, capsys):
    versions = doctor.installed_versions()
    del versions["grain"]
    monkeypatch.setattr(doctor, "installed_versions", lambda: versions)
    assert doctor.main([]) == 1
    assert "Not ready: grain." in capsys.readouterr().out


def test_a_bad_setting_blocks_without_showing_it(monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_PLANTED twice")
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert "HF_TOKEN" in out and "PLANTED" not in out
