"""Mixing, augmentation and stages in the prepare command: shares, sides of the split, and the same bytes always."""

import collections
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import toucan_rows

from gemma_tool_use.conversation import Conversation, conversation_from_dict, tool_to_dict
from gemma_tool_use.data.augment import AugmentFlags, MixFlags, MixSettings, ToolPool, undo
from gemma_tool_use.data.augment.records import records
from gemma_tool_use.data.engine import duplicates
from gemma_tool_use.data.engine.map_unit import SCHEMA, RowWriter
from gemma_tool_use.data.engine.mixture import draw
from gemma_tool_use.data.engine.rewrite import NO_CALL_SHARE
from gemma_tool_use.data.prepare import PrepareConfig, main, prepare
from gemma_tool_use.errors import ConfigError, DataError

SYLLABLES = ("bra", "dul", "fen", "gor", "hal", "kip", "lom", "mur", "nop", "pel", "quo", "rus", "sil", "tav", "vex")
NOUNS = ["".join(parts) for parts in itertools.product(SYLLABLES, SYLLABLES, ("dock", "mill", "ford", "gate"))]
EVERYTHING = AugmentFlags(
    distractor_share=0.6, shuffle_tools=True, mask_share=0.4, merge_share=0.5, merge_up_to=3, max_tools=4
)
MIX = MixFlags(min_no_call_share=0.3, max_no_call_share=0.3, make_no_call=True)


def row(number: int, *, calls: bool = True) -> dict:
    """A request in words of its own to a tool of its own, which two further rows offer as well."""
    nouns = NOUNS[5 * (number // 3) :][:5]
    parameters = {
        "type": "object",
        "properties": {nouns[1]: {"type": "string", "description": f"Name of the {nouns[1]}"}},
        "required": [nouns[1]],
    }
    function = {
        "name": f"{nouns[0]}_{nouns[1]}",
        "description": f"Get the {nouns[1]} of a {nouns[2]} for the {nouns[3]} and the {nouns[4]}",
        "parameters": parameters,
    }
    arguments = {nouns[1]: f"number {number}"}
    call = [{"type": "function", "function": {"name": function["name"], "arguments": arguments}}]
    answer = {"content": "", "tool_calls": call} if calls else {"content": "That needs more than the tools I have."}
    request = f"Please get the {nouns[1]} number {number} for the {nouns[3]} and the {nouns[4]}."
    messages = [{"role": "user", "content": request}, {"role": "assistant", **answer}]
    return {"id": f"r{number}", "tools": [{"type": "function", "function": function}], "messages": messages}


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    """150 rows of 50 tools in three files; 30 rows have no call."""
    folder = tmp_path_factory.mktemp("rows")
    for i in range(3):
        lines = [json.dumps(row(n, calls=n % 5 > 0)) for n in range(50 * i, 50 * i + 50)]
        (folder / f"{i}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def config(rows: Path, output: Path, **settings) -> PrepareConfig:
    given = {"source": ("openai-jsonl",), "near_duplicates": False, "shard_rows": 40, "workers": 0}
    return PrepareConfig(**{"input": (str(rows),), "output": output} | given | settings)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "run.json"}


def written(folder: Path, side: str = "*") -> list[Conversation]:
    paths = sorted(folder.glob(f"{side}-*.parquet"))
    return [conversation_from_dict(row) for path in paths for row in pq.read_table(path).to_pylist()]


def called(conversation: Conversation) -> bool:
    return any(message.calls for message in conversation.messages)


def steps(conversation: Conversation) -> set[str]:
    return {record["step"] for record in records(conversation) if "left" not in record}


@pytest.fixture(scope="module")
def changed(rows, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("changed") / "out"
    prepare(config(rows, output, eval_share=0.3, mix=MIX, augment=EVERYTHING))
    return output


def test_everything_is_done_counted_and_can_be_undone(rows, changed):
    manifest = json.loads((changed / "manifest.json").read_text(encoding="utf-8"))
    found = written(changed)
    done = collections.Counter(step for each in found for step in steps(each))
    assert set(done) == {"distractors", "merge", "names", "no_call", "order"}
    assert done == {name: n for name, n in manifest["done"].items() if name in done}
    added = sum(len(record.get("added", ())) for each in found for record in records(each))
    assert manifest["done"]["tools added"] == added > 0
    assert len(found) == manifest["train"] + manifest["eval"] < manifest["counts"]["kept"] == 150

    originals = {f"r{n}": row(n, calls=n % 5 > 0) for n in range(150)}
    back = [part for each in found for part in undo(each)]
    assert sorted(part.id for part in back) == sorted(originals)
    for part in back:
        assert [tool_to_dict(tool) for tool in part.tools] == originals[part.id]["tools"]
        assert part.messages[0].content == originals[part.id]["messages"][0]["content"]
        assert called(part) == ("tool_calls" in originals[part.id]["messages"][1])


def test_neither_a_question_nor_an_api_stands_on_both_sides_after_it(changed):
    sides = [written(changed, "train"), written(changed, "eval")]
    assert all(any("distractors" in steps(each) for each in side) for side in sides)
    names = [{tool.name for each in side for tool in each.tools if "names" not in steps(each)} for side in sides]
    questions = [{part.messages[0].content for each in side for part in undo(each)} for side in sides]
    assert not names[0] & names[1]
    assert not questions[0] & questions[1]


@pytest.mark.parametrize("with_merging", [False, True])
def test_the_share_of_rows_without_a_call_is_reached(rows, tmp_path, with_merging):
    augment = AugmentFlags(merge_share=0.5 if with_merging else 0.0)
    manifest = prepare(config(rows, tmp_path / "out", mix=MIX, augment=augment))
    found = [part for each in written(tmp_path / "out") for part in (undo(each) if called(each) else (each,))]
    assert len(found) == 150
    assert sum(not called(each) for each in found) == 45
    assert manifest["done"]["no_call"] == 15
    assert ("merge" in manifest["done"]) == with_merging


def test_rows_left_out_by_the_mix_are_named_and_counted(rows, tmp_path):
    manifest = prepare(config(rows, tmp_path / "out", mix=MixFlags(max_no_call_share=0.1, max_rows=100)))
    assert manifest["counts"] == {"kept": 100, "left out by the mix": 50}
    assert "done" not in manifest  # rows were chosen, and none was changed
    lines = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert {line["reason"] for line in lines} == {"left out by the mix"}
    assert sum(not called(each) for each in written(tmp_path / "out")) == 10


def test_sources_and_copies_may_be_weighed(rows, tmp_path):
    toucan = [toucan_rows.row(i, question=toucan_rows.question(toucan_rows.random.Random(i))) for i in range(20)]
    path = toucan_rows.write(tmp_path / "t.parquet", toucan)
    inputs = {"input": (str(rows), str(path)), "source": ("openai-jsonl", "toucan-sft")}
    weights = {"weights": ("openai-jsonl:3", "toucan-sft:1"), "mix": MixFlags(max_copies=5)}
    manifest = prepare(config(rows, tmp_path / "out", **inputs, **weights))
    found = collections.Counter(each.source.partition("/")[0] for each in written(tmp_path / "out"))
    assert found == {"openai-jsonl": 150, "toucan-sft": 50}
    assert manifest["done"] == {"copy": 30, "tools added": 0}
    assert "u0#2" in {each.id for each in written(tmp_path / "out")}
    assert manifest["changes"]["mix"]["weights"] == {"openai-jsonl": 3.0, "toucan-sft": 1.0}


def test_another_seed_changes_other_rows(rows, changed, tmp_path):
    prepare(config(rows, tmp_path / "out", eval_share=0.3, mix=MIX, augment=EVERYTHING, seed=1))
    seeds = [{each.id for each in written(folder) if "names" in steps(each)} for folder in (changed, tmp_path / "out")]
    assert seeds[0] != seeds[1]


def flags(rows: Path, output: Path) -> list[str]:
    """The same as the fixture `changed`, with two processes."""
    mix = ["--mix.min-no-call-share", "0.3", "--mix.max-no-call-share", "0.3", "--mix.make-no-call"]
    shares = {"distractor": 0.6, "mask": 0.4, "merge": 0.5}
    augment = [word for name, share in shares.items() for word in (f"--augment.{name}-share", str(share))]
    augment += ["--augment.shuffle-tools", "--augment.merge-up-to", "3", "--augment.max-tools", "4"]
    where = ["--source", "openai-jsonl", "--input", str(rows), "--output", str(output)]
    return [*where, "--no-near-duplicates", "--shard-rows", "40", "--eval-share", "0.3", *mix, *augment]


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process group")
@pytest.mark.parametrize("seen", ["pool-eval.jsonl", "rewritten/00001.json", "rewritten.json", ""])
def test_a_run_killed_while_it_rewrites_ends_with_the_same_bytes(rows, changed, tmp_path, seen):
    """Without a name it is not killed, and two processes do what none did."""
    output = tmp_path / "out"
    command = [sys.executable, "-m", "gemma_tool_use.data.prepare", *flags(rows, output), "--workers", "2"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if seen and (tmp_path / "out.partial" / seen).exists():
            os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    process.wait()
    if not output.exists():
        assert seen and (tmp_path / "out.partial" / seen).exists()
        prepare(config(rows, output, eval_share=0.3, mix=MIX, augment=EVERYTHING))
    assert contents(output) == contents(changed)


def test_a_leak_through_a_distractor_is_caught_by_name(rows, tmp_path, monkeypatch):
    from gemma_tool_use.data.engine import rewrite_unit

    on_eval = ToolPool.of(written_tools(rows, tmp_path))
    monkeypatch.setattr(rewrite_unit, "read_pool", lambda folder, side: on_eval)
    with pytest.raises(DataError, match=r"the split leaks: API '[a-z]+_[a-z]+' stands on both sides, in the train row"):
        prepare(config(rows, tmp_path / "out", eval_share=0.3, augment=AugmentFlags(distractor_share=0.5)))


def written_tools(rows, folder):
    prepare(config(rows, folder / "before", eval_share=0.3))
    return [tool for each in written(folder / "before", "eval") for tool in each.tools]


def test_a_file_of_tools_is_shared_out_between_the_sides(rows, tmp_path):
    # Of the first twenty each is offered by rows of one side already, the others by none.
    tools = [row(3 * n)["tools"][0]["function"] for n in (*range(20), *range(100, 130))]
    listed = [{"name": t["name"], "description": t["description"], "inputSchema": t["parameters"]} for t in tools]
    (tmp_path / "mcp.json").write_text(json.dumps({"tools": listed}))
    augment = AugmentFlags(distractor_share=1.0)
    settings = {"eval_share": 0.3, "augment": augment, "tools_pool": tmp_path / "mcp.json"}
    manifest = prepare(config(rows, tmp_path / "out", **settings))
    added = {
        side: {name for each in written(tmp_path / "out", side) for r in records(each) for name in r.get("added", ())}
        for side in ("train", "eval")
    }
    assert added["train"] and added["eval"] and not added["train"] & added["eval"]
    assert added["train"] | added["eval"] <= {tool["name"] for tool in listed}
    assert manifest["changes"]["tools_pool"]["file"] == "mcp.json"
    assert str(tmp_path) not in json.dumps(manifest)


def staged_rows() -> list[dict[str, str]]:
    """40 single-turn rows, 10 diversified, 3 without a call and 5 conversations, from the last stage to the first."""
    draw = toucan_rows.random.Random(3)
    kinds = [*["multi-turn"] * 5, *["single-turn-diversify"] * 10, *["irrelevant"] * 3, *["single-turn-original"] * 40]
    result = []
    for number, subset in enumerate(kinds):
        made = toucan_rows.row(number, question=toucan_rows.question(draw), subset=subset)
        messages = json.loads(made["messages"])
        if subset == "irrelevant":
            messages = [messages[0], {"role": "assistant", "content": "I cannot do that."}]
        if subset == "multi-turn":
            messages += [{"role": "user", "content": "And again?"}, {"role": "assistant", "content": "Again."}]
        result.append({**made, "messages": json.dumps(messages)})
    return result


def test_stages_have_rules_of_their_own_and_are_written_in_order(tmp_path):
    path = toucan_rows.write(tmp_path / "t.parquet", staged_rows())
    names = ["multi-turn", "single-turn", "irrelevance", "diversified"]
    arguments = ["--input", str(path), "--output", str(tmp_path / "out"), "--workers", "0", "--shard-rows", "20"]
    assert main([*arguments, "--stages", *names]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    found = written(tmp_path / "out")
    stages = [each.meta["stage"] for each in found]
    assert stages == sorted(stages)
    assert len(found) == 58 and manifest["curriculum"]["train"] == {str(s): stages.count(s) for s in (1, 2, 3, 4)}
    assert (stages.count(3), stages.count(4)) == (10, 5)
    assert all(len(each.messages) > 2 for each in found if each.meta["stage"] == 4)
    of_second = [called(each) for each in found if each.meta["stage"] == 2]
    assert of_second.count(False) == 3
    # Drawn one by one, so near the share: 17 of the 40 rows with calls are wanted beside 3 without.
    assert 10 <= of_second.count(True) <= 24 and NO_CALL_SHARE == 0.15


def test_a_stage_not_asked_for_is_a_reason(tmp_path):
    path = toucan_rows.write(tmp_path / "t.parquet", staged_rows())
    stages = ("single-turn", "irrelevance")
    manifest = prepare(config(path, tmp_path / "out", source=("toucan-sft",), stages=stages, augment=AugmentFlags()))
    assert manifest["counts"] == {"kept": 43, "subset not asked for": 15}
    alone = prepare(config(path, tmp_path / "alone", source=("toucan-sft",), stages=stages[1:]))
    assert alone["counts"]["kept"] == 3
    assert alone["counts"]["stage not asked for"] == 40


def test_what_makes_no_sense_is_said_before_anything_is_read(tmp_path):
    def refused(**settings):
        with pytest.raises(ConfigError) as error:
            config(tmp_path, tmp_path / "out", **settings)
        return str(error.value)

    assert "did you mean 'single-turn'" in refused(stages=("single-turns",)) or "single-turn" in refused(stages=("x",))
    assert "the stages decide about max_tools_used" in refused(stages=("single-turn",), max_tools_used=1)
    assert "tools_pool needs" in refused(tools_pool=tmp_path)
    assert "all look like 2" in refused(weights=("2", "toucan-sft:1"))
    assert "above 0" in refused(weights=("toucan-sft:0",))
    with pytest.raises(ConfigError, match="mask_share is a share"):
        main(["--input", "x", "--output", "y", "--augment.mask-share", "2"])


@pytest.mark.parametrize(
    ("have", "weights", "want"),
    [
        ([40, 20], (1, 1), [21, 20]),
        ([40, 20], (4, 1), [40, 10]),
        ([40, 20], (1, 0), [40, 0]),
        ([30, 0], (1, 1), [30, 0]),
        ([30, 90], (0.1, 0.3), [30, 90]),
        ([5, 5, 5], (1, 2, 3), [2, 4, 5]),
    ],
)
def test_weights_draw_the_most_rows_in_their_proportion_to_within_a_row(tmp_path, have, weights, want):
    inputs = np.repeat(np.arange(len(have)), have)
    positions = np.arange(len(inputs), dtype=np.int64)
    kept = tmp_path / "0.parquet"
    with RowWriter(kept, SCHEMA) as file:
        for n in positions.tolist():
            columns = {"position": n, "id": f"r{n}", "source": "s", "apis": (), "bands": (), "has_call": True}
            file.add(tuple(columns.get(name) for name in SCHEMA.names))

    def drawn(seed):
        with duplicates.connect(tmp_path / "spill", workers=1, memory_bytes=64 << 20) as con:
            return draw(con, [str(kept)], positions, inputs, weights, MixSettings(seed=seed)).copies > 0

    assert np.bincount(inputs[drawn(0)], minlength=len(have)).tolist() == want
    assert (drawn(0) == drawn(0)).all()
    if 0 < drawn(0).sum() < len(inputs) and min(weights):
        assert (drawn(0) != drawn(1)).any()
