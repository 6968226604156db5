"""The two splits share no wording, also not up to case, punctuation and placeholders; every wording can be filled."""

import dataclasses
import re
import string

import pytest

from gemma_tool_use.data.synthetic import schema_wordings
from gemma_tool_use.data.synthetic.talk import FACTS, TALK
from gemma_tool_use.data.synthetic.tools import BUILTIN_SKILLS
from gemma_tool_use.data.synthetic.wordings import JOINS
from gemma_tool_use.data.synthetic.wordings_heldout import HELDOUT
from gemma_tool_use.data.synthetic.wordings_train import TRAIN

FIELDS = [field.name for field in dataclasses.fields(TRAIN["calculate"])]


def core(wording: str) -> str:
    """`"Say \\"{text}\\", please."` becomes `say x please`: what is left when a wording differs only in looks."""
    return " ".join(re.findall(r"\w+", re.sub(r"\{\w+\}", " x ", wording).casefold()))


def placeholders(wording: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(wording) if name}


@pytest.mark.parametrize("tool", TRAIN)
def test_train_and_heldout_wordings_of_a_tool_are_disjoint(tool):
    every = {
        split: [core(wording) for field in FIELDS for wording in getattr(material[tool], field)]
        for split, material in (("train", TRAIN), ("heldout", HELDOUT))
    }
    assert not set(every["train"]) & set(every["heldout"])
    for field in FIELDS:
        wordings = [core(wording) for wording in getattr(TRAIN[tool], field) + getattr(HELDOUT[tool], field)]
        assert len(set(wordings)) == len(wordings)


@pytest.mark.parametrize("material", [TRAIN, HELDOUT])
def test_wordings_name_the_parameters_that_their_field_promises(material):
    assert set(material) == {skill.spec.name for skill in BUILTIN_SKILLS}
    for skill in BUILTIN_SKILLS:
        wordings, required = material[skill.spec.name], skill.spec.parameters["required"][0]
        optional = set(skill.sources) - {required}
        assert all({required} <= placeholders(w) <= {required} | optional for w in wordings.requests + wordings.clauses)
        assert all(placeholders(w) == {required, f"{required}_2"} for w in wordings.pairs)
        assert all(placeholders(w) <= optional for w in wordings.missing)
        assert all(w[0].islower() and w[-1] not in ".?!" for w in wordings.clauses)


def test_joins_and_small_talk_are_disjoint():
    assert not set(map(core, JOINS["train"])) & set(map(core, JOINS["heldout"]))
    assert not {core(user) for user, _ in TALK["train"]} & {core(user) for user, _ in TALK["heldout"]}
    for table in FACTS:
        assert not set(map(core, table.train)) & set(map(core, table.heldout))


def test_wordings_for_users_own_tools_are_disjoint():
    for wordings in (schema_wordings.WITH, schema_wordings.BARE, schema_wordings.CLAUSES):
        assert not set(map(core, wordings["train"])) & set(map(core, wordings["heldout"]))
    assert len(schema_wordings.WITH["train"]) >= 12 and len(schema_wordings.WITH["heldout"]) >= 6
