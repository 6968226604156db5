"""The rule that keeps benchmark questions out of the rows: those of BFCL v4, and of the files of `--keep-out`.

A row is left out when any of its user messages is a benchmark question (`contamination/fingerprints.py` says which
count). The detail names the benchmark, the item and the similarity: `bfcl-v4 simple_python_0, similarity 0.83`.
"""

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.contamination.fingerprints import Fingerprints, Match, fingerprint, shipped_bfcl
from gemma_tool_use.data.contamination.questions import file_questions
from gemma_tool_use.data.rules import reasons
from gemma_tool_use.data.rules.settings import RuleSettings
from gemma_tool_use.data.rules.shape import Problem


def benchmark_question(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    """Looks at each user message. Raises as `benchmark_questions`."""
    return benchmark_questions([conversation], settings)[0]


def benchmark_questions(conversations: Sequence[Conversation], settings: RuleSettings) -> list[Problem | None]:
    """The rule for many conversations at once, which takes a third of the time.

    Raises:
      FileError: a file of `--keep-out` cannot be read.
      DataError: it is not of a form that `file_questions` reads.
    """
    known = [*([shipped_bfcl()] if settings.keep_out_bfcl else []), *map(file_benchmark, settings.keep_out)]
    asked = [[message.content for message in each.messages if message.role == "user"] for each in conversations]
    texts = list(itertools.chain(*asked))
    found = [prints.find_all(texts, settings.benchmark_similarity) for prints in known]
    first = [next(filter(None, each), None) for each in zip(*found, strict=True)] or [None] * len(texts)
    rest = iter(first)
    return [_problem(list(itertools.islice(rest, len(texts)))) for texts in asked]


def _problem(matches: Sequence[Match | None]) -> Problem | None:
    """Of the first of a row's questions that was recognised."""
    for match in matches:
        if match is not None:
            return reasons.BENCHMARK_QUESTION, f"{match.benchmark} {match.item}, similarity {match.similarity:.2f}"
    return None


@functools.lru_cache(maxsize=16)
def file_benchmark(path: Path) -> Fingerprints:
    """The questions of a file under its name."""
    return fingerprint(path.name, file_questions(path))
