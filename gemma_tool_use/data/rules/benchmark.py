"""The rule that keeps benchmark questions out of the rows: those of BFCL v4, and of the files of `--keep-out`.

A row is left out when any of its user messages is a benchmark question (`contamination/fingerprints.py` says which
count). The detail names the benchmark, the item and the similarity: `bfcl-v4 simple_python_0, similarity 0.83`.
"""

import functools
from pathlib import Path

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.contamination.fingerprints import Fingerprints, fingerprint, shipped_bfcl
from gemma_tool_use.data.contamination.questions import file_questions
from gemma_tool_use.data.rules import reasons
from gemma_tool_use.data.rules.settings import RuleSettings
from gemma_tool_use.data.rules.shape import Problem


def benchmark_question(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    """Looks at each user message.

    Raises:
      FileError: a file of `--keep-out` cannot be read.
      DataError: it is not of a form that `file_questions` reads.
    """
    known = [*([shipped_bfcl()] if settings.keep_out_bfcl else []), *map(file_benchmark, settings.keep_out)]
    for message in conversation.messages:
        for prints in known if message.role == "user" else ():
            if match := prints.find(message.content, settings.benchmark_similarity):
                detail = f"{match.benchmark} {match.item}, similarity {match.similarity:.2f}"
                return reasons.BENCHMARK_QUESTION, detail
    return None


@functools.lru_cache(maxsize=16)
def file_benchmark(path: Path) -> Fingerprints:
    """The questions of a file under its name."""
    return fingerprint(path.name, file_questions(path))
