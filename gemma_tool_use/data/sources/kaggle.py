"""Fetches a dataset from Kaggle, with every refusal as one sentence that says what to do.

    folder = fetch("owner/name")                  # also owner/name/versions/3

`kagglehub` caches what it fetched and checks sizes. It takes KAGGLE_USERNAME, KAGGLE_KEY and KAGGLEHUB_CACHE from the
environment when it is imported, so it is imported only here, after a command has read its settings.
"""

import errno
from pathlib import Path

from gemma_tool_use.errors import ConfigError, FileError, GemmaToolUseError, HubError

PREFIX = "kaggle:"


def fetch(handle: str) -> Path:
    """Downloads a dataset, or takes it from the cache, and returns its folder.

    Raises:
      ConfigError: this is no handle of a dataset.
      HubError: no such dataset, no access or no network; with the remedy.
      FileError: the cache cannot be written.
    """
    parts = handle.split("/")
    if not all(parts) or not (len(parts) == 2 or (len(parts) == 4 and parts[2] == "versions" and parts[3].isdigit())):
        raise ConfigError(f"{PREFIX}{handle} is not a Kaggle dataset, expected {PREFIX}OWNER/NAME[/versions/NUMBER]")
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
    try:
        return Path(kagglehub.dataset_download(handle))
    except ours as error:
        raise _sentence(error, handle) from error


def _sentence(error: Exception, handle: str) -> GemmaToolUseError:
    import requests
    from kagglehub import exceptions

    page = f"https://www.kaggle.com/datasets/{'/'.join(handle.split('/')[:2])}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403) or isinstance(error, exceptions.CredentialError | exceptions.UnauthenticatedError):
        return HubError(
            f"Kaggle refused {handle}: accept its terms at {page}, then set KAGGLE_USERNAME and KAGGLE_KEY "
            "(https://www.kaggle.com/settings, 'Create new token')"
        )
    if status == 404 or isinstance(error, exceptions.NotFoundError):
        return HubError(f"{handle} is no dataset on Kaggle, or a private one; check the spelling at {page}")
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return HubError(f"Kaggle cannot be reached for {handle}: check the network, or give a folder with the files")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FileError(f"the disk is full while downloading {handle}: free some space and run again")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return FileError(f"{error.filename} cannot be written while downloading {handle}: set KAGGLEHUB_CACHE")
    first_line = next(iter(str(error).splitlines()), "")[:300]
    return HubError(f"downloading {handle} from Kaggle failed ({type(error).__name__}: {first_line}): run again")
