"""Batched generation from a model of any family: packed prefill, a cache of rings, rows refilled as they end.

    Sampler(model).generate([[2, 105, 2364], [2, 105]], stop_ids=[1, 106], pad_id=0)
    # [[4521, 236888], [818]]      new tokens of each prompt, without the stop token

    for row in Sampler(model).generate_rows(prompts, stop_ids=[1, 106], pad_id=0, on_finish=store):
        row.error                  # None, or why this prompt alone has no reply

Prompts are prefilled all but for their last token, several in a packed row as in training; no logits are computed for
that. Their last tokens are the first that are decoded. Decoding runs on the device for some tokens at a time; then
ended rows give up their places in the cache, and the next prompts take them.
"""

import dataclasses
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gemma_tool_use.errors import DataError
from gemma_tool_use.inference.plan import Chunk, Group, plan
from gemma_tool_use.inference.sampling import SamplingConfig
from gemma_tool_use.inference.steps import Adapter, Programs, Rows, Weights
from gemma_tool_use.models.cached import Packed, Places
from gemma_tool_use.models.quantize import dense_rows
from gemma_tool_use.models.sharding import row_shards, to_host


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generated:
    """What became of one prompt.

    Attributes:
      tokens: the reply, without a stop token.
      error: why there is no reply; None where there is one, though it may be empty.
      stopped: the model ended the reply; False where `max_new_tokens` did.
      seconds: from the prefill of the prompt to the end of the reply, shared with the rows beside it.
    """

    tokens: list[int] = dataclasses.field(default_factory=list)
    error: str | None = None
    stopped: bool = False
    seconds: float | None = None


OnFinish = Callable[[int, Generated], None]
"""Called with the number of a prompt and what became of it, as soon as that is known."""

EndOf = Callable[[Sequence[int]], int | None]
"""How many tokens of a reply there are when it is over before a stop id; None while it is not."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Task:
    """What one call of `generate_rows` works on."""

    prompts: Sequence[Sequence[int]]
    wanted: Collection[int]
    seeds: Sequence[int] | None
    stop_ids: Sequence[int]
    pad_id: int
    config: SamplingConfig
    finish: OnFinish
    end_of: EndOf | None


class Sampler:
    """Generates with one model; compiles once for a bucket of lengths and a number of rows.

    The LoRA parameters are read at every call, so one sampler serves a model before, during and after training.
    """

    def __init__(self, model: Any, *, compute_dtype: Any = None) -> None:
        """`compute_dtype`: what LoRA parameters are cast to; None: the dtype of the embedding."""
        self._model, self._compute_dtype = model, compute_dtype
        self._programs: dict[Adapter, Programs] = {}

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        stop_ids: Sequence[int],
        pad_id: int,
        config: SamplingConfig | None = None,
        adapter: bool = True,
    ) -> list[list[int]]:
        """New tokens for each prompt, in the order of the prompts; arguments as `generate_rows`.

        Raises:
          DataError: a prompt is empty, too long, or holds a token that the model lacks; nothing was generated.
        """
        config = config or SamplingConfig()
        for number, prompt in enumerate(prompts):
            if problem := self._problem(prompt, config):
                raise DataError(f"prompt {number} {problem}")
        rows = self.generate_rows(prompts, stop_ids=stop_ids, pad_id=pad_id, config=config, adapter=adapter)
        return [row.tokens for row in rows]

    def generate_rows(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        stop_ids: Sequence[int],
        pad_id: int,
        config: SamplingConfig | None = None,
        adapter: bool = True,
        seeds: Sequence[int] | None = None,
        wanted: Collection[int] | None = None,
        on_finish: OnFinish | None = None,
        end_of: EndOf | None = None,
    ) -> list[Generated]:
        """A reply to each prompt, or the error of that prompt, in the order of the prompts.

        Args:
          prompts: token ids, `<bos>` included.
          stop_ids: tokens that end a reply; not part of it.
          pad_id: fills packed rows; never attended to.
          config: lengths, sampling, batch size.
          adapter: False for the base weights alone, of a model that has LoRA.
          seeds: of each prompt, from 0 to 2**32 - 1; None: `config.seed` and the number of the prompt.
          wanted: the numbers of the prompts to reply to, None for all; an empty `Generated` stands for the others. They
            still decide which prompts are computed side by side, and with it how sums are rounded, so that a call for
            the rest gives the replies that one call for all would have given.
          on_finish: called for each wanted prompt as soon as its reply or error is there.
          end_of: sees the tokens of a reply as it grows.
        """
        config = config or SamplingConfig()
        results: list[Generated] = [Generated() for _ in prompts]

        def finish(number: int, result: Generated) -> None:
            results[number] = result
            if on_finish is not None:
                on_finish(number, result)

        asked = set(range(len(prompts)) if wanted is None else wanted)
        lengths = {}
        for number, prompt in enumerate(prompts):
            if problem := self._problem(prompt, config):
                if number in asked:
                    finish(number, Generated(error=f"the prompt {problem}"))
                asked.discard(number)
            else:
                lengths[number] = len(prompt) - 1
        if not asked:
            return results
        task = _Task(
            prompts=prompts,
            wanted=asked,
            seeds=seeds,
            stop_ids=stop_ids,
            pad_id=pad_id,
            config=config,
            finish=finish,
            end_of=end_of,
        )
        programs, weights = self._ready(adapter)
        for group in plan(lengths, new=config.max_new_tokens, rows=config.batch_size, multiple=row_shards()):
            if not asked.isdisjoint(prompt for chunk in group.chunks for prompt in chunk.prompts):
                _Batch(programs, weights, group, task).run()
        return results

    def _problem(self, prompt: Sequence[int], config: SamplingConfig) -> str | None:
        if not len(prompt):
            return "has no tokens; a prompt starts with <bos>"
        total, vocabulary = len(prompt) + config.max_new_tokens, self._model.spec.vocab_size
        if total > config.max_length:
            return (
                f"has {len(prompt)} tokens, {total} with max_new_tokens={config.max_new_tokens}; at most "
                f"max_length={config.max_length} fit: shorten it, or raise max_length"
            )
        if not 0 <= min(prompt) <= max(prompt) < vocabulary:
            return f"has token ids from {min(prompt)} to {max(prompt)}; the model knows 0 to {vocabulary - 1}"
        return None

    def _ready(self, adapter: bool) -> tuple[Programs, Weights]:
        graphdef, lora, base = nnx.split(self._model, nnx.LoRAParam, ...)
        table = self._model.embedder.input_embedding.get_value()
        dtype = jax.eval_shape(dense_rows, table, jax.ShapeDtypeStruct((1,), jnp.int32)).dtype
        # In bfloat16 the sum with the weights would round most of an adapter away.
        kind: Adapter = "none" if not adapter or not lora else "folded" if dtype == jnp.float32 else "apart"
        if kind not in self._programs:
            self._programs[kind] = Programs(graphdef, kind, self._compute_dtype or dtype)
        programs = self._programs[kind]
        return programs, programs.weights(lora, base)


class _Batch:
    """The rows of one cache, and the prompts that pass through it."""

    def __init__(self, programs: Programs, weights: Weights, group: Group, task: _Task) -> None:
        self._programs, self._weights, self._group, self._task = programs, weights, group, task
        self._cache = programs.empty(weights, group.rows, group.length)
        self._prompt = np.full(group.rows, -1)  # number of the prompt in each row, -1 for a free one
        self._replies: list[list[int]] = [[] for _ in range(group.rows)]
        self._since = np.zeros(group.rows)
        self._sampling = SamplingConfig(
            temperature=task.config.temperature, top_k=task.config.top_k, top_p=task.config.top_p
        )
        self._stop_ids = np.asarray(task.stop_ids, np.int32)

    def run(self) -> None:
        wanted = self._task.wanted
        for chunk in self._group.chunks:
            size = sum(prompt in wanted for prompt in chunk.prompts)
            if not size:
                continue
            while (missing := size - int((self._prompt < 0).sum())) > 0:
                self._decode(missing)
            self._fill(chunk)
        while (self._prompt >= 0).any():
            self._decode(self._group.rows)

    def _fill(self, chunk: Chunk) -> None:
        """Prefills a chunk, all of it; the prompts that are wanted go to free rows."""
        group, task = self._group, self._task
        arrays: Any = np.zeros((3, group.packed_rows, group.packed_length), np.int32)
        tokens, positions, segment_ids = arrays
        tokens[:] = task.pad_id
        nowhere: Any = np.tile(np.array([[0], [0], [group.rows]], np.int32), group.most_prompts)
        places = Places(*nowhere)
        free = iter(np.flatnonzero(self._prompt < 0))
        for index, (prompt, start) in enumerate(zip(chunk.prompts, chunk.starts, strict=True)):
            length = len(task.prompts[prompt]) - 1
            part = slice(start, start + length)
            tokens.reshape(-1)[part] = task.prompts[prompt][:-1]
            positions.reshape(-1)[part] = np.arange(length)
            segment_ids.reshape(-1)[part] = index + 1
            if prompt in task.wanted:
                row = next(free)
                places.starts[index], places.lengths[index], places.rows[index] = start, length, row
                self._prompt[row], self._replies[row], self._since[row] = prompt, [], time.perf_counter()
        self._cache = self._programs.prefill(self._weights, Packed(*arrays), self._cache, places)

    def _decode(self, enough: int) -> None:
        """Some tokens of every row, until `enough` rows have ended."""
        config = self._task.config
        self._cache, written = self._programs.decode(
            self._weights,
            self._cache,
            self._rows(),
            self._stop_ids,
            np.int32(config.max_new_tokens),
            np.int32(enough),
            self._sampling,
        )
        new = to_host(written)
        for row in np.flatnonzero(self._prompt >= 0):
            self._replies[row] += new[row][new[row] >= 0].tolist()
            self._look_at(int(row))

    def _rows(self) -> Rows:
        task, size = self._task, self._group.rows
        numbers: Any = np.zeros((3, size), np.int32)
        live: Any = self._prompt >= 0
        seeds: Any = np.zeros((size, 2), np.uint32)
        token, position, made = numbers
        for row in np.flatnonzero(live):
            number, reply = int(self._prompt[row]), self._replies[row]
            prompt = task.prompts[number]
            token[row] = reply[-1] if reply else prompt[-1]
            position[row], made[row] = len(prompt) - 1 + len(reply), len(reply)
            seeds[row] = (task.config.seed, number) if task.seeds is None else (task.seeds[number], 0)
        return Rows(token, position, made, live, seeds)

    def _look_at(self, row: int) -> None:
        """Frees the row if its reply is over."""
        reply, task = self._replies[row], self._task
        stopped = bool(reply) and reply[-1] in task.stop_ids
        tokens = reply[:-1] if stopped else reply
        end = task.end_of(tokens) if task.end_of is not None else None
        if end is None and not stopped and len(reply) < task.config.max_new_tokens:
            return
        seconds = time.perf_counter() - self._since[row]
        number, self._prompt[row] = int(self._prompt[row]), -1
        task.finish(number, Generated(tokens=tokens[:end], stopped=stopped or end is not None, seconds=float(seconds)))
