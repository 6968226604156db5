"""Result files for bfcl-eval and the command that has it score them; bfcl-eval itself is played by a small script."""

import json
import sys
from pathlib import Path

import pytest
from bfcl_package import QUESTIONS, write_package

from gemma_tool_use.bfcl_files import VERSION
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.evaluation import bfcl_official
from gemma_tool_use.evaluation.bfcl import official, official_process
from gemma_tool_use.evaluation.bfcl.suite import BfclSuite
from gemma_tool_use.evaluation.records import Answer, judged, write_results
from gemma_tool_use.formats.dialects import get_dialect

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
CALL = '<tool_call>\n{"name": "geometry_area", "args": {"x": 0, "unit": "\\ud800é"}}\n</tool_call>'
BROKEN = '<tool_call>\n{"name": "f"'
# In place of Python with bfcl-eval: takes a question for failed where the result is a text, or the second word says so.
FAKE = """#!{python}
import json, os, pathlib, sys
script, command, kind, *categories = sys.argv[1:]
assert script.endswith("official_process.py") and command == "score" and "HF_TOKEN" not in os.environ
if categories == ["live_relevance"]:
    sys.exit("no module named bfcl_eval")
root = pathlib.Path(os.environ["BFCL_PROJECT_ROOT"])
(root / "questions.json").write_text(json.dumps(dict.fromkeys(categories, 7)))
for path in sorted((root / "result").rglob("*_result.json")):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    failed = [dict(id=row["id"]) for row in rows if isinstance(row["result"], str) != ("irrelevance" in path.name)]
    out = root / "score" / path.relative_to(root / "result").with_name(path.name.replace("_result", "_score"))
    out.parent.mkdir(parents=True, exist_ok=True)
    head = dict(accuracy=0, correct_count=len(rows) - len(failed), total_count=len(rows))
    out.write_text("".join(json.dumps(row) + "\\n" for row in [head, *failed]))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("bfcl"))


@pytest.fixture
def fake(tmp_path):
    path = tmp_path / "python"
    path.write_text(FAKE.format(python=sys.executable))
    path.chmod(0o755)
    return path


def results(package, text, *categories, error=None, prompt=False):
    suite = BfclSuite(folder=package, categories=categories or tuple(QUESTIONS), official_prompt=prompt)
    parse = get_dialect("python_calls" if prompt else "gemma_json").parse
    answers = [Answer(item_id=i.id, text=text, error=error, prompt_tokens=9, new_tokens=4) for i in suite.items()]
    return [judged(suite, item, answer, parse) for item, answer in zip(suite.items(), answers, strict=True)]


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_a_result_file_holds_calls_as_json_and_other_answers_as_text(package, tmp_path):
    calls = results(package, CALL, "simple_python", "live_relevance")
    assert official.write_result_files(calls, tmp_path) == {"simple_python": 5, "live_relevance": 1}
    folder = tmp_path / "result" / "gemma-tool-use-FC"
    assert lines(folder / "non_live" / "BFCL_v4_simple_python_result.json")[1] == {
        "id": "simple_python_1",
        "result": [{"geometry_area": '{"x": 0, "unit": "\ufffd\ufffd\ufffdé"}'}],
        "input_token_count": 9,
        "output_token_count": 4,
        "latency": 0,
    }
    official.write_result_files(results(package, "I cannot \ud800.", "live_relevance"), tmp_path)
    assert lines(folder / "live" / "BFCL_v4_live_relevance_result.json")[0]["result"] == "I cannot \ufffd\ufffd\ufffd."


def test_an_answer_with_a_broken_call_is_a_text_but_where_no_call_is_wanted(package, tmp_path):
    official.write_result_files(results(package, CALL + BROKEN, "simple_python", "irrelevance"), tmp_path)
    folder = tmp_path / "result" / "gemma-tool-use-FC" / "non_live"
    assert isinstance(lines(folder / "BFCL_v4_simple_python_result.json")[0]["result"], str)
    assert isinstance(lines(folder / "BFCL_v4_irrelevance_result.json")[0]["result"], list)


def test_questions_in_the_official_prompt_belong_to_the_model_whose_names_keep_dots(package, tmp_path):
    official.write_result_files(results(package, "[geometry.area(x=0)]", "simple_python", prompt=True), tmp_path)
    path = tmp_path / "result" / "gemma-tool-use-Prompt" / "non_live" / "BFCL_v4_simple_python_result.json"
    assert lines(path)[0]["result"] == [{"geometry.area": '{"x": 0}'}]


def test_generation_errors_twins_and_nothing_at_all_are_refused(package, tmp_path):
    failed = results(package, "", "irrelevance", "live_irrelevance", error="prompt is too long")
    with pytest.raises(
        DataError, match=r"3 of 3 questions have no answer.*irrelevance_0: prompt is too long.*no answer"
    ):
        official.write_result_files(failed, tmp_path)
    with pytest.raises(DataError, match="1 of 3"):
        official.write_result_files([*results(package, "No.", "live_irrelevance"), failed[0]], tmp_path)
    with pytest.raises(DataError, match="irrelevance_0 is answered twice"):
        official.write_result_files(results(package, "No.", "irrelevance") * 2, tmp_path)
    with pytest.raises(DataError, match="no answer to a question of BFCL"):
        official.write_result_files([], tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_command_sets_both_scores_side_by_side(package, fake, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "planted")
    write_results(tmp_path / "results.jsonl", results(package, CALL, "simple_python", "irrelevance"))
    # The script takes all of simple_python for right; by the rule only the area of 0 is.
    code = bfcl_official.main([str(tmp_path), "--official-python", str(fake)])
    said = capsys.readouterr().out
    assert code == 1
    assert said.splitlines()[:3] == [
        "category                   questions     ours  bfcl-eval",
        "simple_python                    5/7    0.00%    100.00%",
        "irrelevance                      1/7    0.00%      0.00%",
    ]
    assert "another verdict on 5 of 6 questions: simple_python_0, simple_python_1" in said
    written = json.loads((tmp_path / "bfcl_official" / "official_scores.json").read_text())
    assert written["categories"]["irrelevance"] == {"answered": 1, "questions": 7, "ours": 0.0, "bfcl_eval": 0.0}
    with pytest.raises(ConfigError, match=r"bfcl_official exists already.*--output-dir"):
        bfcl_official.main([str(tmp_path), "--official-python", str(fake)])


def test_equal_verdicts_are_a_success(package, fake, tmp_path, capsys):
    write_results(tmp_path / "r.jsonl", results(package, "No.", "simple_python", "live_irrelevance"))
    words = [str(tmp_path / "r.jsonl"), "--official-python", str(fake), "--json"]
    assert bfcl_official.main([*words, "--output-dir", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out)["different"] == []
    assert bfcl_official.main([*words, "--output-dir", str(tmp_path / "files"), "--no-score"]) == 0
    assert "7 answers of 2 categories" in capsys.readouterr().out
    assert not (tmp_path / "files" / "score").exists()


def test_what_goes_wrong_in_the_other_process_is_said(package, fake, tmp_path, monkeypatch):
    write_results(tmp_path / "r.jsonl", results(package, "No.", "live_relevance"))
    words = [str(tmp_path / "r.jsonl"), "--output-dir"]
    with pytest.raises(DataError, match=r"ended with 1: .*\nno module named bfcl_eval"):
        bfcl_official.main([*words, str(tmp_path / "a"), "--official-python", str(fake)])
    assert not (tmp_path / "a").exists()
    with pytest.raises(ConfigError, match=r"cannot run .*missing"):
        bfcl_official.main([*words, str(tmp_path / "b"), "--official-python", str(tmp_path / "missing")])
    with pytest.raises(DataError, match="wrote no score"):
        official.score(tmp_path, "FC", ["multiple"], environment=ENVIRONMENT, python=fake)
    monkeypatch.setattr(official.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"uv.*not installed.*--official-python"):
        bfcl_official.main([*words, str(tmp_path / "c")])


def test_the_other_process_pins_the_release_that_the_rule_was_compared_with():
    head = Path(official_process.__file__).read_text(encoding="utf-8").split("# ///")[1]
    assert f'"bfcl-eval=={VERSION}"' in head
