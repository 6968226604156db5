"""The Grain pipeline: conversations to encoded rows, and encoded rows to packed batches of one static shape.

    encoded = encode_rows(conversations, dialect, tokenizer, max_length=512)
    train, held = split(encoded.rows, eval_share=0.05, seed=0, groups=encoded.groups)
    shape = BatchShape(batch_size=2, length=1024, pad_id=tokenizer.pad_id)
    plan = plan_batches(row_sizes(train), shape, epochs=3, seed=0)       # packing.py: who shares a packed row with whom
    stream = batches(train, plan)
    for element in stream:
        element["tokens"]            # int32 [1, 2, 1024], and loss_mask, positions, segment_ids: rows.py shows them
        element["normalizer"]        # float32 [], trained target tokens of the element
        element["lengths"]           # int32 [1, 2], tokens of each packed row
        element["row_index"]         # int32 [1, 2, segments], the rows of each packed row, -1 where there is none
    stream.state()                   # where it is, as JSON; restore() continues there without reading what came before

Everything is a `grain.MapDataset` until the last step, so an element is a function of its number and the plan: order
and content do not depend on `workers`, on threads or on where a stream was continued.
"""

import collections
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import grain
import numpy as np
from absl import flags

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.counts import KEPT
from gemma_tool_use.data.packing import BatchPlan
from gemma_tool_use.data.rejects import Reject, short
from gemma_tool_use.data.rows import (
    Element,
    EncodedRows,
    RowSequence,
    check_mask,
    collate,
    encode_row,
    question,
    split,
    stage,
)
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.tokenizer import Tokenizer

__all__ = ["BatchStream", "EncodedRows", "RowShare", "batches", "encode_rows", "eval_batches", "split"]

# Elements made ahead by a thread while a step runs.
_AHEAD = 2


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
    outcomes = _iterate(grain.MapDataset.source(conversations).map(encode_one), workers=workers)
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


@dataclasses.dataclass(frozen=True)
class RowShare:
    """The packed rows of every micro-batch that one of `count` processes reads: the `index`-th part of equal size."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(f"a share must be from 0 to {self.count - 1}, got {self.index}")

    def of(self, rows: int) -> slice:
        """
        Raises:
          ConfigError: `rows` cannot be divided by `count`; `BatchShape.row_multiple` fills them up.
        """
        if rows % self.count:
            raise ConfigError(f"{rows} packed rows cannot be shared by {self.count} processes equally")
        size = rows // self.count
        return slice(self.index * size, (self.index + 1) * size)


WHOLE = RowShare()


def batches(rows: RowSequence, plan: BatchPlan, *, workers: int = 0, share: RowShare = WHOLE) -> "BatchStream":
    """The elements of a plan, each as `rows.py` shows it.

    Args:
      rows: encoded conversations, in memory or in a token store, which is read batch by batch.
      plan: which rows go where, made from the sizes of the same rows.
      workers: processes that read and pad; 0 takes a thread of this one.
      share: the packed rows to read. `tokens`, `loss_mask`, `positions` and `segment_ids` are those of the share;
        `normalizer`, `lengths` and `row_index` are those of the whole element on every process.
    """
    return BatchStream(_elements(rows, plan, share), plan, workers)


def eval_batches(rows: RowSequence, plan: BatchPlan, *, share: RowShare = WHOLE) -> grain.IterDataset[Element]:
    """The elements of a plan of one pass, which may be iterated any number of times.

    `normalizer` is the same for each batch: the trained target tokens of all rows divided by the number of batches, so
    that the mean over batches of (summed loss / normalizer) is the loss per trained token, however full each batch is.
    """
    normalizer = np.float32(int(plan.sizes.targets.sum(dtype=np.int64)) / plan.elements)
    return _iterate(_elements(rows, plan, share, normalizer), workers=0)


@final
class BatchStream:
    """The elements of a run, which know their place.

    for element in stream: ...          # from the place that `restore` gave, else from the first
    """

    def __init__(self, elements: grain.MapDataset[Element], plan: BatchPlan, workers: int) -> None:
        self._elements, self._plan, self._workers = elements, plan, workers
        self._next = 0

    def __len__(self) -> int:
        """Elements of the whole run."""
        return self._plan.elements

    def __iter__(self) -> Iterator[Element]:
        for element in _iterate(self._elements[self._next :], workers=self._workers, ahead=_AHEAD):
            self._next += 1  # before the consumer has it: what was read ahead does not count
            yield element

    def state(self, trained: int | None = None) -> dict[str, Any]:
        """JSON-able: continue after `trained` elements of the run; None for all that were handed out."""
        return {"next_index": self._next if trained is None else trained, "plan": self._plan.identity}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Makes the next iteration begin where `state` was taken; nothing before it is read.

        Raises:
          ConfigError: the state is of other rows, or of other batches of them.
        """
        place, saved, here = state.get("next_index"), state.get("plan"), self._plan.identity
        if not isinstance(saved, Mapping) or type(place) is not int or not 0 <= place <= len(self):
            raise ConfigError(
                f"the checkpoint's place in the rows is {short(dict(state))}; expected a next_index from 0 "
                f"to {len(self)} and a plan. It was written by another version; start a new run"
            )
        if dict(saved) != here:
            changed = [key for key in here if saved.get(key) != here[key] and key != "sha256"]
            details = ", ".join(f"{key} was {saved.get(key)!r} and is {here[key]!r}" for key in changed)
            raise ConfigError(
                "the checkpoint was written in the midst of other batches than those of this run: "
                f"{details or 'the rows have other lengths, or another version of NumPy shuffles them otherwise'}. "
                "Give the same rows and flags, or start a new run"
            )
        self._next = place


def _elements(
    rows: RowSequence, plan: BatchPlan, share: RowShare, normalizer: np.float32 | None = None
) -> grain.MapDataset[Element]:
    if len(rows) != len(plan.sizes.lengths):
        raise ValueError(f"{len(rows)} rows and a plan of {len(plan.sizes.lengths)}")
    part = share.of(plan.shape.rows)
    return grain.MapDataset.range(plan.elements).map(_ElementOf(rows, plan, part, normalizer))


@dataclasses.dataclass(frozen=True, eq=False)
class _ElementOf:
    """The element of a number, as an object that can be sent to a worker process."""

    rows: RowSequence
    plan: BatchPlan
    part: slice
    normalizer: np.float32 | None

    def __call__(self, number: int) -> Element:
        shape, row_index = self.plan.shape, self.plan.row_index(number)
        lengths, targets = self.plan.totals(row_index)
        normalizer = np.float32(targets.sum()) if self.normalizer is None else self.normalizer
        return {
            **collate(self.rows, row_index[:, self.part], length=shape.length, pad_id=shape.pad_id),
            "normalizer": np.asarray(normalizer),
            "lengths": lengths,
            "row_index": row_index,
        }


def _iterate(dataset: grain.MapDataset[Any], *, workers: int, ahead: int = 0) -> grain.IterDataset[Any]:
    """The dataset in its order, read here, by a thread that stays `ahead` elements ahead, or by `workers` processes."""
    if workers < 0:
        raise ConfigError(f"workers must be 0 or more, got {workers}")
    threads = int(ahead > 0 and not workers)
    iterable = dataset.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads * ahead))
    if not workers:
        return iterable
    # Grain's workers read absl flags, which raise UnparsedFlagAccessError in a program that is not an absl app.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    return iterable.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers)).map(_own_memory)


def _own_memory(value: Any) -> Any:
    """Copies a batch out of the memory shared with a worker: each shared array held costs a file descriptor."""
    return {name: np.array(array) for name, array in value.items()} if isinstance(value, dict) else value
