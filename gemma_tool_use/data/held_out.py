"""The rows that a trained model has not seen, for its evaluation: those of a prepared folder's split, or of any file.

rows = held_out_rows("prepared/toucan", limit=200, seed=0)      # of its eval-*.parquet
rows = held_out_rows("rows.jsonl", source="auto")               # of a file, a folder, a hub id
rows.conversations, rows.counts, rows.fingerprint
"""

import dataclasses
import hashlib
from pathlib import Path

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.prepared import open_prepared
from gemma_tool_use.data.rules import EVERYTHING
from gemma_tool_use.data.sources.load import AUTO, fingerprint, load
from gemma_tool_use.errors import DataError


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOutRows:
    """Conversations and where every row read went (`kept` and each reason)."""

    conversations: list[Conversation]
    counts: dict[str, int]

    @property
    def fingerprint(self) -> str:
        """sha256 of the conversations."""
        return fingerprint(self.conversations)


def held_out_rows(location: str, *, source: str = AUTO, limit: int | None = None, seed: int = 0) -> HeldOutRows:
    """Reads the rows, and takes a sample of them when there are more than `limit`.

    Args:
      location: a folder that `prepare` split, or whatever `load` takes.
      source: a name of `SOURCES`, or `auto`.
      limit: most rows; None for all. Which ones depends on their ids and the seed alone, in the order of the file.
      seed: draws another sample.

    Raises:
      DataError: a prepared folder without held-out rows, or as `load`.
      ConfigError, FileError, HubError: as `load`.
    """
    folder = open_prepared(Path(location).expanduser()) if source == AUTO else None
    if folder is None:
        loaded = [load(source, location, rule=EVERYTHING, allow_non_commercial=True)]
    elif not folder.held_out:
        raise DataError(
            f"{location} holds training rows only. Split it with `gemma-tool-use prepare --eval-share 0.05`, or ask "
            "for its training rows with --source openai-jsonl"
        )
    else:
        for shard in folder.held_out:
            shard.check()
        loaded = [load(AUTO, str(shard.path), rule=EVERYTHING, allow_non_commercial=True) for shard in folder.held_out]
    counts: dict[str, int] = {}
    for part in loaded:
        for reason, count in part.counts.items():
            counts[reason] = counts.get(reason, 0) + count
    return HeldOutRows(
        conversations=sample([row for part in loaded for row in part.conversations], limit=limit, seed=seed),
        counts=counts,
    )


def sample(conversations: list[Conversation], *, limit: int | None, seed: int) -> list[Conversation]:
    """At most `limit` of them, in their order; a larger limit has those of a smaller one and more."""
    if limit is None or limit >= len(conversations):
        return conversations

    def draw(number: int) -> bytes:
        return hashlib.sha256(f"{seed}:{number}:{conversations[number].id}".encode("utf-8", "replace")).digest()

    chosen = sorted(range(len(conversations)), key=draw)[:limit]
    return [conversations[number] for number in sorted(chosen)]
