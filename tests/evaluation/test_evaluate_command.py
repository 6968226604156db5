"""The evaluate command: a tiny model, with scripted replies where what it says matters."""

import json

import numpy as np
import pytest
from bfcl_package import write_package
from prepared_folder import write_prepared
from tiny_model import random_lora, write_tiny_model

import gemma_tool_use.evaluation.evaluate as command
from gemma_tool_use.commands import EXIT_BLOCKED, EXIT_MISTAKE, EXIT_OK, run
from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec, conversation_to_dict
from gemma_tool_use.evaluation.records import read_results
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.inference import subject
from gemma_tool_use.inference.writing import Writer, Written
from gemma_tool_use.models.adapter import save_adapter
from gemma_tool_use.models.gemma3 import tiny
from gemma_tool_use.models.load import identity, load_base
from gemma_tool_use.models.lora import attach_lora
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.resolve import resolve

SPEC = tiny(num_layers=1)
TOOLS = (ToolSpec(name="roll", parameters={"type": "object", "properties": {"sides": {"type": "integer"}}}),)
ROWS = [
    Conversation(
        id=f"r{n}",
        tools=TOOLS,
        messages=(
            Message(role="user", content=f"Roll a die of {n} sides"),
            Message(role="assistant", calls=(ToolCall(name="roll", arguments={"sides": n}),)),
        ),
    )
    for n in range(4, 9)
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A model, an adapter that says which base and dialect it has, rows, and a prepared folder."""
    home = tmp_path_factory.mktemp("evaluate")
    local = resolve(str(write_tiny_model(home / "base", SPEC)))
    model = attach_lora(load_base(local, dtype=np.float32), LoraSpec(rank=2), seed=0)
    random_lora(model)
    (home / "adapter").mkdir()
    base = {"source": local.source, "sha256": identity(local).sha256}
    save_adapter(home / "adapter", model, LoraSpec(rank=2), details={"base": base, "dialect": "gemma_json_compact"})
    (home / "rows.jsonl").write_text("".join(json.dumps(conversation_to_dict(row)) + "\n" for row in ROWS))
    write_prepared(home / "prepared", train=[ROWS[:2]], held_out=[ROWS[2:]])
    write_package(home / "bfcl")
    return home


class Killed(Exception):
    pass


@pytest.fixture
def scripted(monkeypatch):
    """Replies of the right call for even numbers of sides; killed after so many batches, errors for these prompts.

    Weights are not read: nobody looks at them.
    """
    state = {"batches": None, "error": None, "asked": 0}

    def write(self, prompts, wanted, done):
        for number in sorted(wanted):
            if state["batches"] is not None:
                if state["batches"] == 0:
                    raise Killed
                state["batches"] -= 1
            state["asked"] += 1
            text = self.tokenizer.decode(prompts[number])
            sides = next((n for n in range(9, 3, -1) if f"of {n} sides" in text), 0)
            call = ToolCall(name="roll", arguments={"sides": sides}) if sides % 2 == 0 else None
            body = Message(role="assistant", content="" if call else "No.", calls=(call,) if call else ())
            said = "".join(segment.text for segment in get_dialect("gemma_json_compact").render_body(body))
            if state["error"] is not None and state["error"] in text:
                done(number, Written(text="", error="the prompt is too long", seconds=0.0))
            else:
                done(number, Written(text=said, new_tokens=3, seconds=0.01 * state["asked"]))

    monkeypatch.setattr(Writer, "__call__", write)
    monkeypatch.setattr(subject, "load_base", lambda *_, **__: None)
    monkeypatch.setattr(subject, "load_adapter", lambda *_, **__: None)
    monkeypatch.setattr(subject, "Sampler", lambda *_, **__: None)
    return state


def held_out(home, *more):
    return ["--suites", "held-out", "--held-out", str(home / "rows.jsonl"), *more]


def scores(folder):
    return json.loads((folder / "scores.json").read_text())


def test_an_adapter_and_its_base_are_asked_in_one_command(home, tmp_path, scripted, capsys):
    flags = ["--adapter", str(home / "adapter"), "--with-base", "--output-dir", str(tmp_path), *held_out(home)]
    assert run(command.main, flags) == EXIT_OK
    both = {label: scores(tmp_path / "evaluation" / label) for label in ("base", "adapter")}
    for content in both.values():
        assert content["suites"]["held-out"]["total"]["strict"]["right"] == 3
        assert content["suites"]["held-out"]["measures"]["exact_call"]["value"] == 0.6
        assert content["provenance"]["dialect"] == "gemma_json_compact"
    assert both["base"]["provenance"]["adapter"] is None
    assert len(both["adapter"]["provenance"]["adapter"]["sha256"]) == 64
    assert both["base"]["provenance"]["items"] == both["adapter"]["provenance"]["items"]
    printed = capsys.readouterr().out
    assert "held-out/one_call" in printed
    assert "60.0 % [23.1, 88.2]" in printed
    assert "argument_value_precision" in printed


def test_killed_twice_and_continued_equals_the_undisturbed_run_byte_for_byte(home, tmp_path, scripted):
    flags = ["--adapter", str(home / "adapter"), *held_out(home)]
    assert run(command.main, [*flags, "--output-dir", str(tmp_path / "whole")]) == EXIT_OK
    for batches in (2, 1):
        scripted["batches"] = batches
        with pytest.raises(Killed):
            run(command.main, [*flags, "--output-dir", str(tmp_path / "killed")])
    scripted["batches"], scripted["asked"] = None, 0
    assert run(command.main, [*flags, "--output-dir", str(tmp_path / "killed")]) == EXIT_OK
    assert scripted["asked"] == 2
    for name in ("results.jsonl", "scores.json", "provenance.json"):
        whole, killed = (tmp_path / run / "evaluation" / "adapter" / name for run in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes(), name


def test_another_evaluation_in_the_same_folder_is_refused_with_what_differs(home, tmp_path, scripted, capsys):
    flags = ["--adapter", str(home / "adapter"), "--output-dir", str(tmp_path), *held_out(home)]
    assert run(command.main, flags) == EXIT_OK
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run(command.main, [*flags, "--max-new-tokens", "9", "--limit", "2"]) == EXIT_MISTAKE
    said = capsys.readouterr().err
    assert "sampling.max_new_tokens: was 256, is 9" in said
    assert "suites.held-out.limit: was null, is 2" in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_run_killed_before_it_said_what_it_asks_is_started_anew(home, tmp_path, scripted):
    folder = tmp_path / "evaluation" / "adapter"
    folder.mkdir(parents=True)
    (folder / ".tmp-provenance.json").write_text("{")
    flags = ["--adapter", str(home / "adapter"), "--output-dir", str(tmp_path), *held_out(home)]
    assert run(command.main, flags) == EXIT_OK


def test_a_folder_of_something_else_is_left_alone(home, tmp_path, scripted, capsys):
    folder = tmp_path / "evaluation" / "adapter"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    flags = ["--adapter", str(home / "adapter"), "--output-dir", str(tmp_path), *held_out(home)]
    assert run(command.main, flags) == EXIT_MISTAKE
    assert "holds notes.txt, but no evaluation" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_generation_error_is_no_answer_and_fails_the_command_until_it_is_gone(home, tmp_path, scripted, capsys):
    flags = ["--adapter", str(home / "adapter"), "--output-dir", str(tmp_path), *held_out(home)]
    scripted["error"] = "of 6 sides"
    assert run(command.main, flags) == EXIT_BLOCKED
    said = capsys.readouterr().err
    assert "no answer to 1 of 5 questions" in said
    assert "r6: the prompt is too long" in said
    total = scores(tmp_path / "evaluation" / "adapter")["suites"]["held-out"]["total"]
    assert (total["errors"], total["strict"]["right"], total["failures"]["generation_error"]["count"]) == (1, 2, 1)
    scripted["error"], scripted["asked"] = None, 0
    assert run(command.main, flags) == EXIT_OK
    assert scripted["asked"] == 1
    assert scores(tmp_path / "evaluation" / "adapter")["suites"]["held-out"]["total"]["strict"]["right"] == 3


def test_bfcl_and_held_out_rows_are_asked_together(home, tmp_path, scripted):
    flags = ["--model", str(home / "base"), "--suites", "bfcl", "held-out", "--held-out", str(home / "prepared")]
    flags += [
        "--bfcl-data",
        str(home / "bfcl" / "bfcl_eval"),
        "--categories",
        "simple_python",
        "irrelevance",
        "--limit",
        "1",
    ]
    assert run(command.main, [*flags, "--output-dir", str(tmp_path), "--label", "both"]) == EXIT_OK
    results = read_results(tmp_path / "evaluation" / "both" / "results.jsonl")
    assert [(r.item.suite, r.item.category) for r in results] == [
        ("bfcl", "simple_python"),
        ("bfcl", "irrelevance"),
        ("held-out", "one_call"),
    ]
    assert results[-1].item.id in {row.id for row in ROWS[2:]}  # of the eval rows of the prepared folder
    assert "held-out, strict" in (tmp_path / "evaluation" / "both" / "report.html").read_text(encoding="utf-8")


def test_a_tiny_model_with_random_weights_is_scored_not_crashed_on(home, tmp_path):
    flags = ["--run", str(home / "adapter"), "--max-new-tokens", "12", "--batch-size", "2"]
    assert run(command.main, [*flags, "--output-dir", str(tmp_path), *held_out(home)]) == EXIT_OK
    folder = tmp_path / "evaluation" / "adapter"
    results = read_results(folder / "results.jsonl")
    assert [result.item.id for result in results] == [row.id for row in ROWS]
    assert all(result.answer.text for result in results)
    timing = json.loads((folder / "timing.json").read_text())
    assert timing["answers"] == 5
    assert timing["new_tokens"] == sum(result.answer.new_tokens for result in results) <= 60


def test_an_adapter_for_other_weights_is_told_of(home, tmp_path, scripted, capsys):
    manifest = json.loads((home / "adapter" / "adapter.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for file in (home / "adapter").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    manifest["base"]["sha256"] = "0" * 64
    (other / "adapter.json").write_text(json.dumps(manifest))
    assert run(command.main, ["--adapter", str(other), *held_out(home)]) == EXIT_OK
    assert "was trained on weights with sha256 000000000000" in capsys.readouterr().err


def test_the_adapter_changes_what_decides_an_answer(home, tmp_path, scripted):
    """The key of a stored answer holds the bytes of the adapter: one changed value, and nothing stored is used."""
    flags = ["--adapter", str(tmp_path / "adapter"), "--output-dir", str(tmp_path), *held_out(home)]
    (tmp_path / "adapter").mkdir()
    for file in (home / "adapter").iterdir():
        (tmp_path / "adapter" / file.name).write_bytes(file.read_bytes())
    assert run(command.main, flags) == EXIT_OK
    array = next((tmp_path / "adapter").glob("*.npy"))
    np.save(array, np.load(array) + np.float32(1e-3))
    assert run(command.main, flags) == EXIT_MISTAKE  # the provenance differs


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ([], "give --model, --adapter or --run"),
        (["--model", "m", "--suites", "held-out"], "--suites held-out needs the rows"),
        (["--model", "m", "--with-base"], "--with-base compares with an adapter"),
        (["--model", "m", "--held-out", "x"], "need --suites held-out"),
        (["--run", "r", "--adapter", "a"], "both name an adapter"),
        (["--model", "m", "--limit", "0", "--batch-size", "0"], "--batch-size must be at least 1"),
        (["--model", "m", "--suites", "held-out", "--held-out", "x", "--official-prompt"], "is about BFCL"),
        (["--model", "m", "--label", "a/b"], "--label is a folder name"),
        (["--model", "m", "--suite", "bfcl"], "did you mean --suites?"),
    ],
)
def test_flags_that_cannot_be_are_told_at_once(flags, complaint, capsys):
    assert run(command.main, flags) == EXIT_MISTAKE
    assert complaint in capsys.readouterr().err


def test_a_run_that_is_not_finished_is_told_what_to_do(tmp_path, capsys):
    (tmp_path / "run.json").write_text(json.dumps({"config": {"data": "", "source": "auto"}}))
    assert run(command.main, [str(tmp_path)]) == EXIT_MISTAKE
    assert "its training has not come to an end" in capsys.readouterr().err
