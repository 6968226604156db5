"""A folder as `gemma-tool-use prepare` writes it, for tests that read one without running the command.

write_prepared(tmp_path / "prepared", train=[conversations, more_conversations], held_out=[others])
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gemma_tool_use.conversation import Conversation, conversation_to_dict


def write_prepared(
    folder: Path,
    *,
    train: Sequence[Sequence[Conversation]],
    held_out: Sequence[Sequence[Conversation]] = (),
    staged: bool = False,
) -> Path:
    """One file for each list of conversations; returns the folder. `staged`: their meta says of which stage."""
    folder.mkdir(parents=True)
    entries = []
    for side, shards in (("train", train), ("eval", held_out)):
        for number, conversations in enumerate(shards):
            path = folder / f"{side}-{number:05}-of-{len(shards):05}.parquet"
            pq.write_table(_table(conversations), path, row_group_size=3)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            entry = {"file": path.name, "bytes": path.stat().st_size, "sha256": digest, "rows": len(conversations)}
            entries.append(entry)
    manifest = {"format": 2, "conversations": entries} | ({"curriculum": {"train": {}}} if staged else {})
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return folder


def _table(conversations: Sequence[Conversation]) -> pa.Table:
    stored = [conversation_to_dict(conversation) for conversation in conversations]
    rows = [row | {name: json.dumps(row[name]) for name in ("tools", "messages")} for row in stored]
    return pa.Table.from_pylist([row | {"license": "", "meta": json.dumps(row.get("meta", {}))} for row in rows])
