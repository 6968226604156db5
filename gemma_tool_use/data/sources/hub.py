"""Fetches the files of a dataset on the Hugging Face hub.

    files = fetch("Agent-Ark/Toucan-1.5M", ("SFT/*.parquet",))    # .../SFT/train-00000-of-00003.parquet, ...

A broken download continues where it stopped. `huggingface_hub` takes HF_TOKEN, HF_ENDPOINT and HF_HOME from the
environment when it is imported, so it is imported only here, after a command has read its settings.
"""

import errno
import fnmatch
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from gemma_tool_use.data.files import SUFFIXES
from gemma_tool_use.errors import FileError, GemmaToolUseError, HubError


def looks_like_id(location: str) -> bool:
    """Whether `location` may name a hub repository: `owner/name`, and nothing on disk goes by that name.

    `"Agent-Ark/Toucan-1.5M"` may; `"./data"`, `"data/rows.parquet"` and `"rows.jsonl"` may not.
    """
    parts = location.split("/")
    like_a_name = len(parts) == 2 and all(parts) and parts[0][0] not in ".~" and not location.endswith(SUFFIXES)
    return like_a_name and not on_disk(location)


def on_disk(location: str) -> bool:
    """Whether there is a file or folder of that name; False for a name that no file could have."""
    return os.path.exists(location)  # noqa: PTH110 - pathlib raises when a name is too long


def matching(root: Path, patterns: Sequence[str]) -> list[Path]:
    """The files below a folder whose path from there fits a pattern, as the hub matches them: `*` goes over `/`."""
    files: Iterable[Path] = (file for file in root.rglob("*") if file.is_file())
    names = {file.relative_to(root).as_posix(): file for file in files}
    return [names[name] for name in sorted(names) if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def fetch(dataset_id: str, patterns: Sequence[str]) -> list[Path]:
    """Downloads the files of a dataset that fit a pattern, or takes them from the cache; in the order of their names.

    Raises:
      HubError: no such dataset, no access, no network, or no such file there; with the remedy.
      FileError: the cache cannot be written.
    """
    from huggingface_hub import snapshot_download

    # The base of httpx's or of requests' errors, whichever of the two the installed huggingface_hub uses.
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

    try:
        root = snapshot_download(dataset_id, repo_type="dataset", allow_patterns=list(patterns))
    except (HTTPError, OSError, ValueError) as error:
        raise _sentence(error, dataset_id) from error
    files = matching(Path(root), patterns)
    if not files:
        raise HubError(
            f"the dataset {dataset_id} has no file {' or '.join(patterns)}; is it in another form? "
            f"{dataset_id}:PATTERN names its files"
        )
    return files


def _sentence(error: Exception, dataset_id: str) -> GemmaToolUseError:
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/datasets/{dataset_id}"
    if isinstance(error, errors.GatedRepoError):
        return HubError(
            f"{dataset_id} is gated: accept its terms at {page}, then set HF_TOKEN to a token of that account"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(
            f"{dataset_id!r} is neither a file or folder here nor a public dataset at {constants.ENDPOINT}. Check the "
            "spelling; for a private dataset set HF_TOKEN"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FileError(f"the disk is full while downloading {dataset_id}: free some space and run again")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return FileError(f"{error.filename} cannot be written while downloading {dataset_id}: set HF_HOME")
    first_line = next(iter(str(error).splitlines()), "")[:200]
    return HubError(
        f"{dataset_id} could not be fetched from {constants.ENDPOINT} ({type(error).__name__}: {first_line}). Check "
        "the network and run again, the download goes on where it stopped; or give a folder with the files"
    )
