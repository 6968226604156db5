"""Downloads from a hub on the loopback interface, in processes of their own: the hubs' settings are read at import."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hub_server import COMMIT, HubServer
from tiny_checkpoint import tiny_params, write_hf

from gemma_tool_use.models.gemma3 import tiny

REPO = "google/gemma-3-270m-it"
SCRIPT = """
import sys
from gemma_tool_use.errors import GemmaToolUseError
from gemma_tool_use.models.resolve import resolve
try:
    checkpoint = resolve(sys.argv[1])
    print("path", checkpoint.path, checkpoint.tokenizer_path)
except GemmaToolUseError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A repository: the weights in two shards, and files that nobody asked for."""
    folder = tmp_path_factory.mktemp("repo")
    spec = tiny(num_layers=2)
    write_hf(folder, tiny_params(spec), spec, shards=2)
    (folder / "tokenizer.model").write_bytes(b"tokenizer")
    (folder / "README.md").write_text("not needed")
    (folder / "pytorch_model.bin").write_bytes(b"never wanted")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_resolve(spec: str, home: Path, variables: Mapping[str, str]) -> str:
    """What `resolve(spec)` says in a fresh process that knows only `variables`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "KAGGLE", "HUGG"))}
    environment |= {"HOME": str(home), "HF_HOME": str(home / "hf"), "KAGGLEHUB_CACHE": str(home / "kaggle")}
    # The xet protocol is another transfer road that the loopback server does not speak.
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", SCRIPT, spec]
    done = subprocess.run(
        command, env=environment | dict(variables), capture_output=True, text=True, timeout=120, cwd=home, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().rpartition("\n")[2]


def from_hub(hub: HubServer, home: Path, spec: str = REPO, **variables: str) -> str:
    return run_resolve(spec, home, {"HF_ENDPOINT": hub.endpoint} | variables)


def snapshot(home: Path) -> Path:
    return home / "hf" / "hub" / f"models--{REPO.replace('/', '--')}" / "snapshots" / COMMIT


def test_the_needed_files_are_downloaded_and_later_found_without_a_network(tmp_path: Path, files: dict[str, bytes]):
    with HubServer(repos={REPO: files}) as hub:
        said = from_hub(hub, tmp_path)
        assert said == f"path {snapshot(tmp_path)} {snapshot(tmp_path) / 'tokenizer.model'}"
        endpoint = hub.endpoint
    downloaded = {path.name: path.read_bytes() for path in snapshot(tmp_path).iterdir()}
    assert downloaded == {name: data for name, data in files.items() if name not in ("README.md", "pytorch_model.bin")}
    assert run_resolve(REPO, tmp_path, {"HF_ENDPOINT": endpoint}).startswith("path ")


MEGABYTE = 1 << 20


def test_a_connection_cut_in_the_middle_is_resumed_from_there(tmp_path: Path, files: dict[str, bytes]):
    # huggingface_hub writes in pieces of 10 MB, so a cut after 11 MB leaves 10.
    big = files | {"tokenizer.json": bytes(range(256)) * (12 * MEGABYTE // 256)}
    with HubServer(repos={REPO: big}, cut={"tokenizer.json": [11 * MEGABYTE]}) as hub:
        assert from_hub(hub, tmp_path).startswith("path ")
        assert hub.ranges("tokenizer.json") == ["", f"bytes={10 * MEGABYTE}-"]
    assert (snapshot(tmp_path) / "tokenizer.json").read_bytes() == big["tokenizer.json"]


def test_half_a_download_keeps_its_whole_files(tmp_path: Path, files: dict[str, bytes]):
    with HubServer(repos={REPO: files}, announced_sizes={"tokenizer.model": 10**6}) as hub:
        said = from_hub(hub, tmp_path)
        assert said.startswith(f"HubError downloading {REPO} from {hub.endpoint} failed (Consistency check failed")
        assert said.endswith("run the same command again, files that arrived whole are kept")
        offline = run_resolve(REPO, tmp_path, {"HF_ENDPOINT": "http://127.0.0.1:9"})
        assert offline.startswith("HubError http://127.0.0.1:9 cannot be reached and only a part of it is in the cache")
        hub.announced_sizes.clear()
        assert from_hub(hub, tmp_path).startswith("path ")
        assert hub.ranges("tokenizer.model") == ["", ""]
        assert hub.ranges("config.json") == [""]


def test_a_gated_repository_without_and_with_tokens(tmp_path: Path, files: dict[str, bytes]):
    gated = HubServer(
        repos={REPO: files}, gated=frozenset({REPO}), tokens=frozenset({"hf_good"}), weak_tokens=frozenset({"hf_weak"})
    )
    with gated as hub:
        sentence = f"HubError {REPO} is gated: accept its licence at {hub.endpoint}/{REPO}, then set HF_TOKEN"
        assert from_hub(hub, tmp_path).startswith(sentence)
        assert from_hub(hub, tmp_path, HF_TOKEN="hf_weak").startswith(sentence)
        wrong = from_hub(hub, tmp_path, HF_TOKEN="hf_wrong")
        assert wrong.startswith(f"HubError {hub.endpoint} refused the token: set HF_TOKEN to a valid one")
        assert "hf_wrong" not in wrong
        assert from_hub(hub, tmp_path, HF_TOKEN="hf_good").startswith("path ")


def test_an_absent_repository_is_answered_with_the_nearest_known_one(tmp_path: Path, files: dict[str, bytes]):
    with HubServer(repos={REPO: files}, tokens=frozenset({"hf_good"})) as hub:
        for variables in ({}, {"HF_TOKEN": "hf_good"}):
            said = from_hub(hub, tmp_path, "google/gemma-3-270-it", **variables)
            assert said.startswith(f"HubError google/gemma-3-270-it does not exist at {hub.endpoint}")
            assert "Did you mean 'google/gemma-3-270m-it'?" in said
        said = from_hub(hub, tmp_path, f"{REPO}@v9")
        assert said.startswith(f"HubError {REPO} has no revision 'v9'; see {hub.endpoint}/{REPO}/commits")
        assert from_hub(hub, tmp_path, "hf:not a name").startswith("HubError 'not a name' is not a repository name")


def test_a_repository_without_safetensors_says_what_it_holds(tmp_path: Path, files: dict[str, bytes]):
    with HubServer(repos={REPO: {name: files[name] for name in ("config.json", "pytorch_model.bin")}}) as hub:
        said = from_hub(hub, tmp_path)
    assert said.startswith(f"CheckpointError {REPO} (") and "it holds config.json" in said


def test_no_network_and_nothing_in_the_cache(tmp_path: Path):
    said = run_resolve(REPO, tmp_path, {"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert said.startswith(
        "HubError http://127.0.0.1:9 cannot be reached and it is not in the cache: check the network"
    )
    said = run_resolve(REPO, tmp_path, {"HF_HUB_OFFLINE": "1"})
    assert "cannot be reached and it is not in the cache: check the network (and HF_HUB_OFFLINE)" in said


HANDLE = "google/gemma-3/flax/gemma-3-270m-it"


def test_a_kaggle_model_in_the_cache_opens_without_a_network(tmp_path: Path):
    from tiny_checkpoint import write_kaggle

    spec = tiny(num_layers=1)
    folder = tmp_path / "kaggle" / "models" / HANDLE / "1"
    write_kaggle(folder, tiny_params(spec), spec, "gemma-3-270m-it")
    (folder / "tokenizer.model").write_bytes(b"tokenizer")
    (folder.parent / "1.complete").touch()
    said = run_resolve(f"kaggle:{HANDLE}/1", tmp_path, {"HTTPS_PROXY": "http://127.0.0.1:9"})
    assert said == f"path {folder / 'gemma-3-270m-it'} {folder / 'tokenizer.model'}"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, f"Kaggle refused {HANDLE}: accept the licence at https://www.kaggle.com/models/google/gemma-3, then set"),
        (403, f"Kaggle refused {HANDLE}: accept the licence at https://www.kaggle.com/models/google/gemma-3, then set"),
        (404, f"{HANDLE} does not exist on Kaggle. Did you mean 'google/gemma-3/flax/gemma-3-270m-it'? Known:"),
    ],
)
def test_what_kaggle_refuses_gets_one_sentence(tmp_path: Path, status: int, sentence: str):
    # KAGGLE_API_ENVIRONMENT=TEST is Kaggle's own switch to http://localhost:7777; the proxy sends that to our server.
    with HubServer(kaggle_status=status) as hub:
        variables = {"KAGGLE_API_ENVIRONMENT": "TEST", "HTTP_PROXY": hub.endpoint, "http_proxy": hub.endpoint}
        said = run_resolve(f"kaggle:{HANDLE}", tmp_path, variables | {"NO_PROXY": "", "no_proxy": ""})
    assert said.startswith(f"HubError {sentence}")


def test_kaggle_out_of_reach_says_how_to_open_what_is_there(tmp_path: Path):
    said = run_resolve(f"kaggle:{HANDLE}", tmp_path, {"HTTPS_PROXY": "http://127.0.0.1:9"})
    assert said.startswith(f"HubError Kaggle cannot be reached for {HANDLE}: check the network")


def test_the_server_speaks_what_the_tests_rely_on(files: dict[str, bytes]):
    import urllib.request

    with HubServer(repos={REPO: files}) as hub:
        with urllib.request.urlopen(f"{hub.endpoint}/api/models/{REPO}/revision/main") as answer:
            assert json.load(answer)["sha"] == COMMIT
        request = urllib.request.Request(
            f"{hub.endpoint}/{REPO}/resolve/main/tokenizer.model", headers={"Range": "bytes=4-"}
        )
        with urllib.request.urlopen(request) as answer:
            assert (answer.status, answer.read()) == (206, b"nizer")
            assert answer.headers["Content-Range"] == "bytes 4-8/9"
