"""Teacher quality scores of Toucan rows: read from assessments, joined on uuid, compared with least values.

The teacher configurations (Kimi-K2, OSS, Qwen3) hold two JSON texts beside each row, the SFT configuration none:

    question_quality_assessment   {"question_quality": {"reasoning": "...", "score": 5}, "scenario_realism": {...}, ...}
    response_quality_assessment   {"completeness": {"score": 4}, "conciseness": {...}, "overall_score": 4.5,
                                   "desired_tools_used_percentage": 1.0, "order_correctness": true}

A reader of a teacher configuration stores `meta["quality"] = scores(row)`; SFT rows get theirs by `--quality FILE`, a
parquet file or folder of a teacher configuration. Irrelevant rows have no response assessment (an empty text) and are
judged by their question alone.
"""

import dataclasses
import functools
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.files import existing, parquet_rows
from gemma_tool_use.data.keys import hash_text
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import reasons
from gemma_tool_use.data.rules.settings import RuleSettings
from gemma_tool_use.data.rules.shape import Problem
from gemma_tool_use.errors import DataError

QUALITY = "quality"
"""The entry of `meta` that holds a row's own scores: `{"question_quality": 5, ...}`."""

QUESTION_SCORES = ("question_quality", "scenario_realism")
RESPONSE_SCORES = ("completeness", "conciseness", "desired_tools_used_percentage")
SCORES = (*QUESTION_SCORES, *RESPONSE_SCORES)
COLUMNS = ("question_quality_assessment", "response_quality_assessment")


def scores(row: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a row of a teacher configuration; one that is absent or not a number is left out.

    `{"question_quality_assessment": '{"question_quality": {"score": 5}}'}` gives `{"question_quality": 5.0}`.
    """
    found: dict[str, float] = {}
    for column in COLUMNS:
        text = row.get(column)
        try:
            assessment = orjson.loads(text) if isinstance(text, str) and text else {}
        except ValueError:
            continue
        for name in SCORES:
            value = assessment.get(name) if isinstance(assessment, dict) else None
            value = value.get("score") if isinstance(value, dict) else value
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[name] = float(value)
    return found


def quality(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    """Compares the row's scores, its own or the joined ones, with the least values."""
    if not settings.quality_gate and settings.quality is None:
        return None
    found = conversation.meta.get(QUALITY)
    if settings.quality is not None:
        found = read_table(settings.quality).get(row_uuid(conversation)) or found
    if not isinstance(found, dict) or not found:
        return reasons.NO_SCORES, f"uuid {row_uuid(conversation)!r}"
    irrelevant = conversation.source.endswith("/irrelevant")
    for name in QUESTION_SCORES if irrelevant else SCORES:
        least, value = least_score(name, settings), found.get(name)
        if value is None:
            return reasons.NO_SCORES, f"no {name}"
        if value < least:
            return reasons.LOW_QUALITY, f"{name} {value:g}, asked for {least:g}"
    return None


def least_score(name: str, settings: RuleSettings) -> float:
    if name == "desired_tools_used_percentage":
        return settings.min_desired_tools_used
    return getattr(settings, f"min_{name}")


def row_uuid(conversation: Conversation) -> str:
    """`toucan-sft:3f0c...` and `3f0c...` give `3f0c...`."""
    return conversation.id.rpartition(":")[2]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class QualityTable:
    """Scores by uuid in 28 bytes a row, 15 MB for the 518,516 rows of Kimi-K2.

    Attributes:
      keys: 64-bit hash of each uuid, sorted, uint64 [rows].
      values: float32 [rows, 5] in the order of `SCORES`, NaN where there is none.
    """

    keys: np.ndarray
    values: np.ndarray

    def get(self, row_id: str) -> dict[str, float] | None:
        """The scores of a uuid; None when it is not in the table."""
        key = hash_text(row_id)
        place = int(np.searchsorted(self.keys, np.uint64(key)))
        if place == len(self.keys) or int(self.keys[place]) != key:
            return None
        return {name: float(v) for name, v in zip(SCORES, self.values[place], strict=True) if not np.isnan(v)}


def with_compact_scores(settings: RuleSettings, folder: Path) -> RuleSettings:
    """Writes the scores of `settings.quality` to `folder/quality.npz` and gives settings that read them from there.

    Worker processes then load 15 MB at once instead of each parsing a million JSON texts.

    Raises: as `read_table`.
    """
    if settings.quality is None:
        return settings
    table, path = read_table(settings.quality), folder / "quality.npz"
    np.savez(path, keys=table.keys, values=table.values)
    return dataclasses.replace(settings, quality=path)


@functools.lru_cache(maxsize=2)
def read_table(path: Path) -> QualityTable:
    """The scores in a parquet file or folder of a teacher configuration, or in what `with_compact_scores` wrote.

    Of rows with one uuid the last counts.

    Raises:
      FileError: nothing there, or not readable.
      DataError: a damaged file, columns missing, or no scored row in it.
    """
    path = existing(path)
    if path.suffix == ".npz":
        return _read_compact(path)
    entries: dict[int, tuple[float, ...]] = {}
    for file in sorted(path.rglob("*.parquet")) if path.is_dir() else [path]:
        for _, row in parquet_rows(file, ("uuid", *COLUMNS)):
            # A row too large to read has no scores here, so the rule reports its conversation as one without.
            if not isinstance(row, Reject) and row["uuid"] and (found := scores(row)):
                entries[hash_text(row["uuid"])] = tuple(found.get(name, np.nan) for name in SCORES)
    if not entries:
        raise DataError(f"{path} holds no scored row; expected parquet with the columns uuid, {', '.join(COLUMNS)}")
    keys = sorted(entries)
    values = np.array([entries[key] for key in keys], np.float32)
    return QualityTable(keys=np.array(keys, np.uint64), values=values)


def _read_compact(path: Path) -> QualityTable:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return QualityTable(keys=arrays["keys"], values=arrays["values"])
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); give the parquet files of a teacher configuration") from None
