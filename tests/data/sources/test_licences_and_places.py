"""Which source, under which terms, from where: licences, folders, patterns of a hub, Kaggle."""

import errno
import json

import kagglehub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from kagglehub import exceptions

from gemma_tool_use.data.rules import EVERYTHING
from gemma_tool_use.data.sources import hub
from gemma_tool_use.data.sources.load import load, locate, recognise
from gemma_tool_use.data.sources.registry import SOURCES, check_licence, licence_note
from gemma_tool_use.errors import ConfigError, DataError, FileError, HubError

MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
LINE = json.dumps({"messages": MESSAGES, "tools": []})


def test_every_source_says_its_name_its_terms_and_its_files():
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.help
        assert "\n" not in licence_note(source)
        assert (source.licence is None) == (source.hub_id is None)
        assert source.hub_id is None or source.hub_files


def test_licences_are_one_line_each():
    assert licence_note(SOURCES["xlam"]) == (
        "xlam: CC-BY-4.0 (https://huggingface.co/datasets/Salesforce/xlam-function-calling-60k)"
    )
    assert "not for commercial use" in licence_note(SOURCES["apigen-mt"])
    assert licence_note(SOURCES["openai-jsonl"]) == "openai-jsonl: the licence is that of your rows"


def test_data_not_for_commercial_use_needs_the_flag(tmp_path):
    row = {"system": "# Retail agent policy", "tools": "[]"}
    said = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({**row, "conversations": said}))
    for name in ("apigen-mt", "auto"):
        with pytest.raises(ConfigError, match=r"CC-BY-NC-4\.0.*--allow-non-commercial"):
            locate(name, str(tmp_path / "rows.jsonl"))
    loaded = load("auto", str(tmp_path / "rows.jsonl"), rule=EVERYTHING, allow_non_commercial=True)
    assert loaded.counts == {"kept": 1}
    check_licence(SOURCES["glaive"], allow_non_commercial=False)


def test_terms_are_checked_before_anything_is_downloaded(monkeypatch):
    monkeypatch.setattr(hub, "fetch", lambda *_: pytest.fail("downloaded"))
    with pytest.raises(ConfigError, match="--allow-non-commercial"):
        locate("apigen-mt", "Salesforce/APIGen-MT-5k")


def test_a_folder_is_searched_through_for_files_of_rows(tmp_path):
    for name in ("b/c/two.jsonl", "a.json", ".cache/hidden.jsonl", "README.md", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"[{LINE}]" if name.endswith("json") else LINE)
    assert locate("auto", str(tmp_path))[1] == [tmp_path / "a.json", tmp_path / "b/c/two.jsonl"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no \.parquet, \.jsonl"):
        locate("auto", str(tmp_path / "empty"))


def test_in_a_clone_of_a_dataset_only_the_files_of_the_source_are_read(tmp_path):
    for name in ("SFT/train-00000-of-00001.parquet", "OSS/train-00000-of-00001.parquet"):
        (tmp_path / name).parent.mkdir()
        pq.write_table(pa.table({"uuid": ["u"]}), tmp_path / name)
    for source, folder in (("toucan-sft", "SFT"), ("toucan-oss", "OSS")):
        assert locate(source, str(tmp_path))[1] == [tmp_path / folder / "train-00000-of-00001.parquet"]


def test_a_form_that_only_some_rows_show_is_recognised(tmp_path):
    call = {"role": "tool_call", "content": json.dumps({"name": "f", "arguments": {}})}
    lines = [{"messages": MESSAGES, "tools": "[]"}, {"messages": [MESSAGES[0], call], "tools": '[{"name": "f"}]'}]
    (tmp_path / "rows.jsonl").write_text("broken\n" + "\n".join(map(json.dumps, lines)))
    assert recognise(tmp_path / "rows.jsonl").name == "ms-swift"
    (tmp_path / "rows.jsonl").write_text("broken\n" * 3)
    with pytest.raises(DataError, match=r"holds no rows that can be read\. rows\.jsonl:1: line is not valid JSON"):
        recognise(tmp_path / "rows.jsonl")


def test_a_pattern_names_other_files_of_a_hub_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = []

    def fetch(name, patterns):
        asked.append((name, patterns))
        (tmp_path / "rows.jsonl").write_text(LINE)
        return [tmp_path / "rows.jsonl"]

    monkeypatch.setattr(hub, "fetch", fetch)
    for source, location in (
        ("openai-jsonl", "someone/rows:data/*.jsonl"),
        ("glaive", "someone/fork"),
        ("auto", "Agent-Ark/Toucan-1.5M"),
        ("toucan-oss", "Agent-Ark/Toucan-1.5M"),
    ):
        locate(source, location)
    locate("openai-jsonl", "someone/rows")
    assert asked[:4] == [
        ("someone/rows", ("data/*.jsonl",)),
        ("someone/fork", ("glaive-function-calling-v2.json",)),
        ("Agent-Ark/Toucan-1.5M", ("SFT/*.parquet",)),
        ("Agent-Ark/Toucan-1.5M", ("OSS/*.parquet",)),
    ]
    assert {"*.parquet", "*.jsonl", "*.json.gz"} <= set(asked[4][1])


def test_a_kaggle_dataset_is_a_folder(tmp_path, monkeypatch):
    (tmp_path / "rows.jsonl").write_text(LINE)
    asked = []
    monkeypatch.setattr(kagglehub, "dataset_download", lambda handle: asked.append(handle) or str(tmp_path))
    for location in ("kaggle:owner/name", "kaggle:owner/name/versions/3"):
        assert load("auto", location, rule=EVERYTHING).counts == {"kept": 1}
    assert asked == ["owner/name", "owner/name/versions/3"]


@pytest.mark.parametrize("handle", ["", "owner", "owner/", "a/b/c", "a/b/versions/x", "/b"])
def test_what_is_no_kaggle_handle_is_refused(handle):
    with pytest.raises(ConfigError, match=r"is not a Kaggle dataset, expected kaggle:OWNER/NAME"):
        locate("auto", f"kaggle:{handle}")


def response(status):
    answer = requests.Response()
    answer.status_code = status
    return answer


@pytest.mark.parametrize(
    ("error", "expected", "sentence"),
    [
        (exceptions.KaggleApiHTTPError("x", response(403)), HubError, "accept its terms at https://www.kaggle.com/datasets/o/n"),
        (exceptions.UnauthenticatedError("x"), HubError, "KAGGLE_USERNAME and KAGGLE_KEY"),
        (exceptions.KaggleApiHTTPError("x", response(404)), HubError, "is no dataset on Kaggle"),
        (requests.ConnectionError("x"), HubError, "cannot be reached"),
        (exceptions.DataCorruptionError("bad hash"), HubError, "bad hash"),
        (OSError(errno.ENOSPC, "No space left on device"), FileError, "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/cache"), FileError, "/cache cannot be written"),
    ],
)  # fmt: skip
def test_each_refusal_of_kaggle_is_one_sentence(monkeypatch, error, expected, sentence):
    def refuse(handle):
        raise error

    monkeypatch.setattr(kagglehub, "dataset_download", refuse)
    with pytest.raises(expected, match=sentence):
        locate("auto", "kaggle:o/n")
