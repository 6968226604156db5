"""From a conversation to a padded batch, as pure functions; `pipeline.py` runs them under Grain. No JAX.

encode_row(conversation, dialect, tokenizer, max_length=512)     # Encoded, or a Reject when it is too long
rows = [Encoded(tokens=[2, 5, 6], loss_mask=[F, F, T]), Encoded(tokens=[2, 7], loss_mask=[F, T])]
collate(rows, row_index=[[[0, 1], [-1, -1]]], length=6, pad_id=0)
# tokens       [[[2, 5, 6, 2, 7, 0], [0, 0, 0, 0, 0, 0]]]     int32 [accumulation, rows, length]
# loss_mask    [[[F, F, T, F, T, F], [F, F, F, F, F, F]]]     bool  [accumulation, rows, length]
# positions    [[[0, 1, 2, 0, 1, 0], [0, 0, 0, 0, 0, 0]]]     int32 [accumulation, rows, length], from 0 in each segment
# segment_ids  [[[1, 1, 1, 2, 2, 0], [0, 0, 0, 0, 0, 0]]]     int32 [accumulation, rows, length], 0 is padding
"""

import dataclasses
import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.rejects import Reject, short
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.encode import Encoded, encode
from gemma_tool_use.formats.tokenizer import Tokenizer

STAGE = "stage"
"""The key of a row's stage in its meta."""
NOT_WRITABLE = "the dialect cannot write it"
# Coarser steps pad short rows too far on a CPU; packed rows, which are long, have a length of their own.
LENGTH_STEP = 32

STEP_ARRAYS = ("tokens", "loss_mask", "positions", "segment_ids", "normalizer")
"""What of an element the training step reads; `lengths` and `row_index` stay on the host."""

T = TypeVar("T")
Element = dict[str, np.ndarray]


class RowSequence(Protocol):
    """Encoded rows by number: a list, or the rows of a token store."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Encoded: ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RowSizes:
    """What is known of rows without reading them.

    Attributes:
      lengths: tokens of each row, int32 [rows].
      targets: how many of them are predicted and trained, int32 [rows].
    """

    lengths: np.ndarray
    targets: np.ndarray

    def take(self, indices: np.ndarray) -> "RowSizes":
        """The sizes of the rows at `indices`."""
        return RowSizes(lengths=self.lengths[indices], targets=self.targets[indices])


@runtime_checkable
class _Sized(Protocol):
    @property
    def sizes(self) -> RowSizes: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedRows:
    """Encoded conversations and the account of those left out.

    Attributes:
      rows: in the order of the conversations.
      ids: conversation id of each row.
      groups: question of each row, for `split`.
      counts: `kept` and each reason, to the number of conversations; the values add up to those given.
      rejects: one for each conversation left out.
      stages: stage of each row in a curriculum, uint8 [rows]; all 0 without one.
    """

    rows: RowSequence
    ids: Sequence[str]
    groups: Sequence[str]
    counts: dict[str, int]
    rejects: Collection[Reject]
    stages: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchShape:
    """The one static shape of every element of an epoch.

    Attributes:
      batch_size: packed rows per micro-batch.
      length: tokens per packed row.
      pad_id: token that fills rows on the right.
      accumulation: micro-batches per element, that is per optimizer step.
      row_multiple: rows are rounded up to a multiple of this with empty rows, so that 4 fit on 8 devices.
    """

    batch_size: int
    length: int
    pad_id: int
    accumulation: int = 1
    row_multiple: int = 1

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("batch_size", "length", "accumulation", "row_multiple")}
        problems = [f"{name} must be 1 or more, got {value}" for name, value in sizes.items() if value < 1]
        if problems:
            raise ConfigError("; ".join(problems))

    @property
    def rows(self) -> int:
        """Packed rows of one micro-batch, empty ones included."""
        return -(-self.batch_size // self.row_multiple) * self.row_multiple

    @property
    def capacity(self) -> int:
        """Packed rows of one element."""
        return self.batch_size * self.accumulation


def encode_row(
    conversation: Conversation, dialect: Dialect, tokenizer: Tokenizer, *, max_length: int
) -> Encoded | Reject:
    """The tokens of a conversation; a `Reject` when they are more than `max_length` or the dialect cannot write it."""
    try:
        encoded = encode(dialect.segments(conversation), tokenizer)
    except DataError as error:
        return Reject(id=conversation.id, reason=NOT_WRITABLE, detail=str(error))
    if len(encoded.tokens) > max_length:
        detail = f"{len(encoded.tokens)} tokens"
        return Reject(id=conversation.id, reason=f"longer than {max_length} tokens", detail=detail)
    return encoded


def check_mask(encoded: Encoded, row_id: str, tokenizer: Tokenizer) -> None:
    """Stops a run whose mask cannot be right.

    Raises:
      DataError: no target or every target of the row is trained (the first token is never one); quotes its text.
    """
    targets = encoded.loss_mask[1:]
    if targets.any() and not targets.all():
        return
    found = "no token is trained" if not targets.any() else "every token is trained, the user's words included"
    raise DataError(
        f"row {row_id!r}: {found}. A dialect trains what the assistant wrote and nothing else; this row reads "
        f"{short(tokenizer.decode(encoded.tokens.tolist()), 400)}"
    )


def trained_targets(encoded: Encoded) -> int:
    """How many tokens of the row are predicted and trained; the first is never predicted."""
    return int(encoded.loss_mask[1:].sum())


def row_sizes(rows: RowSequence) -> RowSizes:
    """The sizes of rows; those of a store are known without reading it."""
    if isinstance(rows, _Sized):
        return rows.sizes
    return RowSizes(
        lengths=np.array([len(rows[i].tokens) for i in range(len(rows))], np.int32),
        targets=np.array([trained_targets(rows[i]) for i in range(len(rows))], np.int32),
    )


def padded_length(sizes: RowSizes) -> int:
    """The multiple of 32 that the longest row needs: one shape, so one compilation."""
    return -(-int(sizes.lengths.max()) // LENGTH_STEP) * LENGTH_STEP


def collate(rows: RowSequence, row_index: np.ndarray, *, length: int, pad_id: int) -> Element:
    """The rows that `row_index` names, each a segment of its packed row, padded to `length` (see the module's example).

    Args:
      rows: encoded conversations.
      row_index: int32 [accumulation, rows, segments]; -1 where there is none. Those of a packed row fit into `length`.
      length: tokens of a packed row.
      pad_id: token that fills packed rows on the right.
    """
    size = (*row_index.shape[:2], length)
    tokens, loss_mask = np.full(size, pad_id, np.int32), np.zeros(size, bool)
    positions, segment_ids = np.zeros(size, np.int32), np.zeros(size, np.int32)
    for place in np.ndindex(size[:2]):
        start = 0
        for segment, row_number in enumerate(row_index[place][row_index[place] >= 0].tolist(), start=1):
            row = rows[row_number]
            cells = (*place, slice(start, start + len(row.tokens)))
            tokens[cells], loss_mask[cells] = row.tokens, row.loss_mask
            positions[cells], segment_ids[cells] = np.arange(len(row.tokens)), segment
            start += len(row.tokens)
    return {"tokens": tokens, "loss_mask": loss_mask, "positions": positions, "segment_ids": segment_ids}


def stage(conversation: Conversation) -> int:
    """The stage that `prepare --stages` gave the row, 1 to 4; 0 for a row without one."""
    found = conversation.meta.get(STAGE)
    return found if type(found) is int and 0 < found < 256 else 0


def question(conversation: Conversation) -> str:
    """The first user message, without case and spacing: what two sides of a split must not share."""
    first = next((message.content for message in conversation.messages if message.role == "user"), "")
    return " ".join(first.casefold().split())


def split(
    rows: Sequence[T], *, eval_share: float, seed: int, groups: Iterable[str] | None = None
) -> tuple[list[T], list[T]]:
    """Divides rows into training and evaluation, each in the order given.

    The choice hashes the seed with each group (without `groups`, with each position), so the same data gives the same
    split anywhere, and rows added later move few others. Rows of one group stay together: with 2 of 4 rows asking the
    same question, `eval_share=0.25` holds out one of the other two.

    Raises:
      ConfigError: `eval_share` is not in [0, 1).
      DataError: too few different groups to hold any out.
    """
    if not 0 <= eval_share < 1:
        raise ConfigError(f"eval_share must be from 0 up to, but not, 1, got {eval_share}")
    if eval_share == 0:
        return list(rows), []
    # Groups are told apart by 8 bytes of their hash, so that a million questions from disk are not held.
    names = map(str, range(len(rows))) if groups is None else groups
    keys = np.fromiter((_split_key(seed, name) for name in names), np.uint64)
    if len(keys) != len(rows):
        raise ValueError(f"{len(rows)} rows and {len(keys)} groups")
    order, numbers, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    if len(order) < 2:
        raise DataError(f"{len(rows)} rows with {len(order)} different questions cannot be split; use eval_share=0")
    held = np.zeros(len(order), bool)
    held[_held_out(sizes.tolist(), max(1, round(eval_share * len(rows))))] = True
    train = [row for row, out in zip(rows, held[numbers], strict=True) if not out]
    return train, [row for row, out in zip(rows, held[numbers], strict=True) if out]


def _split_key(seed: int, group: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8], "big")


def _held_out(sizes: Sequence[int], wanted: int) -> list[int]:
    """The groups to hold out, in order as long as they fit into `wanted` rows; the smallest when none does."""
    held, count = [], 0
    for number, size in enumerate(sizes):
        if count + size <= wanted and len(held) < len(sizes) - 1:
            held.append(number)
            count += size
    return held or [min(range(len(sizes)), key=lambda number: sizes[number])]
