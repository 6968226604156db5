"""What a worker process does: reads one unit, encodes its rows, and writes them to a file of the store.

Imported by every worker, so it loads neither Grain nor anything else that only the main process needs.
"""

import collections
import dataclasses
import json
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordWriter

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.engine import pool
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rows import check_mask, encode_row, question, stage, trained_targets
from gemma_tool_use.data.store.folder import file_entry
from gemma_tool_use.data.store.record import pack
from gemma_tool_use.data.store.units import Unit
from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.tokenizer import Tokenizer

# A group of one record is what Grain reads fast at random; level 3 is ArrayRecord's own choice.
WRITER_OPTIONS = "group_size:1,zstd:3"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a conversation becomes a row."""

    dialect: Dialect
    tokenizer: Tokenizer
    max_length: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnitResult:
    """The account of one unit.

    Attributes:
      file: the `file_entry` of what it wrote; None when no row was kept.
      ids, questions, lengths, targets, stages: of each row kept.
      reasons: how many rows were rejected for what, in order of first appearance.
      rejects: JSON lines.
      read: number of rows read.
    """

    file: dict[str, Any] | None
    ids: list[str]
    questions: list[str]
    lengths: list[int]
    targets: list[int]
    stages: list[int]
    reasons: dict[str, int]
    rejects: str
    read: int


_recipe: Recipe | None = None


def start_worker(recipe: Recipe) -> None:
    """Prepares a worker process."""
    global _recipe
    _recipe = recipe
    pool.start_worker(pool.DEFAULT_MEMORY)


def encode_in_worker(unit: Unit, path: Path) -> UnitResult:
    """`encode_unit` with the recipe that `start_worker` was given."""
    assert _recipe is not None
    try:
        return encode_unit(unit, path, _recipe)
    except MemoryError:
        raise DataError(
            f"{unit.name}: tokenising it needs more memory than a worker may use; a row of it is huge"
        ) from None


def encode_unit(unit: Unit, path: Path, recipe: Recipe) -> UnitResult:
    """Encodes a unit into the new file `path`; no file when no row is kept.

    Raises:
      DataError: the input is damaged, or a mask trains nothing or everything.
      OSError: `path` cannot be written.
    """
    result = UnitResult(
        file=None, ids=[], questions=[], lengths=[], targets=[], stages=[], reasons={}, rejects="", read=unit.rows
    )
    reasons: collections.Counter[str] = collections.Counter()
    records, rejects = [], []
    for conversation in unit.read():
        outcome = _encode(conversation, recipe)
        if isinstance(outcome, Reject):
            reasons[outcome.reason] += 1
            rejects.append(json.dumps(dataclasses.asdict(outcome)) + "\n")  # ASCII: a detail may quote a lone surrogate
            continue
        record, length, targets = outcome
        records.append(record)
        assert isinstance(conversation, Conversation)
        result.ids.append(conversation.id)
        result.questions.append(question(conversation))
        result.lengths.append(length)
        result.targets.append(targets)
        result.stages.append(stage(conversation))
    return dataclasses.replace(
        result, file=_write(path, records) if records else None, reasons=dict(reasons), rejects="".join(rejects)
    )


def _encode(conversation: Conversation | Reject, recipe: Recipe) -> tuple[bytes, int, int] | Reject:
    if isinstance(conversation, Reject):
        return conversation
    row = encode_row(conversation, recipe.dialect, recipe.tokenizer, max_length=recipe.max_length)
    if isinstance(row, Reject):
        return row
    check_mask(row, conversation.id, recipe.tokenizer)
    return pack(row), len(row.tokens), trained_targets(row)


def _write(path: Path, records: list[bytes]) -> dict[str, Any]:
    try:
        writer = ArrayRecordWriter(str(path), WRITER_OPTIONS)
        for record in records:
            writer.write(record)
        writer.close()  # writing goes on in the background, so a full disk shows here
        return file_entry(path)
    except (RuntimeError, OSError) as error:  # array_record raises RuntimeError for whatever the disk says
        raise OSError(str(error)) from None
