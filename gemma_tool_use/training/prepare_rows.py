"""The rows of a run: read or generated, filtered, tokenised and split, every one of them accounted for. No JAX.

    rows = prepare_rows(config, dialect, tokenizer, cache=settings.cache_dir / "tokens")
    rows.train[0].tokens, rows.held_out, rows.counts

Three ways, told apart by `--source` and by what `--data` is:

    a folder that `prepare` wrote    its train-*.parquet are trained on and its eval-*.parquet held out, as they are
    rows of any source               filtered by the flags, split here by question
    --source synthetic               generated, split here by question

Tokenised rows of a prepared folder, and of `STORE_FROM` rows and more, are kept in the token store for the next start.
"""

import collections
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.counts import KEPT, chain
from gemma_tool_use.data.engine.pool import default_workers
from gemma_tool_use.data.pipeline import encode_rows
from gemma_tool_use.data.prepared import PreparedFolder, Shard, check_newer, fingerprint_of, open_prepared
from gemma_tool_use.data.rejects import BAD_REASONS, Reject
from gemma_tool_use.data.rows import EncodedRows, RowSequence, split
from gemma_tool_use.data.rules import RuleSettings
from gemma_tool_use.data.sources.load import AUTO, fingerprint, load
from gemma_tool_use.data.store.encode_unit import Recipe
from gemma_tool_use.data.store.stored_rows import pick, pick_texts
from gemma_tool_use.data.store.token_store import TokenStore, open_or_build
from gemma_tool_use.data.store.units import Unit, list_units, parquet_units
from gemma_tool_use.data.synthetic.generate import generate as generate_synthetic
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.tokenizer import Tokenizer
from gemma_tool_use.training.config import TrainConfig

# Encoding 4,000 rows takes two seconds on one core, which is what a second start can save; below that the store would
# only leave folders behind.
STORE_FROM = 4000
# Flags that decide which rows are kept. `prepare` has the same and has applied its own.
RULE_FLAGS = ("subsets", "max_tools_used", "max_tools_offered", "single_turn", "first_call_only")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """Encoded rows and where every row read went.

    Attributes:
      train: what is trained on.
      train_ids: conversation id of each of them.
      held_out: what is evaluated on.
      counts: `kept` and each reason; they add up to the rows read.
      rejects: one for every row left out, in parts.
      fingerprint: sha256 of the conversations, for a prepared folder of what its manifest says of them.
      tokenised: what to tell about the token store; empty when there was no need for it.
      stages: the stage of each training row, in the order of which they are trained; None for no curriculum.
    """

    train: RowSequence
    train_ids: Sequence[str]
    held_out: RowSequence
    counts: dict[str, int]
    rejects: tuple[Collection[Reject], ...]
    fingerprint: str
    tokenised: str = ""
    stages: np.ndarray | None = None


def prepare_rows(config: TrainConfig, dialect: Dialect, tokenizer: Tokenizer, *, cache: Path) -> Rows:
    """Reads or generates rows, filters, encodes and splits them.

    Raises:
      ConfigError: a flag that does not apply to a prepared folder.
      DataError: no row is left, a loss mask that trains nothing or everything, or a prepared folder that was changed.
      FileError: the rows cannot be read, or the token store cannot be written.
    """
    encoder = _Encoder(config, Recipe(dialect=dialect, tokenizer=tokenizer, max_length=config.max_length), cache)
    if config.source == AUTO and (folder := open_prepared(Path(config.data).expanduser())) is not None:
        return _prepared_rows(config, folder, encoder)
    if config.source == "synthetic":
        conversations = generate_synthetic(
            count=config.synthetic_rows,
            seed=config.seed,
            kinds=config.kinds,
            most_tools=config.max_tools_offered,
            idle_options=config.idle_options,
        )
        counts, rejects = {KEPT: len(conversations)}, []
    else:
        rule = RuleSettings(**{name: getattr(config, name) for name in RULE_FLAGS})
        loaded = load(config.source, config.data, rule=rule, limit=config.max_rows, max_bad_share=config.max_bad_share)
        conversations, counts, rejects = loaded.conversations, loaded.counts, loaded.rejects
    content = fingerprint(conversations)
    encoded = encoder.conversations(conversations, content)
    train, held_out = _split(encoded, config)
    return Rows(
        train=pick(encoded.rows, train),
        train_ids=pick_texts(encoded.ids, train),
        held_out=pick(encoded.rows, held_out),
        counts=chain(counts, encoded.counts),
        rejects=(rejects, encoded.rejects),
        fingerprint=content,
        tokenised=encoder.told,
    )


def _prepared_rows(config: TrainConfig, folder: PreparedFolder, encoder: "_Encoder") -> Rows:
    _refuse_flags(config, folder)
    encoded = encoder.shards(folder.train, limit=config.max_rows)
    parts, train, train_ids, held_out = [encoded], encoded.rows, encoded.ids, []
    stages = encoded.stages
    if not folder.held_out:
        chosen, others = _split(encoded, config)
        train, train_ids, held_out = pick(train, chosen), pick_texts(train_ids, chosen), pick(train, others)
        stages = stages[chosen]
    elif config.eval_share:
        try:
            parts.append(encoder.shards(folder.held_out, limit=None))
        except DataError as error:
            raise DataError(f"the eval rows of {folder.path}: {error}; --eval-share 0 trains without them") from None
        held_out = parts[1].rows
    counts = collections.Counter[str]()
    for part in parts:
        counts.update(part.counts)
    _check_bad(counts, folder.path, config.max_bad_share)
    return Rows(
        train=train,
        train_ids=train_ids,
        held_out=held_out,
        counts=dict(counts),
        rejects=tuple(part.rejects for part in parts),
        fingerprint=folder.fingerprint,
        tokenised=encoder.told,
        stages=stages if config.curriculum and folder.staged else None,
    )


class _Encoder:
    """Encodes the rows of one run, through the token store where that pays, and remembers what to tell of it."""

    def __init__(self, config: TrainConfig, recipe: Recipe, cache: Path) -> None:
        self._config, self._recipe, self._cache = config, recipe, cache
        self._stores: list[TokenStore] = []

    def conversations(self, conversations: Sequence[Conversation], content: str) -> EncodedRows:
        """Rows in memory; `content` names them."""
        if len(conversations) >= STORE_FROM:
            return self._store(lambda: list_units(conversations), content).encoded
        recipe, workers = self._recipe, self._config.workers
        return encode_rows(
            conversations, recipe.dialect, recipe.tokenizer, max_length=recipe.max_length, workers=workers
        )

    def shards(self, shards: Sequence[Shard], limit: int | None) -> EncodedRows:
        """The first `limit` rows of prepared files."""

        def units() -> list[Unit]:
            result = parquet_units([shard.path for shard in shards], limit=limit)
            read = {unit.path for unit in result}
            for shard in shards:
                if shard.path in read:
                    shard.check()
            return list(result)

        content = fingerprint_of(shards) + (f" first {limit}" if limit else "")
        store = self._store(units, content)
        if not store.built:
            check_newer(shards, store.path)
        return store.encoded

    def _store(self, units: Callable[[], Sequence[Unit]], content: str) -> TokenStore:
        processes = self._config.workers or default_workers()
        store = open_or_build(units, content=content, recipe=self._recipe, cache=self._cache, processes=processes)
        self._stores.append(store)
        return store

    @property
    def told(self) -> str:
        """`36,578 tokenised rows read from ~/.cache/... in 0.1 s`, a line for each store."""
        return "\n".join(map(_told, self._stores))


def _told(store: TokenStore) -> str:
    rows = f"{len(store.encoded.rows):,}"
    if store.built:
        return f"{rows} rows tokenised in {store.seconds:.1f} s; the next start reads them from {store.path}"
    return f"{rows} tokenised rows of an earlier start, read in {store.seconds:.1f} s from {store.path}"


def _split(encoded: EncodedRows, config: TrainConfig) -> tuple[list[int], list[int]]:
    """Indices of the training and the held-out rows."""
    train, held_out = split(
        range(len(encoded.rows)), eval_share=config.eval_share, seed=config.seed, groups=encoded.groups
    )
    if not train:
        raise DataError(f"--eval-share {config.eval_share} leaves no training row of {len(encoded.rows)}")
    return train, held_out


def _refuse_flags(config: TrainConfig, folder: PreparedFolder) -> None:
    """Flags that would be without effect on rows that were filtered and split already."""
    default = TrainConfig()
    given = [name for name in RULE_FLAGS if getattr(config, name) != getattr(default, name)]
    if folder.held_out and config.eval_share not in (0, default.eval_share):
        given.append("eval_share")
    if given:
        names = ", ".join(f"--{name.replace('_', '-')} {getattr(config, name)}" for name in given)
        raise ConfigError(
            f"{names}: {folder.path} was filtered and split by `gemma-tool-use prepare`. Give the flags to prepare, or "
            "filter its rows once more with --source openai-jsonl"
        )


def _check_bad(counts: Mapping[str, int], where: Path, max_bad_share: float) -> None:
    rows, bad = sum(counts.values()), sum(n for reason, n in counts.items() if reason in BAD_REASONS)
    if bad > max_bad_share * rows:
        raise DataError(
            f"{where}: {bad} of {rows} rows cannot be read, more than the share of {max_bad_share:g} that is accepted. "
            "Write the folder again with prepare"
        )
