"""The real bfcl-eval beside our rule, our prompts and our result files. `benchmarks/bfcl_rule.py` compares far more."""

import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import pytest
from bfcl_mutations import mutate, right_answers

from gemma_tool_use.bfcl_files import INSTALL, PACKAGE
from gemma_tool_use.conversation import Conversation, Reply, ToolCall, ToolSpec
from gemma_tool_use.evaluation.bfcl import official
from gemma_tool_use.evaluation.bfcl.expected import from_json
from gemma_tool_use.evaluation.bfcl.suite import CATEGORIES, BfclSuite
from gemma_tool_use.evaluation.records import Answer, Item, Result
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.settings import environment_without_secrets

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason=f"install the questions: {INSTALL}"),
]

QUESTIONS = 40
"""Of each category; all of the small ones."""


def reply(item: Item, rng: random.Random, raw: str) -> Reply:
    """A right answer, a changed one, words, or a broken call."""
    right = right_answers(from_json(item.expected), item.language)
    offered = [{"name": tool.name, "parameters": tool.parameters} for tool in item.conversation.tools]
    choice = rng.randrange(8)
    calls: Any = right[0] if choice < 2 else []
    if not item.expected:
        calls = [("f", {"a": [1]})] if choice < 4 else []
    elif choice in (2, 3, 4, 5):
        calls = mutate(rng.choice(right), offered, item.language, rng)[1]
    made = tuple(ToolCall(name=name or "x", arguments=arguments) for name, arguments in calls)
    errors = ("a call is not closed",) if choice in (3, 7) else ()
    return Reply(raw=raw, text="said", calls=made, errors=errors)


@pytest.mark.parametrize("prompt", [False, True])
def test_bfcl_eval_has_the_same_verdict_on_every_question(tmp_path: Path, prompt: bool):
    suite = BfclSuite(categories=CATEGORIES, limit=QUESTIONS, official_prompt=prompt)
    rng, canary = random.Random(5), tmp_path / "canary"
    # bfcl-eval's own decoder evaluates this while it looks for calls.
    code = f"[f(x=open({str(canary)!r}, 'w').write('x') + 1)]"
    results = []
    for item in suite.items():
        made = reply(item, rng, code)
        answer = Answer(item_id=item.id, text=made.raw, prompt_tokens=1, new_tokens=1)
        results.append(Result(item=item, answer=answer, reply=made, verdict=suite.judge(item, made)))
    counts = official.write_result_files(results, tmp_path)
    scores = official.score(
        tmp_path, official.kind_of(results), counts, environment=environment_without_secrets(), python=None
    )
    assert not canary.exists()
    for category in CATEGORIES:
        here = [result for result in results if result.item.category == category]
        wrong = {result.item.id for result in here if not result.verdict.official}
        assert set(scores[category].failed) == wrong, category
        assert (scores[category].total, scores[category].correct) == (len(here), len(here) - len(wrong))
        assert 0 < len(wrong) < len(here)


def test_the_dialect_python_calls_writes_the_packages_own_prompt():
    dialect = get_dialect("python_calls")
    for item in BfclSuite(categories=CATEGORIES, limit=5, official_prompt=True).items():
        shown = "".join(segment.text for segment in dialect.prompt(item.conversation))
        system, *others = item.conversation.messages
        _, _, listed = system.content.partition("that you can invoke.\n")
        tools = tuple(ToolSpec(**function) for function in json.loads(listed))
        if tools:
            again = dialect.prompt(Conversation(messages=tuple(others), tools=tools))
            assert "".join(segment.text for segment in again) == shown
