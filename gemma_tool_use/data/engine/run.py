"""The whole way from input files to a prepared folder: map the units, decide among all rows, write the result.

    manifest = run(inputs, settings, output=Path("prepared/toucan"), workers=8)

Every step leaves files in `OUTPUT.partial` that appear whole or not at all, and a step whose files are there is not
repeated. So a run that is killed at any moment and started again ends with the same bytes as one that was not.
"""

import dataclasses
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma_tool_use.data.augment.stages import rules_by_stage
from gemma_tool_use.data.engine import write
from gemma_tool_use.data.engine.atomic import written
from gemma_tool_use.data.engine.decide import LATE, MappedUnit, decide
from gemma_tool_use.data.engine.funnel import counts, funnel, svg
from gemma_tool_use.data.engine.manifest import MANIFEST, Input, RunSettings, Tolerance, manifest_of, plan_of
from gemma_tool_use.data.engine.map_unit import UnitJob, map_unit
from gemma_tool_use.data.engine.pool import Workers
from gemma_tool_use.data.engine.rewrite import FOLDER, ORDER, rewrite
from gemma_tool_use.data.engine.split import SIDES
from gemma_tool_use.data.engine.work_folder import WorkFolder, open_work_folder
from gemma_tool_use.data.files import identity, units
from gemma_tool_use.data.row_task import RowTask
from gemma_tool_use.data.rules.quality import with_compact_scores
from gemma_tool_use.errors import DataError, FileError

FUNNEL = "funnel.svg"
Progress = Callable[[int], object]
MapAhead = Callable[[Sequence[UnitJob]], object]
_STRICT = Tolerance()


def run(
    inputs: Sequence[Input],
    settings: RunSettings,
    *,
    output: Path,
    workers: int,
    tolerance: Tolerance = _STRICT,
    progress: Progress = lambda rows: None,
    map_ahead: MapAhead | None = None,
) -> dict[str, Any]:
    """Does what is left to do and returns the manifest it wrote.

    Args:
      inputs: what is read.
      settings: what the result depends on.
      output: the folder that appears in the end; must not exist, or be empty.
      workers: processes; 0 does everything in this one.
      tolerance: of unreadable rows and files.
      progress: hears of the number of rows of each unit.
      map_ahead: given all units, maps them elsewhere first; the processes here map what it leaves.

    Raises:
      FileError: the output exists or cannot be written, an input cannot be read, or the work folder is another run's.
      DataError: a damaged file, columns that are missing, no rows, too many unreadable ones, none kept, or a split
        that leaks.
    """
    plan = plan_of(inputs, settings)
    with open_work_folder(output, plan) as work:
        if work.finished:
            work.remove()
            return json.loads((work.output / MANIFEST).read_text(encoding="utf-8"))
        with Workers(workers) as pool:
            mapped, skipped = _map(inputs, settings, work, pool, tolerance, progress, map_ahead)
            try:
                decided = decide(mapped, settings.among_all, settings.changes, folder=work.path, workers=workers)
                _check(decided, mapped, inputs, tolerance)
            except DataError:
                work.remove()  # the inputs or the settings have to change, so nothing of it can be used
                raise
            rewritten = None
            if settings.changes.rewrites:
                rewritten = rewrite(mapped, settings.among_all, settings.changes, work=work.path, workers=pool)
            shards = _write(mapped, decided, rewritten, settings, work, pool)
        manifest = manifest_of(plan, decided, rewritten, shards, skipped)
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        with written(work.result / MANIFEST) as temporary:
            temporary.write_text(text, encoding="utf-8")
        work.publish()
    return json.loads(text)


def _map(
    inputs: Sequence[Input],
    settings: RunSettings,
    work: WorkFolder,
    pool: Workers,
    tolerance: Tolerance,
    progress: Progress,
    map_ahead: MapAhead | None,
) -> tuple[list[MappedUnit], list[dict[str, str]]]:
    """Maps every unit; returns those that count, in order, and what was skipped with the reason."""
    planned, skipped = _planned(inputs, settings, work, tolerance)
    if map_ahead is not None:
        map_ahead([unit.job for unit in planned])
    damaged: dict[int, str] = {}
    kept: dict[int, int] = {}
    stop = _Stop(settings.among_all.limit, kept)
    jobs = (unit.job for unit in planned if not stop.reached())
    function = map_or_name if tolerance.skip_bad_files else map_unit
    for job, marker in pool.run(function, jobs, name=lambda job: job.name):
        if "problem" in marker:
            damaged[job.number] = marker["problem"]
        else:
            progress(marker["rows"])
        kept[job.number] = marker.get("kept", 0)
    used = [unit for unit in planned[: stop.units(len(planned))] if unit.job.number not in damaged]
    skipped += [{"part": planned[number].job.name, "problem": damaged[number]} for number in sorted(damaged)]
    for each in skipped:
        warnings.warn(f"{each['part']} is left out: {each['problem']}", stacklevel=2)
    return used, skipped


def map_or_name(job: UnitJob) -> dict[str, Any]:
    """`map_unit`, with the problem of a damaged file as a result."""
    try:
        return map_unit(job)
    except (DataError, FileError) as error:
        return {"problem": str(error).replace(str(job.unit.path), job.unit.path.name)}


class _Stop:
    """The fewest units from the first on that hold as many kept rows as the limit."""

    def __init__(self, limit: int | None, kept: Mapping[int, int]) -> None:
        self._limit, self._kept, self._next, self._rows = limit, kept, 0, 0

    def reached(self) -> bool:
        if self._limit is None:
            return False
        while self._rows < self._limit and self._next in self._kept:
            self._rows += self._kept[self._next]
            self._next += 1
        return self._rows >= self._limit

    def units(self, planned: int) -> int:
        """How many units count; those after them may have been mapped while the limit was not known to be reached."""
        return self._next if self.reached() else planned


def _planned(
    inputs: Sequence[Input], settings: RunSettings, work: WorkFolder, tolerance: Tolerance
) -> tuple[list[MappedUnit], list[dict[str, str]]]:
    """The units of all files, numbered in order, and the files that cannot be cut."""
    planned: list[MappedUnit] = []
    problems: list[dict[str, str]] = []
    rules = with_compact_scores(settings.rules, work.path)
    stages = rules_by_stage(settings.changes.stages, rules)
    if stages:
        subsets = dict.fromkeys(name for each in stages.values() for name in each.subsets)
        rules = dataclasses.replace(rules, subsets=tuple(subsets))
    for number, each in enumerate(inputs):
        task = RowTask(source=each.source.name, rules=rules, stages=stages or None)
        for path in each.files:
            try:
                cut = units(path, settings.unit_rows)
            except (DataError, FileError) as error:
                if not tolerance.skip_bad_files:
                    raise
                problems.append({"part": path.name, "problem": str(error).replace(str(path), path.name)})
                continue
            for unit in cut:
                job = UnitJob(
                    number=len(planned),
                    unit=unit,
                    task=task,
                    folder=str(work.units),
                    near=settings.among_all.near_duplicates,
                    traits=settings.changes.traits,
                )
                planned.append(MappedUnit(job=job, input=number))
    return planned, problems


def _check(
    decided: Mapping[str, Any], mapped: Sequence[MappedUnit], inputs: Sequence[Input], tolerance: Tolerance
) -> None:
    """Raises when the rows read cannot be trained on."""
    location = ", ".join(each.name for each in inputs)
    rows, bad = decided["rows_read"], sum(decided["unreadable"].values())
    if not rows:
        raise DataError(f"{location} holds no rows")
    if bad > tolerance.max_bad_share * rows:
        first = _first_bad(mapped)
        raise DataError(
            f"{location}: {bad} of {rows} rows cannot be read, more than the share of {tolerance.max_bad_share:g} that "
            f"is accepted. First: {first['where']} (id {first['id']!r}): {first['reason']}: {first['detail']}. Is this "
            "the right --source? Otherwise repair the file or raise --max-bad-share."
        )
    if not decided["train"] + decided["eval"]:
        rejects = "; ".join(f"{n} x {reason}" for reason, n in counts(decided).items() if n)
        raise DataError(
            f"{location}: none of {rows} rows is kept ({rejects}). Loosen the rules: --max-tools-offered, "
            "--max-tools-used, --no-single-turn, --subsets."
        )


def _first_bad(mapped: Sequence[MappedUnit]) -> dict[str, str]:
    markers = (unit.job.marker() for unit in mapped)
    return json.loads(next(marker["first_bad"] for marker in markers if marker and marker["first_bad"]))


def _write(
    mapped: Sequence[MappedUnit],
    decided: Mapping[str, Any],
    rewritten: Mapping[str, Any] | None,
    settings: RunSettings,
    work: WorkFolder,
    pool: Workers,
) -> list[dict[str, Any]]:
    """Writes the shards, the rejects and the drawing; returns name, size and sha256 of each file."""
    final = decided if rewritten is None else rewritten
    jobs = write.shard_jobs(
        {side: final[side] for side in SIDES},
        settings.shard_rows,
        units=str(work.units if rewritten is None else work.path / FOLDER),
        work=str(work.path),
        result=str(work.result),
        order=write.DECISIONS if rewritten is None else ORDER,
    )
    rejects = write.RejectsJob(
        numbers=tuple(unit.job.number for unit in mapped),
        units=str(work.units),
        late=str(work.path / LATE),
        path=str(work.result / write.REJECTS_FILE),
        last=decided["last"],
    )
    results: dict[str, Any] = dict.fromkeys(job.name for job in [*jobs, rejects])
    for job, marker in pool.run(write.write_file, [rejects, *jobs], name=lambda job: f"file {job.name}"):
        results[job.name] = marker
    rows = sum(each["rows"] for each in results.values())
    expected = decided["rows_read"] + sum(final[side] - decided[side] for side in SIDES)
    if rows != expected:
        raise DataError(
            f"{rows} rows were written, and {expected} should have been: {work.path} was changed from outside. "
            "Remove it and run again"
        )
    with written(work.result / FUNNEL) as temporary:
        temporary.write_text(svg(funnel(decided)), encoding="utf-8")
    drawing = identity(work.result / FUNNEL)
    return [*results.values(), {**drawing, "file": FUNNEL}]
