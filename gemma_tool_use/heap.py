"""Keeps the memory that a training step frees, for the next step.

keep_freed_memory()      # first thing in a command that computes; before JAX and NumPy start threads

A step on a CPU frees some gigabytes of temporary arrays and asks for the same again. glibc hands such blocks back to
the kernel, which clears every page anew: 1.1 million page faults a step, 10.3 s instead of 6.0 s on a virtual machine
of two cores (4 x 640 tokens, bfloat16). So blocks stay in the one heap of the process, on pages of 2 MB where the
kernel grants them. The price: memory of this process that is free is free for itself only.
"""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Parameters of `mallopt` (https://man7.org/linux/man-pages/man3/mallopt.3.html)."""
_NEVER = -1
_HUGE_PAGES = 14
"""MADV_HUGEPAGE of `madvise`, from the kernel's asm-generic/mman-common.h."""


def keep_freed_memory() -> bool:
    """Tells the C library to keep what is freed; False where that library is not glibc, and nothing was done.

    Half of the machine's memory is set aside as addresses, without memory behind them, to ask for huge pages there.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    for parameter, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER)):
        libc.mallopt(parameter, value)
    _ask_for_huge_pages(libc, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return True


def _ask_for_huge_pages(libc: ctypes.CDLL, size: int) -> None:
    """A hint: where the heap may not grow by `size`, or the kernel has no huge pages, it stays as it is."""
    page = os.sysconf("SC_PAGE_SIZE")
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    block = libc.malloc(size)
    if not block:
        return
    start = -(-block // page) * page
    libc.madvise(start, (block + size - start) // page * page, _HUGE_PAGES)
    libc.free(block)
