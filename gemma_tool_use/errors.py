"""Errors that say what is wrong, where, what was expected, and what to do about it.

Every error a user can cause derives from `GemmaToolUseError`, so a command prints its message without a traceback. Each
child also inherits the fitting built-in, so library callers can catch `ValueError` or `OSError` as usual.
"""

import difflib
from collections.abc import Iterable


class GemmaToolUseError(Exception):
    """A mistake or condition that the user can act on; the message is one clear sentence with the remedy."""


class ConfigError(GemmaToolUseError, ValueError):
    """A setting, flag or name is not usable; names every problem found."""


class DataError(GemmaToolUseError, ValueError):
    """A row or data file is not usable; names the file and row."""


class CheckpointError(GemmaToolUseError, ValueError):
    """Model weights, a tokenizer or an adapter do not fit; names the parameter or file."""


class FileError(GemmaToolUseError, OSError):
    """A file or folder cannot be read or written."""


class HubError(GemmaToolUseError, OSError):
    """A model hub refused or could not be reached; names the remedy (licence, token, network)."""


class TrainingError(GemmaToolUseError, RuntimeError):
    """Training cannot go on; says where the last good checkpoint is."""


def suggest(name: str, known: Iterable[str]) -> str:
    """The sentence that helps after a misspelt name.

    `suggest("hermez", ["hermes", "tool_code"])` gives `Did you mean 'hermes'? Known: hermes, tool_code.`
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return (f"Did you mean {near[0]!r}? " if near else "") + f"Known: {', '.join(known)}."
