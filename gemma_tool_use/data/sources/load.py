"""Where rows come from: one name for each form of dataset, and one way to read them all.

    loaded = load("toucan-sft", "toucan/SFT", rule=Rule())
    loaded.counts     # {"kept": 153, "more than 3 tools offered": 139, "more than 2 tools used": 6, ...}

A location is a file, a folder, or (for `toucan-sft`) a dataset id of the Hugging Face hub. `auto` as a source looks at
the files. The same files, rule and limit always give the same conversations in the same order.
"""

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from gemma_tool_use.conversation import Conversation, conversation_to_dict
from gemma_tool_use.data.counts import Tally
from gemma_tool_use.data.files import existing, parquet_columns
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import Rule, apply_rule
from gemma_tool_use.data.sources import hub, openai_jsonl, toucan
from gemma_tool_use.errors import ConfigError, DataError, suggest

AUTO = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A form of dataset.

    Attributes:
      name: what `--source` takes.
      help: one line about it.
      suffixes: the files of a folder that belong to it.
      read: yields the place and the outcome of every row of one file.
    """

    name: str
    help: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], Iterator[tuple[str, Conversation | Reject]]]


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        source.name: source
        for source in (
            Source(
                name=toucan.NAME,
                help="Toucan-1.5M, configuration SFT: parquet file, folder, or the hub id Agent-Ark/Toucan-1.5M",
                suffixes=(".parquet",),
                read=toucan.read,
            ),
            Source(
                name=openai_jsonl.NAME,
                help="JSONL (also .gz) in OpenAI messages + tools form, or a folder written by prepare",
                suffixes=(".jsonl", ".jsonl.gz", ".parquet"),
                read=openai_jsonl.read,
            ),
        )
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """Conversations that passed the rule, and the account of every row.

    Attributes:
      conversations: in the order of the files.
      counts: `kept` and each reason, to the number of rows; the values add up to the rows read.
      shortened: how many of the conversations the rule cut after their first call.
      rejects: one for every row that is not kept.
      files: the files that were read.
    """

    conversations: list[Conversation]
    counts: dict[str, int]
    shortened: int
    rejects: list[Reject]
    files: list[Path]

    @property
    def fingerprint(self) -> str:
        """sha256 over the conversations, equal exactly when they are; what a run records about its data."""
        return fingerprint(self.conversations)


def load(source: str, location: str, *, rule: Rule, limit: int | None = None, max_bad_share: float = 0.1) -> Loaded:
    """Reads a location into memory.

    Args:
      source: a name of `SOURCES`, or `auto`.
      location: file, folder or hub id.
      rule: which conversations are kept.
      limit: stop once this many are kept; None for all.
      max_bad_share: raise when more than this share of the rows cannot be read (rows a rule leaves out do not count).

    Raises:
      ConfigError: unknown source, or `auto` could not tell.
      FileError: nothing there, or not readable.
      HubError: the hub did not give the dataset.
      DataError: a damaged file, missing columns, no rows, too many unreadable rows, or no row kept.
    """
    chosen, files = locate(source, location)
    tally, conversations, rejects = Tally(), [], []
    for outcome in outcomes(chosen, files, rule, tally, limit=limit):
        if isinstance(outcome, Reject):
            rejects.append(outcome)
        else:
            conversations.append(outcome)
    tally.check(location, max_bad_share)
    return Loaded(
        conversations=conversations, counts=tally.ordered(), shortened=tally.shortened, rejects=rejects, files=files
    )


def outcomes(
    source: Source, files: Iterable[Path], rule: Rule, tally: Tally, *, limit: int | None = None
) -> Iterator[Conversation | Reject]:
    """The kept conversation or the reject of each row, one at a time, counted in `tally`; stops at `limit` kept."""
    for path in files:
        for where, outcome in source.read(path):
            messages = 0 if isinstance(outcome, Reject) else len(outcome.messages)
            if not isinstance(outcome, Reject):
                outcome = apply_rule(outcome, rule)
            if isinstance(outcome, Reject):
                outcome = dataclasses.replace(outcome, where=where)
                tally.add(outcome)
            else:
                tally.add(outcome, shortened=len(outcome.messages) < messages)
            yield outcome
            if tally.kept == limit:
                return


def locate(source: str, location: str) -> tuple[Source, list[Path]]:
    """The source and its files, in the order in which they are read. A hub dataset is downloaded here.

    Raises: as `load`, except for what concerns the rows.
    """
    if source != AUTO and source not in SOURCES:
        raise ConfigError(f"{source!r} is not a source. {suggest(source, [*SOURCES, AUTO])}")
    if hub.looks_like_id(location) and (source == toucan.NAME or location == toucan.HUB_ID):
        path = hub.fetch(location, toucan.HUB_FOLDER)
    else:
        path = existing(location)
    chosen = _recognise(path) if source == AUTO else SOURCES[source]
    return chosen, _files(path, chosen)


def fingerprint(conversations: Iterable[Conversation]) -> str:
    """sha256 over the stored form of the conversations, in order."""
    digest = hashlib.sha256()
    for conversation in conversations:
        digest.update(json.dumps(conversation_to_dict(conversation)).encode() + b"\n")
    return digest.hexdigest()


def _files(path: Path, source: Source) -> list[Path]:
    if not path.is_dir():
        return [path]
    if (path / openai_jsonl.PREPARED_FILE).is_file() and source.name == openai_jsonl.NAME:
        return [path / openai_jsonl.PREPARED_FILE]  # not the rejects.jsonl beside it
    root = path / toucan.HUB_FOLDER if source.name == toucan.NAME and (path / toucan.HUB_FOLDER).is_dir() else path
    files = sorted(file for file in root.rglob("*") if file.name.endswith(source.suffixes) and file.is_file())
    if not files:
        raise DataError(f"the folder {path} holds no {' or '.join(source.suffixes)} file")
    _warn_about_missing_shards(files)
    return files


def _warn_about_missing_shards(files: list[Path]) -> None:
    """`train-00000-of-00003.parquet` says how many shards there are; a part is usable, but should be wanted."""
    present: dict[tuple[Path, str, str], int] = {}
    for file in files:
        head, _, total = file.stem.rpartition("-of-")
        if head and total.isdigit():
            key = (file.parent, head.rpartition("-")[0], total)
            present[key] = present.get(key, 0) + 1
    for (folder, name, total), n in present.items():
        if n != int(total):
            warnings.warn(f"{folder} holds {n} of the {int(total)} shards of {name!r}; reading those", stacklevel=2)


def _recognise(path: Path) -> Source:
    """Looks at the first file: Toucan has a column `subset_name`, the OpenAI form has `messages`, or JSON lines."""
    file = _files(path, SOURCES[openai_jsonl.NAME])[0]
    if file.suffix == ".parquet":
        columns = parquet_columns(file)
        if "subset_name" in columns:
            return SOURCES[toucan.NAME]
        if "messages" in columns:
            return SOURCES[openai_jsonl.NAME]
        found = f"{file} has the columns {', '.join(columns)}"
    elif file.name.endswith(SOURCES[openai_jsonl.NAME].suffixes):
        return SOURCES[openai_jsonl.NAME]
    else:
        found = f"{file} is neither parquet nor .jsonl"
    raise ConfigError(
        f"cannot tell the form of the rows: {found}. Name the source: --source {' or --source '.join(SOURCES)}"
    )
