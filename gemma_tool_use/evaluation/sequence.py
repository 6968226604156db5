"""Scores of a reply as a sequence, for comparison with projects that report them: common run, overlap, ROUGE.

    common_run("get the weather in Oslo".split(), "the weather in Rome".split())   # 0.6: 3 of 5, "the weather in"
    unigram_overlap("a b c d".split(), "b a x".split())                            # 0.667: 2 of 3
    rouge("the weather in Oslo", "Oslo: the weather")                              # Rouge(rouge1=0.857, rouge_l=0.571)

None of them says whether a call would have worked: a reply with one wrong digit scores nearly 1.

The first two are what https://github.com/lmassaron/Gemma-3-1B-Function-Calling prints as "accuracy in function calling"
(mean `common_run` where the reference holds a call) and "match in helpful exchange" (mean `unigram_overlap` of the
others), on token ids that begin with `<bos>` on both sides; so an empty reply already shares one token.
"""

import collections
import dataclasses
import difflib
import functools
import statistics
from collections.abc import Callable, Hashable, Sequence

from rouge_score.rouge_scorer import RougeScorer

from gemma_tool_use.evaluation.aggregate import Measure


@dataclasses.dataclass(frozen=True)
class Rouge:
    """F-measures of ROUGE-1 and ROUGE-L (Lin 2004), by the package rouge-score without stemming.

    Its words are runs of a-z and 0-9 after lower-casing, so text in another script has none and scores 0.
    """

    rouge1: float
    rouge_l: float


def common_run(reference: Sequence[Hashable], reply: Sequence[Hashable]) -> float:
    """Length of the longest run that both hold without a gap, over the length of the reference; 0 when one is empty."""
    if not reference or not reply:
        return 0.0
    matcher = difflib.SequenceMatcher(None, reference, reply, autojunk=False)
    return matcher.find_longest_match().size / len(reference)


def unigram_overlap(reference: Sequence[Hashable], reply: Sequence[Hashable]) -> float:
    """Share of the reply's tokens that the reference has too, each as often as both have it; 0 when one is empty.

    A precision: a reply of one right token scores 1.
    """
    if not reference or not reply:
        return 0.0
    return (collections.Counter(reference) & collections.Counter(reply)).total() / len(reply)


def rouge(reference: str, reply: str) -> Rouge:
    """Both scores of one pair of texts."""
    scores = _scorer().score(reference, reply)
    return Rouge(rouge1=float(scores["rouge1"].fmeasure), rouge_l=float(scores["rougeL"].fmeasure))


def sequence_measures(
    references: Sequence[str],
    replies: Sequence[str],
    with_call: Sequence[bool],
    encode: Callable[[str], Sequence[int]],
) -> dict[str, Measure]:
    """Means over all pairs, as the projects that use these scores report them.

    Args:
      references: what the model should have written, as it would have been trained.
      replies: what it wrote.
      with_call: whether the reference holds a call.
      encode: text to token ids, `<bos>` first.

    Returns:
      `common_run` of the pairs with a call, `unigram_overlap` of the others, `rouge1` and `rouge_l` of all; one that
      has no pairs is left out.

    Raises:
      ValueError: the lengths differ.
    """
    runs, overlaps, rouges = [], [], []
    for reference, reply, call in zip(references, replies, with_call, strict=True):
        ids = encode(reference.strip()), encode(reply.strip())
        if call:
            runs.append(common_run(*ids))
        else:
            overlaps.append(unigram_overlap(*ids))
        rouges.append(rouge(reference, reply))
    values = {
        "common_run": runs,
        "unigram_overlap": overlaps,
        "rouge1": [each.rouge1 for each in rouges],
        "rouge_l": [each.rouge_l for each in rouges],
    }
    return {name: Measure(value=statistics.fmean(found), count=len(found)) for name, found in values.items() if found}


@functools.cache
def _scorer() -> RougeScorer:
    return RougeScorer(["rouge1", "rougeL"], use_stemmer=False)
