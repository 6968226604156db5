"""Whatever is wrong with a row, its reader says so in a `Reject` or keeps a conversation that survives being stored.

`benchmarks/fuzz_readers.py` runs a hundred thousand of these mutations and commits what came of them.
"""

import collections
import dataclasses
import json
import random

import pytest
from row_mutations import mutate, nested, outcome_of
from source_rows import MCP, ROWS

from gemma_tool_use.conversation import Conversation, ToolSpec, tool_from_dict, tool_to_dict
from gemma_tool_use.data.sources import mcp
from gemma_tool_use.data.sources.registry import SOURCES

MUTATIONS = 1500
WRONG = {
    "nothing": None,
    "a number": 0,
    "a huge number": 10**5000,
    "no text": "",
    "a word": "x",
    "half a character": "\ud800",
    "bytes": b"x",
    "a list": [],
    "an object": {},
    "a deep list": nested(3000, "list"),
    "a deep text": "[" * 100_000,
}


def test_there_are_rows_of_every_source():
    assert SOURCES.keys() <= ROWS.keys()


@pytest.mark.parametrize("name", SOURCES)
def test_rows_of_the_true_shape_are_kept(name):
    for row in ROWS[name]:
        outcome = SOURCES[name].read(row, "rows.jsonl:1")
        assert isinstance(outcome, Conversation), outcome
        assert outcome_of(SOURCES[name], row) in ("kept", "not single-turn", "subset not asked for")


@pytest.mark.parametrize("name", SOURCES)
def test_no_mutated_row_gets_past_its_reader(name):
    rng, outcomes = random.Random(f"{name}:0"), collections.Counter()
    for i in range(MUTATIONS):
        outcomes[outcome_of(SOURCES[name], mutate(ROWS[name][i % len(ROWS[name])], rng))] += 1
    # Too many kept would mean that the mutations miss what the reader reads, too few that it refuses everything.
    assert 0.05 < outcomes["kept"] / MUTATIONS < 0.9, outcomes
    assert len(outcomes) > 3, outcomes


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_a_row_of_one_wrong_value_is_rejected(name, value):
    source = SOURCES[name]
    assert outcome_of(source, dict.fromkeys((*source.columns, *source.optional), value)) != "kept"


@pytest.mark.parametrize("name", SOURCES)
def test_a_row_of_another_source_is_no_error(name):
    for rows in ROWS.values():
        for row in rows:
            outcome_of(SOURCES[name], row)


def test_no_mutated_answer_of_an_mcp_server_gets_past_its_reader():
    rng, outcomes = random.Random("mcp:0"), collections.Counter()
    for i in range(MUTATIONS):
        for tool in mcp.tools_of(mutate(MCP[i % len(MCP)], rng), "tools.json"):
            if isinstance(tool, ToolSpec):
                assert tool_from_dict(json.loads(json.dumps(tool_to_dict(tool), allow_nan=False))) == tool
            outcomes["kept" if isinstance(tool, ToolSpec) else tool.reason] += 1
    assert 0.1 < outcomes["kept"] / outcomes.total() < 0.9, outcomes


def test_an_error_that_escapes_a_reader_would_be_seen():
    def careless(row, where):
        raise KeyError("system")

    with pytest.raises(KeyError):
        outcome_of(dataclasses.replace(SOURCES["glaive"], read_row=careless), ROWS["glaive"][0])


def test_a_value_that_cannot_be_stored_would_be_seen():
    def careless(row, where):
        conversation = SOURCES["glaive"].read_row(row, where)
        return dataclasses.replace(conversation, meta={"day": float("nan")})

    with pytest.raises(ValueError, match="not JSON compliant"):
        outcome_of(dataclasses.replace(SOURCES["glaive"], read_row=careless), ROWS["glaive"][0])
