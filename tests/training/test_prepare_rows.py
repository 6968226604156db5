"""Which rows a run trains on and holds out, for each kind of --data, and what the token store may not change."""

import dataclasses
import json

import pytest
from prepared_folder import write_prepared
from tiny_tokenizer import tiny_tokenizer

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec, conversation_to_dict
from gemma_tool_use.data.prepare import PrepareConfig, prepare
from gemma_tool_use.data.rows import row_sizes
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.training import prepare_rows as module
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.prepare_rows import Rows

CONVERSATIONS = generate(count=20, seed=5)
TRAIN, HELD_OUT = CONVERSATIONS[:14], CONVERSATIONS[14:]


def rows_of(tmp_path, data, **settings) -> Rows:
    config = TrainConfig(data=str(data), max_length=settings.pop("max_length", 430), **settings)
    return module.prepare_rows(config, get_dialect("gemma_json_compact"), tiny_tokenizer(), cache=tmp_path / "cache")


def content(rows):
    return [(rows[i].tokens.tolist(), rows[i].loss_mask.tolist()) for i in range(len(rows))]


def everything(rows):
    return (
        [content(rows.train), list(rows.train_ids), content(rows.held_out), rows.counts],
        [reject for part in rows.rejects for reject in part],
    )


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "prepared", train=[TRAIN[:8], TRAIN[8:]], held_out=[HELD_OUT])


@pytest.fixture
def jsonl(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(conversation_to_dict(row)) + "\n" for row in CONVERSATIONS))
    return path


def test_a_prepared_folder_keeps_its_split_and_is_not_filtered_again(tmp_path, prepared):
    rows = rows_of(tmp_path, prepared, max_length=900)
    assert list(rows.train_ids) == [row.id for row in TRAIN]
    assert (len(rows.train), len(rows.held_out)) == (14, 6)
    assert rows.counts == {"kept": 20}
    offered = max(len(row.tools) for row in CONVERSATIONS)
    assert offered > 1 and TrainConfig().max_tools_offered == 3


def test_rows_that_are_too_long_are_counted_on_both_sides(tmp_path, prepared):
    rows = rows_of(tmp_path, prepared)
    assert sum(rows.counts.values()) == 20
    assert rows.counts["kept"] == len(rows.train) + len(rows.held_out) < 20
    rejected = {reject.id for part in rows.rejects for reject in part}
    assert rejected | set(rows.train_ids) <= {row.id for row in CONVERSATIONS}
    assert rejected & {row.id for row in TRAIN} == {row.id for row in TRAIN} - set(rows.train_ids)
    assert len(rejected) == 20 - rows.counts["kept"]


def test_the_second_start_gives_the_same_and_says_so(tmp_path, prepared):
    first, second = rows_of(tmp_path, prepared), rows_of(tmp_path, prepared)
    assert everything(first) == everything(second)
    assert first.fingerprint == second.fingerprint
    assert first.tokenised.count("rows tokenised in") == 2  # a line for each side
    assert second.tokenised.count("tokenised rows of an earlier start, read in 0.") == 2
    assert str(tmp_path / "cache") in second.tokenised


def test_a_prepared_folder_without_eval_rows_is_split_as_the_rows_themselves(tmp_path, jsonl):
    folder = write_prepared(tmp_path / "whole", train=[CONVERSATIONS[:9], CONVERSATIONS[9:]])
    unfiltered = {"single_turn": False, "first_call_only": False, "max_tools_used": 9, "max_tools_offered": 9}
    stored, plain = rows_of(tmp_path, folder, eval_share=0.2), rows_of(tmp_path, jsonl, eval_share=0.2, **unfiltered)
    assert everything(stored) == everything(plain)
    assert len(plain.held_out) > 0
    assert plain.tokenised == ""


def test_the_stages_of_a_prepared_folder_are_those_of_the_rows_that_are_trained_on(tmp_path):
    rows = [dataclasses.replace(row, meta={"stage": 1 + i // 5}) for i, row in enumerate(TRAIN)]
    stage_of = {row.id: row.meta["stage"] for row in rows}
    folder = write_prepared(tmp_path / "staged", train=[rows[:8], rows[8:]], staged=True)
    for share in (0.0, 0.3, 0.3):  # the last start reads the store
        found = rows_of(tmp_path, folder, eval_share=share)
        assert len(found.train) < len(TRAIN)
        assert found.stages is not None
        assert found.stages.tolist() == [stage_of[each] for each in found.train_ids]
    assert rows_of(tmp_path, folder, curriculum=False).stages is None
    plain = write_prepared(tmp_path / "plain", train=[rows])  # a source may have a key of this name
    assert rows_of(tmp_path, plain).stages is None


def test_no_evaluation_reads_no_eval_rows(tmp_path, prepared):
    rows = rows_of(tmp_path, prepared, eval_share=0.0)
    assert len(rows.held_out) == 0
    assert sum(rows.counts.values()) == 14


def test_max_rows_takes_the_first_training_rows_and_all_eval_rows(tmp_path, prepared):
    rows = rows_of(tmp_path, prepared, max_rows=9, max_length=900)
    assert list(rows.train_ids) == [row.id for row in TRAIN[:9]]
    assert len(rows.held_out) == 6
    assert len(rows_of(tmp_path, prepared, max_length=900).train) == 14


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"max_tools_offered": 1}, "--max-tools-offered 1"),
        ({"subsets": ("irrelevant",), "single_turn": False}, "--subsets .*--single-turn False"),
        ({"eval_share": 0.2}, "--eval-share 0.2"),
    ],
)
def test_flags_without_effect_on_prepared_rows_are_refused(tmp_path, prepared, settings, named):
    with pytest.raises(ConfigError, match=f"{named}: .* was filtered and split by `gemma-tool-use prepare`"):
        rows_of(tmp_path, prepared, **settings)


def test_a_changed_shard_is_refused_at_every_start(tmp_path, prepared):
    shard = prepared / "train-00001-of-00002.parquet"
    whole = shard.read_bytes()

    def change():
        shard.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])

    change()
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet was changed after the folder was prepared"):
        rows_of(tmp_path, prepared)
    shard.write_bytes(whole)
    rows_of(tmp_path, prepared)
    change()
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet was changed after the folder was prepared"):
        rows_of(tmp_path, prepared)


def test_many_unreadable_rows_stop_the_run(tmp_path):
    folder = write_prepared(tmp_path / "bad", train=[TRAIN[:6], [TRAIN[7].__class__(id="empty", messages=())]])
    assert rows_of(tmp_path, folder, max_bad_share=0.2, max_length=900).counts == {"kept": 6, "unreadable message": 1}
    with pytest.raises(DataError, match="1 of 7 rows cannot be read"):
        rows_of(tmp_path, folder, max_length=900)


def test_eval_rows_that_are_all_too_long_name_the_way_out(tmp_path):
    longest = max(CONVERSATIONS, key=lambda row: len(json.dumps(conversation_to_dict(row))))
    folder = write_prepared(tmp_path / "long", train=[TRAIN], held_out=[[longest]])
    with pytest.raises(DataError, match=r"the eval rows of .*longer than 430 tokens\); --eval-share 0"):
        rows_of(tmp_path, folder)


def test_many_rows_go_through_the_store_and_stay_the_same(tmp_path, jsonl, monkeypatch):
    few = rows_of(tmp_path, jsonl, eval_share=0.2)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(module, "STORE_FROM", 20)
    for expected in ("tokenised in", "of an earlier start"):
        many = rows_of(tmp_path, jsonl, eval_share=0.2)
        assert everything(many) == everything(few)
        assert many.fingerprint == few.fingerprint
        assert row_sizes(many.train).targets.tolist() == row_sizes(few.train).targets.tolist()
        assert expected in many.tokenised


def test_a_folder_of_the_prepare_command_is_trained_on_with_its_own_split(tmp_path):
    def row(number):
        tool = ToolSpec(name=f"read_sensor_{number}")
        question = Message(role="user", content=f"What does sensor {number} say, and is {number**3} plausible?")
        answer = Message(role="assistant", calls=(ToolCall(name=tool.name),))
        return Conversation(id=str(number), tools=(tool,), messages=(question, answer))

    rows = [row(number) for number in range(60)]  # with APIs of their own, or they could not be told apart
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(conversation_to_dict(row)) + "\n" for row in rows))
    folder = tmp_path / "by command"
    manifest = prepare(
        PrepareConfig(
            input=(str(tmp_path / "rows.jsonl"),),
            output=folder,
            eval_share=0.2,
            shard_rows=20,
            workers=0,
            max_tools_offered=None,
            near_duplicates=False,
        )
    )
    assert manifest["train"] > 20 and manifest["eval"] > 0
    result = rows_of(tmp_path, folder, max_length=900)
    assert (len(result.train), len(result.held_out)) == (manifest["train"], manifest["eval"])
    assert result.counts == {"kept": manifest["train"] + manifest["eval"]}
