"""The sweep over the checkpoints of a run, on a tiny model of one layer and a run folder written here."""

import dataclasses
import json

import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from tiny_model import random_lora, write_tiny_model

import gemma_tool_use.evaluation.evaluate_checkpoints as command
from gemma_tool_use.commands import EXIT_BLOCKED, EXIT_MISTAKE, EXIT_OK, run
from gemma_tool_use.conversation import conversation_to_dict
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.formats.tokenizer import load_tokenizer
from gemma_tool_use.models.gemma3 import tiny
from gemma_tool_use.models.load import identity
from gemma_tool_use.models.resolve import resolve
from gemma_tool_use.training.checkpoints import Checkpoints
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.methods import load_trainable
from gemma_tool_use.training.prepare_rows import prepare_rows

STEPS = (1, 2, 4)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run as train leaves it, but for the training: three checkpoints with different adapters."""
    home = tmp_path_factory.mktemp("checkpoints")
    local = resolve(str(write_tiny_model(home / "model", tiny(num_layers=1))))
    rows = generate(count=10, seed=3, kinds={"one_call": 1.0})
    (home / "rows.jsonl").write_text("".join(json.dumps(conversation_to_dict(row)) + "\n" for row in rows))
    config = TrainConfig(
        model=local.source,
        data=str(home / "rows.jsonl"),
        output_dir=str(home / "run"),
        dialect="gemma_json_compact",
        max_length=416,
        rank=2,
        eval_share=0.2,
    )
    tokenizer = load_tokenizer(local.require_tokenizer())
    encoded = prepare_rows(config, get_dialect(config.dialect), tokenizer, cache=home / "cache")
    about = {
        "config": dataclasses.asdict(config),
        "base": {"sha256": identity(local).sha256},
        "tokenizer_sha256": tokenizer.fingerprint,
        "data": {"fingerprint": encoded.fingerprint},
    }
    (home / "run").mkdir()
    (home / "run" / "run.json").write_text(json.dumps(about))
    (home / "run" / "metrics.jsonl").write_text(json.dumps({"step": 2, "eval/loss": 0.5}) + "\n")
    model = load_trainable(config, local, dtype=jnp.float32, mesh=None)
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.LoRAParam)
    checkpoints = Checkpoints(home / "run" / "checkpoints", save_every=1, keep=3)
    for step in STEPS:
        random_lora(model, seed=step)
        checkpoints.save(step, model, optimizer, save_only_lora_params=True, force=True)
    checkpoints.close()
    return home


def test_every_checkpoint_is_asked_the_rows_that_were_held_out(home, capsys):
    flags = [str(home / "run"), "--max-new-tokens", "8"]
    assert run(command.main, flags) == EXIT_OK
    content = json.loads((home / "run" / "evaluation" / "checkpoints.json").read_text())
    assert [each["step"] for each in content["checkpoints"]] == [0, 1, 2, 4]
    assert content["best"]["by"] == "exact"
    assert content["checkpoints"][2]["eval_loss"] is not None
    assert all(each["exact"]["count"] == 2 for each in content["checkpoints"])
    assert (home / "run" / "evaluation" / "checkpoints.png").stat().st_size > 1000
    assert "best: step" in capsys.readouterr().out
    adapters = {
        json.loads((home / "run" / "evaluation" / f"step_{step}" / "provenance.json").read_text())["adapter"]["sha256"]
        for step in (0, 1, 2, 4)
    }
    assert len(adapters) == 4
    before = (home / "run" / "evaluation" / "checkpoints.json").read_bytes()
    assert run(command.main, flags) == EXIT_OK  # nothing is asked again
    assert (home / "run" / "evaluation" / "checkpoints.json").read_bytes() == before


def test_a_damaged_checkpoint_is_left_out_and_told_of(home, capsys):
    file = max((home / "run" / "checkpoints" / "2" / "model_params").rglob("d/*"), key=lambda path: path.stat().st_size)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    try:
        code = run(command.main, [str(home / "run"), "--max-new-tokens", "8", "--steps", "2", "4"])
    finally:
        file.write_bytes(whole)
    assert code == EXIT_BLOCKED
    assert "step 2 is left out: the checkpoint" in capsys.readouterr().err
    content = json.loads((home / "run" / "evaluation" / "checkpoints.json").read_text())
    assert [each["step"] for each in content["checkpoints"]] == [4]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--steps", "3"], "has 0 1 2 4"),
        (["--limit", "0"], "--limit must be at least 1"),
        (["--first-call"], "about the rows of --held-out"),
    ],
)
def test_flags_that_cannot_be_are_told(home, flags, complaint, capsys):
    assert run(command.main, [str(home / "run"), *flags]) == EXIT_MISTAKE
    assert complaint in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_told_of(tmp_path, capsys):
    assert run(command.main, [str(tmp_path)]) == EXIT_MISTAKE
    assert "holds no run" in capsys.readouterr().err
