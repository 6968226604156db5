"""Laws of the token store: the same rows as in memory, the second start reads nothing else, damage never passes."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from tiny_tokenizer import tiny_tokenizer

from gemma_tool_use.conversation import Message
from gemma_tool_use.data.packing import plan_batches
from gemma_tool_use.data.pipeline import batches, encode_rows, eval_batches
from gemma_tool_use.data.rows import BatchShape, padded_length, row_sizes, split
from gemma_tool_use.data.store import build, units
from gemma_tool_use.data.store.encode_unit import Recipe
from gemma_tool_use.data.store.stored_rows import StoredRows, pick, pick_texts
from gemma_tool_use.data.store.token_store import open_or_build
from gemma_tool_use.data.store.units import ListUnit, list_units
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.errors import ConfigError, DataError, FileError
from gemma_tool_use.formats.dialects import get_dialect

LONGEST = 430


@pytest.fixture(scope="module")
def conversations():
    return generate(count=24, seed=5)


@pytest.fixture(scope="module")
def in_memory(conversations):
    encoded = encode_rows(conversations, recipe().dialect, recipe().tokenizer, max_length=LONGEST)
    assert 10 < len(encoded.rows) < 24, "some rows have to be too long"
    return encoded


def recipe(dialect="gemma_json_compact", max_length=LONGEST):
    return Recipe(dialect=get_dialect(dialect), tokenizer=tiny_tokenizer(), max_length=max_length)


def opened(cache, conversations, *, content="rows", how=None, processes=1):
    return open_or_build(
        lambda: list_units(conversations), content=content, recipe=how or recipe(), cache=cache, processes=processes
    )


def never():
    raise AssertionError("the rows were read again")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same_rows(first, second):
    assert len(first.rows) == len(second.rows)
    for i in range(len(first.rows)):
        one, other = first.rows[i], second.rows[i]
        assert (one.tokens.dtype, one.loss_mask.dtype) == (other.tokens.dtype, other.loss_mask.dtype)
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.loss_mask.tolist() == other.loss_mask.tolist()


def assert_same(first, second):
    assert_same_rows(first, second)
    assert (list(first.ids), list(first.groups)) == (list(second.ids), list(second.groups))
    assert list(first.counts.items()) == list(second.counts.items())
    assert list(first.rejects) == list(second.rejects)


@pytest.fixture(params=[5, 2048], ids=["five rows a unit", "one unit"])
def rows_of_a_unit(request, monkeypatch):
    monkeypatch.setattr(units, "UNIT_ROWS", request.param)


def test_a_store_holds_what_encoding_in_memory_gives(tmp_path, conversations, in_memory, rows_of_a_unit):
    store = opened(tmp_path, conversations)
    assert store.built
    assert_same(store.encoded, in_memory)
    assert len(store.encoded.rejects) == len(in_memory.rejects)
    assert in_memory.rejects[0] in store.encoded.rejects


def test_the_second_start_reads_no_conversation(tmp_path, conversations, in_memory):
    first = opened(tmp_path, conversations)
    second = open_or_build(never, content="rows", recipe=recipe(), cache=tmp_path, processes=1)
    assert (second.built, second.path) == (False, first.path)
    assert_same(second.encoded, in_memory)


def test_sizes_are_known_without_reading_rows(tmp_path, conversations, in_memory):
    rows = opened(tmp_path, conversations).encoded.rows
    expected = row_sizes(in_memory.rows)
    for path in tmp_path.glob("*/*.arrayrecord"):
        path.unlink()
    assert row_sizes(rows).lengths.tolist() == expected.lengths.tolist() == [len(r.tokens) for r in in_memory.rows]
    assert row_sizes(rows).targets.tolist() == expected.targets.tolist()


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_a_store_have_the_bits_of_batches_in_memory(tmp_path, conversations, in_memory, workers):
    rows = opened(tmp_path, conversations).encoded.rows
    expected = batches(in_memory.rows, plan_of(in_memory.rows, seed=4, epochs=2))
    assert_same_elements(batches(rows, plan_of(rows, seed=4, epochs=2), workers=workers), expected)


def test_eval_batches_of_a_store_have_the_bits_of_those_in_memory(tmp_path, conversations, in_memory):
    rows = opened(tmp_path, conversations).encoded.rows
    expected = eval_batches(in_memory.rows, plan_of(in_memory.rows, shuffle=False))
    assert_same_elements(eval_batches(rows, plan_of(rows, shuffle=False)), expected)


def plan_of(rows, **settings):
    sizes = row_sizes(rows)
    shape = BatchShape(batch_size=3, length=2 * padded_length(sizes), pad_id=0, accumulation=2, row_multiple=2)
    return plan_batches(sizes, shape, **settings)


def assert_same_elements(stored, expected):
    for one, other in zip(stored, expected, strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            assert array.dtype == other[name].dtype
            assert array.tobytes() == other[name].tobytes(), name


def test_a_split_of_a_store_is_that_of_the_rows_in_memory(tmp_path, conversations, in_memory):
    encoded = opened(tmp_path, conversations).encoded
    numbers = range(len(encoded.rows))
    sides = split(numbers, eval_share=0.3, seed=1, groups=encoded.groups)
    assert sides == split(numbers, eval_share=0.3, seed=1, groups=in_memory.groups)
    for side in sides:
        rows, ids = pick(encoded.rows, side), pick_texts(encoded.ids, side)
        assert isinstance(rows, StoredRows)
        assert [row.tokens.tolist() for row in rows] == [in_memory.rows[i].tokens.tolist() for i in side]
        assert row_sizes(rows).lengths.tolist() == [len(in_memory.rows[i].tokens) for i in side]
        assert list(ids) == [in_memory.ids[i] for i in side]
        assert (ids[-1], list(ids[1:])) == (in_memory.ids[side[-1]], [in_memory.ids[i] for i in side[1:]])
        again = rows.take([1, 0])
        assert again[1].tokens.tolist() == rows[0].tokens.tolist() == again[-1].tokens.tolist()
    with pytest.raises(IndexError):
        encoded.rows[len(encoded.rows)]


def test_worker_processes_change_no_byte(tmp_path, conversations, monkeypatch):
    monkeypatch.setattr(units, "UNIT_ROWS", 4)
    here = opened(tmp_path / "1", conversations, processes=1)
    there = opened(tmp_path / "2", conversations, processes=2)
    assert here.path.name == there.path.name
    assert contents(here.path) == contents(there.path)


class Deadly(ListUnit):
    """A unit whose reader dies, as one does that the system kills for lack of memory."""

    def read(self):
        os._exit(9)


def test_a_worker_that_is_killed_is_one_clear_error(tmp_path, conversations, monkeypatch):
    monkeypatch.setattr(build, "POOL_FROM_UNITS", 1)
    with pytest.raises(DataError, match=r"killed, most likely for lack of memory.*--workers 1"):
        open_or_build(
            lambda: [Deadly(tuple(conversations))], content="rows", recipe=recipe(), cache=tmp_path, processes=2
        )
    assert not list(tmp_path.iterdir())


def test_whatever_changes_the_tokens_is_another_store(tmp_path, conversations, monkeypatch):
    paths = [
        opened(tmp_path, conversations).path,
        opened(tmp_path, conversations, content="other rows").path,
        opened(tmp_path, conversations, how=recipe(max_length=LONGEST - 1)).path,
        opened(tmp_path, conversations, how=recipe("hermes", 2000)).path,
    ]
    dialect = type(recipe().dialect)
    monkeypatch.setattr(dialect, "between_turns", "\n\n")  # a correction that did not change the dialect's name
    paths.append(opened(tmp_path, conversations).path)
    monkeypatch.undo()
    monkeypatch.setattr("gemma_tool_use.data.store.identity.__version__", "99")
    paths.append(opened(tmp_path, conversations).path)
    assert len(set(paths)) == 6
    assert all(path.is_dir() for path in paths)


def flip(path, at, bit=0):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


DAMAGES = {
    "a bit of the rows": lambda folder: flip(next(folder.glob("*.arrayrecord")), 100, 3),
    "a bit of the index": lambda folder: flip(folder / "index.parquet", 50),
    "a bit of the rejects": lambda folder: flip(folder / "rejects.jsonl", 20),
    "a digit of the manifest": lambda folder: flip(
        folder / "manifest.json", (folder / "manifest.json").read_bytes().index(b'"kept": ') + 8
    ),
    "a cut file": lambda folder: os.truncate(next(folder.glob("*.arrayrecord")), 1000),
    "a missing file": lambda folder: (folder / "index.parquet").unlink(),
    "a missing manifest": lambda folder: (folder / "manifest.json").unlink(),
    "an empty manifest": lambda folder: (folder / "manifest.json").write_text(""),
    "a manifest of something else": lambda folder: (folder / "manifest.json").write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_named_and_built_again(tmp_path, conversations, in_memory, damage):
    folder = opened(tmp_path, conversations).path
    whole = contents(folder)
    DAMAGES[damage](folder)
    with pytest.warns(UserWarning, match=f"{folder} are damaged .*; tokenising again"):
        again = opened(tmp_path, conversations)
    assert again.built
    assert_same(again.encoded, in_memory)
    assert contents(folder) == whole
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_store_under_the_name_of_another_is_refused(tmp_path, conversations):
    folder = opened(tmp_path, conversations).path
    other = opened(tmp_path, conversations[:10], content="other").path
    shutil.rmtree(folder)
    other.rename(folder)
    with pytest.warns(UserWarning, match="made from other rows or settings"):
        assert len(opened(tmp_path, conversations).encoded.ids) > 10


def test_every_flipped_bit_of_the_rows_is_noticed_when_a_row_is_read(tmp_path, conversations, in_memory):
    """Damage after the start, so that only ArrayRecord's own checksums can see it."""
    rng = np.random.default_rng(0)
    folder = opened(tmp_path, conversations).path
    (file,) = folder.glob("*.arrayrecord")
    whole = file.read_bytes()
    records = whole.index(bytes(1000))  # padding follows
    assert records > 3000
    for at in rng.integers(64, records - 64, 60):  # between the file's head and the chunk's end, which no row needs
        rows = open_or_build(never, content="rows", recipe=recipe(), cache=tmp_path, processes=1).encoded.rows
        flip(file, int(at), int(rng.integers(8)))
        with pytest.raises(DataError, match=f"{folder} cannot be read .* tokenises again"):
            _ = [rows[i] for i in range(len(rows))]
        file.write_bytes(whole)
    assert_same_rows(
        open_or_build(never, content="rows", recipe=recipe(), cache=tmp_path, processes=1).encoded, in_memory
    )


def test_two_runs_that_build_the_same_store_both_get_it(tmp_path, conversations, in_memory):
    both_build = threading.Barrier(2)
    stores = []

    def rows():
        both_build.wait()
        return list_units(conversations)

    def start():
        stores.append(open_or_build(rows, content="rows", recipe=recipe(), cache=tmp_path, processes=1))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.built for store in stores] == [True, True]
    for store in stores:
        assert_same(store.encoded, in_memory)
    assert [path.name for path in tmp_path.iterdir()] == [stores[0].path.name]


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_token_store import opened, recipe
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.errors import FileError
conversations = generate(count=24, seed=5)
recipe()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    opened(Path("cache"), conversations)
except FileError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [0, 2000, 50_000])
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path, room):
    """A limit on the size of files stands for the full disk: writing fails at the same calls, with another reason."""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(room), str(here), str(here.parents[1])],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "cannot keep tokenised rows in cache: " in done.stdout, done.stderr
    assert "Free some space, or choose another --cache-dir" in done.stdout
    assert "File too large" in done.stdout
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_cannot_be_made_is_named(tmp_path, conversations):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FileError, match=r"file/cache.*--cache-dir"):
        opened(tmp_path / "file" / "cache", conversations)


def test_what_a_killed_run_left_goes_away_after_a_day(tmp_path, conversations):
    old, new = tmp_path / ".abc.partial-1", tmp_path / ".abc.partial-2"
    for path in (old, new):
        path.mkdir()
        (path / "rows-00000.arrayrecord").write_text("half")
    os.utime(old, (0, time.time() - 90_000))
    opened(tmp_path, conversations)
    assert not old.exists()
    assert new.exists()


def test_a_mask_that_cannot_be_right_stops_and_leaves_nothing(tmp_path, conversations):
    silent = conversations[3].__class__(id="silent", messages=(Message(role="user", content="Hi"),))
    with pytest.raises(DataError, match="row 'silent': no token is trained"):
        opened(tmp_path, [*conversations, silent])
    assert not list(tmp_path.iterdir())


def test_no_row_left_and_settings_out_of_range_are_named(tmp_path, conversations):
    with pytest.raises(DataError, match=r"none of 24 conversations can be trained on \(24 x longer than 5 tokens\)"):
        opened(tmp_path, conversations, how=recipe(max_length=5))
    with pytest.raises(DataError, match="none were given"):
        opened(tmp_path, [])
    with pytest.raises(ConfigError, match="max_length"):
        opened(tmp_path, conversations, how=recipe(max_length=1))


def test_a_sound_store_gives_no_warning_and_its_manifest_says_what_it_is(tmp_path, conversations, in_memory):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = opened(tmp_path, conversations).path
        opened(tmp_path, conversations)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["identity"]["dialect"] == "gemma_json_compact"
    assert manifest["identity"]["tokenizer"] == tiny_tokenizer().fingerprint
    assert manifest["counts"] == in_memory.counts
    assert {entry["file"] for entry in manifest["files"]} | {"manifest.json"} == set(contents(folder))
