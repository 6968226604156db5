"""Benchmark questions are recognised, the same and nearly the same; everybody's questions are not."""

import json
import random
import string
import time
from pathlib import Path

import numpy as np
import pytest

from gemma_tool_use.conversation import Conversation, Message
from gemma_tool_use.data.contamination import build, fingerprints
from gemma_tool_use.data.contamination.fingerprints import Match, fingerprint, load, save, shipped_bfcl
from gemma_tool_use.data.contamination.questions import bfcl_questions, file_questions
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import BENCHMARK_QUESTION, EVERYTHING, RuleSettings, apply_rules
from gemma_tool_use.data.rules.benchmark import benchmark_questions
from gemma_tool_use.errors import DataError, FileError

# One question of BFCL v4 (Apache-2.0), so that the shipped fingerprints are tried on a real one.
REAL = "Find the area of a triangle with a base of 10 units and height of 5 units."
LONG = "Book a table for four at the Harbour Grill on the second of June, and order a taxi from there to the airport."


def sentences(count, words=12):
    rng = random.Random(5)
    return [
        " ".join("".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))) for _ in range(words))
        for _ in range(count)
    ]


def conversation(*questions):
    turns = [m for q in questions for m in (Message(role="user", content=q), Message(role="assistant", content="ok"))]
    return Conversation(id="r1", messages=tuple(turns))


def test_the_shipped_benchmark_is_small_complete_and_holds_no_text():
    about = json.loads((fingerprints.FOLDER / "bfcl_v4.json").read_text(encoding="utf-8"))
    assert about["version"] == "2026.3.23"
    assert len(shipped_bfcl().items) == about["questions"] > 4_900
    assert sum(path.stat().st_size for path in fingerprints.FOLDER.glob("bfcl_v4.*")) < 2_000_000
    categories = {item.rstrip("0123456789-").rstrip("_") for item in shipped_bfcl().items}
    assert {"simple_python", "simple_java", "multiple", "parallel", "irrelevance", "live_simple"} <= categories
    assert {"multi_turn_base", "web_search"} <= categories
    assert not any(" " in item for item in shipped_bfcl().items)


@pytest.mark.parametrize("text", [REAL, REAL.upper(), f"  {REAL[:-1].replace(' ', '   ')} !!\n"])
def test_a_bfcl_question_is_recognised_whatever_its_case_spacing_and_punctuation(text):
    assert shipped_bfcl().find(text) == Match(benchmark="bfcl-v4", item="simple_python_0", similarity=1.0)


@pytest.mark.parametrize(
    "text",
    [
        REAL.replace("base", "side"),
        f"Please {REAL.lower()}",
        REAL.replace("10", "12"),
        REAL.replace("units and", "units,"),
    ],
)
def test_a_bfcl_question_with_a_word_changed_is_recognised(text):
    match = shipped_bfcl().find(text)
    assert match is not None
    assert match.item == "simple_python_0"
    assert 0.6 <= match.similarity < 1


@pytest.mark.parametrize(
    "text",
    ["", "hi", "test", "Thank you!", "What can you do?", "Yes, please do that.", LONG, "今天天气", "?!", "\ud83d"],
)
def test_everybodys_questions_and_unrelated_ones_are_none_of_the_benchmark(text):
    assert shipped_bfcl().find(text) is None


def test_a_short_question_counts_only_when_it_is_the_same():
    prints = fingerprint("b", [("q1", "What is the capital of Peru?"), ("q2", "hello"), ("q3", LONG)])
    assert prints.items == ["q1", "q3"]
    assert prints.near.tolist() == [False, True]
    assert prints.find("what is the capital of PERU") == Match(benchmark="b", item="q1", similarity=1.0)
    assert prints.find("What is the capital of Cuba?") is None
    assert prints.find("hello") is None


def test_characters_of_chinese_weigh_three():
    assert fingerprints.weight("weather 北京") == 14
    prints = fingerprint("b", [("q1", "北京后天的天气如何？"), ("q2", "天气如何？")])
    assert prints.items == ["q1"]
    assert prints.find("北京后天的天气如何") is not None


def test_of_equal_questions_the_first_names_the_item_and_of_near_ones_the_nearest():
    prints = fingerprint("b", [("q1", LONG), ("q2", LONG.upper()), ("q3", LONG.replace("June", "July"))])
    assert prints.items == ["q1", "q3"]
    assert prints.find(LONG.replace("June", "Julys")).item == "q3"


def test_most_planted_variants_are_found_and_no_unrelated_sentence_is():
    known, other = sentences(400)[:200], sentences(400)[200:]
    prints = fingerprint("b", [(f"q{i}", text) for i, text in enumerate(known)])
    rng = random.Random(3)
    found = 0
    for number, text in enumerate(known):
        words = text.split()
        words[rng.randrange(len(words))] = "changed"
        match = prints.find(" ".join(words))
        found += match is not None and match.item == f"q{number}"
    assert found >= 195
    assert not any(prints.find(text) for text in other)


def test_many_questions_are_recognised_as_each_by_itself():
    texts = [
        REAL,
        "hi",
        LONG,
        "Thank you!",
        *sentences(40)[:20],
        REAL.replace("base", "side"),
        LONG.replace("four", "five"),
    ]
    prints = fingerprint("b", [("q0", REAL), ("q1", LONG), ("q2", "thank you so much")])
    found = prints.find_all(texts)
    assert found == [prints.find(text) for text in texts]
    assert [match.item if match else "" for match in found] == ["q0", "", "q1", *[""] * 21, "q0", "q1"]
    assert fingerprint("empty", []).find_all(texts) == [None] * len(texts)


def test_the_rule_says_of_many_rows_what_it_says_of_each(tmp_path):
    (tmp_path / "ours.txt").write_text(f"{LONG}\n", encoding="utf-8")
    rule = RuleSettings(single_turn=False, keep_out=(tmp_path / "ours.txt",))
    rows = [
        conversation(*asked) for asked in [(REAL, LONG, "hi"), ("hi", "no"), ("hi", LONG), (), (LONG, REAL), ("hi",)]
    ]
    problems = benchmark_questions(rows, rule)
    assert problems == [benchmark_questions([row], rule)[0] for row in rows]
    assert [bool(problem) for problem in problems] == [True, False, True, False, True, False]
    assert benchmark_questions(rows, EVERYTHING) == [None] * len(rows)


def test_what_is_saved_is_what_is_loaded(tmp_path):
    prints = fingerprint("b", [("a:1", REAL), ("ü 2", LONG), ("q3", "what is the capital of peru")])
    save(prints, tmp_path / "b.npz", {"source": "here"})
    again = load(tmp_path / "b.npz")
    assert (again.benchmark, again.items) == ("b", ["a:1", "ü 2", "q3"])
    assert np.array_equal(again.signatures, prints.signatures)
    assert again.find(LONG.replace("four", "five")).item == "ü 2"
    assert (tmp_path / "b.npz").read_bytes().count(b"triangle") == 0


def test_fingerprints_of_another_minhash_or_a_damaged_file_are_refused(tmp_path):
    path = tmp_path / "b.npz"
    save(fingerprint("b", [("q", LONG)]), path, {})
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    path.with_suffix(".json").write_text(json.dumps(about | {"probe": [1, 2]}), encoding="utf-8")
    with pytest.raises(DataError, match=r"another MinHash.*contamination\.build"):
        load(path)
    path.with_suffix(".json").write_text(json.dumps(about), encoding="utf-8")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="damaged"):
        load(path)
    path.unlink()
    with pytest.raises(FileError, match=r"b\.npz"):
        load(path)


def test_the_build_reads_every_user_message_of_a_bfcl_folder(tmp_path, capsys):
    folder = tmp_path / "data"
    (folder / "memory_prereq_conversation").mkdir(parents=True)
    turns = [[{"role": "system", "content": "Be brief, and polite to everyone."}, {"role": "user", "content": REAL}]]
    turns.append([{"role": "user", "content": LONG}])
    rows = [{"id": "multi_turn_base_0", "question": turns}]
    (folder / "BFCL_v4_multi_turn_base.json").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "BFCL_v4_format_sensitivity.json").write_text('{"simple": ["simple_0"]}', encoding="utf-8")
    memory = {"id": "memory_0", "question": [[{"role": "user", "content": "My name is Michael, I live in Seattle."}]]}
    (folder / "memory_prereq_conversation" / "memory_customer.json").write_text(json.dumps(memory), encoding="utf-8")
    assert [item for item, _ in bfcl_questions(folder)] == ["multi_turn_base_0", "multi_turn_base_0", "memory_0"]
    flags = ["--bfcl", str(folder), "--version", "1", "--output", str(tmp_path / "b.npz")]
    assert build.main(flags) == 0
    assert "3 questions of 3 user messages" in capsys.readouterr().out
    first = (tmp_path / "b.npz").read_bytes()
    assert build.main(flags) == 0
    assert (tmp_path / "b.npz").read_bytes() == first
    with pytest.raises(DataError, match="BFCL_v4"):
        list(bfcl_questions(tmp_path / "memory"))


def test_questions_are_read_from_objects_strings_and_plain_lines(tmp_path: Path):
    messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "no"}, {"content": "two"}]
    lines = [
        '{"id": "x", "question": "zero"}',
        json.dumps({"messages": messages}),
        '"three"',
        "plain four",
        "5",
    ]
    path = tmp_path / "b.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert list(file_questions(path)) == [
        ("x", "zero"),
        ("b.jsonl:2", "one"),
        ("b.jsonl:2", "two"),
        ("b.jsonl:3", "three"),
        ("b.jsonl:4", "plain four"),
        ("b.jsonl:5", "5"),
    ]
    path.write_text('{"text": "zero"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"b\.jsonl:1 has neither"):
        list(file_questions(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="UTF-8"):
        list(file_questions(path))


@pytest.mark.parametrize("questions", [(REAL,), ("Hi there", REAL)])
def test_the_rule_names_benchmark_item_and_similarity(questions):
    outcome = apply_rules(conversation(*questions), RuleSettings(single_turn=False))
    assert isinstance(outcome, Reject)
    assert (outcome.reason, outcome.detail) == (BENCHMARK_QUESTION, "bfcl-v4 simple_python_0, similarity 1.00")
    assert apply_rules(conversation(*questions), EVERYTHING) == conversation(*questions)


def test_files_of_ones_own_are_kept_out_too(tmp_path):
    path = tmp_path / "ours.txt"
    path.write_text(f"{LONG}\n", encoding="utf-8")
    rule = RuleSettings(keep_out=(path,), keep_out_bfcl=False)
    assert apply_rules(conversation(LONG.replace("four", "five")), rule).detail.startswith("ours.txt ours.txt:1, sim")
    assert apply_rules(conversation(REAL), rule) == conversation(REAL)
    strict = RuleSettings(keep_out=(path,), keep_out_bfcl=False, benchmark_similarity=1)
    assert isinstance(apply_rules(conversation(LONG.replace("four", "five")), strict), Conversation)
    with pytest.raises(FileError, match=r"none\.txt"):
        apply_rules(conversation(LONG), RuleSettings(keep_out=(tmp_path / "none.txt",)))


def test_a_lookup_takes_well_under_a_millisecond():
    prints, texts = shipped_bfcl(), sentences(300, words=25)
    prints.find(LONG)
    start = time.perf_counter()
    for text in texts:
        prints.find(text)
    assert (time.perf_counter() - start) / len(texts) < 1e-3
