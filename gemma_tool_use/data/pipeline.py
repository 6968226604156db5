"""The Grain pipeline: conversations to encoded rows, and encoded rows to shuffled batches of one static shape.

    encoded = encode_rows(conversations, dialect, tokenizer, max_length=512)
    train, held = split(encoded.rows, eval_share=0.05, seed=0, groups=encoded.groups)
    for element in batches(train, batch_size=4, length=512, epochs=3, seed=0, pad_id=tokenizer.pad_id):
        element["tokens"]            # int32 [1, 4, 512]; rows.py shows a whole element

Everything is a `grain.MapDataset` until the last step, so an element is a function of its number and the seed: order
and content do not depend on `workers`, and without workers the state of an iterator is `{"next_index": n}`.
"""

import collections
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, cast

import grain
import numpy as np
from absl import flags

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.counts import KEPT
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rows import (
    BatchShape,
    Element,
    EncodedRows,
    RowSequence,
    check_mask,
    collate,
    encode_row,
    padded_length,
    question,
    row_sizes,
    split,
    stage,
)
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.tokenizer import Tokenizer

__all__ = ["EncodedRows", "batches", "encode_rows", "eval_batches", "split", "steps_per_epoch"]


def encode_rows(
    conversations: Sequence[Conversation],
    dialect: Dialect,
    tokenizer: Tokenizer,
    *,
    max_length: int,
    workers: int = 0,
) -> EncodedRows:
    """Renders and encodes conversations. Those longer than `max_length` tokens are left out whole, and counted.

    Args:
      conversations: what to train on.
      dialect: renders text and says what trains.
      tokenizer: gives the ids.
      max_length: most tokens of a row, `<bos>` included.
      workers: processes that encode; 0 encodes here. Starting one takes seconds, encoding a row a millisecond.

    Raises:
      DataError: a mask that trains nothing or everything, or no row is left.
    """
    if max_length < 2:
        raise ConfigError(f"max_length must be 2 or more, got {max_length}")
    encode_one = functools.partial(encode_row, dialect=dialect, tokenizer=tokenizer, max_length=max_length)
    outcomes = _iterate(grain.MapDataset.source(conversations).map(encode_one), workers)
    rows, ids, groups, stages, rejects = [], [], [], [], []
    reasons: collections.Counter[str] = collections.Counter()
    for conversation, outcome in zip(conversations, outcomes, strict=True):
        if isinstance(outcome, Reject):
            reasons[outcome.reason] += 1
            rejects.append(outcome)
            continue
        check_mask(outcome, conversation.id, tokenizer)
        rows.append(outcome)
        ids.append(conversation.id)
        groups.append(question(conversation))
        stages.append(stage(conversation))
    if not rows:
        found = "; ".join(f"{n} x {reason}" for reason, n in reasons.items()) or "none were given"
        raise DataError(f"none of {len(conversations)} conversations can be trained on ({found})")
    counts = {KEPT: len(rows), **dict(reasons.most_common())}
    return EncodedRows(
        rows=rows, ids=ids, groups=groups, counts=counts, rejects=rejects, stages=np.array(stages, np.uint8)
    )


def steps_per_epoch(rows: int, *, batch_size: int, accumulation: int = 1) -> int:
    """Elements that `batches` yields for one pass over `rows` rows: 10 rows, batches of 4, gives 3."""
    return -(-rows // (batch_size * accumulation))


def batches(
    rows: RowSequence,
    *,
    batch_size: int,
    length: int | None,
    pad_id: int,
    seed: int,
    epochs: int,
    accumulation: int = 1,
    shuffle: bool = True,
    row_multiple: int = 1,
    workers: int = 0,
    stages: np.ndarray | None = None,
) -> grain.IterDataset[Element]:
    """Batches of `epochs` passes; each pass holds every row exactly once, in an order of its own.

    Args:
      rows: encoded conversations, in memory or in a token store, which is read batch by batch.
      batch_size: rows of a micro-batch.
      length: tokens of a row; None for the multiple of 64 that the longest row needs.
      pad_id: fills rows on the right.
      seed: of the shuffle, 0 to 2**32 - 1.
      epochs: number of passes.
      accumulation: micro-batches of an element. The last element of a pass is filled up with empty rows.
      shuffle: a new order for each pass; False keeps that of `rows`.
      row_multiple: rounds the rows of a micro-batch up with empty ones.
      workers: processes that pad; 0 pads here.
      stages: stage of each row, int [rows]: each pass goes through the stages in order, and `shuffle` shuffles within
        them. A batch at the border of two stages has rows of both.

    Returns:
      Elements as in `rows.py`; `normalizer` is the number of trained target tokens of the element.

    Raises:
      ConfigError: a size that is not positive, or a seed out of range.
      DataError: no rows, or a row longer than `length`.
    """
    problems = [] if epochs >= 1 else [f"epochs must be 1 or more, got {epochs}"]
    if not 0 <= seed < 2**32:
        problems.append(f"seed must be from 0 to 2**32 - 1, got {seed}")
    if problems:
        raise ConfigError("; ".join(problems))
    shape = BatchShape(
        batch_size=batch_size,
        length=padded_length(rows, length),
        pad_id=pad_id,
        accumulation=accumulation,
        row_multiple=row_multiple,
    )
    indices = _indices(len(rows), stages, seed if shuffle else None)
    elements = indices.batch(shape.capacity, batch_fn=_Collate(rows, shape))
    return _iterate(elements.repeat(epochs), workers)


def _indices(rows: int, stages: np.ndarray | None, seed: int | None) -> grain.MapDataset[int]:
    """The rows of a pass; without a seed in their order."""
    if stages is None:
        indices = grain.MapDataset.range(rows)
        return indices if seed is None else indices.shuffle(seed=seed)
    if len(stages) != rows:
        raise ValueError(f"{rows} rows and {len(stages)} stages")
    members = [cast(Sequence[int], np.flatnonzero(stages == each)) for each in np.unique(stages)]
    parts = [grain.MapDataset.source(each) for each in members]
    return grain.MapDataset.concatenate([part if seed is None else part.shuffle(seed=seed) for part in parts])


def eval_batches(
    rows: RowSequence,
    *,
    batch_size: int,
    length: int | None,
    pad_id: int,
    row_multiple: int = 1,
    workers: int = 0,
) -> grain.IterDataset[Element]:
    """One pass in the order of `rows`, with accumulation 1.

    `normalizer` is the same for each batch: the trained target tokens of all rows divided by the number of batches, so
    that the mean over batches of (summed loss / normalizer) is the loss per trained token, however full each batch is.

    Raises: as `batches`.
    """
    shape = BatchShape(
        batch_size=batch_size, length=padded_length(rows, length), pad_id=pad_id, row_multiple=row_multiple
    )
    count = steps_per_epoch(len(rows), batch_size=batch_size)
    normalizer = np.float32(int(row_sizes(rows).targets.sum(dtype=np.int64)) / count)
    elements = grain.MapDataset.range(len(rows)).batch(shape.capacity, batch_fn=_Collate(rows, shape, normalizer))
    return _iterate(elements, workers)


@dataclasses.dataclass(frozen=True, eq=False)
class _Collate:
    """`collate` with its rows, as an object that can be sent to a worker process."""

    rows: RowSequence
    shape: BatchShape
    normalizer: np.float32 | None = None

    def __call__(self, indices: Sequence[int]) -> Element:
        element = collate(self.rows, indices, self.shape)
        return element if self.normalizer is None else element | {"normalizer": np.asarray(self.normalizer)}


def _iterate(dataset: grain.MapDataset[Any], workers: int) -> grain.IterDataset[Any]:
    """The dataset in its order, read here or by `workers` processes."""
    if workers < 0:
        raise ConfigError(f"workers must be 0 or more, got {workers}")
    # Threads would only add start-up: a row or batch costs less than handing it over.
    iterable = dataset.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    if not workers:
        return iterable
    # Grain's workers read absl flags, which raise UnparsedFlagAccessError in a program that is not an absl app.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    return iterable.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers)).map(_own_memory)


def _own_memory(value: Any) -> Any:
    """Copies a batch out of the memory shared with a worker: each shared array held costs a file descriptor."""
    return {name: np.array(array) for name, array in value.items()} if isinstance(value, dict) else value
