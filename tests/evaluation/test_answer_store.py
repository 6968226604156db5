"""Answers survive the process that wrote them, and are found by what they are answers to."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gemma_tool_use.errors import DataError, FileError
from gemma_tool_use.evaluation.answer_store import AnswerStore, Stored, answer_key

FIRST = Stored(text="\ud800[[[ \u2028\r\n\x00", prompt_tokens=7, new_tokens=3, seconds=0.25)
SECOND = Stored(text="b", prompt_tokens=1, new_tokens=1)


def filled(path):
    with AnswerStore(path) as store:
        store.put("a", FIRST)
        store.put("b", SECOND)
    return path.read_bytes()


def test_what_was_put_is_there_for_the_next_process(tmp_path):
    filled(tmp_path / "answers.jsonl")
    with AnswerStore(tmp_path / "answers.jsonl") as store:
        assert (store.get("a"), store.get("b"), store.get("c")) == (FIRST, SECOND, None)
        assert (len(store), store.torn) == (2, False)


def test_a_torn_last_line_is_recognised_wherever_it_is_torn(tmp_path):
    path = tmp_path / "answers.jsonl"
    whole = filled(path)
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        with AnswerStore(path) as store:
            assert (len(store), store.torn) == (1, cut > first)
            store.put("b", SECOND)
        assert path.read_bytes() == whole


def test_a_killed_process_leaves_every_answer_it_had_put(tmp_path):
    path = tmp_path / "answers.jsonl"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from gemma_tool_use.evaluation.answer_store import AnswerStore, Stored\n"
        "store = AnswerStore(Path(sys.argv[1]))\n"
        "for i in range(3): store.put(str(i), Stored(text='x' * 9000, prompt_tokens=1, new_tokens=1))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    with AnswerStore(path) as store:
        assert (len(store), store.torn) == (3, False)


def test_a_damaged_line_inside_is_named(tmp_path):
    path = tmp_path / "answers.jsonl"
    whole = filled(path)
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(DataError, match=r"answers\.jsonl: line 1 is no stored answer"):
        AnswerStore(path)
    path.write_bytes(whole)
    assert len(AnswerStore(path)) == 2  # the refused file was let go of


def test_two_processes_do_not_write_one_file(tmp_path):
    with AnswerStore(tmp_path / "a.jsonl"), pytest.raises(FileError, match="another process writes"):
        AnswerStore(tmp_path / "a.jsonl")


def test_a_full_disk_is_told_of(tmp_path, monkeypatch):
    with AnswerStore(tmp_path / "a.jsonl") as store, Path("/dev/full").open("ab", buffering=0) as full:
        monkeypatch.setattr(store, "_file", full)
        with pytest.raises(FileError, match="No space left on device"):
            store.put("a", SECOND)


def test_the_key_changes_with_everything_that_decides_an_answer():
    identity = {"model": "m", "adapter": None, "sampling": {"temperature": 0.0}}
    others = [identity | {"model": "n"}, identity | {"adapter": "a"}, identity | {"sampling": {"temperature": 1.0}}]
    keys = {answer_key(each, [2, 5]) for each in (identity, *others)} | {answer_key(identity, [2, 5, 6])}
    assert len(keys) == 5
    assert answer_key(json.loads(json.dumps(dict(reversed(identity.items())))), [2, 5]) in keys
