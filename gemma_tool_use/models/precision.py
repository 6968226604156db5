"""What `--dtype` means on this machine.

compute_dtype("auto")      # bfloat16 where matrices are multiplied faster in it, else float32
"""

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
    narrow = jax.default_backend() != "cpu" or has_bfloat16_unit()
    return jnp.dtype(jnp.bfloat16 if narrow else jnp.float32)


def has_bfloat16_unit() -> bool:
    """Whether Linux tells of AMX; other systems have no such file, and their processors no AMX."""
    try:
        return "amx_bf16" in _CPU_FLAGS.read_text().split()
    except OSError:
        return False
