"""A model as the evaluation takes it: prompts in, each reply handed over as soon as it is there.

generate = Writer(Sampler(model), tokenizer, stop_ids(dialect, tokenizer), SamplingConfig(batch_size=64))
generate(prompts, {0, 2}, lambda number, written: print(number, written.text))
"""

import dataclasses
import time
from collections.abc import Callable, Collection, Sequence

from gemma_tool_use.formats.tokenizer import Tokenizer
from gemma_tool_use.inference.replies import reply_text
from gemma_tool_use.inference.sampler import Sampler, SamplingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """What became of one prompt.

    Attributes:
      text: the reply without its stop token; "" when there is an error.
      error: why there is no reply.
      new_tokens: tokens of the reply.
      seconds: its share of the time its batch took.
    """

    text: str
    error: str | None = None
    new_tokens: int = 0
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Writer:
    """Writes replies in batches that follow from the prompts alone.

    A batch of which some replies are not wanted is decoded whole: its sums, and so a close choice between two tokens,
    may depend on its shape, and a run that was interrupted has to end like one that was not.
    """

    sampler: Sampler
    tokenizer: Tokenizer
    stop_ids: Sequence[int]
    config: SamplingConfig

    def __call__(
        self, prompts: Sequence[Sequence[int]], wanted: Collection[int], done: Callable[[int, Written], None]
    ) -> None:
        """Hands over the wanted replies, batch by batch, the shortest prompts first."""
        size = self.config.batch_size
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for rows in (order[start : start + size] for start in range(0, len(order), size)):
            if wanted_rows := [row for row in rows if row in wanted]:
                self._batch(prompts, rows, wanted_rows, done)

    def _batch(
        self,
        prompts: Sequence[Sequence[int]],
        rows: Sequence[int],
        wanted: Sequence[int],
        done: Callable[[int, Written], None],
    ) -> None:
        start = time.monotonic()
        replies = self.sampler.generate(
            [prompts[row] for row in rows], stop_ids=self.stop_ids, pad_id=self.tokenizer.pad_id, config=self.config
        )
        seconds = (time.monotonic() - start) / len(rows)
        by_row = dict(zip(rows, replies, strict=True))
        for row in wanted:
            text = reply_text(by_row[row], self.tokenizer)
            done(row, Written(text=text, new_tokens=len(by_row[row]), seconds=round(seconds, 6)))
