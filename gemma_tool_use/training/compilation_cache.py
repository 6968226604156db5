"""Compiled programs kept on disk, so that the second start of a run does not compile again.

    keep_compiled(settings.cache_dir / "compiled")     # before anything is compiled

JAX does the keeping (https://docs.jax.dev/en/latest/persistent_compilation_cache.html); its key holds the program, the
versions and the kind of processor or accelerator. Here is decided where, how much, and when it is safe.
"""

import os
import stat
import sys
from pathlib import Path

# The step is 1 MB compiled for a CPU. Beyond this JAX removes what was not used for longest.
_MAX_BYTES = 1 << 30
# JAX's own 1 s would leave out the random generators of the adapter, 0.2 s each.
_MIN_COMPILE_SECONDS = 0.1


def keep_compiled(folder: Path) -> Path | None:
    """Turns JAX's persistent compilation cache on, in `folder`; returns where it is, None when it stays off.

    A folder that the user gave to JAX itself (`JAX_COMPILATION_CACHE_DIR`) stays as it is. Compiled programs are run,
    so a folder that others may write to is not used; neither is one that cannot be made. Both are told on stderr, and
    the run goes on without.
    """
    import jax

    chosen = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if chosen:
        return Path(chosen)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = _not_ours(folder)
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        print(f"compiled programs are not kept in {folder} ({reason}); every start compiles again", file=sys.stderr)
        return None
    _remove_torn(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", _MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_SECONDS)
    return folder


def _not_ours(folder: Path) -> str:
    """Why a program read from `folder` may be somebody else's; empty when it may not."""
    if os.name != "posix":
        return ""  # Windows keeps permissions elsewhere; a user's folder is the user's there
    found = folder.stat()
    if found.st_uid != os.getuid():
        return "it belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to it: chmod go-w {folder}"
    if not os.access(folder, os.W_OK):
        return "it cannot be written"
    return ""


def _remove_torn(folder: Path) -> None:
    """Takes away programs whose writing was cut off; JAX would warn of them at every start and never replace them.

    JAX writes NAME-cache in place and NAME-atime after it.
    """
    for path in folder.glob("*-cache"):
        if not path.with_name(path.name.removesuffix("cache") + "atime").exists():
            path.unlink(missing_ok=True)
