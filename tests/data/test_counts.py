"""Counts that add up, and the shares at which a run stops."""

import pytest

from gemma_tool_use.conversation import Conversation, Message
from gemma_tool_use.data import rejects, rules
from gemma_tool_use.data.counts import Tally
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.errors import DataError

CONVERSATION = Conversation(id="r1", messages=(Message(role="user", content="hi"),))


def test_a_tally_adds_up_and_lists_kept_first():
    tally = Tally()
    for outcome in [Reject(reason="x"), Reject(reason="y"), Reject(reason="x"), CONVERSATION]:
        tally.add(outcome)
    assert list(tally.ordered().items()) == [("kept", 1), ("x", 2), ("y", 1)]
    assert tally.rows == sum(tally.ordered().values()) == 4


def test_only_unreadable_rows_count_towards_the_bad_share():
    tally = Tally()
    for outcome in [CONVERSATION, Reject(reason=rules.OTHER_SUBSET), Reject(reason=rules.OTHER_SUBSET)]:
        tally.add(outcome)
    tally.check("data", 0.0)
    tally.add(Reject(id="r7", reason=rejects.BROKEN_TOOLS, detail="...", where="f row 3"))
    tally.check("data", 0.25)
    with pytest.raises(DataError, match=r"1 of 4 rows cannot be read.*f row 3 \(id 'r7'\)"):
        tally.check("data", 0.24)


def test_no_rows_and_none_kept_are_errors():
    tally = Tally()
    with pytest.raises(DataError, match="data holds no rows"):
        tally.check("data", 1)
    tally.add(Reject(reason=rules.OTHER_SUBSET))
    with pytest.raises(DataError, match=r"none of 1 rows is kept \(1 x subset not asked for\)"):
        tally.check("data", 1)
