"""Writes the rows of a unit as mixing and augmentation want them: merged, copied, changed, with their stage.

    rewrite_unit(RewriteJob(number=7, ...))
    # rewritten/00007.kept.parquet     position (file and row), eval, stage, the text columns, question, apis
    #           00007.json             the marker: rows, what was done to how many, sizes

A row is written with the unit of its leader, which is itself unless it is merged. Like a mapped unit, a file depends on
nothing but the job and appears whole or not at all.
"""

import collections
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gemma_tool_use.conversation import Conversation, conversation_from_dict
from gemma_tool_use.data.augment import AugmentSettings, augment, copy, merge, outcomes, stage_of
from gemma_tool_use.data.augment.draws import Draws
from gemma_tool_use.data.augment.records import records
from gemma_tool_use.data.engine.atomic import write_json
from gemma_tool_use.data.engine.decide import DECISIONS, PARTNERS
from gemma_tool_use.data.engine.map_unit import ROWS_PER_UNIT, TEXT_COLUMNS, RowWriter
from gemma_tool_use.data.engine.merging import partners_of
from gemma_tool_use.data.engine.split import SIDES
from gemma_tool_use.data.engine.tool_pool import read_pool
from gemma_tool_use.data.keys import api_id, hash_text, question_key
from gemma_tool_use.data.row_text import json_text, messages_text, tools_text
from gemma_tool_use.data.rows import STAGE

SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("eval", pa.bool_()),
        ("stage", pa.uint8()),
        *((name, pa.string()) for name in TEXT_COLUMNS),
        ("question", pa.uint64()),
        ("apis", pa.list_(pa.uint64())),
    ]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewriteJob:
    """One unit.

    Attributes:
      number: of the unit.
      units: the folder of the unit files.
      work: the folder with the decisions, the partners and the pools.
      folder: where the result goes.
      settings: what is done to rows.
      staged: whether rows get a stage.
      rehearsed: the share of the rows of stage 1 that are met again among those of stage 2.
    """

    number: int
    units: str
    work: str
    folder: str
    settings: AugmentSettings
    staged: bool
    rehearsed: float

    def path(self, suffix: str) -> Path:
        return Path(self.folder, f"{self.number:05d}{suffix}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Decided:
    """What was decided about a row."""

    is_eval: bool
    copies: int
    no_call: bool


def rewrite_unit(job: RewriteJob) -> dict[str, Any]:
    """Writes the unit unless it is there; returns its marker."""
    marker, path = job.path(".json"), job.path(".kept.parquet")
    if marker.exists() and path.exists():
        return json.loads(marker.read_text(encoding="ascii"))
    done = collections.Counter[str]()
    rows = 0
    with RowWriter(path, SCHEMA) as file:
        for conversation, licence, is_eval in _rewritten(job):
            done.update(outcomes(conversation))
            done["tools added"] += _tools_added(conversation)
            stage = _stage(conversation, job) if job.staged else 0
            if job.staged:
                conversation = dataclasses.replace(conversation, meta={**conversation.meta, STAGE: stage})
            file.add((job.number * ROWS_PER_UNIT + rows, is_eval, stage, *_columns(conversation, licence)))
            rows += 1
    found = {"rows": rows, "done": dict(sorted(done.items()))}
    write_json(marker, found)
    return found


def _rewritten(job: RewriteJob) -> Iterator[tuple[Conversation, str, bool]]:
    first, end = job.number * ROWS_PER_UNIT, (job.number + 1) * ROWS_PER_UNIT
    within = [("position", ">=", first), ("position", "<", end), ("part", "=", 0)]
    table = pq.read_table(Path(job.work, DECISIONS), columns=["position", "eval", "copies", "no_call"], filters=within)
    columns = [table[name].to_pylist() for name in ("position", "eval", "copies", "no_call")]
    decided = {p: _Decided(is_eval=e, copies=c, no_call=n) for p, e, c, n in zip(*columns, strict=True)}
    partners = partners_of(Path(job.work, PARTNERS), first, end)
    pools = {side: read_pool(Path(job.work), side) for side in SIDES}
    for row in _stored(Path(job.units, f"{job.number:05d}.kept.parquet")):
        found = decided.get(row["position"])
        if found is None:
            continue
        parts = [conversation_from_dict(each) for each in (row, *partners.get(row["position"], ()))]
        pool = pools[SIDES[found.is_eval]]
        for conversation in merge(parts, job.settings):
            for number in range(1, found.copies + 1):
                changed = augment(copy(conversation, number), job.settings, pool, make_no_call=found.no_call)
                # Merged rows are of one source, so their licence is one, too.
                yield changed, row["license"], found.is_eval


def _stored(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group, columns=["position", *TEXT_COLUMNS], use_threads=False).to_pylist()


def _columns(conversation: Conversation, licence: str) -> tuple[Any, ...]:
    texts = [tools_text(conversation.tools), messages_text(conversation.messages), json_text(conversation.meta)]
    return (
        *(conversation.id, conversation.source, licence, *texts),
        *(hash_text(question_key(conversation)), _apis(conversation)),
    )


def _apis(conversation: Conversation) -> list[int]:
    """Ids of the APIs offered, by the names that they had before they were masked or made writable."""
    names: dict[str, Any] = dict(conversation.meta.get("names") or {})
    for record in records(conversation):
        if record["step"] == "names" and "left" not in record:
            names |= {new: names.get(old, old) for new, old in record["tools"].items()}
    return [api_id(names.get(tool.name, tool.name)) for tool in conversation.tools]


def _tools_added(conversation: Conversation) -> int:
    return sum(len(record.get("added", ())) for record in records(conversation))


def _stage(conversation: Conversation, job: RewriteJob) -> int:
    stage = stage_of(conversation)
    draws = Draws(seed=job.settings.seed, step="rehearsal", row=conversation.id)
    return 2 if stage == 1 and draws.unit() < job.rehearsed else stage
