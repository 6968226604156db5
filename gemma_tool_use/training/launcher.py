"""Whether this process was started as one of several: by SLURM, by mpirun, or as a worker of a Cloud TPU slice.

launched_by(load_settings())      # "SLURM", "mpirun", "Cloud TPU" or None; JAX finds the addresses by itself

No JAX, so that a lone process starts as fast as without. Most launchers say so in the environment. A TPU VM does not:
its metadata server knows the workers of its slice, and is asked only where there is a TPU.
"""

import http.client
from pathlib import Path
from typing import Protocol

TPU = "Cloud TPU"
_TPU_DEVICES = ("/dev/accel0", "/dev/vfio/0")
_WORKERS = "/computeMetadata/v1/instance/attributes/worker-network-endpoints"
# The server is on the same machine; where it does not answer there is none.
_SECONDS = 2.0


class Surroundings(Protocol):
    """What `settings.Settings` says of the machine."""

    @property
    def launcher(self) -> str | None: ...
    @property
    def metadata_host(self) -> str | None: ...


def launched_by(settings: Surroundings, *, has_tpu: bool | None = None) -> str | None:
    """What started this process beside others, None if nothing did.

    Args:
      settings: the environment.
      has_tpu: None looks for one.
    """
    if settings.launcher is not None or settings.metadata_host is None:
        return settings.launcher
    if has_tpu is None:
        has_tpu = any(Path(device).exists() for device in _TPU_DEVICES)
    return TPU if has_tpu and _tpu_workers(settings.metadata_host) > 1 else None


def _tpu_workers(host: str) -> int:
    """Workers of the slice that this TPU VM belongs to; 1 for a machine that knows of none."""
    connection = http.client.HTTPConnection(host, timeout=_SECONDS)
    try:
        connection.request("GET", _WORKERS, headers={"Metadata-Flavor": "Google"})
        answer = connection.getresponse()
        return len(answer.read().decode().split(",")) if answer.status == http.client.OK else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()
