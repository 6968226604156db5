"""Fetches the parquet shards of a dataset on the Hugging Face hub.

    folder = fetch("Agent-Ark/Toucan-1.5M", "SFT")    # a folder of the hub's cache, holding SFT/train-*.parquet

The token, the endpoint and the cache folder are those of `huggingface_hub` (HF_TOKEN, HF_ENDPOINT, HF_HOME); a broken
download continues where it stopped.
"""

from pathlib import Path

import huggingface_hub
from huggingface_hub import errors as hub_errors

# The base of httpx's or of requests' errors, whichever of the two the installed huggingface_hub uses.
from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

from gemma_tool_use.errors import HubError


def looks_like_id(location: str) -> bool:
    """Whether `location` may name a hub repository: `owner/name`, and nothing on disk goes by that name.

    `"Agent-Ark/Toucan-1.5M"` may; `"./data/rows"`, `"data/rows.parquet"` and `"rows.jsonl"` may not.
    """
    parts = location.split("/")
    file_like = location.endswith((".parquet", ".jsonl", ".json", ".gz"))
    return len(parts) == 2 and all(parts) and parts[0][0] not in ".~" and not file_like and not Path(location).exists()


def fetch(dataset_id: str, folder: str) -> Path:
    """Downloads `folder/*.parquet` of a dataset, or takes it from the cache, and returns the path of that folder.

    Raises:
      HubError: no such dataset, no access, no network, or no parquet file there; with the remedy.
    """
    try:
        root = huggingface_hub.snapshot_download(
            dataset_id, repo_type="dataset", allow_patterns=[f"{folder}/*.parquet", f"{folder}/**/*.parquet"]
        )
    except hub_errors.GatedRepoError:
        raise HubError(
            f"access to the dataset {dataset_id} has not been granted: accept its terms at "
            f"https://huggingface.co/datasets/{dataset_id} and set HF_TOKEN to a token of that account"
        ) from None
    except hub_errors.RepositoryNotFoundError:
        raise HubError(
            f"{dataset_id!r} is neither a file or folder here nor a public dataset on the hub. Check the spelling; for "
            "a private dataset set HF_TOKEN"
        ) from None
    except (HTTPError, OSError, ValueError) as error:
        raise HubError(
            f"the dataset {dataset_id} could not be fetched ({_first_line(error)}). Check the network and run again (a "
            "broken download continues), or download the parquet files elsewhere and give their folder"
        ) from None
    if not any(Path(root, folder).rglob("*.parquet")):
        raise HubError(f"the dataset {dataset_id} has no parquet file below {folder}/ (looked in {root})")
    return Path(root, folder)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]
