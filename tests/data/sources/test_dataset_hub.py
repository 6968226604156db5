"""Toucan from a hub: the shards arrive once, and each refusal is one sentence with its remedy."""

import io
import json
from pathlib import Path

import hub_server
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import HubServer
from huggingface_hub import constants

from gemma_tool_use.data.rules import RuleSettings
from gemma_tool_use.data.sources.hub import looks_like_id
from gemma_tool_use.data.sources.load import load
from gemma_tool_use.errors import FileError, HubError

TOUCAN = "Agent-Ark/Toucan-1.5M"


class DatasetHandler(hub_server._Handler):
    """Datasets live below `/datasets` and `/api/datasets`; otherwise they are served as models are."""

    def _answer(self) -> None:
        self.path = self.path.replace("/api/datasets/", "/api/models/").replace("/datasets/", "/")
        super()._answer()


def shard(*ids: str) -> bytes:
    messages = json.dumps([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}])
    rows = [{"uuid": i, "subset_name": "single-turn-original", "tools": "[]", "messages": messages} for i in ids]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr(hub_server, "_Handler", DatasetHandler)
    files = {
        "SFT/train-00000-of-00002.parquet": shard("a", "b"),
        "SFT/train-00001-of-00002.parquet": shard("c"),
        "OSS/train-00000-of-00001.parquet": b"another configuration",
    }
    with HubServer(repos={TOUCAN: files, "someone/else": {"README.md": b""}}) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", server.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.chdir(tmp_path)
        yield server


def test_the_sft_shards_are_downloaded_once_and_in_order(hub):
    for _ in range(2):
        loaded = load("auto", TOUCAN, rule=RuleSettings())
        assert [conversation.id for conversation in loaded.conversations] == ["a", "b", "c"]
    gets = [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]
    assert sorted(path.rpartition("/")[2] for path in gets) == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]


def test_a_dataset_that_does_not_exist_is_a_hub_error(hub):
    with pytest.raises(HubError, match="'data/toucan' is neither a file or folder here nor a public dataset"):
        load("toucan-sft", "data/toucan", rule=RuleSettings())


def test_a_dataset_in_another_form_is_a_hub_error(hub):
    with pytest.raises(HubError, match=r"someone/else has no file SFT/\*\.parquet"):
        load("toucan-sft", "someone/else", rule=RuleSettings())


def test_a_gated_dataset_names_the_terms_and_the_token(hub):
    hub.gated = frozenset({TOUCAN})
    with pytest.raises(HubError, match=rf"gated: accept its terms at http.*/datasets/{TOUCAN}, then set HF_TOKEN"):
        load("toucan-sft", TOUCAN, rule=RuleSettings())


def test_a_hub_out_of_reach_is_a_hub_error(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"could not be fetched from http://127\.0\.0\.1:9.*Check the network"):
        load("toucan-sft", TOUCAN, rule=RuleSettings())


def test_a_full_disk_is_a_file_error(hub, monkeypatch):
    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(FileError, match="disk is full while downloading"):
        load("toucan-sft", TOUCAN, rule=RuleSettings())


def test_what_may_be_a_dataset_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert looks_like_id(TOUCAN)
    for location in ("rows", "./rows", "a/b/c", "/a", "a/", "~/rows", "data/rows.parquet", "data/rows.jsonl.gz"):
        assert not looks_like_id(location)
    Path("data/rows").mkdir(parents=True)
    assert not looks_like_id("data/rows")
