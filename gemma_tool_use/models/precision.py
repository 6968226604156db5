"""What `--dtype` means on this machine.

compute_dtype("auto")      # bfloat16 where matrices are multiplied faster in it, else float32
"""

import functools
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp

ComputeDtype: TypeAlias = Literal["auto", "float32", "bfloat16"]

_CPU_FLAGS = Path("/proc/cpuinfo")


def compute_dtype(choice: ComputeDtype) -> Any:
    """The dtype of base weights and activations; adapter and optimizer are float32 in any case.

    `auto` is bfloat16 on a TPU, a GPU, and a CPU with a matrix unit for it (Intel's AMX: a training step takes two
    thirds of the time), float32 on other CPUs, whose products of bfloat16 are slower.
    """
    if choice != "auto":
        return jnp.dtype(choice)
    narrow = jax.default_backend() != "cpu" or has_bfloat16_unit(_CPU_FLAGS)
    return jnp.dtype(jnp.bfloat16 if narrow else jnp.float32)


@functools.cache
def has_bfloat16_unit(flags: Path) -> bool:
    """Whether Linux tells of AMX in `flags`; other systems have no such file, and their processors no AMX."""
    try:
        return "amx_bf16" in flags.read_text().split()
    except OSError:
        return False
