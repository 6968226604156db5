"""A model that writes garbage is scored, by every suite and in every dialect, and its scores and page are written."""

import json
import time

import pytest
from bfcl_package import write_package
from tiny_tokenizer import tiny_tokenizer

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.evaluation.answering import Asker, dialect_prompt
from gemma_tool_use.evaluation.bfcl.suite import BfclSuite
from gemma_tool_use.evaluation.evaluated import evaluate_in
from gemma_tool_use.evaluation.held_out import held_out_suite
from gemma_tool_use.evaluation.held_out_measures import measures, text_measures
from gemma_tool_use.evaluation.page.build import write_report
from gemma_tool_use.evaluation.records import read_results
from gemma_tool_use.formats.dialects import DIALECTS, get_dialect
from gemma_tool_use.inference.writing import Written

TOKENIZER = tiny_tokenizer()
DEEP = '{"a":' * 100_000
OPENINGS = ("<tool_call>", "<tool_call>\n", "[", "```tool_code\n", "Action: ", "<start_function_call>call:")
GARBAGE = [
    "",
    "\x00" * 50,
    "[" * 100_000,
    "the " * 20_000,
    "\ud800 half \udfff\ud800",
    "\u202e\ufffd\u2028\r\x1b[31m",
    "1e999 -0 NaN Infinity " + "9" * 5_000,
    *(opening + DEEP for opening in OPENINGS),
    *(opening * 1_000 for opening in OPENINGS),
    *(opening + '{"name": "roll", "args": {"sides": "\\ud800"}}' for opening in OPENINGS),
    '<tool_call>{"name": "roll", "name": "roll", "args": {}}</tool_call>',
    "[roll(sides=__import__('os').system('true'))]",
    f"[roll(sides={'(' * 50_000})]",
]
TOOLS = (ToolSpec(name="roll", parameters={"type": "object", "properties": {"sides": {"type": "integer"}}}),)
ROLL = Message(role="assistant", calls=(ToolCall(name="roll", arguments={"sides": 6}),))
ROWS = [
    Conversation(id=f"r{n}", tools=TOOLS, messages=(Message(role="user", content=f"Do {n}"), right))
    for n, right in enumerate(
        (ROLL, Message(role="assistant", content="Which die? 6 or 20?"))[n % 2] for n in range(len(GARBAGE))
    )
]


@pytest.fixture(scope="module")
def bfcl(tmp_path_factory):
    return BfclSuite(folder=write_package(tmp_path_factory.mktemp("bfcl")), categories=("simple_python", "irrelevance"))


def write(prompts, wanted, done):
    for number in wanted:
        done(number, Written(text=GARBAGE[number % len(GARBAGE)], new_tokens=1, seconds=0.1))


def valid(schema, arguments):
    return True


@pytest.mark.parametrize("name", DIALECTS)
def test_garbage_is_wrong_and_nothing_else(name, bfcl, tmp_path):
    dialect = get_dialect(name)
    suites = [held_out_suite(ROWS)[0], bfcl]

    def measures_of(suite, results):
        if suite != "held-out":
            return {}
        # The sequence scores look at texts only, which are the same in every dialect.
        more = text_measures(results, dialect, TOKENIZER) if name == "gemma_json" else {}
        return measures(results, check_arguments=valid) | more

    start = time.process_time()
    finished = evaluate_in(
        tmp_path / "evaluation" / "garbage",
        suites,
        {"dialect": name},
        lambda store: Asker(generate=write, prompt=dialect_prompt(dialect, TOKENIZER), identity={}, store=store),
        parse=dialect.parse,
        measures_of=measures_of,
    )
    assert finished.errors == 0
    assert len(read_results(finished.path / "results.jsonl")) == len(ROWS) + len(bfcl.items())
    calls = [result for result in finished.results if result.item.expected_calls]
    assert not any(result.verdict.strict for result in calls)
    json.loads((finished.path / "scores.json").read_text())
    if name == "hermes":
        assert write_report(finished.path).stat().st_size > 1000
    assert time.process_time() - start < 10
