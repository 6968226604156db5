"""The command `gemma-tool-use prepare`: dataset files in, a folder of filtered conversations out.

    gemma-tool-use prepare --source toucan-sft --input train-00000-of-00003.parquet --output prepared/toucan

writes, and prints the counts by reason, which add up to the rows read:

    prepared/toucan/conversations.parquet    text columns id, source, tools, messages (the last two JSON)
                    rejects.jsonl            {"id", "reason", "detail", "where"} of every row left out
                    manifest.json            inputs with sha256, rule, counts, sha256 of the conversations, version

The folder appears only when it is complete; `--source openai-jsonl`, or `auto`, reads it back.
"""

import collections
import contextlib
import dataclasses
import datetime
import json
import os
import shutil
import string
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from tqdm import tqdm

from gemma_tool_use import __version__
from gemma_tool_use.commands import EXIT_OK, run
from gemma_tool_use.conversation import Conversation, conversation_to_dict
from gemma_tool_use.data.counts import Tally, counts_table
from gemma_tool_use.data.files import identity
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import Rule
from gemma_tool_use.data.sources import load as sources
from gemma_tool_use.data.sources.openai_jsonl import PREPARED_FILE
from gemma_tool_use.errors import ConfigError, FileError
from gemma_tool_use.flags import parse
from gemma_tool_use.settings import export_to_libraries, load_settings

MANIFEST_FORMAT = 1
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "source", "tools", "messages")])
WRITE_ROWS = 1000
_SAFE = frozenset(string.ascii_letters + string.digits + "_.-")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Flags of `gemma-tool-use prepare`."""

    input: str
    """File, folder, or dataset id on the Hugging Face hub (Agent-Ark/Toucan-1.5M)."""
    output: Path
    """Folder to write; must not exist, or be empty."""
    source: str = sources.AUTO
    """Form of the rows: toucan-sft, openai-jsonl, or auto to find out by looking."""
    subsets: tuple[str, ...] = Rule.subsets
    """Toucan subsets to keep; the others are irrelevant and multi-turn. Nothing after the flag keeps all."""
    single_turn: bool = True
    """Keep only rows with exactly one user message."""
    max_tools_used: int | None = 2
    """Most different tools a row may call, counted on its calls; none for no limit."""
    max_tools_offered: int | None = 3
    """Most tools a row may declare; none for no limit."""
    first_call_only: bool = True
    """End each conversation after its first calls. Without tool outputs most rows fit 512 tokens."""
    max_bad_share: float = 0.1
    """Stop when more than this share of the rows cannot be read (rows a rule leaves out do not count)."""
    limit: int | None = None
    """Stop once this many conversations are kept; none for all."""

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.max_bad_share <= 1:
            problems.append(f"max_bad_share is a share from 0 to 1, got {self.max_bad_share}")
        if self.limit is not None and self.limit < 1:
            problems.append(f"limit must be 1 or more, got {self.limit}")
        try:
            _ = self.rule
        except ConfigError as error:
            problems.append(str(error))
        if problems:
            raise ConfigError("; ".join(problems))

    @property
    def rule(self) -> Rule:
        """The flags that make up the rule."""
        return Rule(
            subsets=self.subsets,
            single_turn=self.single_turn,
            max_tools_used=self.max_tools_used,
            max_tools_offered=self.max_tools_offered,
            first_call_only=self.first_call_only,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0."""
    config = parse(PrepareConfig, argv, prog="gemma-tool-use prepare", description="Filters rows into a folder.")
    export_to_libraries(load_settings())
    manifest = prepare(config)
    console = Console()
    console.print(counts_table(manifest["counts"]))
    if manifest["shortened"]:
        console.print(f"{manifest['shortened']} of the kept conversations end after their first call.", highlight=False)
    if manifest["unusual_names"]:
        console.print(
            f"{manifest['unusual_names']} of the kept conversations offer a tool whose name is longer than 64 "
            "characters or has others than letters, digits, _ . and -; they are kept as they are.",
            highlight=False,
        )
    print(f"written to {config.output}")  # not by rich, for which [name] in a path is markup
    return EXIT_OK


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Reads, filters and writes, holding a few rows at a time; returns the manifest it wrote.

    Raises:
      FileError: the output folder exists with content or cannot be written, or the input cannot be read.
      Others as `sources.load`; nothing is left behind then.
    """
    source, files = sources.locate(config.source, config.input)
    with _new_folder(config.output) as folder:
        tally, names = Tally(), collections.Counter[str]()
        outcomes = sources.outcomes(source, files, config.rule, tally, limit=config.limit)
        kept = _write_rejects(tqdm(outcomes, unit=" rows", desc="reading", disable=None), folder / "rejects.jsonl")
        _write_conversations(kept, folder / PREPARED_FILE, names)
        tally.check(config.input, config.max_bad_share)
        manifest = {
            "format": MANIFEST_FORMAT,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "version": __version__,
            "source": source.name,
            "input": config.input,
            "files": [identity(path) for path in files],
            "rule": config.rule.to_dict(),
            "limit": config.limit,
            "rows_read": tally.rows,
            "counts": tally.ordered(),
            "shortened": tally.shortened,
            "unusual_names": names["unusual"],
            "conversations": identity(folder / PREPARED_FILE) | {"file": PREPARED_FILE},
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (folder / "manifest.json").write_text(text, encoding="utf-8")
    return manifest


def _write_rejects(outcomes: Iterable[Conversation | Reject], path: Path) -> Iterator[Conversation]:
    """Writes the rejects as they come and passes the conversations on."""
    with path.open("w", encoding="utf-8") as file:
        for outcome in outcomes:
            if isinstance(outcome, Reject):
                # ASCII, because the detail may quote a lone surrogate that UTF-8 has no form for.
                file.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
            else:
                yield outcome


def _write_conversations(conversations: Iterable[Conversation], path: Path, names: "collections.Counter[str]") -> None:
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        rows: list[dict[str, str]] = []
        for conversation in conversations:
            names["unusual"] += any(_is_unusual(tool.name) for tool in conversation.tools)
            stored = conversation_to_dict(conversation)
            rows.append(stored | {key: json.dumps(stored[key], ensure_ascii=False) for key in ("tools", "messages")})
            if len(rows) == WRITE_ROWS:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
                rows = []
        if rows:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))


def _is_unusual(name: str) -> bool:
    """Whether a hosted API would refuse the name: they take up to 64 letters, digits, `_`, `.` and `-`."""
    return len(name) > 64 or not _SAFE.issuperset(name)


@contextlib.contextmanager
def _new_folder(output: Path) -> Iterator[Path]:
    """A folder beside `output` that takes its name at the end, and goes away if the body raises."""
    output = output.expanduser().absolute()
    partial = output.with_name(f".{output.name}.partial-{os.getpid()}")
    try:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise FileError(f"{output} exists already; nothing is overwritten. Choose another --output")
        partial.mkdir(parents=True)
        try:
            yield partial
            if output.exists():
                output.rmdir()
            partial.rename(output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot write {output}: {error.strerror or error}") from None


if __name__ == "__main__":
    sys.exit(run(main))
