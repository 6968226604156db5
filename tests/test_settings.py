"""The environment is read in one file, and a secret is shown nowhere."""

import ast
import copy
import dataclasses
import json
import pickle
from pathlib import Path

import pytest

from gemma_tool_use import settings as settings_module
from gemma_tool_use.errors import ConfigError
from gemma_tool_use.settings import (
    SECRET_VARIABLES,
    VARIABLES,
    Secret,
    environment_without_secrets,
    export_to_libraries,
    load_settings,
)

ROOT = Path(__file__).resolve().parents[1]
PLANTED = "hf_PLANTED0123456789"
NO_FILE = Path("/nonexistent/.env")


def test_nothing_is_needed():
    settings = load_settings(NO_FILE, environ={"XDG_CACHE_HOME": "/somewhere"})
    assert settings.hf_token is None and settings.kaggle_key is None and settings.hf_endpoint is None
    assert settings.cache_dir == Path("/somewhere/gemma-tool-use")


def test_the_environment_wins_over_the_env_file(tmp_path):
    env_file = tmp_path / ".env"
    env_file.write_text("# mine\nHF_TOKEN='from-file'\nKAGGLE_KEY=a$b${HOME}\nHF_ENDPOINT=\nOTHER=1\n")
    settings = load_settings(env_file, environ={"HF_TOKEN": "from-environment", "WANDB_API_KEY": ""})
    assert settings.hf_token == Secret("from-environment")
    assert settings.kaggle_key is not None and settings.kaggle_key.reveal() == "a$b${HOME}"
    assert settings.hf_endpoint is None and settings.wandb_api_key is None


@pytest.mark.parametrize("variable", SECRET_VARIABLES)
def test_a_planted_secret_reaches_no_text_form(variable):
    settings = load_settings(NO_FILE, environ={variable: PLANTED})
    secret = getattr(settings, variable.lower())
    forms = [repr(settings), str(settings), f"{secret}", f"{secret!r:>40}", repr(vars(settings))]
    forms.append(json.dumps(vars(settings), default=str))
    assert "Secret(set)" in forms[0] and not any(PLANTED in form for form in forms)


@pytest.mark.parametrize("write", [pickle.dumps, copy.deepcopy, json.dumps, dataclasses.asdict])
def test_what_would_store_a_secret_refuses_without_showing_it(write):
    settings = load_settings(NO_FILE, environ={"HF_TOKEN": PLANTED})
    with pytest.raises(TypeError) as error:
        write(settings if write is dataclasses.asdict else settings.hf_token)
    assert PLANTED not in str(error.value)


def test_every_bad_value_is_named_and_none_is_shown():
    with pytest.raises(ConfigError) as error:
        load_settings(NO_FILE, environ={"HF_TOKEN": f"{PLANTED} x", "KAGGLE_KEY": "a\nb", "HF_ENDPOINT": PLANTED})
    assert all(name in str(error.value) for name in ("HF_TOKEN", "KAGGLE_KEY", "HF_ENDPOINT"))
    assert PLANTED not in str(error.value)


def test_an_unreadable_env_file_is_named(tmp_path):
    (tmp_path / ".env").write_bytes(b"HF_TOKEN=\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_settings(tmp_path / ".env", environ={})


def test_libraries_receive_what_the_env_file_added(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "already-there")
    monkeypatch.setenv("KAGGLE_KEY", "placeholder")
    monkeypatch.delenv("KAGGLE_KEY")
    (tmp_path / ".env").write_text("HF_TOKEN=from-file\nKAGGLE_KEY=key\n")
    export_to_libraries(load_settings(tmp_path / ".env"))
    assert settings_module.os.environ["HF_TOKEN"] == "already-there"
    assert settings_module.os.environ["KAGGLE_KEY"] == "key"


def test_a_process_that_sees_what_a_model_wrote_gets_no_secret():
    secrets = dict.fromkeys([*SECRET_VARIABLES, "AWS_SECRET_ACCESS_KEY", "pgpassword"], "planted")
    secrets.pop("KAGGLE_USERNAME")
    assert environment_without_secrets({"PATH": "/bin", **secrets}) == {"PATH": "/bin"}


def test_the_example_lists_exactly_the_variables_that_are_read():
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert sorted(line.partition("=")[0] for line in lines if line and line[0] != "#") == sorted(VARIABLES)
    assert all(line.endswith("=") for line in lines if line and line[0] != "#"), "the example holds no value"


def reads_of_the_environment(source: str) -> list[str]:
    """`["os.environ"]` for each place that reads or writes an environment variable."""
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in names and isinstance(node.value, ast.Name):
            found += [f"{node.value.id}.{node.attr}"] if node.value.id in ("os", "posix") else []
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "dotenv"):
            found += [f"from {node.module} import {a.name}" for a in node.names if a.name in names or a.name == "*"]
            found += [node.module] if node.module == "dotenv" else []
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name == "dotenv"]
    return found


@pytest.mark.parametrize(
    "planted",
    ["import os\nos.environ['A']", "import os\nos.getenv('A')", "from os import environ", "from os import getenv as g"],
)
def test_the_search_for_readers_finds_a_planted_one(planted):
    assert reads_of_the_environment(planted)


def test_only_settings_reads_the_environment():
    readers = {
        str(path.relative_to(ROOT)): found
        for path in sorted((ROOT / "gemma_tool_use").rglob("*.py"))
        if (found := reads_of_the_environment(path.read_text(encoding="utf-8")))
    }
    readers.pop("gemma_tool_use/settings.py")
    assert not readers, "ask gemma_tool_use/settings.py for it instead"
