"""Counts the rows of files into `Statistics`: pure on a stream of rows, or in worker processes over files.

count(outcomes, CountSettings(dialects=("hermes",)), tokenizer)      # Statistics
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.analysis.lengths import row_lengths
from gemma_tool_use.data.analysis.row_faults import conversation_faults
from gemma_tool_use.data.analysis.samples import Samples
from gemma_tool_use.data.analysis.statistics import Statistics
from gemma_tool_use.data.engine.pool import Workers
from gemma_tool_use.data.files import Unit, read_unit
from gemma_tool_use.data.keys import hash_text
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules.text import classify
from gemma_tool_use.data.sources.registry import SOURCES
from gemma_tool_use.formats.dialects import DIALECTS, get_dialect
from gemma_tool_use.formats.tokenizer import Tokenizer, load_tokenizer

NOT_SINGLE_TURN = "not single-turn"
Place = str
_HASHES = 2**64


@dataclasses.dataclass(frozen=True, kw_only=True)
class CountSettings:
    """What is counted.

    Attributes:
      dialects: names of the dialects whose token lengths are measured.
      measured_share: share of the rows whose token lengths are measured, chosen by a hash of seed and place.
      seed: of that choice and of the samples shown.
      single_turn: count rows with exactly one user message only; the others become rejects.
    """

    dialects: tuple[str, ...] = tuple(DIALECTS)
    measured_share: float = 1.0
    seed: int = 0
    single_turn: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One part of a file for one worker; a tokenizer travels as the path it is read from."""

    source: str
    unit: Unit
    settings: CountSettings
    tokenizer: Path


def count(
    outcomes: Iterable[tuple[Place, Conversation | Reject]], settings: CountSettings, tokenizer: Tokenizer
) -> Statistics:
    """Counts every outcome; rows are held one at a time."""
    dialects = {name: get_dialect(name) for name in settings.dialects}
    statistics = Statistics(samples=Samples(seed=settings.seed))
    for where, outcome in outcomes:
        if isinstance(outcome, Conversation) and settings.single_turn:
            turns = sum(message.role == "user" for message in outcome.messages)
            if turns != 1:
                outcome = Reject(id=outcome.id, reason=NOT_SINGLE_TURN, detail=f"{turns} user messages")
        if isinstance(outcome, Reject):
            statistics.add_reject(dataclasses.replace(outcome, where=where))
            continue
        statistics.add(
            outcome,
            where=where,
            language=language(outcome),
            faults=(fault.kind for fault in conversation_faults(outcome)),
            lengths=row_lengths(outcome, dialects, tokenizer) if is_measured(where, settings) else None,
        )
    return statistics


def is_measured(where: Place, settings: CountSettings) -> bool:
    """Whether the row at that place belongs to the sample whose tokens are counted; the same in every process."""
    return hash_text(f"{settings.seed}:{where}") < settings.measured_share * _HASHES


def language(conversation: Conversation) -> str:
    """The ISO 639-1 code that the language rule gives the first question; "" without letters in it."""
    question = next((message.content for message in conversation.messages if message.role == "user"), "")
    return classify(question)[0] if any(map(str.isalpha, question)) else ""


def count_units(jobs: Sequence[Job], *, workers: int, progress: Callable[[Iterable], Iterable] = iter) -> Statistics:
    """Counts parts of files in worker processes (one part: here) and adds up the results in the order of the parts.

    Raises:
      DataError: a file is damaged, or killed its worker twice; names it.
    """
    order = {job: number for number, job in enumerate(jobs)}
    total, waiting, next_number = Statistics(samples=Samples(seed=jobs[0].settings.seed if jobs else 0)), {}, 0
    with Workers(workers if len(jobs) > 1 else 0) as pool:
        for job, part in progress(pool.run(_count_job, jobs, name=lambda job: str(job.unit.path))):
            waiting[order[job]] = part
            while next_number in waiting:
                total.merge(waiting.pop(next_number))
                next_number += 1
    return total


def _count_job(job: Job) -> Statistics:
    return count(_outcomes(job), job.settings, _tokenizer(job.tokenizer))


def _outcomes(job: Job) -> Iterator[tuple[Place, Conversation | Reject]]:
    source = SOURCES[job.source]
    for where, row in read_unit(job.unit, source.columns, source.optional):
        yield where, row if isinstance(row, Reject) else source.read(row, where)


@functools.cache
def _tokenizer(path: Path) -> Tokenizer:
    return load_tokenizer(path)
