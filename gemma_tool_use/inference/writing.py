"""A model as the evaluation takes it: prompts in, each reply handed over as soon as it is there.

generate = Writer(Sampler(model), tokenizer, dialect, SamplingConfig(batch_size=64))
generate(prompts, {0, 2}, lambda number, written: print(number, written.text))
"""

import dataclasses
import time
from collections.abc import Callable, Collection, Sequence

from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.tokenizer import Tokenizer
from gemma_tool_use.inference.replies import end_by_text, reply_text, stop_ids
from gemma_tool_use.inference.sampler import Generated, Sampler
from gemma_tool_use.inference.sampling import SamplingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """What became of one prompt.

    Attributes:
      text: the reply without its stop token; "" when there is an error.
      error: why there is no reply.
      new_tokens: tokens of the reply.
      seconds: since the reply before it, so that those of all replies add up to the time they took together.
    """

    text: str
    error: str | None = None
    new_tokens: int = 0
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Writer:
    """Writes replies, each up to the dialect's end of one.

    `adapter`: False for the base weights alone, of a model that has LoRA.
    """

    sampler: Sampler
    tokenizer: Tokenizer
    dialect: Dialect
    config: SamplingConfig
    adapter: bool = True

    def __call__(
        self, prompts: Sequence[Sequence[int]], wanted: Collection[int], done: Callable[[int, Written], None]
    ) -> None:
        """Hands over the wanted replies in the order in which they end."""
        last = time.monotonic()

        def finish(number: int, found: Generated) -> None:
            nonlocal last
            before, last = last, time.monotonic()
            text = "" if found.error is not None else reply_text(found.tokens, self.tokenizer)
            seconds = round(last - before, 6)
            done(number, Written(text=text, error=found.error, new_tokens=len(found.tokens), seconds=seconds))

        self.sampler.generate_rows(
            prompts,
            stop_ids=stop_ids(self.dialect, self.tokenizer),
            pad_id=self.tokenizer.pad_id,
            config=self.config,
            adapter=self.adapter,
            wanted=wanted,
            on_finish=finish,
            end_of=end_by_text(self.dialect, self.tokenizer),
        )
