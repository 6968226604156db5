"""Maps the units of a run on the workers of an Apache Beam runner, where one machine is not enough.

    gemma-tool-use prepare --input /shared/toucan --output /shared/prepared --engine beam \\
        --beam-options runner=DaskRunner dask_client_address=tcp://10.0.0.1:8786

Every worker calls the `map_unit` that the processes of one machine call, and its files appear in the work folder beside
the output whole or not at all. So a worker may die at any moment, and two may be given the same unit: the runner tries
again, and the bytes are the same. What follows, the decisions among all rows and the writing, happens here as always; a
`--limit` too, so it saves the workers nothing.

Inputs and output lie on a filesystem that every worker sees under the same path, and the workers have the same versions
of this package and its libraries.
"""

import dataclasses
import functools
import importlib.util
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from gemma_tool_use.data.engine.atomic import written
from gemma_tool_use.data.engine.map_unit import UnitJob, map_unit
from gemma_tool_use.data.engine.versions import versions
from gemma_tool_use.errors import ConfigError, DataError, FileError, GemmaToolUseError

DASK_RUNNER = "apache_beam.runners.dask.dask_runner.DaskRunner"
"""Beam knows its other runners by their short names."""

DAMAGED = ".damaged"
"""Suffix of the file that a worker leaves for a unit that cannot be read."""

SHARED = "Inputs and output must be on a filesystem that every worker sees under the same path, and can write to"


def beam_mapper(options: Sequence[str]) -> functools.partial[None]:
    """`map_units` on a runner that the options choose.

    Args:
      options: of Beam and of its runner, with or without dashes: `["runner=DaskRunner", "dask_npartitions=64"]`.

    Raises:
      ConfigError: Beam is not installed, or does not know the runner.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise ConfigError(
            '--engine beam needs Apache Beam, which is not installed: uv sync --extra beam, or pip install "apache-beam'
            '[dask]"'
        )
    return functools.partial(map_units, pipeline=_pipeline(options))


def map_units(jobs: Sequence[UnitJob], *, pipeline: Any) -> None:
    """Has every unit mapped, and returns when their files are there; those of damaged units are left out.

    A damaged unit is no error here: the caller maps what has no files, and so names it as a run without Beam does.

    Raises:
      FileError: the workers are done, but their files are not there.
      GemmaToolUseError: the runner gave up; says why.
    """
    import apache_beam as beam  # pyright: ignore[reportMissingImports]
    from apache_beam.runners.runner import PipelineState  # pyright: ignore[reportMissingImports]

    # Without the shuffle a runner may give all units to one worker, as it fuses the steps.
    _ = (
        pipeline
        | "units" >> beam.Create([for_any_folder(job) for job in jobs])
        | "spread" >> beam.Reshuffle()
        | "map_unit" >> beam.Map(map_there, wanted=versions())
    )
    try:
        state = pipeline.run().wait_until_finish()
    except Exception as error:  # every runner has errors of its own, and hands on those of its workers as text
        reason = [line for line in str(error).splitlines() if line.strip()] or ["no reason given"]
        raise GemmaToolUseError(_failed(f"{type(error).__name__}: {reason[-1].strip()}")) from error
    if state != PipelineState.DONE:
        raise GemmaToolUseError(_failed(f"it ended as {state}"))
    lost = [job for job in jobs if job.marker() is None and not job.path(DAMAGED).exists()]
    if lost:
        raise FileError(
            f"the Beam workers are done, but the files of {len(lost)} of {len(jobs)} units are not in "
            f"{lost[0].folder}, the first {lost[0].name}. {SHARED}"
        )


def _failed(reason: str) -> str:
    return f"the Beam pipeline failed: {reason}\nThe same command goes on with the units that are done."


def map_there(job: UnitJob, *, wanted: Mapping[str, str]) -> None:
    """What a worker does with a unit.

    Raises:
      FileError: it cannot read the input, or not write to the work folder.
      GemmaToolUseError: it has other versions, so that its bytes could differ.
    """
    _check_versions(wanted)
    try:
        try:
            map_unit(job)
        except DataError as error:
            with written(job.path(DAMAGED)) as temporary:
                temporary.write_text(str(error), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise FileError(f"worker {socket.gethostname()}, {job.name}: {error}. {SHARED}") from None


def _check_versions(wanted: Mapping[str, str]) -> None:
    here = versions()
    different = [f"{name} {here[name]} instead of {wanted[name]}" for name in wanted if here[name] != wanted[name]]
    if different:
        raise GemmaToolUseError(
            f"worker {socket.gethostname()} has {', '.join(different)}; its rows could differ. Install the same"
        )


def for_any_folder(job: UnitJob) -> UnitJob:
    """The job with whole paths, since a worker runs in another folder."""
    rules = job.task.rules
    rules = dataclasses.replace(
        rules,
        keep_out=tuple(path.expanduser().absolute() for path in rules.keep_out),
        tokenizer=rules.tokenizer and rules.tokenizer.expanduser().absolute(),
    )
    unit = dataclasses.replace(job.unit, path=job.unit.path.absolute())
    return dataclasses.replace(job, unit=unit, task=dataclasses.replace(job.task, rules=rules))


def _pipeline(words: Sequence[str]) -> Any:
    """A pipeline without steps, on the runner of the options."""
    from apache_beam import Pipeline  # pyright: ignore[reportMissingImports]
    from apache_beam.options.pipeline_options import (  # pyright: ignore[reportMissingImports]
        PipelineOptions,
        StandardOptions,
    )

    options = PipelineOptions([f"--{word.removeprefix('--')}" for word in words])
    runner = options.view_as(StandardOptions).runner or ""
    try:
        if runner in ("DaskRunner", DASK_RUNNER):
            options.view_as(StandardOptions).runner = DASK_RUNNER
            _one_unit_per_partition(options)
        return Pipeline(options=options)
    except (ValueError, ImportError, AttributeError) as error:
        raise ConfigError(f"--beam-options: {error}") from None


def _one_unit_per_partition(options: Any) -> None:
    """The runner's own choice is 128, and the rows of a whole data set may be 30 units."""
    from apache_beam.runners.dask.dask_runner import DaskOptions  # pyright: ignore[reportMissingImports]

    dask = options.view_as(DaskOptions)
    if dask.npartitions is None and dask.partition_size is None:
        dask.partition_size = 1
