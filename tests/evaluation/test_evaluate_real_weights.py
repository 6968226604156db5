"""The evaluate command on the real model: interrupted and continued, it ends as if it had not been."""

import pytest

import gemma_tool_use.evaluation.evaluate as command
from gemma_tool_use.commands import EXIT_OK, run
from gemma_tool_use.evaluation.answer_store import AnswerStore
from gemma_tool_use.evaluation.records import read_results

pytestmark = pytest.mark.real_weights


class Killed(Exception):
    pass


def test_an_interrupted_evaluation_ends_like_one_that_was_not(tmp_path, monkeypatch):
    flags = ["--model", "embedded:gemma-3-270m", "--suites", "held-out", "--held-out", "synthetic"]
    flags += ["--limit", "6", "--max-new-tokens", "24"]
    assert run(command.main, [*flags, "--output-dir", str(tmp_path / "whole")]) == EXIT_OK
    put = AnswerStore.put

    def dies(store, key, answer):
        if len(store) == 2:
            raise Killed
        put(store, key, answer)

    monkeypatch.setattr(AnswerStore, "put", dies)
    with pytest.raises(Killed):
        run(command.main, [*flags, "--output-dir", str(tmp_path / "killed")])
    monkeypatch.setattr(AnswerStore, "put", put)
    assert run(command.main, [*flags, "--output-dir", str(tmp_path / "killed")]) == EXIT_OK
    whole, killed = (tmp_path / name / "evaluation" / "gemma-3-270m" for name in ("whole", "killed"))
    for name in ("results.jsonl", "scores.json", "provenance.json"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    results = read_results(whole / "results.jsonl")
    assert len(results) == 6
    assert all(result.answer.text and result.answer.error is None for result in results)
