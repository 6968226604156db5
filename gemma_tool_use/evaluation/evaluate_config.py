"""What `gemma-tool-use evaluate` can be told. Frozen, checked on construction, all problems at once.

EvaluateConfig(run=Path("my_run"), categories=("simple_python",), limit=100)
"""

import dataclasses
import re
from pathlib import Path
from typing import Literal

from gemma_tool_use.errors import ConfigError
from gemma_tool_use.evaluation.bfcl.suite import CATEGORIES
from gemma_tool_use.evaluation.held_out import NAME as HELD_OUT

SYNTHETIC = "synthetic"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Flags of `gemma-tool-use evaluate`."""

    run: Path | None = None
    """A folder that train wrote, also taken as the first word; it says which weights, adapter and dialect."""
    adapter: Path | None = None
    """A folder with adapter.json and its arrays."""
    model: str | None = None
    """Weights without an adapter, as train takes them; with --run or --adapter, in place of the base they name."""
    with_base: bool = False
    """Also ask the base weights without the adapter."""

    suites: tuple[Literal["bfcl", "held-out"], ...] = ("bfcl",)
    """What is asked: bfcl, the Berkeley Function-Calling Leaderboard v4; held-out, the rows of --held-out."""
    categories: tuple[str, ...] = CATEGORIES
    """Categories of BFCL; live and non_live stand for all of theirs."""
    bfcl_data: Path | None = None
    """Folder of BFCL's questions (bfcl_eval or its data); none for the installed package bfcl-eval."""
    official_prompt: bool = False
    """Ask BFCL's questions with its own system text, and read the answers as python_calls."""
    held_out: str | None = None
    """Rows whose last answer is expected: a folder that prepare split (its eval rows are asked), a file, a folder, a
    hub id, or synthetic (generated here). With --run the rows it was not trained on, where its data is such a folder.
    """
    source: str = "auto"
    """How to read --held-out: auto (by looking), or the name of a form, as in train --source."""
    first_call: bool = False
    """Of held-out rows expect the first reply with calls instead of the last answer."""
    limit: int | None = None
    """Most questions of each BFCL category, and most held-out rows."""
    seed: int = 0
    """Seed of the sample of held-out rows, and of replies at a temperature."""

    dialect: str | None = None
    """How tools and calls are written as text; none for the one of the adapter or run, or gemma_json."""
    max_new_tokens: int = 256
    """Longest reply in tokens."""
    temperature: float = 0.0
    """0 takes the most likely token each time."""
    top_k: int | None = None
    """At a temperature, only the so many likeliest tokens are drawn; none for all."""
    top_p: float = 1.0
    """At a temperature, only the likeliest tokens that together reach this probability are drawn."""
    max_length: int = 8192
    """Most tokens of prompt and reply together; a longer question has no answer, but an error."""
    batch_size: int = 64
    """Prompts that are decoded together."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute dtype; auto is bfloat16 on a TPU, GPU or a CPU with AMX, else float32."""
    output_dir: Path | None = None
    """Where evaluation/LABEL is made; none for the folder of the run or adapter, or this folder for --model."""
    label: str | None = None
    """Name of the evaluation; none for that of the run, adapter or model."""

    def __post_init__(self) -> None:
        problems = [problem for problem in self._problems() if problem]
        if problems:
            raise ConfigError("\n".join(problems))

    def _problems(self) -> list[str]:
        least = {"limit": 1, "max_new_tokens": 1, "batch_size": 1, "temperature": 0, "top_k": 1}
        problems = [
            f"--{name.replace('_', '-')} must be at least {number}, got {getattr(self, name)}"
            for name, number in least.items()
            if getattr(self, name) is not None and getattr(self, name) < number
        ]
        if not 0 < self.top_p <= 1:
            problems.append(f"--top-p is above 0 and at most 1, got {self.top_p}")
        if self.max_length <= self.max_new_tokens:
            problems.append(
                f"--max-length {self.max_length} leaves no room before --max-new-tokens {self.max_new_tokens}"
            )
        named = [f"--{name}" for name in ("run", "adapter") if getattr(self, name) is not None]
        if len(named) == 2:
            problems.append("--run and --adapter both name an adapter; give one of them")
        if not named and self.model is None:
            problems.append("nothing to ask: give --model, --adapter or --run")
        if self.with_base and not named:
            problems.append("--with-base compares with an adapter; give --adapter or --run, or leave it out")
        if not self.suites:
            problems.append("--suites names nothing to ask; give bfcl, held-out or both")
        if "bfcl" not in self.suites:
            default = {"categories": CATEGORIES, "bfcl_data": None, "official_prompt": False}
            problems += [
                f"--{name.replace('_', '-')} is about BFCL, which --suites {' '.join(self.suites)} leaves out"
                for name, value in default.items()
                if getattr(self, name) != value
            ]
        if HELD_OUT not in self.suites and (self.held_out is not None or self.first_call or self.source != "auto"):
            problems.append("--held-out, --source and --first-call need --suites held-out, or bfcl held-out for both")
        if HELD_OUT in self.suites and self.held_out is None and self.run is None:
            problems.append("--suites held-out needs the rows: --held-out FILE, or --held-out synthetic")
        if self.official_prompt and self.dialect not in (None, "python_calls"):
            problems.append(f"--official-prompt answers in python_calls; leave --dialect {self.dialect} out")
        if self.official_prompt and HELD_OUT in self.suites:
            problems.append("--official-prompt is BFCL's own; ask held-out rows in an evaluation with another --label")
        if self.label is not None and slug(self.label) != self.label:
            problems.append(f"--label is a folder name of letters, digits and . _ -, got {self.label!r}")
        return problems


def slug(name: str) -> str:
    """A folder name: `slug("google/gemma 3")` is `google-gemma-3`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
