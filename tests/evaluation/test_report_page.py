"""The page of an evaluation: its numbers are those of scores.json, and it holds everything it shows."""

import json
import random
import re

import pytest
from evaluation_results import result, write_evaluation
from page_numbers import Numbers

from gemma_tool_use import cli
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.evaluation.aggregate import Measure, aggregate, scores_to_dict, share_measure, write_scores
from gemma_tool_use.evaluation.folder import find_base, read_evaluation
from gemma_tool_use.evaluation.page.answers import RIGHT, chosen
from gemma_tool_use.evaluation.page.build import write_report
from gemma_tool_use.evaluation.page.checkpoints import checkpoints
from gemma_tool_use.evaluation.page.curves import curves, read_metrics, thin
from gemma_tool_use.evaluation.page.run_facts import flat, trained_on
from gemma_tool_use.evaluation.paired import compare, match
from gemma_tool_use.evaluation.records import FAILURES

HOSTILE = '</pre><script>alert(1)</script>"><img src=x onerror=alert(1)>\u202e\x1b[31m\x00\ud800{{ 7*7 }}$x_1$'
CATEGORIES = {"simple_python": 40, "multiple": 30, "irrelevance": 20}
RUN = {
    "status": "finished",
    "config": {"dialect": "gemma_json", "method": "lora", "rank": 16, "data": HOSTILE},
    "base": {"source": "tiny", "architecture": "gemma3-6x64", "sha256": "abc"},
    "data": {"train_rows": 19600, "held_out_rows": 400, "counts": {"kept": 20000, "longer than 512 tokens": 3}},
    "seconds_training": 4388.2,
}


def answers(skill, seed, **more):
    """Right with that chance, otherwise wrong for a random reason; irrelevance mostly under the strict rule only."""
    rng = random.Random(seed)
    reasons = [name for name in FAILURES if name != "generation_error"]
    rows = [(f"{category}_{i}", category) for category, count in CATEGORIES.items() for i in range(count)]
    made = []
    for id, category in rows:
        right, failure = rng.random() < skill, rng.choice(reasons)
        official = right or (category == "irrelevance" and failure != "over_call")
        made.append(result(id, right=right, failure=failure, category=category, official=official, **more))
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a base and an adapter evaluated, and the page of the adapter."""
    folder = tmp_path_factory.mktemp("page") / "run"
    provenance = {"model": {"sha256": "abc", "source": HOSTILE}, "dialect": "gemma_json", "top_k": None}
    write_evaluation(folder / "evaluation" / "base", answers(0.2, 1), provenance | {"adapter": None})
    results = [
        *answers(0.6, 2),
        result(HOSTILE, right=False, question=HOSTILE, text=HOSTILE * 100, category="hostile", failure="no_call"),
        result("too_long", right=False, error="prompt of 9,000 tokens does not fit", category="hostile"),
        result("row_1", suite="held-out", category="one_call"),
    ]
    adapter = write_evaluation(folder / "evaluation" / "adapter", results)
    measures = {"held-out": {"argument_values": share_measure(3, 4), "common_run": Measure(value=0.25, count=9)}}
    asked = provenance | {"adapter": {"sha256": "def"}}
    write_scores(adapter / "scores.json", scores_to_dict(aggregate(results), provenance=asked, measures=measures))
    (adapter / "timing.json").write_text('{"answers": 93, "seconds": 75.0, "new_tokens_per_second": 33.4}')
    (folder / "run.json").write_text(json.dumps(RUN))
    lines = [{"step": n, "train/loss": 2 / n, "train/tokens_per_second": 100.0} for n in range(1, 40)]
    lines += [
        {"step": 39, "eval/loss": float("nan")},
        {"step": 40, "eval/loss": 0.3, "eval/tool_call_accuracy": 0.5, "train/loss": "nan"},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 41, "tra')
    write_report(adapter)
    return folder


@pytest.fixture(scope="module")
def path(run):
    return run / "evaluation" / "adapter" / "report.html"


@pytest.fixture(scope="module")
def page(path):
    return Numbers(path)


def percents(*shares):
    return " – ".join(f"{100 * share:.1f}" for share in shares)


def test_every_score_of_the_page_is_that_of_scores_json(run, page):
    content = json.loads((run / "evaluation" / "adapter" / "scores.json").read_text())
    checked = 0
    for name, suite in content["suites"].items():
        rows = {**suite["categories"], **({"all": suite["total"]} if len(suite["categories"]) > 1 else {})}
        for category, score in rows.items():
            row = f"{name}-scores", category
            for rule in ("official", "strict"):
                assert page.values[(*row, rule)] == score[rule]["value"]
                assert page.texts[(*row, rule)] == f"{100 * score[rule]['right'] / score[rule]['count']:.1f} %"
                assert page.texts[(*row, f"{rule} 95 %")] == percents(score[rule]["low"], score[rule]["high"])
            for column, key in (("items", "count"), ("called", "called"), ("broken", "broken"), ("errors", "errors")):
                assert page.values[(*row, column)] == score[key]
            failed = {reason: page.values.get((f"{name}-failures", category, reason), 0) for reason in FAILURES}
            assert failed == {reason: score["failures"].get(reason, {"count": 0})["count"] for reason in FAILURES}
            checked += 1
        for rule in ("official", "strict"):
            assert page.values["tile", f"{name}-{rule}", "value"] == suite["total"][rule]["value"]
    assert checked == len(CATEGORIES) + 1 + 1 + 1
    irrelevance = content["suites"]["bfcl"]["categories"]["irrelevance"]
    assert irrelevance["official"]["right"] > irrelevance["strict"]["right"]  # so that none stands for the other
    assert page.values["held-out-measures", "argument values", "value"] == 0.75
    assert page.texts["held-out-measures", "common run", "value"] == "25.0 %"


def test_the_comparison_is_that_of_compare(run, page, path):
    base, adapter = (read_evaluation(run / "evaluation" / name).results for name in ("base", "adapter"))
    paired = compare(match(base, adapter, common=True), "strict")["bfcl"]
    for category, score in {**paired.categories, "all": paired.total}.items():
        row = "bfcl-against", category
        assert page.values[(*row, "base")] == score.right_a / score.count
        assert page.values[(*row, "difference")] == score.difference
        assert (page.values[(*row, "fixed")], page.values[(*row, "broken")]) == (score.fixed, score.broken)
        assert page.values[(*row, "p")] == score.adjusted
        assert page.texts[(*row, "this is")] == {"unclear": "not clear"}.get(score.judgement, score.judgement)
    assert page.values["tile", "bfcl-difference", "value"] == paired.total.difference > 0.2
    assert "90 of 93 questions were answered by both" in path.read_text()


def test_the_page_loads_nothing_and_runs_nothing(page, path):
    text = path.read_text(encoding="utf-8")
    assert page.alone()
    assert "default-src 'none'" in text
    assert all(start.startswith("#") for start in re.findall(r"url\(['\"]?(.)", text))
    assert "@import" not in text
    assert page.tags["svg"] == 4  # two suites, losses, accuracy
    assert "@media print" in text and "prefers-color-scheme: dark" in text


def test_what_models_and_rows_wrote_is_text_and_made_visible(page, path):
    text = path.read_text(encoding="utf-8")
    assert page.tags["script"] == page.tags["img"] == 0
    assert not {"\u202e", "\x1b", "\x00", "\ud800"} & set(text)
    assert "&lt;script&gt;alert(1)" in text and "\\x1b[31m\\x00\\ud800{{ 7*7 }}" in text
    assert f"{100 * len(HOSTILE) - 600:,} more characters" in text


def test_twenty_answers_show_right_ones_and_every_kind_of_failure():
    results = [*answers(0.6, 2), result("e", right=False, error="does not fit")]
    shown = chosen(results)
    assert len(shown) == 20
    assert {one.outcome for one in shown} == {RIGHT, *FAILURES}
    assert [one.outcome for one in shown] == sorted(
        (one.outcome for one in shown), key=lambda outcome: (RIGHT, *FAILURES).index(outcome)
    )
    assert chosen(list(reversed(results))) == shown
    assert len(chosen(results[:3])) == 3


def test_an_answer_stands_beside_what_was_expected_and_what_the_base_wrote():
    base = result("a", right=False)
    (shown,) = chosen([result("a")], {("bfcl", "a"): base})
    assert [part.label for part in shown.prompt] == ["tools", "user"]
    assert [(part.label, part.text) for part in shown.sides] == [
        ("expected", 'roll {"sides": 6}'),
        ("got", "<call>{'sides': 6}</call>"),
        ("base got, wrong value", "<call>{'sides': 20}</call>"),
    ]
    assert [part.text for part in chosen([result("a", text=" ")])[0].sides][1] == "nothing was written"
    assert chosen([result("a", right=False, error="full")])[0].sides[1].text == "no answer: full"


def test_the_run_above_says_what_was_trained_and_what_it_cost(path):
    text = path.read_text(encoding="utf-8")
    for said in ("19,600 to train on, 400 held out", "lora, rank 16", "1 h 13 min", "33.40 a second", "20,000 kept"):
        assert said in text
    assert "100 tokens/s on average" in text
    assert "Without an answer, and counted as wrong: 1." in text


def test_an_evaluation_without_a_run_or_a_base_has_a_page_too(tmp_path):
    folder = write_evaluation(tmp_path / "model", answers(0.5, 3))
    text = write_report(folder).read_text(encoding="utf-8")
    assert "Trained on what" not in text and "Against the base" not in text and "Cost and speed" not in text
    other = write_evaluation(tmp_path / "other", answers(0.1, 4))
    assert "Against the base" in write_report(folder, base=other).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changed", "found"),
    [({}, True), ({"dialect": "hermes"}, False), ({"model": "other"}, False), ({"adapter": {"sha256": "x"}}, False)],
)
def test_the_base_is_the_same_model_without_its_adapter_beside(tmp_path, changed, found):
    asked = {"model": "tiny", "dialect": "gemma_json", "adapter": {"sha256": "y"}}
    write_evaluation(tmp_path / "a", answers(0.1, 4), asked | {"adapter": None} | changed)
    folder = write_evaluation(tmp_path / "b", answers(0.5, 3), asked)
    assert find_base(read_evaluation(folder)) == (tmp_path / "a" if found else None)
    assert find_base(read_evaluation(tmp_path / "a")) is None


def test_a_base_that_answered_other_questions_is_refused(tmp_path):
    folder = write_evaluation(tmp_path / "model", [result("a")])
    other = write_evaluation(tmp_path / "other", [result("b")])
    with pytest.raises(DataError, match="no item is the same in both"):
        write_report(folder, base=other)


def test_curves_are_of_finite_numbers_of_whole_lines(run, tmp_path):
    series = read_metrics(run / "metrics.jsonl")
    assert series["eval/loss"] == [(40, 0.3)]
    assert len(series["train/loss"]) == 39
    assert [plot.title for plot in curves(series)] == ["Loss", "Accuracy"]
    assert [plot.title for plot in curves({"eval/exact": [(1, 0.5)], "train/grad_norm": [(1, 2.0)]})] == ["Accuracy"]
    assert curves({}) == []
    (tmp_path / "metrics.jsonl").write_text("[1]\n")
    with pytest.raises(DataError, match="without a step"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_the_checkpoints_of_the_run_are_compared(tmp_path):
    path = tmp_path / "checkpoints.json"
    assert checkpoints(path) is None
    exact = {"right": 3, "count": 4, "low": 0.3, "high": 0.95, "value": 0.75}
    point = {"step": 1200, "exact": exact, "tool_call_accuracy": 1.0, "parameter_accuracy": 0.5, "eval_loss": None}
    path.write_text(json.dumps({"best": {"step": 1200}, "checkpoints": [point | {"step": 0}, point]}))
    table = checkpoints(path)
    assert table is not None
    assert [[line.label, *(cell.text for cell in line.cells)] for line in table.rows] == [
        ["0", "75.0 %", "30.0 – 95.0", "4", "100.0 %", "50.0 %", "", ""],
        ["1,200", "75.0 %", "30.0 – 95.0", "4", "100.0 %", "50.0 %", "", "best"],
    ]
    path.write_text('{"checkpoints": [{}]}')
    with pytest.raises(DataError, match="run evaluate-checkpoints again"):
        checkpoints(path)


def test_many_points_are_drawn_as_means_of_neighbours():
    assert thin([(1, 4.0), (2, 2.0), (3, 1.0)], 2) == [(1.5, 3.0), (3.0, 1.0)]
    assert len(thin([(n, 1.0) for n in range(1001)])) <= 400


def test_facts_leave_out_what_a_file_does_not_say():
    assert trained_on({}) == []
    assert trained_on({"config": {"method": "full"}}) == [("method", "full")]
    assert flat({"sampling": {"seed": 0, "top_k": None}, "model": "x"}) == [
        ("sampling.seed", "0"),
        ("sampling.top_k", "none"),
        ("model", "x"),
    ]


def test_the_command_writes_the_page_anew(run, path, capsys):
    before = path.read_bytes()
    path.unlink()
    assert cli.main(["report", str(path.parent)]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert path.read_bytes() == before
    assert cli.main(["report", str(run)]) == 0
    assert capsys.readouterr().out.split() == [str(path.parents[1] / name / path.name) for name in ("adapter", "base")]
    with pytest.raises(ConfigError, match="holds 2 evaluations"):
        write_report(run)
    assert cli.main(["report"]) == 2
    assert "--evaluation is required" in capsys.readouterr().err
