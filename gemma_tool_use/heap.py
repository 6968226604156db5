"""Keeps the memory that a training step frees, for the next step.

keep_freed_memory()      # first thing in a command that computes; before JAX and NumPy start threads
give_back()              # after weights were read, after an evaluation

A step on a CPU frees some gigabytes of temporary arrays and asks for the same again. glibc hands such blocks back to
the kernel, which clears every page anew: 1.1 million page faults a step, 10.3 s instead of 6.4 s on a virtual machine
of two cores (4 x 640 tokens, bfloat16). So blocks stay in the one heap of the process, until `give_back` is called
between two phases of a run whose blocks differ: the free ones of the first would stay beside those of the second. Huge
pages, asked for by `madvise`, made the first step 2.5 s slower there, and the others no faster than they differ.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Parameters of `mallopt` (https://man7.org/linux/man-pages/man3/mallopt.3.html)."""
_NEVER = -1


def keep_freed_memory() -> bool:
    """Tells the C library to keep what is freed; False where that library is not glibc, and nothing was done."""
    libc = _glibc()
    if libc is None:
        return False
    for parameter, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER)):
        libc.mallopt(parameter, value)
    return True


def give_back() -> None:
    """Returns free memory to the kernel: before another kind of work begins."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    return libc if libc is not None and hasattr(libc, "gnu_get_libc_version") else None
