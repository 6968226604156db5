"""requirements.txt, pyproject.toml and uv.lock say the same, and none of them replaces an installed jax[tpu]."""

import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def locked() -> list[dict[str, Any]]:
    return tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]


def lines() -> list[str]:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_requirements_txt_equals_the_dependencies_of_the_project():
    assert lines() == project()["project"]["dependencies"]


def test_every_requirement_is_a_plain_lower_bound():
    for requirement in map(Requirement, lines()):
        assert not requirement.extras and requirement.url is None and requirement.marker is None, requirement
        assert [specifier.operator for specifier in requirement.specifier] == [">="], requirement


def test_an_accelerator_is_never_a_plain_dependency():
    names = {Requirement(line).name for line in lines()}
    assert not {"libtpu", "jaxlib", "torch", "wandb"} & names
    assert set(project()["project"]["optional-dependencies"]) == {"tpu", "cuda", "wandb", "embedded", "beam"}


def test_the_lock_fits_the_project_and_pins_the_tested_jax():
    versions = {package["name"]: package.get("version") for package in locked()}
    assert versions["jax"] == "0.10.2"
    own = next(package for package in locked() if package["name"] == "gemma-tool-use")
    assert sorted(
        entry["name"].lower() for entry in own["metadata"]["requires-dist"] if "marker" not in entry
    ) == sorted(Requirement(line).name.lower() for line in lines())


def test_the_default_install_holds_no_torch_and_no_linter():
    """What `uv run` downloads: the dependencies and two groups, followed through the lock."""
    packages = {package["name"]: package for package in locked()}
    own = packages["gemma-tool-use"]
    groups = project()["tool"]["uv"]["default-groups"]
    todo = [*own["dependencies"], *(entry for group in groups for entry in own["dev-dependencies"][group])]
    reached: set[str] = set()
    while todo:
        entry = todo.pop()
        name = entry["name"]
        if name not in reached:
            reached.add(name)
            todo.extend(packages[name].get("dependencies", []))
        for extra in entry.get("extra", []):
            todo.extend(packages[name].get("optional-dependencies", {}).get(extra, []))
    assert {"jax", "google-tunix", "pytest"} <= reached
    assert not {"torch", "libtpu", "wandb", "ruff", "pyright", "tensorflow", "apache-beam"} & reached
