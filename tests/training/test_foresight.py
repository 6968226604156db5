"""What a run needs is known, said and refused before it starts."""

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_checkpoint import tiny_params, write_hf
from tiny_tokenizer import write_tiny_tokenizer

import gemma_tool_use.training.train_gemma3_270m_tool_calling as command
from gemma_tool_use.commands import EXIT_MISTAKE, EXIT_OK, run
from gemma_tool_use.conversation import conversation_to_dict
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.errors import ConfigError
from gemma_tool_use.models.gemma3 import GEMMA3_270M, tiny
from gemma_tool_use.training import fit, foresight
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.foresight import Room, StepMemory, check_step, peak, require_weights, step_memory

GB = 10**9
SPEC = tiny(num_layers=1)


def room(limit: float, used: float = 0.0) -> Room:
    return Room(used=int(used * GB), limit=int(limit * GB), name="RAM")


def test_the_account_of_a_step_is_that_of_its_compiled_program():
    compiled = jax.jit(lambda x: jnp.sort(x @ x.T, axis=0)[0]).lower(jnp.ones((1000, 10))).compile()
    need = step_memory(compiled)
    assert need.held == 1000 * 10 * 4
    assert need.working == 1000 * 1000 * 4 + 1000 * 4  # the product, and the row that comes out


def test_the_peak_counts_what_is_held_once():
    need = StepMemory(held=2 * GB, working=GB)
    assert peak(need, room(9)) == 3 * GB
    assert peak(need, room(9, used=2.5)) == int(3.5 * GB)


def trainer(*, fixed: float, of_a_row: float, gives_up_above: float = float("inf")) -> Any:
    """One whose step holds 1 GB, and works with a fixed part and one for each row."""

    def compiled_step(batch):
        working = fixed + of_a_row * batch["tokens"].shape[1]
        if working > gives_up_above:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: ran out of memory in memory space hbm")
        sizes = {"argument": 1.0, "temp": working, "output": 0.5, "alias": 0.5, "generated_code": 0}
        account = SimpleNamespace(**{f"{name}_size_in_bytes": int(size * GB) for name, size in sizes.items()})
        return SimpleNamespace(memory_analysis=lambda: account)

    return SimpleNamespace(compiled_step=compiled_step)


def batch(rows: int) -> dict[str, Any]:
    return {"tokens": np.zeros((1, rows, 64), np.int32), "normalizer": np.float32(1)}


def refusal(config: TrainConfig, its_trainer: Any, monkeypatch: pytest.MonkeyPatch, limit: float) -> str:
    monkeypatch.setattr(foresight, "device_room", lambda: room(limit))
    with pytest.raises(ConfigError) as error:
        check_step(config, its_trainer, batch(config.batch_size))
    return str(error.value)


def test_a_step_that_fits_gives_its_account(monkeypatch):
    monkeypatch.setattr(foresight, "device_room", lambda: room(4))
    need = check_step(TrainConfig(batch_size=8), trainer(fixed=1, of_a_row=0.2), batch(8))
    assert need == StepMemory(held=GB, working=int(2.6 * GB))


def test_a_step_that_does_not_fit_is_refused_with_the_batch_size_that_does(monkeypatch):
    config = TrainConfig(batch_size=8, gradient_accumulation=3)
    assert refusal(config, trainer(fixed=1, of_a_row=1), monkeypatch, limit=5.5) == (
        "a training step does not fit into memory: it needs 10.0 GB, 9.0 GB of it while it runs, and may use 5.5 GB of "
        "RAM. --batch-size 2 needs 4.0 GB; with --gradient-accumulation 12 the steps stay what they are"
    )


def test_what_the_compiler_refuses_is_refused_alike(monkeypatch):
    message = refusal(TrainConfig(batch_size=4), trainer(fixed=0, of_a_row=1, gives_up_above=2), monkeypatch, limit=9)
    assert "may use 9.0 GB of RAM. --batch-size 2 needs 3.0 GB; with --gradient-accumulation 2" in message


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({}, "--batch-size 1, shorter rows (--packed-length, --max-length), --remat layers, --method qlora"),
        (
            {"method": "full", "packing": False},
            "--batch-size 1, shorter rows (--max-length), --remat layers, --method lora",
        ),
        ({"method": "qlora", "remat": "layers"}, "--batch-size 1, shorter rows (--packed-length, --max-length)"),
    ],
)
def test_where_no_batch_size_fits_the_other_flags_are_named(settings, advice, monkeypatch):
    config = TrainConfig(batch_size=2, **settings)
    message = refusal(config, trainer(fixed=8, of_a_row=1), monkeypatch, limit=4)
    assert message.endswith(f"A smaller --batch-size alone does not help; change more: {advice}")


def test_weights_that_do_not_fit_are_refused_before_they_are_read():
    large = dataclasses.replace(GEMMA3_270M, name="large", num_layers=700)
    size = large.num_params
    config, dtype = TrainConfig(), jnp.float32
    require_weights(config, large, dtype=dtype, parts=1, room=room(4 * size / GB + 1))
    require_weights(config, large, dtype=dtype, parts=4, room=room(size / GB + 1))
    with pytest.raises(
        ConfigError, match=r"the weights of large need 16\.\d GB of RAM with --method lora, .*--method qlora would fit"
    ):
        require_weights(config, large, dtype=dtype, parts=1, room=room(3))
    with pytest.raises(ConfigError, match="take a smaller --model"):
        require_weights(config, large, dtype=dtype, parts=1, room=room(1))
    with pytest.raises(ConfigError, match=r"--method full, .*--method lora or --method qlora would fit"):
        require_weights(TrainConfig(method="full"), large, dtype=dtype, parts=1, room=room(20))


def test_a_container_leaves_what_its_limit_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(foresight, "_CGROUP", tmp_path)
    free = foresight._free_ram()
    assert free > GB
    for name, text in {
        "memory.max": "1000",
        "memory.current": "700",
        "memory.stat": "anon 500\ninactive_file 150",
    }.items():
        (tmp_path / name).write_text(text)
    assert foresight._free_ram() == 1000 - 700 + 150
    (tmp_path / "memory.max").write_text("max")
    assert foresight._free_ram() > GB


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    home = tmp_path_factory.mktemp("foresight")
    params = tiny_params(SPEC)
    write_hf(home / "model", params, SPEC)
    write_tiny_tokenizer(home / "model")
    rows = generate(count=10, seed=3, kinds={"one_call": 1.0})
    (home / "rows.jsonl").write_text("".join(json.dumps(conversation_to_dict(row)) + "\n" for row in rows))
    where = ["--model", str(home / "model"), "--data", str(home / "rows.jsonl"), "--output-dir", str(home / "run")]
    settings = (
        "--max-length 1200 --rank 2 --batch-size 2 --epochs 5 --eval-share 0.2 --eval-every 7 --no-packing "
        "--dialect gemma_json_compact --dtype float32"
    )
    return home, [*where, *settings.split()]


def test_a_dry_run_says_what_would_be_and_writes_nothing(flags, capsys, caplog):
    home, words = flags
    before = sorted(path.name for path in home.iterdir())
    with jax.log_compiles():
        assert run(command.main, [*words, "--dry-run"]) == EXIT_OK
    # JAX has the program that was compiled to look at its memory when the first step asks for it.
    assert sum(record.getMessage().startswith("Compiling jit(train_step)") for record in caplog.records) == 1
    assert sorted(path.name for path in home.iterdir()) == before
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == ["model", "rows", "packing", "steps", "memory", "time"]
    lora = 2 * (64 + 4 * 16 + 64 + 2 * 16 + 4 * 16 + 64 + 3 * (64 + 128))
    assert f"LoRA rank 2: 12 arrays, {lora:,} of {lora + SPEC.num_params:,} parameters" in lines["model"]
    assert lines["rows"].startswith("8 to train on (2,028 tokens, 17% trained), 2 held out")
    assert "1.0 rows in 416 tokens" in lines["packing"]
    assert lines["steps"] == "20 of 1 x 2 x 416 tokens"
    assert "of weights, optimizer and batch" in lines["memory"]
    assert "20 steps of" in lines["time"] and "(2 were timed), 4 evaluations of" in lines["time"]


def test_a_run_that_does_not_fit_is_refused_and_leaves_its_folder_name_free(flags, capsys, monkeypatch):
    home, words = flags
    monkeypatch.setattr(foresight, "device_room", lambda: Room(used=0, limit=10**6, name="RAM"))
    monkeypatch.setattr(fit, "require_weights", lambda *_, **__: None)
    assert run(command.main, words) == EXIT_MISTAKE
    assert "a training step does not fit into memory" in capsys.readouterr().err
    assert not (home / "run").exists()
