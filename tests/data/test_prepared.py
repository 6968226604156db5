"""A prepared folder as training reads it: its files, what names them, and every change that is noticed."""

import json
import os
import time

import pytest
from prepared_folder import write_prepared

from gemma_tool_use.data.prepared import check_newer, open_prepared
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.errors import DataError, FileError

CONVERSATIONS = generate(count=9, seed=1)


@pytest.fixture
def folder(tmp_path):
    return write_prepared(
        tmp_path / "prepared", train=[CONVERSATIONS[:3], CONVERSATIONS[3:6]], held_out=[CONVERSATIONS[6:]]
    )


def found(path):
    result = open_prepared(path)
    assert result is not None
    return result


def test_train_and_eval_shards_are_told_apart_by_name(folder):
    prepared = found(folder)
    assert [shard.path.name for shard in prepared.train] == [f"train-0000{i}-of-00002.parquet" for i in (0, 1)]
    assert [shard.path.name for shard in prepared.held_out] == ["eval-00000-of-00001.parquet"]


def test_the_fingerprint_follows_content_and_sides_and_not_the_place(folder, tmp_path):
    again = write_prepared(
        tmp_path / "again", train=[CONVERSATIONS[:3], CONVERSATIONS[3:6]], held_out=[CONVERSATIONS[6:]]
    )
    other = write_prepared(tmp_path / "other", train=[CONVERSATIONS[:3], CONVERSATIONS[3:6], CONVERSATIONS[6:]])
    assert found(folder).fingerprint == found(again).fingerprint != found(other).fingerprint


@pytest.mark.parametrize("content", ["[]", '{"name": "a web app"}'])
def test_other_folders_are_not_prepared_ones(tmp_path, content):
    assert open_prepared(tmp_path) is None
    assert open_prepared(tmp_path / "missing") is None
    (tmp_path / "manifest.json").write_text(content)
    assert open_prepared(tmp_path) is None
    assert open_prepared(tmp_path / "manifest.json") is None


def test_damage_is_named(folder):
    manifest = folder / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole[:-20])
    with pytest.raises(DataError, match=r"manifest\.json is damaged"):
        open_prepared(folder)
    manifest.write_text(json.dumps({"conversations": [{"file": "train-00000-of-00002.parquet"}]}))
    with pytest.raises(DataError, match="does not say file, bytes and sha256"):
        open_prepared(folder)
    manifest.write_text(whole)
    with (folder / "train-00001-of-00002.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet was changed .* bytes, the manifest says"):
        open_prepared(folder)
    (folder / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(FileError, match=r"train-00001-of-00002\.parquet, which the manifest names"):
        open_prepared(folder)


def test_a_manifest_reaches_no_file_outside_its_folder(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["conversations"][0]["file"] = "../../" + manifest["conversations"][0]["file"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert found(folder).train[0].path.parent == folder


def test_a_changed_file_of_the_same_size_is_noticed_when_it_is_newer(folder, tmp_path):
    prepared = found(folder)
    stamp = tmp_path / "stamp"
    stamp.touch()
    check_newer(prepared.train, stamp)
    path = prepared.train[1].path
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    os.utime(path, (0, time.time() - 1000))
    check_newer(prepared.train, stamp)
    os.utime(path, (0, time.time() + 1000))
    with pytest.raises(DataError, match="its sha256 is not that of the manifest"):
        check_newer(prepared.train, stamp)
