"""Where rows come from: finds the files of a source, and reads small data into memory.

    loaded = load("toucan-sft", "toucan/SFT", rule=RuleSettings())
    loaded.counts     # {"kept": 153, "more than 3 tools offered": 139, "more than 2 tools used": 6, ...}

A location is a file; a folder; `owner/name` of the Hugging Face hub, with `:PATTERN` for other files than the source's
own (`owner/name:data/*.jsonl`); or `kaggle:owner/name`. `auto` as a source looks at the first row. The same files, rule
and limit always give the same conversations in the same order.
"""

import dataclasses
import hashlib
import itertools
import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from gemma_tool_use.conversation import Conversation, conversation_to_dict
from gemma_tool_use.data.counts import Tally
from gemma_tool_use.data.files import SUFFIXES, existing, parquet_columns, plain_columns, read_rows
from gemma_tool_use.data.prepared import open_prepared
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.row_task import RowTask
from gemma_tool_use.data.rules import RuleSettings
from gemma_tool_use.data.sources import hub, kaggle, openai_jsonl
from gemma_tool_use.data.sources.registry import SOURCES, check_licence
from gemma_tool_use.data.sources.source import Source
from gemma_tool_use.errors import ConfigError, DataError, suggest

AUTO = "auto"
_LOOK_AT = 20
"""Rows of a file that `auto` looks at."""


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


def load(
    source: str,
    location: str,
    *,
    rule: RuleSettings,
    limit: int | None = None,
    max_bad_share: float = 0.1,
    allow_non_commercial: bool = False,
) -> Loaded:
    """Reads a location into memory.

    Args:
      source: a name of `SOURCES`, or `auto`.
      location: file, folder, hub id or Kaggle handle.
      rule: which conversations are kept.
      limit: stop once this many are kept; None for all.
      max_bad_share: raise when more than this share of the rows cannot be read (rows a rule leaves out do not count).
      allow_non_commercial: also read data sets whose licence excludes commercial use.

    Raises:
      ConfigError: unknown source, `auto` could not tell, or a licence that was not accepted.
      FileError: nothing there, or not readable.
      HubError: the hub did not give the dataset.
      DataError: a damaged file, missing columns, no rows, too many unreadable rows, or no row kept.
    """
    chosen, files = locate(source, location, allow_non_commercial=allow_non_commercial)
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
    source: Source, files: Iterable[Path], rule: RuleSettings, tally: Tally, *, limit: int | None = None
) -> Iterator[Conversation | Reject]:
    """The kept conversation or the reject of each row, one at a time, counted in `tally`; stops at `limit` kept."""
    task = RowTask(source=source.name, rules=rule)
    rows = (pair for path in files for pair in read_rows(path, source.columns, source.optional))
    for where, row in rows:
        read = row if isinstance(row, Reject) else task.read(row, where)
        outcome = read if isinstance(read, Reject) else task.decide(read, where)
        lengths = [len(one.messages) for one in (outcome, read) if isinstance(one, Conversation)]
        tally.add(outcome, shortened=len(lengths) == 2 and lengths[0] < lengths[1])
        yield outcome
        if tally.kept == limit:
            return


def locate(source: str, location: str, *, allow_non_commercial: bool = False) -> tuple[Source, list[Path]]:
    """The source and its files, in the order in which they are read. A dataset of a hub is downloaded here.

    Raises: as `load`, except for what concerns the rows.
    """
    if source != AUTO and source not in SOURCES:
        raise ConfigError(f"{source!r} is not a source. {suggest(source, [*SOURCES, AUTO])}")
    chosen = SOURCES.get(source)
    if chosen is not None:  # before anything is downloaded
        check_licence(chosen, allow_non_commercial=allow_non_commercial)
    path = _on_disk(location)
    if path is None:
        files = hub.fetch(_hub_location(location)[0], _hub_patterns(chosen, location))
    else:
        files = _files(path, chosen)
    if chosen is None:
        chosen = recognise(files[0])
        check_licence(chosen, allow_non_commercial=allow_non_commercial)
        files = files if path is None else _files(path, chosen)
    return chosen, files


def recognise(file: Path) -> Source:
    """The first source in the registry that claims one of the first rows of a file.

    Several rows, because a form shows only in some: ms-swift's in those with a call.

    Raises:
      FileError, DataError: the file cannot be read, or none of its first rows.
      ConfigError: no source claims the row.
    """
    columns = parquet_columns(file) if file.suffix == ".parquet" else {}
    rows = [row for _, row in itertools.islice(read_rows(file, plain_columns(columns)), _LOOK_AT)]
    good = [{**dict.fromkeys(columns), **row} for row in rows if not isinstance(row, Reject)]
    if not good:
        first = next((f". {row.where}: {row.reason}: {row.detail}" for row in rows if isinstance(row, Reject)), "")
        raise DataError(f"{file} holds no rows" + (f" that can be read{first}" if first else ""))
    for source in SOURCES.values():
        if any(map(source.recognises, good)):
            return source
    fields = ", ".join(map(str, [*good[0]][:20])) or "none"
    raise ConfigError(
        f"cannot tell the form of the rows: {file} has the {'columns' if columns else 'fields'} {fields}. "
        f"Name the source: --source {' or --source '.join(SOURCES)}"
    )


def fingerprint(conversations: Iterable[Conversation]) -> str:
    """sha256 over the stored form of the conversations, in order."""
    digest = hashlib.sha256()
    for conversation in conversations:
        digest.update(json.dumps(conversation_to_dict(conversation)).encode() + b"\n")
    return digest.hexdigest()


def _on_disk(location: str) -> Path | None:
    """The file or folder that a location names, a Kaggle dataset once it is downloaded; None for one of the hub."""
    if location.startswith(kaggle.PREFIX):
        return kaggle.fetch(location.removeprefix(kaggle.PREFIX))
    return None if hub.looks_like_id(_hub_location(location)[0]) else existing(location)


def _hub_location(location: str) -> tuple[str, str]:
    """`"owner/name:data/*.jsonl"` gives the dataset and the pattern."""
    name, _, pattern = location.partition(":")
    return (name, pattern) if hub.looks_like_id(name) and not hub.on_disk(location) else (location, "")


def _hub_patterns(source: Source | None, location: str) -> tuple[str, ...]:
    """The files of a hub dataset: those of the location's pattern, else the source's, else all that hold rows."""
    name, pattern = _hub_location(location)
    if pattern:
        return (pattern,)
    known = source or next((source for source in SOURCES.values() if source.hub_id == name), None)
    return (known.hub_files if known else ()) or tuple(f"*{suffix}" for suffix in SUFFIXES)


def _files(path: Path, source: Source | None) -> list[Path]:
    """The files to read: of a folder that `prepare` wrote its training rows, of a dataset's clone the source's own."""
    if not path.is_dir():
        return [path]
    if (source is None or source.name == openai_jsonl.NAME) and (prepared := open_prepared(path)) is not None:
        return [shard.path for shard in prepared.train]
    files = hub.matching(path, source.hub_files if source else ())
    files = files or sorted(
        file
        for file in path.rglob("*")
        if file.name.endswith(SUFFIXES)
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not files:
        raise DataError(f"the folder {path} holds no {', '.join(SUFFIXES)} file")
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
