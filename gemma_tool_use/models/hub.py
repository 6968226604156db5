"""Downloads from the two hubs, with every refusal as one sentence that says what to do.

    download_hf("google/gemma-3-270m-it", None, None, known)                   # folder in Hugging Face's cache
    download_kaggle("google/gemma-3/flax/gemma-3-270m-it", known)              # folder in kagglehub's cache

The hubs' own libraries do the transfer, cache the files, go on after a broken connection and check sizes. They take
tokens, cache folders and endpoints (`HF_TOKEN`, `HF_HOME`, `HF_ENDPOINT`, `KAGGLE_USERNAME`, `KAGGLE_KEY`,
`KAGGLEHUB_CACHE`) from the environment when imported, so they are imported only when needed, after a command has read
its settings.
"""

import errno
from collections.abc import Sequence
from pathlib import Path

from gemma_tool_use.errors import ConfigError, FileError, GemmaToolUseError, HubError, suggest

HF_FILES = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "tokenizer.model",
    "tokenizer.json",
)
"""What is downloaded of a repository; nothing else is needed, and pickled weights are never wanted."""

# huggingface_hub goes on inside a file after a broken connection, but not from one process to the next (see
# https://github.com/huggingface/huggingface_hub/pull/4228): the sentence promises what holds for both hubs.
_AGAIN = "run the same command again, files that arrived whole are kept"


def download_hf(repo: str, revision: str | None, token: str | None, known: Sequence[str]) -> Path:
    """The folder with `HF_FILES` of a Hugging Face repository, from the cache where it is complete there."""
    from huggingface_hub import constants, snapshot_download

    # httpx's own error, by the name under which huggingface_hub uses it: httpx is its dependency, not ours.
    from huggingface_hub.errors import HTTPError, XetDownloadError  # pyright: ignore[reportPrivateImportUsage]

    try:
        return Path(snapshot_download(repo, revision=revision, token=token, allow_patterns=list(HF_FILES)))
    except (OSError, ValueError, HTTPError, XetDownloadError) as error:
        raise _hf_sentence(error, repo, revision, known, constants.ENDPOINT) from error


def _hf_sentence(
    error: Exception, repo: str, revision: str | None, known: Sequence[str], endpoint: str
) -> GemmaToolUseError:
    from huggingface_hub import errors

    page = f"{endpoint}/{repo}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return HubError(
            f"{repo} is gated: accept its licence at {page}, then set HF_TOKEN to a read token of that account "
            f"({endpoint}/settings/tokens); a Kaggle account or embedded:gemma-3-270m works too"
        )
    if isinstance(error, errors.HFValidationError):
        return HubError(f"{repo!r} is not a repository name, expected 'owner/name'. {suggest(repo, known)}")
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{repo} has no revision {revision!r}; see {page}/commits/main")
    if isinstance(error, errors.RepositoryNotFoundError):
        here = "" if Path(repo).exists() else f", and {repo} is no local folder"
        return HubError(
            f"{repo} does not exist at {endpoint}, or HF_TOKEN's account may not see it{here}. {suggest(repo, known)}"
        )
    if status == 401:
        return HubError(f"{endpoint} refused the token: set HF_TOKEN to a valid one from {endpoint}/settings/tokens")
    if status == 403:
        return HubError(f"the token may not read {repo}: give it read access at {endpoint}/settings/tokens")
    if isinstance(error, errors.LocalEntryNotFoundError):
        part = "only a part of it is" if isinstance(error, errors.IncompleteSnapshotError) else "it is not"
        return HubError(
            f"{endpoint} cannot be reached and {part} in the cache: check the network (and HF_HUB_OFFLINE), "
            "or give a local folder or embedded:gemma-3-270m"
        )
    return _transfer_sentence(error, repo, endpoint)


def _transfer_sentence(error: Exception, name: str, endpoint: str) -> GemmaToolUseError:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FileError(f"the disk is full while downloading {name}: free some space, then {_AGAIN}")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return FileError(f"{error.filename} cannot be written while downloading {name}: set HF_HOME or KAGGLEHUB_CACHE")
    first_line = str(error).strip().split("\n", 1)[0] or type(error).__name__
    return HubError(f"downloading {name} from {endpoint} failed ({first_line[:300]}): {_AGAIN}")


def download_kaggle(handle: str, known: Sequence[str]) -> Path:
    """The folder of a Kaggle model, `owner/model/framework/variation` with or without `/version`."""
    import kagglehub
    import requests
    from kagglehub import exceptions

    ours = (
        exceptions.CredentialError,
        exceptions.UnauthenticatedError,
        exceptions.NotFoundError,
        exceptions.BackendError,
        exceptions.DataCorruptionError,
        exceptions.KaggleEnvironmentError,
        exceptions.ColabEnvironmentError,
        requests.RequestException,
        OSError,
        ValueError,
    )
    if len(handle.split("/")) not in (4, 5):
        raise ConfigError(f"{handle!r} is not a Kaggle model handle. {suggest(handle, known)}")
    try:
        return Path(kagglehub.model_download(handle))
    except ours as error:
        raise _kaggle_sentence(error, handle, known) from error


def _kaggle_sentence(error: Exception, handle: str, known: Sequence[str]) -> GemmaToolUseError:
    import requests
    from kagglehub import exceptions

    page = f"https://www.kaggle.com/models/{'/'.join(handle.split('/')[:2])}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403) or isinstance(error, exceptions.CredentialError | exceptions.UnauthenticatedError):
        return HubError(
            f"Kaggle refused {handle}: accept the licence at {page}, then set KAGGLE_USERNAME and KAGGLE_KEY "
            "(https://www.kaggle.com/settings, 'Create new token')"
        )
    if status == 404 or isinstance(error, exceptions.NotFoundError):
        return HubError(f"{handle} does not exist on Kaggle. {suggest(handle, known)}")
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return HubError(
            f"Kaggle cannot be reached for {handle}: check the network; a version that is already downloaded opens "
            "without it when the handle ends in its number, as in .../1"
        )
    return _transfer_sentence(error, handle, "Kaggle")
