"""Teacher scores: read from assessments, joined on uuid, compared with the published gate."""

import dataclasses
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gemma_tool_use.conversation import Conversation, Message
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import EVERYTHING, PAPER_GATE, RuleSettings, apply_rules, quality, reasons
from gemma_tool_use.errors import DataError, FileError

USER, ANSWER = Message(role="user", content="hi"), Message(role="assistant", content="hello")


def assessments(question=(5, 5), response=(4, 4, 1.0)):
    names = ("question_quality", "scenario_realism", "completeness", "conciseness")
    scored = [{"reasoning": "...", "score": score} for score in (*question, *response[:2])]
    return {
        "question_quality_assessment": json.dumps(dict(zip(names[:2], scored[:2], strict=True))),
        "response_quality_assessment": json.dumps(
            dict(zip(names[2:], scored[2:], strict=True)) | {"desired_tools_used_percentage": response[2]}
        )
        if response
        else "",
    }


def conversation(row_id="u1", subset="single-turn-original", meta=None):
    return Conversation(id=row_id, source=f"toucan-sft/{subset}", messages=(USER, ANSWER), meta=meta or {})


def teacher_file(path, **rows):
    pq.write_table(pa.Table.from_pylist([{"uuid": uuid, **row} for uuid, row in rows.items()]), path)
    return path


def objection(row, rule):
    outcome = apply_rules(row, rule)
    return (outcome.reason, outcome.detail) if isinstance(outcome, Reject) else None


def test_scores_are_read_as_in_the_picture():
    row = assessments((5, 4), (3, 2, 0.5))
    assert quality.scores(row) == {
        "question_quality": 5,
        "scenario_realism": 4,
        "completeness": 3,
        "conciseness": 2,
        "desired_tools_used_percentage": 0.5,
    }
    assert quality.scores({"question_quality_assessment": '{"question_quality": {"score": "5"}}'}) == {}
    assert quality.scores({"question_quality_assessment": "{", "response_quality_assessment": None}) == {}
    assert quality.scores({"response_quality_assessment": "[1]"}) == {}


@pytest.mark.parametrize("name", PAPER_GATE)
def test_a_row_passes_at_each_least_value_and_fails_below_it(name):
    rule = dataclasses.replace(EVERYTHING, quality_gate=True)
    assert objection(conversation(meta={"quality": dict(PAPER_GATE)}), rule) is None
    low = dict(PAPER_GATE) | {name: PAPER_GATE[name] - 0.25}
    reason, detail = objection(conversation(meta={"quality": low}), rule)
    assert reason == reasons.LOW_QUALITY
    assert detail == f"{name} {low[name]:g}, asked for {PAPER_GATE[name]:g}"


def test_scores_are_joined_on_uuid(tmp_path):
    path = teacher_file(tmp_path / "k.parquet", u1=assessments(), u2=assessments(response=(3, 4, 1.0)))
    rule = dataclasses.replace(EVERYTHING, quality=path)
    assert objection(conversation("u1"), rule) is None
    assert objection(conversation("toucan-sft:u1"), rule) is None
    assert objection(conversation("u2"), rule) == (reasons.LOW_QUALITY, "completeness 3, asked for 4")
    assert objection(conversation("u3"), rule) == (reasons.NO_SCORES, "uuid 'u3'")


def test_an_irrelevant_row_is_judged_by_its_question_alone(tmp_path):
    path = teacher_file(tmp_path / "k.parquet", u1=assessments(response=()), u2=assessments((4, 5), ()))
    rule = dataclasses.replace(EVERYTHING, quality=path)
    assert objection(conversation("u1", "irrelevant"), rule) is None
    assert objection(conversation("u1"), rule) == (reasons.NO_SCORES, "no completeness")
    assert objection(conversation("u2", "irrelevant"), rule)[0] == reasons.LOW_QUALITY


def test_without_the_gate_nobody_asks_for_scores():
    assert objection(conversation(), EVERYTHING) is None
    assert objection(conversation(meta={"quality": {"completeness": 1}}), EVERYTHING) is None


def test_compact_scores_decide_as_the_file_they_come_from(tmp_path):
    (tmp_path / "shards").mkdir()
    rows = {f"u{i}": assessments((5, 1 + i % 5), (5, 5, i / 40)) for i in range(41)}
    names = sorted(rows)
    for number, part in enumerate((names[:20], names[20:])):
        teacher_file(tmp_path / "shards" / f"train-{number}.parquet", **{name: rows[name] for name in part})
    rule = dataclasses.replace(EVERYTHING, quality=tmp_path / "shards")
    compact = quality.with_compact_scores(rule, tmp_path)
    assert compact.quality == tmp_path / "quality.npz"
    outcomes = [objection(conversation(name), rule) for name in [*names, "none"]]
    assert outcomes == [objection(conversation(name), compact) for name in [*names, "none"]]
    assert len(set(outcomes)) > 3
    assert quality.with_compact_scores(EVERYTHING, tmp_path) is EVERYTHING


def test_a_file_without_scores_is_named(tmp_path):
    path = teacher_file(
        tmp_path / "sft.parquet", u1={"question_quality_assessment": "", "response_quality_assessment": ""}
    )
    with pytest.raises(DataError, match=r"sft\.parquet holds no scored row"):
        apply_rules(conversation(), RuleSettings(quality=path))
    (tmp_path / "quality.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"quality\.npz is damaged"):
        apply_rules(conversation(), RuleSettings(quality=tmp_path / "quality.npz"))
    with pytest.raises(FileError, match=r"none\.parquet"):
        apply_rules(conversation(), RuleSettings(quality=tmp_path / "none.parquet"))
