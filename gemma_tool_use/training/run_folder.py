"""The folder of one run: refused when it exists, written as the run goes, enough to continue or explain it.

folder = RunFolder.claim(config)     # ConfigError if --output-dir holds anything
folder.write_run({"status": "running", "config": ...})
folder.checkpoints                                   # absolute, which Orbax insists on
"""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from gemma_tool_use.errors import ConfigError, FileError
from gemma_tool_use.training.config import RESUME_MAY_CHANGE, TrainConfig

_VERSIONS_OF = ("jax", "flax", "google-tunix", "qwix", "grain", "optax", "orbax-checkpoint", "numpy")


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths of a run. `path` is absolute."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def profile(self) -> Path:
        return self.path / "profile"

    @property
    def best(self) -> Path:
        return self.path / "best"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def rejects(self) -> Path:
        return self.path / "rejects.jsonl"

    @property
    def run_json(self) -> Path:
        return self.path / "run.json"

    @classmethod
    def claim(cls, config: TrainConfig) -> "RunFolder":
        """Makes the folder, or opens that of a run to be continued.

        Raises:
          ConfigError: it exists and `config.resume` is off; or it holds no run, or one with other settings, and
            `config.resume` is on.
          FileError: it cannot be written.
        """
        folder = cls.of(config)
        occupied = folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir()))
        if config.resume:
            folder._check_same_run(config)
        elif occupied:
            raise ConfigError(
                f"output folder {folder.path} already exists and is not empty; nothing in it is overwritten. "
                "Choose another --output-dir, or continue that run with --resume"
            )
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            probe = folder.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise FileError(
                f"output folder {folder.path} cannot be written ({error.strerror}); choose another --output-dir"
            ) from None
        return folder

    @classmethod
    def of(cls, config: TrainConfig) -> "RunFolder":
        """The folder, left alone: for processes of a run that another process claimed it for."""
        return cls(Path(config.output_dir).expanduser().resolve())

    def release_if_empty(self) -> None:
        """Takes an unused folder away again, so that a corrected command can use the name."""
        if self.checkpoints.is_dir() and not any(self.checkpoints.iterdir()):
            self.checkpoints.rmdir()
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def write_run(self, content: Mapping[str, Any]) -> None:
        """Replaces run.json in one step."""
        temporary = self.run_json.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")
        temporary.replace(self.run_json)

    def read_run(self) -> dict[str, Any]:
        return json.loads(self.run_json.read_text())

    def read_config(self) -> TrainConfig:
        """The flags of the run.

        Raises:
          ConfigError: the folder holds no run, or one with flags that this version does not have.
        """
        try:
            saved = self.read_run()["config"]
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{self.path} holds no run (no readable run.json); give a folder that train wrote"
            ) from None
        known = {field.name for field in dataclasses.fields(TrainConfig)}
        if unknown := sorted(set(saved) - known):
            raise ConfigError(f"{self.run_json} has flags that this version does not have: {', '.join(unknown)}")
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in saved.items()}
        return TrainConfig(**values)

    def check_same_inputs(self, inputs: Mapping[str, str]) -> None:
        """
        Args:
          inputs: `base weights`, `tokenizer`, `rows` (sha256 each) and `compute dtype` of the run as it is now.

        Raises:
          ConfigError: the run that is continued was started with others; names each with both values.
        """
        saved = self.read_run()
        before = {
            "base weights": saved.get("base", {}).get("sha256"),
            "tokenizer": saved.get("tokenizer_sha256"),
            "rows": saved.get("data", {}).get("fingerprint"),
            "compute dtype": saved.get("compute_dtype"),
        }
        changed = [name for name, value in inputs.items() if value != before[name]]
        if changed:
            details = "; ".join(f"{name}: was {before[name]}, is {inputs[name]}" for name in changed)
            raise ConfigError(
                f"--resume continues the same run, but {self.path} was started with others. {details}. Give the same "
                "--model, --data and --dtype, or start a new run"
            )

    def drop_metrics_after(self, step: int) -> None:
        """Drops lines of steps that a resumed run takes again, and the half line of a run that was killed."""
        if self.metrics.exists():
            kept = [line for line, content in self._metric_lines() if content["step"] <= step]
            temporary = self.metrics.with_suffix(".tmp")
            temporary.write_text("".join(kept), encoding="utf-8")
            temporary.replace(self.metrics)

    def logged(self, name: str, step: int) -> float | None:
        """A metric of a step; None when it was not logged."""
        lines = self._metric_lines() if self.metrics.exists() else []
        return next((float(content[name]) for _, content in lines if content["step"] == step and name in content), None)

    def _metric_lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for line in self.metrics.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                yield line, json.loads(line)
            except json.JSONDecodeError:
                return

    def _check_same_run(self, config: TrainConfig) -> None:
        try:
            saved = self.read_run()["config"]
        except (OSError, ValueError, KeyError):
            raise ConfigError(
                f"--resume: {self.path} holds no run (no readable run.json); start without --resume"
            ) from None
        now = json.loads(json.dumps(dataclasses.asdict(config)))
        changed = [key for key in now if key not in RESUME_MAY_CHANGE and now[key] != saved.get(key)]
        if changed:
            details = "; ".join(f"--{key.replace('_', '-')} was {saved.get(key)!r}, is {now[key]!r}" for key in changed)
            raise ConfigError(
                f"--resume continues the same run, but {details}. Give the same flags, or start a new run"
            )


def environment() -> dict[str, Any]:
    """Python, package versions and the git revision of the code, for run.json."""
    return {
        "python": sys.version.split()[0],
        "packages": {name: metadata.version(name) for name in _VERSIONS_OF},
        "git_revision": _git_revision(),
        "command": sys.argv,
    }


def _git_revision() -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return answer.stdout.strip() or None
