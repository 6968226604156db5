"""The console command and the flags: what a user types and what comes back."""

import ast
import dataclasses
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from gemma_tool_use import __version__, cli
from gemma_tool_use.commands import run
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.flags import parse

MODULE = [sys.executable, "-m", "gemma_tool_use.cli"]


def test_help_takes_less_than_a_second_and_imports_no_jax():
    code = (
        "import sys; from gemma_tool_use.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    )

    def call() -> tuple[float, subprocess.CompletedProcess[str]]:
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return time.perf_counter() - start, done

    # The fastest of three, because other processes may use the machine.
    seconds, done = min((call() for _ in range(3)), key=lambda result: result[0])
    assert seconds < 1.0
    assert not {"jax", "numpy", "tyro"} & set(ast.literal_eval(done.stderr))
    assert all(name in done.stdout and command.help in done.stdout for name, command in cli.COMMANDS.items())


def test_every_command_names_an_existing_module():
    missing = [command.module for command in cli.COMMANDS.values() if importlib.util.find_spec(command.module) is None]
    assert not missing


def test_an_unknown_command_is_answered_with_the_nearest_one():
    done = subprocess.run([*MODULE, "trian"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'trian'" in done.stderr and "Did you mean 'train'?" in done.stderr and "Traceback" not in done.stderr


def test_version_and_missing_command(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"gemma-tool-use {__version__}\n"
    assert cli.main([]) == 2
    assert "commands:" in capsys.readouterr().err


def test_a_missing_dependency_is_named_with_the_remedy(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.delitem(sys.modules, "gemma_tool_use.doctor", raising=False)
    assert cli.main(["doctor"]) == 2
    assert "psutil is not installed: uv sync" in capsys.readouterr().err


def raising(error: BaseException):
    def main(argv: object) -> int:
        raise error

    return main


def test_exit_codes(capsys):
    assert run(lambda argv: 0) == 0
    assert run(raising(DataError("row 7 is broken"))) == 2
    assert run(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "error: row 7 is broken\ninterrupted\n"
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()))


def test_a_closed_pipe_is_no_error():
    code = "import sys; from gemma_tool_use.commands import run; sys.exit(run(lambda argv: print('x' * 10**6) or 0))"
    script = f'"{sys.executable}" -c "{code}" | head -c 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, "x", "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lora:
    """LoRA settings."""

    rank: int = 16
    """Rank of the two matrices."""
    modules: tuple[str, ...] = ("q", "kv")

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"--lora.rank must be at least 1, got {self.rank}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A config with every kind of field."""

    preset: str = "default"
    learning_rate: float = 1e-4
    """Peak learning rate."""
    wandb: bool = False
    data: Path | None = None
    max_steps: int | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    shape: tuple[int, int] = (1, 2)
    seed: Annotated[int, tyro.conf.arg(help="Seed of everything.")] = 0
    lora: Lora = dataclasses.field(default_factory=Lora)

    def __post_init__(self) -> None:
        bad = [f"--{name}" for name, value in (("learning-rate", self.learning_rate),) if value <= 0]
        if bad:
            raise ConfigError(f"{', '.join(bad)} must be positive")


PRESETS = {"default": Config(), "quickstart": Config(preset="quickstart", max_steps=3, lora=Lora(rank=4))}


def read(*words: str) -> Config:
    return parse(Config, words, prog="x train", presets=PRESETS, default_preset="default")


def refusal(*words: str) -> str:
    with pytest.raises(ConfigError) as error:
        read(*words)
    return str(error.value)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ([], {}),
        (["--learning-rate", "3e-4"], {"learning_rate": 3e-4}),
        (["--learning_rate=3e-4"], {"learning_rate": 3e-4}),
        (["learning_rate=3e-4"], {"learning_rate": 3e-4}),
        (["--wandb"], {"wandb": True}),
        (["wandb=true", "--no-wandb"], {"wandb": False}),
        (["--wandb", "True", "--data", "a b"], {"wandb": True, "data": Path("a b")}),
        (["--data=-x"], {"data": Path("-x")}),
        (["--data", "key=value"], {"data": Path("key=value")}),
        (["--data", "learning_rate=1"], {"data": Path("learning_rate=1")}),
        (["--max-steps", "5", "max_steps=none"], {"max_steps": None}),
        (["--lora.rank", "8"], {"lora": Lora(rank=8)}),
        (["lora.rank=8", "lora.modules=q,gate"], {"lora": Lora(rank=8, modules=("q", "gate"))}),
        (["lora.modules=[q, gate]"], {"lora": Lora(modules=("q", "gate"))}),
        (["--lora.modules", ".*q_einsum", "x=y", "seed=1"], {"lora": Lora(modules=(".*q_einsum", "x=y")), "seed": 1}),
        (["--lora.modules"], {"lora": Lora(modules=())}),
        (["--weights", "a", "0.5", "b", "2"], {"weights": {"a": 0.5, "b": 2.0}}),
        (["--shape", "3", "-4"], {"shape": (3, -4)}),
        (["--seed", "-1"], {"seed": -1}),
        (["--schedule", "cosine"], {"schedule": "cosine"}),
    ],
)
def test_what_a_user_types_and_what_it_means(words, changes):
    assert read(*words) == dataclasses.replace(Config(), **changes)


def test_a_preset_gives_the_defaults_and_flags_win_over_it():
    assert read("--preset", "quickstart") == PRESETS["quickstart"]
    assert read("lora.modules=q", "preset=quickstart") == dataclasses.replace(
        PRESETS["quickstart"], lora=Lora(rank=4, modules=("q",))
    )


def test_the_command_line_wins_over_the_file_and_the_file_over_the_preset(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "learning_rate: 1e-3\nmax-steps: 7\nwandb: yes\nlora: {rank: 9, modules: [a, b]}\nweights: {a: 1}\n"
    )
    config = read("--preset", "quickstart", "--config", str(file), "--max-steps", "8")
    assert (config.learning_rate, config.max_steps, config.wandb) == (1e-3, 8, True)
    assert config.lora == Lora(rank=9, modules=("a", "b")) and config.weights == {"a": 1.0}


def test_every_problem_is_listed_at_once_with_the_nearest_flag():
    text = refusal(
        "--lora.rnk", "3", "--rank", "0", "--learning-rate", "y", "--schedule", "cosin", "stray", "-p", "wandb=x"
    )
    for part in (
        "7 problems",
        "unknown flag --lora.rnk, did you mean --lora.rank?",
        "unknown flag --rank, did you mean --lora.rank?",
        "--learning-rate: got 'y', expected a number",
        "--schedule: got 'cosin', expected one of constant, cosine",
        "'stray' stands alone",
        "unknown flag -p",
        "--wandb: got 'x', expected true or false",
    ):
        assert part in text


def test_every_part_that_refuses_its_values_is_heard():
    assert "--lora.rank must be at least 1, got 0" in refusal("--lora.rank", "0")
    assert "--learning-rate must be positive" in refusal("--learning-rate=-1")


def test_a_typo_in_a_key_value_token_and_in_a_preset():
    assert "unknown flag learning-rat=, did you mean --learning-rate?" in refusal("learning_rat=1")
    assert "'quikstart' is not a preset. Did you mean 'quickstart'?" in refusal("--preset", "quikstart")
    assert "--max-steps: needs a value, expected a whole number" in refusal("--max-steps", "--wandb")
    assert "--shape" in refusal("--shape", "1")


def test_the_file_is_named_in_its_errors(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("learning_rat: 1\nlora: {rank: x, modulez: q}\nwandb: maybe\n")
    text = refusal("--config", str(file))
    assert f"{file}: unknown key learning-rat, did you mean learning-rate?" in text
    assert f"{file}: unknown key lora.modulez, did you mean lora.modules?" in text
    assert f"{file}: lora.rank: got 'x', expected a whole number" in text
    assert f"{file}: wandb: got 'maybe', expected true or false" in text


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "!!python/object/apply:os.system ['exit']", "", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content):
    file = tmp_path / "run.yaml"
    file.write_text(content)
    assert str(file) in refusal("--config", str(file))
    assert "No such file" in refusal("--config", str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("seed: 1\nseed: 2\n", "seed stands twice"),
        ("max_steps: 1\nmax-steps: 2\n", "max-steps stands twice"),
        ("lora: {modules: [[q], kv]}\n", "lora.modules: a list or mapping in here holds another one"),
    ],
)
def test_an_ambiguous_file_is_refused(tmp_path, content, complaint):
    (tmp_path / "run.yaml").write_text(content)
    assert complaint in refusal("--config", str(tmp_path / "run.yaml"))


def test_a_required_flag_is_named():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Needs:
        input: Path
        output: Path

    with pytest.raises(ConfigError, match=r"(?s)--input is required.*--output is required"):
        parse(Needs, [], prog="x")
    assert parse(Needs, ["--input", "a", "output=b"], prog="x") == Needs(input=Path("a"), output=Path("b"))


def test_help_shows_docstrings_defaults_and_presets(capsys):
    with pytest.raises(SystemExit) as leaving:
        read("--preset", "quickstart", "--help")
    out = capsys.readouterr().out
    assert leaving.value.code == 0
    for part in ("--learning-rate", "Peak learning rate.", "(default: 0.0001)", "(default: 3)", "default, quickstart"):
        assert part in out
