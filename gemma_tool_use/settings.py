"""The only reader of environment variables and of the `.env` file. Only commands import it.

    settings = load_settings()
    export_to_libraries(settings)          # before huggingface_hub or kagglehub is imported
    settings.hf_token                      # Secret(set): prints no value anywhere
    settings.hf_token.reveal()             # "hf_..."

A variable of the environment wins over the same line in `.env` of the working directory. `.env.example` lists them all.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import dotenv

from gemma_tool_use.errors import ConfigError

CACHE_VARIABLE = "GEMMA_TOOL_USE_CACHE"
SECRET_VARIABLES = (
    "KAGGLE_USERNAME",
    "KAGGLE_KEY",
    "HF_TOKEN",
    "WANDB_API_KEY",
    "TEACHER_API_KEY",
    "OPENAI_API_KEY",
)
_SECRET_WORDS = ("TOKEN", "KEY", "SECRET", "PASSWORD", "CREDENTIAL")
_METADATA_HOST = "metadata.google.internal"
# The number of processes, and what else JAX reads; a lone process in an allocation of many tasks has not all of it.
_LAUNCHERS = {
    "SLURM": ("SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID"),
    "mpirun": ("OMPI_COMM_WORLD_SIZE", "OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
}
VARIABLES = (*SECRET_VARIABLES, "HF_ENDPOINT", CACHE_VARIABLE)


class Secret:
    """A value that no log, config or exception shows: its text forms say only that it is set, and JSON refuses it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(set)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not written anywhere")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment says. Everything is optional.

    Attributes:
      kaggle_username: user name of the Kaggle API.
      kaggle_key: key of the Kaggle API.
      hf_token: Hugging Face access token.
      wandb_api_key: Weights & Biases key.
      teacher_api_key: key of the endpoint that `synthesize --teacher` asks.
      openai_api_key: the same for OpenAI's own endpoint; sent to no other.
      hf_endpoint: address of a Hugging Face mirror; None is the public hub.
      launcher: what started this process as one of several ("SLURM", "mpirun", "Cloud TPU"); None for a lone one.
      metadata_host: where a Google Cloud machine asks about itself; None where that must not be asked.
      cache_dir: where converted weights and downloads of this project are kept.
    """

    kaggle_username: Secret | None = None
    kaggle_key: Secret | None = None
    hf_token: Secret | None = None
    wandb_api_key: Secret | None = None
    teacher_api_key: Secret | None = None
    openai_api_key: Secret | None = None
    hf_endpoint: str | None = dataclasses.field(default=None, repr=False)
    launcher: str | None = None
    metadata_host: str | None = None
    cache_dir: Path


def load_settings(env_file: Path = Path(".env"), environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the environment (`environ`, by default that of the process) over the lines of `env_file`, if it exists.

    Raises:
      ConfigError: lists every value that cannot be right, without showing any.
    """
    values = _env_file_values(env_file)
    values.update({name: value for name, value in (os.environ if environ is None else environ).items() if value})
    found = {name: values[name].strip() for name in VARIABLES if values.get(name, "").strip()}
    problems = [f"{name} contains white space" for name in SECRET_VARIABLES if len(found.get(name, "x").split()) != 1]
    endpoint = found.get("HF_ENDPOINT")
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        problems.append("HF_ENDPOINT must start with https:// or http://")
    if problems:
        raise ConfigError(f"{'; '.join(problems)}. Correct it in the environment or in {env_file} (see .env.example).")
    cache = found.get(CACHE_VARIABLE) or Path(values.get("XDG_CACHE_HOME") or "~/.cache") / "gemma-tool-use"
    secrets = {name.lower(): Secret(found[name]) for name in SECRET_VARIABLES if name in found}
    return Settings(
        **secrets,
        hf_endpoint=endpoint,
        launcher=_launcher(values),
        metadata_host=None if "TPU_SKIP_MDS_QUERY" in values else values.get("GCE_METADATA_IP", _METADATA_HOST),
        cache_dir=Path(cache).expanduser().absolute(),
    )


def _launcher(values: Mapping[str, str]) -> str | None:
    """Which of the launchers that `jax.distributed.initialize` understands started this process beside others."""
    hosts = values.get("TPU_PROCESS_ADDRESSES", values.get("TPU_WORKER_HOSTNAMES", ""))
    if "," in hosts:
        return "Cloud TPU"
    for name, (count, *others) in _LAUNCHERS.items():
        if values.get(count, "1").isdecimal() and int(values.get(count, "1")) > 1 and all(map(values.get, others)):
            return name
    return None


def export_to_libraries(settings: Settings) -> None:
    """Puts what `.env` added into the environment of the process, where the hub libraries look for it.

    huggingface_hub reads `HF_ENDPOINT` while it is imported, so call this first. What is already set stays.
    """
    for name in VARIABLES:
        value = getattr(settings, name.lower(), None)
        if value is not None:
            os.environ.setdefault(name, value.reveal() if isinstance(value, Secret) else value)


def environment_without_secrets(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a process that is given what a model wrote: without what looks like a secret by its name.

    `{"PATH": "/bin", "HF_TOKEN": "hf_1"}` gives `{"PATH": "/bin"}`.
    """
    given = os.environ if environ is None else environ
    return {name: value for name, value in given.items() if not any(word in name.upper() for word in _SECRET_WORDS)}


def _env_file_values(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        # Without interpolation a key that contains `$` stays as it is.
        lines = dotenv.dotenv_values(path, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({type(error).__name__}); it must be a UTF-8 text file") from None
    return {name: value for name, value in lines.items() if value}
