"""Fetches the parquet shards of a dataset on the Hugging Face hub.

    folder = fetch("Agent-Ark/Toucan-1.5M", "SFT")    # a folder of the hub's cache, holding train-*.parquet

A broken download continues where it stopped. `huggingface_hub` takes HF_TOKEN, HF_ENDPOINT and HF_HOME from the
environment when it is imported, so it is imported only here, after a command has read its settings.
"""

import errno
from pathlib import Path

from gemma_tool_use.errors import FileError, GemmaToolUseError, HubError


def looks_like_id(location: str) -> bool:
    """Whether `location` may name a hub repository: `owner/name`, and nothing on disk goes by that name.

    `"Agent-Ark/Toucan-1.5M"` may; `"./data"`, `"data/rows.parquet"` and `"rows.jsonl"` may not.
    """
    parts = location.split("/")
    file_like = location.endswith((".parquet", ".jsonl", ".json", ".gz"))
    return len(parts) == 2 and all(parts) and parts[0][0] not in ".~" and not file_like and not Path(location).exists()


def fetch(dataset_id: str, folder: str) -> Path:
    """Downloads `folder/*.parquet` of a dataset, or takes it from the cache, and returns the path of that folder.

    Raises:
      HubError: no such dataset, no access, no network, or no parquet file there; with the remedy.
      FileError: the cache cannot be written.
    """
    from huggingface_hub import snapshot_download

    # The base of httpx's or of requests' errors, whichever of the two the installed huggingface_hub uses.
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

    try:
        root = snapshot_download(dataset_id, repo_type="dataset", allow_patterns=f"{folder}/*.parquet")
    except (HTTPError, OSError, ValueError) as error:
        raise _sentence(error, dataset_id) from error
    if not any(Path(root, folder).glob("*.parquet")):
        raise HubError(f"the dataset {dataset_id} has no file {folder}/*.parquet; is it in another form?")
    return Path(root, folder)


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
        "the network and run again, the download goes on where it stopped; or give a folder with the parquet files"
    )
