"""Two evaluations compared: pairing, verdicts, and what the command prints."""

import dataclasses
import json

import pytest
from evaluation_results import result, write_evaluation

from gemma_tool_use import cli
from gemma_tool_use.conversation import Message
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.evaluation.compare import main
from gemma_tool_use.evaluation.compare_text import sentence
from gemma_tool_use.evaluation.folder import find_evaluation, read_evaluation
from gemma_tool_use.evaluation.paired import compare, match


def answers(right, *, category="simple_python", start=0, **more):
    """`answers("10")`: the first item right, the second wrong."""
    return [
        result(f"{category}_{start + i}", right=mark == "1", category=category, **more) for i, mark in enumerate(right)
    ]


def test_fixed_and_broken_items_are_counted_on_the_same_items():
    a, b = answers("1" * 20 + "0" * 20), list(reversed(answers("1" * 19 + "0" + "1" * 12 + "0" * 8)))
    found = compare(match(a, b), "strict")["bfcl"].categories["simple_python"]
    assert (found.count, found.right_a, found.right_b, found.fixed, found.broken) == (40, 20, 31, 12, 1)
    assert found.difference == pytest.approx(11 / 40)
    assert found.p == pytest.approx(2 * (1 + 13) / 2**13)
    assert found.low < found.difference < found.high
    assert found.judgement == "better"
    assert compare(match(b, a), "strict")["bfcl"].total.judgement == "worse"


def test_the_same_difference_in_one_of_ten_categories_is_not_clear():
    def some(right):
        return answers(right) + [one for i in range(9) for one in answers("11", category=f"other_{i}")]

    pairs = match(some("0" * 6 + "1"), some("1" * 7))
    found = compare(pairs, "strict")["bfcl"].categories["simple_python"]
    assert (found.p, found.adjusted, found.judgement) == (2 / 2**6, 10 * 2 / 2**6, "unclear")
    alone = compare(pairs[:7], "strict")["bfcl"].categories["simple_python"]
    assert alone.judgement == "better"


def test_the_rule_decides_what_counts_as_right():
    a = answers("0" * 8, official=True, category="irrelevance")
    pairs = match(a, answers("1" * 8, category="irrelevance"))
    assert compare(pairs, "official")["bfcl"].total.fixed == 0
    assert compare(pairs, "strict")["bfcl"].total.fixed == 8


def test_different_items_are_refused_with_their_names():
    a = answers("111")
    with pytest.raises(DataError, match=r"1 only in A \(bfcl simple_python_2\)\. Compare on the 2 .*--common"):
        match(a, answers("11"))
    with pytest.raises(DataError, match=r"1 only in B \(bfcl simple_python_3\)"):
        match(a, answers("1111"))
    other = [*answers("11"), result("simple_python_2", question="Roll a d7")]
    with pytest.raises(DataError, match=r"1 with another question or right answer \(bfcl simple_python_2\)"):
        match(a, other)
    assert [pair.item.id for pair in match(a, other, common=True)] == ["simple_python_0", "simple_python_1"]
    with pytest.raises(DataError, match="no item is the same"):
        match(a, answers("11", start=5), common=True)


def test_the_same_question_in_another_prompt_is_the_same_item():
    def prompted(one):
        said = (Message(role="system", content="Functions: ..."), *one.item.conversation.messages)
        conversation = dataclasses.replace(one.item.conversation, messages=said, tools=())
        return named(dataclasses.replace(one, item=dataclasses.replace(one.item, conversation=conversation)), "a.roll")

    def named(one, name):
        return dataclasses.replace(one, item=dataclasses.replace(one.item, expected=[{name: {"sides": [6]}}]))

    (right,), (wrong,) = answers("1"), answers("0")
    (pair,) = match([named(wrong, "a_roll")], [prompted(right)])
    assert not pair.shown_alike
    with pytest.raises(DataError, match="another question or right answer"):
        match([named(wrong, "b_roll"), *answers("1", start=1)], [prompted(right), *answers("1", start=1)])


def test_the_sentence_says_who_is_better_by_how_much_and_how_sure():
    found = compare(match(answers("0" * 10 + "1" * 10), answers("1" * 20)), "strict")["bfcl"].total
    assert sentence("multiple", found, 1).startswith("B is better on multiple: +50.0 points [+")
    assert sentence("multiple", found, 1).endswith("], p = 0.002")
    assert sentence("multiple", found, 3).endswith("p = 0.002, 0.002 after Holm for 3 categories")
    same = compare(match(answers("01"), answers("01")), "strict")["bfcl"].total
    assert sentence("multiple", same, 1) == "No difference on multiple: no item of 2 changed"
    unclear = compare(match(answers("01"), answers("11")), "strict")["bfcl"].total
    assert sentence("multiple", unclear, 1).startswith("No clear difference on multiple: +50.0 points")


def folders(tmp_path, a, b):
    return [str(write_evaluation(tmp_path / name, results)) for name, results in (("a", a), ("b", b))]


def test_the_command_prints_a_table_the_verdict_and_the_items_that_changed(tmp_path, capsys):
    hostile = result("simple_python_0", right=False, text="\x1b[31mno\u202e call\n" + "x" * 9000)
    words = folders(tmp_path, [hostile, *answers("0" * 9 + "1", start=1)], answers("1" * 10 + "0"))
    assert cli.main(["compare", *words]) == 0
    out = capsys.readouterr().out
    assert "strict rule, 11 items of both" in out
    assert "simple_python     11  9.1%  90.9%  +81.8  [+45.5, +100.0]     10       1  0.012     0.012" in out
    assert "B is better on simple_python: +81.8 points [" in out
    assert "simple_python, fixed: 2 of 10\nsimple_python_0: Roll a d6\n" in out
    assert '  expected  roll {"sides": 6}\n  A wrong   wrong_value: \\x1b[31mno\\u202e call⏎xxx' in out
    assert "simple_python, broken: 1 of 1" in out
    assert max(map(len, out.splitlines())) < 170


def test_the_json_holds_every_item_that_changed(tmp_path, capsys):
    words = folders(tmp_path, answers("0" * 9 + "1"), answers("1" * 9 + "0"))
    assert main([*words, "--json", "--show", "0"]) == 0
    content = json.loads(capsys.readouterr().out)
    score = content["suites"]["bfcl"]["categories"]["simple_python"]
    assert (score["fixed"], score["broken"], score["judgement"]) == (9, 1, "better")
    assert [one["change"] for one in content["changed"]] == ["fixed"] * 9 + ["broken"]
    assert content["changed"][0]["a"]["failure"] == "wrong_value"


def test_items_without_an_answer_are_named_and_count_as_wrong(tmp_path, capsys):
    words = folders(tmp_path, answers("0", error="prompt too long"), answers("1"))
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "A has no answer to 1 item; they count as wrong" in out
    assert "A wrong   generation_error: no answer: prompt too long" in out


def test_every_problem_of_the_words_is_told(tmp_path, capsys):
    words = folders(tmp_path, answers("1"), answers("11"))
    with pytest.raises(ConfigError, match=r"(?s)--sow, did you mean --show.*--rule: got 'strickt'"):
        main([*words, "--rule", "strickt", "--sow", "3"])
    with pytest.raises(ConfigError, match="--b is required"):
        main(words[:1])
    with pytest.raises(ConfigError, match="are the same evaluation"):
        main([words[0], words[0]])
    with pytest.raises(ConfigError, match="show must be 0 or more"):
        main([*words, "--show", "-1"])
    assert cli.main(["compare", *words]) == 2
    assert f"A {words[0]}, B {words[1]}: the items differ" in capsys.readouterr().err


def test_an_evaluation_is_found_in_its_run_folder_when_there_is_one(tmp_path):
    run = tmp_path / "run"
    first = write_evaluation(run / "evaluation" / "step_1", answers("1"))
    assert find_evaluation(first) == find_evaluation(run) == find_evaluation(run / "evaluation") == first
    assert read_evaluation(run).label == "step_1"
    write_evaluation(run / "evaluation" / "step_2", answers("1"))
    with pytest.raises(ConfigError, match=r"holds 2 evaluations; .*step_1, .*step_2"):
        find_evaluation(run)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no evaluation"):
        find_evaluation(tmp_path / "empty")
    with pytest.raises(ConfigError, match="is no folder"):
        find_evaluation(tmp_path / "none")


@pytest.mark.parametrize("content", ["", "[1]", '{"suites": {}}'])
def test_scores_that_evaluate_did_not_write_are_named(tmp_path, content):
    folder = write_evaluation(tmp_path / "a", answers("1"))
    (folder / "scores.json").write_text(content)
    with pytest.raises(DataError, match=r"a/scores\.json .*run evaluate again"):
        read_evaluation(folder)
