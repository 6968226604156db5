"""What a run trained on what, and what it cost, from its run.json.

trained_on(read_run(folder))      # [("base", "google/gemma-3-270m, gemma3-18x640"), ("data", "rows.jsonl"), ...]
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma_tool_use.errors import DataError, FileError

Facts = list[tuple[str, str]]


def read_run(folder: Path) -> dict[str, Any] | None:
    """The content of `folder/run.json`; None when there is none.

    Raises:
      FileError, DataError: it cannot be read, or is not JSON of an object.
    """
    path = folder / "run.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold an object")
    return content


def trained_on(run: Mapping[str, Any]) -> Facts:
    """Base, rows, method and settings; what is not in the file is left out."""
    config, data, base = _part(run, "config"), _part(run, "data"), _part(run, "base")
    rows = _joined(
        _number(data.get("train_rows"), "to train on"),
        _number(data.get("held_out_rows"), "held out"),
        _number(data.get("train_tokens"), "tokens"),
        _number(data.get("trained_tokens"), "of them trained"),
    )
    parameters = _part(run, "parameters")
    method = _joined(
        config.get("method"),
        f"rank {config['rank']}" if config.get("method") == "lora" else None,
        _number(parameters.get("trained"), "parameters trained"),
        _number(parameters.get("total"), "in all"),
    )
    schedule = _joined(
        config.get("optimizer"),
        None if "learning_rate" not in config else f"learning rate {config['learning_rate']}",
        config.get("schedule"),
        None if "batch_size" not in config else f"batch of {config['batch_size']}",
        None
        if "gradient_accumulation" not in config
        else f"gradient accumulation of {config['gradient_accumulation']}",
        _number(config.get("max_length"), "tokens a row at most"),
    )
    return _present(
        ("status", run.get("status")),
        ("base", _joined(base.get("source"), base.get("architecture"))),
        ("base sha256", base.get("sha256")),
        ("data", _joined(config.get("data"), config.get("source"))),
        ("rows", rows),
        ("rows read", _lines(_part(data, "counts"))),
        ("dialect", config.get("dialect")),
        ("method", method),
        ("optimizer", schedule),
        ("steps", _joined(_number(run.get("steps")), _number(run.get("skipped_steps"), "skipped"))),
        ("seed", config.get("seed")),
        ("git revision", _part(run, "environment").get("git_revision")),
        ("command", " ".join(map(str, _part(run, "environment").get("command") or ()))),
    )


def cost_of_training(run: Mapping[str, Any], tokens_per_second: float | None) -> Facts:
    """Time, memory and device of the training."""
    return _present(
        ("device", _joined(run.get("device"), run.get("compute_dtype"))),
        ("training", _seconds(run.get("seconds_training"))),
        ("start to end", _seconds(run.get("seconds_total"))),
        ("training speed", _number(tokens_per_second, "tokens/s on average")),
        ("peak memory", None if run.get("peak_rss_gb") is None else f"{run['peak_rss_gb']} GB"),
    )


def cost_of_answers(timing: Mapping[str, Any]) -> Facts:
    """Speed of the answers, from timing.json."""
    return _present(
        ("answers", _joined(_number(timing.get("answers")), _number(timing.get("answers_per_second"), "a second"))),
        ("answering", _seconds(timing.get("seconds"))),
        (
            "written",
            _joined(
                _number(timing.get("new_tokens"), "tokens"), _number(timing.get("new_tokens_per_second"), "a second")
            ),
        ),
        ("read", _number(timing.get("prompt_tokens"), "tokens of prompts")),
    )


def flat(value: Mapping[str, Any], prefix: str = "") -> Facts:
    """`flat({"sampling": {"seed": 0}})` gives `[("sampling.seed", "0")]`."""
    facts: Facts = []
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            facts += flat(inner, f"{prefix}{key}.")
        else:
            text = "none" if inner is None else inner if isinstance(inner, str) else json.dumps(inner)
            facts.append((f"{prefix}{key}", text))
    return facts


def _part(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = content.get(name)
    return part if isinstance(part, Mapping) else {}


def _lines(counts: Mapping[str, Any]) -> str:
    return "\n".join(f"{n:,} {reason}" for reason, n in counts.items() if isinstance(n, int))


def _present(*facts: tuple[str, Any]) -> Facts:
    return [(name, str(text)) for name, text in facts if text not in (None, "")]


def _joined(*texts: Any) -> str:
    return ", ".join(str(text) for text in texts if text not in (None, ""))


def _number(value: Any, what: str = "") -> str | None:
    if not isinstance(value, int | float):
        return None
    return f"{value:,.0f} {what}".strip() if abs(value) >= 100 or value == int(value) else f"{value:.2f} {what}".strip()


def _seconds(value: Any) -> str | None:
    if not isinstance(value, int | float):
        return None
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{value:.1f} s"
