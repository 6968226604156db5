"""The console command. Sub-commands are imported only when they are called, so `--help` needs no JAX.

$ gemma-tool-use doctor
$ gemma-tool-use train --preset quickstart
$ gemma-tool-use train --help
"""

import dataclasses
import importlib
import sys
import types
from collections.abc import Sequence

from gemma_tool_use import __version__
from gemma_tool_use.commands import EXIT_MISTAKE, EXIT_OK, run
from gemma_tool_use.errors import ConfigError, suggest

PROG = "gemma-tool-use"


@dataclasses.dataclass(frozen=True)
class Command:
    """A sub-command: the module whose `main(argv) -> int` it calls, and its line in `--help`."""

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "doctor": Command("gemma_tool_use.doctor", "check versions, device, memory, disk and tokens of this machine"),
    "prepare": Command("gemma_tool_use.data.prepare", "turn dataset files into filtered conversations"),
    "analyze": Command("gemma_tool_use.data.analyze", "count what conversations hold: a CSV, plots and one HTML page"),
    "check": Command("gemma_tool_use.data.check", "name every fault of a file of conversations, with line and remedy"),
    "synthesize": Command("gemma_tool_use.data.synthesize", "write made-up tool-calling conversations"),
    "show": Command("gemma_tool_use.show", "print conversations token by token, trained tokens coloured"),
    "train": Command("gemma_tool_use.training.train_gemma3_270m_tool_calling", "teach Gemma 3 to call tools with LoRA"),
    "evaluate": Command("gemma_tool_use.evaluation.evaluate", "ask a model questions and judge its tool calls"),
    "evaluate-checkpoints": Command(
        "gemma_tool_use.evaluation.evaluate_checkpoints", "score every checkpoint of a run and name the best"
    ),
    "compare": Command("gemma_tool_use.evaluation.compare", "say where one evaluated model is better than another"),
    "report": Command("gemma_tool_use.evaluation.report", "write the page of an evaluation anew"),
    "bfcl-official": Command("gemma_tool_use.evaluation.bfcl_official", "have the real bfcl-eval score the answers"),
}


def help_text() -> str:
    """The text of `gemma-tool-use --help`: one line for each command."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {PROG} <command> [flags]",
            "",
            "Teach Gemma 3 270M to call tools.",
            "",
            "commands:",
            *lines,
            "",
            f"`{PROG} <command> --help` explains every flag; `{PROG} --version` prints the version.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command named by the first word of `argv`; returns its exit code (2 after a mistake of the user)."""
    return run(_dispatch, sys.argv[1:] if argv is None else argv)


def _dispatch(argv: Sequence[str] | None) -> int:
    match list(argv or ()):
        case []:
            print(help_text(), file=sys.stderr)
            return EXIT_MISTAKE
        case ["-h" | "--help" | "help", *_]:
            print(help_text())
            return EXIT_OK
        case ["--version", *_]:
            print(f"{PROG} {__version__}")
            return EXIT_OK
        case [name, *_] if name not in COMMANDS:
            raise ConfigError(f"{name!r} is not a command of {PROG}. {suggest(name, COMMANDS)}")
        case [name, *rest]:
            return _import(COMMANDS[name].module).main(rest)
        case _:
            raise AssertionError("every list is covered above")


def _import(module: str) -> types.ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "gemma_tool_use":
            raise
        raise ConfigError(f"{error.name} is not installed: uv sync, or pip install -r requirements.txt") from error


if __name__ == "__main__":
    sys.exit(main())
