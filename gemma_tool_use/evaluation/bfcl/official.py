"""Result files as bfcl-eval reads them, and the scores it gives them, in a process and an environment of its own.

    write_result_files(results, root)              # root/result/gemma-tool-use-FC/non_live/BFCL_v4_multiple_result.json
    scores = score(root, kind_of(results), ["multiple"], environment=environment)
    scores["multiple"]                             # CategoryScore(questions=200, total=200, correct=97, failed=(...))

A line of a result file:

    {"id": "multiple_0", "result": [{"area": "{\\"base\\": 10}"}], "input_token_count": 211, "output_token_count": 18,
     "latency": 0.1}

`result` is the list of calls, arguments as JSON text, or the text of an answer that has no readable call.
"""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gemma_tool_use.bfcl_files import PREFIX
from gemma_tool_use.errors import ConfigError, DataError, FileError
from gemma_tool_use.evaluation.bfcl.official_process import MODELS
from gemma_tool_use.evaluation.bfcl.suite import CATEGORIES, LIVE, expects
from gemma_tool_use.evaluation.records import Result

Kind = Literal["FC", "Prompt"]
"""Whether the model was given tools, or the functions in BFCL's system text: names have dots only there."""
TIMEOUT_SECONDS = 1800
"""For all of BFCL's single-turn questions; the first run installs 376 MB, the scoring itself takes seconds."""

_SCRIPT = Path(__file__).with_name("official_process.py")
_SHOWN_LINES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class CategoryScore:
    """What bfcl-eval made of one category.

    Attributes:
      questions: how many the category has.
      total: answers scored.
      correct: those that are right.
      failed: ids of the questions whose answers are wrong.
    """

    questions: int
    total: int
    correct: int
    failed: tuple[str, ...]


def kind_of(results: Sequence[Result]) -> Kind:
    """How the questions were asked."""
    return "FC" if any(result.item.conversation.tools for result in results) else "Prompt"


def write_result_files(results: Sequence[Result], root: Path) -> dict[str, int]:
    """Writes one file a category below `root/result`; returns how many answers each holds.

    Raises:
      DataError: a result without an answer, another suite's, or two of one question. bfcl-eval would take the text of
        a generation error for an answer, and give it full marks where no call is wanted.
      FileError: a file cannot be written.
    """
    _check(results)
    counts = {}
    for category in CATEGORIES:
        lines = [_line(result) for result in results if result.item.category == category]
        if not lines:
            continue
        counts[category] = len(lines)
        path = _file(root, "result", kind_of(results), category)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(lines), encoding="ascii")
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror or error}") from None
    return counts


def _check(results: Sequence[Result]) -> None:
    failed = [result for result in results if result.answer.error is not None]
    if failed:
        raise DataError(
            f"{len(failed)} of {len(results)} questions have no answer (the first is {failed[0].item.id}: "
            f"{failed[0].answer.error}). An error is no answer and is not scored; run evaluate again"
        )
    if strangers := [result.item.id for result in results if result.item.category not in CATEGORIES]:
        raise DataError(f"{strangers[0]} is no question of BFCL; give the results of the suite bfcl alone")
    ids = [result.item.id for result in results]
    if twice := [id for number, id in enumerate(ids) if id in set(ids[:number])]:
        raise DataError(f"{twice[0]} is answered twice; give the results of one evaluation")
    if not ids:
        raise DataError("there is no answer to a question of BFCL in these results")


def _line(result: Result) -> str:
    calls, answer = result.reply.calls, result.answer
    # A reply with a call that cannot be read is no readable reply, but where no call is wanted a call is one too many.
    readable = calls and (not result.reply.errors or expects(result.item.category) == "no_call")
    written: Any = _whole(answer.text)
    if readable:
        written = [{_whole(call.name): _whole(json.dumps(call.arguments, ensure_ascii=False))} for call in calls]
    row = {
        "id": result.item.id,
        "result": written,
        "input_token_count": answer.prompt_tokens,
        "output_token_count": answer.new_tokens,
        "latency": answer.seconds or 0,
    }
    return json.dumps(row) + "\n"


def _whole(text: str) -> str:
    """Without halves of surrogate pairs, on which bfcl-eval ends when it writes its scores."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def score(
    root: Path, kind: Kind, categories: Iterable[str], *, environment: Mapping[str, str], python: Path | None = None
) -> dict[str, CategoryScore]:
    """Has bfcl-eval score the result files below `root`, of as many questions as they hold.

    Args:
      root: where `write_result_files` wrote; the scores go to `root/score`.
      kind: as `kind_of` says.
      categories: those to score.
      environment: variables of the process, which no secret should be among.
      python: a Python in whose environment bfcl-eval is installed; None has uv make one.

    Raises:
      ConfigError: no uv, and no Python given.
      DataError: bfcl-eval ended with an error, or without a score.
    """
    asked = list(categories)
    _run(["score", kind, *asked], root, python, environment)
    return {category: _read_score(root, kind, category) for category in asked}


def ask(
    command: Literal["check", "read"],
    cases: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    environment: Mapping[str, str],
    python: Path | None = None,
) -> list[str | None]:
    """What bfcl-eval says of each case, for the comparison with our rule (`official_process.check` and `read`).

    Raises: as `score`.
    """
    given, said = folder / "cases.jsonl", folder / "said.jsonl"
    given.write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="ascii")
    _run([command, str(given), str(said)], folder, python, environment)
    return [json.loads(line) for line in said.read_text(encoding="ascii").splitlines()]


def _run(words: Sequence[str], root: Path, python: Path | None, environment: Mapping[str, str]) -> None:
    command = [*_interpreter(python), str(_SCRIPT), *words]
    try:
        done = subprocess.run(
            command,
            env={**environment, "BFCL_PROJECT_ROOT": str(root.absolute())},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except OSError as error:
        raise ConfigError(f"cannot run {command[0]}: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        raise DataError(f"bfcl-eval did not end within {TIMEOUT_SECONDS} seconds: {' '.join(command)}") from None
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-_SHOWN_LINES:])
        raise DataError(f"bfcl-eval ended with {done.returncode}: {' '.join(command)}\n{said}")


def _interpreter(python: Path | None) -> list[str]:
    if python is not None:
        return [str(python)]
    uv = shutil.which("uv")
    if uv is None:
        raise ConfigError(
            "uv, which makes an environment for bfcl-eval, is not installed (pip install uv). Without it: make an "
            "environment with `pip install bfcl-eval==2026.3.23 soundfile` and give its Python as --official-python"
        )
    return [uv, "run", "--quiet", "--no-project", "--no-python-downloads", "--python", sys.executable, "--script"]


def _file(root: Path, what: Literal["result", "score"], kind: Kind, category: str) -> Path:
    group = "live" if category in LIVE else "non_live"
    return root / what / MODELS[kind] / group / f"{PREFIX}{category}_{what}.json"


def _read_score(root: Path, kind: Kind, category: str) -> CategoryScore:
    path = _file(root, "score", kind, category)
    try:
        head, *failures = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return CategoryScore(
            questions=int(json.loads((root / "questions.json").read_text(encoding="ascii"))[category]),
            total=int(head["total_count"]),
            correct=int(head["correct_count"]),
            failed=tuple(str(failure["id"]) for failure in failures),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"bfcl-eval wrote no score to {path} ({error!r:.200})") from None
