"""Names a model cannot be asked to write are mapped in the whole row, and the map gives them back exactly."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data.sources.names import is_writable, restore_names, writable_names, written_name

SAFE = frozenset(string.ascii_letters + string.digits + "_.-")


def row(offered, called, **fields):
    return Conversation(
        tools=tuple(ToolSpec(name=name) for name in offered),
        messages=(
            Message(role="user", content=f"Use {', '.join(offered)}"),
            Message(role="assistant", calls=tuple(ToolCall(name=name, arguments={"name": name}) for name in called)),
            *(Message(role="tool", content=name, name=name) for name in called),
            Message(role="tool", content="no name"),
        ),
        **fields,
    )


def names(conversation):
    return {
        *(tool.name for tool in conversation.tools),
        *(call.name for message in conversation.messages for call in message.calls),
        *(message.name for message in conversation.messages if message.name is not None),
    }


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Get Weather/now", "Get_Weather_now"),
        ("@scope/server%%tool", "scope_server_tool"),
        ("Café crème", "Cafe_creme"),
        ("日本", "tool_cf2abf0c"),
        ("/", "tool_8a5edab2"),
        ("", "tool_e3b0c442"),
        ("a" * 70, "a" * 55 + "_6bd5e503"),
        ("fine_name-1.2", "fine_name-1.2"),
    ],
)
def test_how_a_name_is_written(name, written):
    assert written_name(name) == written
    assert is_writable(written)


def test_tools_calls_and_results_change_together_and_text_does_not():
    before = row(["Get Weather", "now"], ["Get Weather"], meta={"lang": "en"})
    after = writable_names(before)
    assert [tool.name for tool in after.tools] == ["Get_Weather", "now"]
    assert after.messages[1].calls == (ToolCall(name="Get_Weather", arguments={"name": "Get Weather"}),)
    assert (after.messages[2].name, after.messages[2].content) == ("Get_Weather", "Get Weather")
    assert after.messages[0] == before.messages[0]
    assert after.messages[3].name is None
    assert after.meta == {"lang": "en", "names": {"Get_Weather": "Get Weather"}}
    assert restore_names(after) == before


def test_a_row_with_writable_names_is_returned_itself():
    before = row(["get_weather"], ["get_weather"])
    assert writable_names(before) is before
    assert restore_names(before) is before


def test_two_functions_never_get_one_name():
    before = row(["Get Weather", "Get_Weather", "Get/Weather", "Get  Weather"], ["Get/Weather", "undeclared tool"])
    after = writable_names(before)
    written = [tool.name for tool in after.tools]
    assert written[1] == "Get_Weather"
    assert len(set(written)) == 4
    assert after.messages[1].calls[0].name == written[2]
    assert restore_names(after) == before


def test_a_name_declared_twice_stays_declared_twice():
    after = writable_names(row(["a b", "a b"], []))
    assert [tool.name for tool in after.tools] == ["a_b", "a_b"]


def test_a_map_that_is_there_already_is_kept():
    once = writable_names(row(["a b"], []))
    assert writable_names(once) is once
    both = writable_names(row(["a_b", "c d"], [], meta=once.meta))
    assert both.meta["names"] == {"a_b": "a b", "c_d": "c d"}


NAMES = st.one_of(
    st.sampled_from(["a b", "a_b", "a/b", "a  b", "", "é", "日", "x" * 65, "x" * 64 + "é", "\ud83d", "A B"]),
    st.text(max_size=70),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(NAMES, max_size=6), st.lists(NAMES, max_size=4))
def test_any_names_become_writable_distinct_and_come_back(offered, called):
    before = row(offered, called)
    after = writable_names(before)
    assert all(0 < len(name) <= 64 and SAFE.issuperset(name) for name in names(after))
    assert len(names(after)) == len(names(before))
    assert restore_names(after) == before
    assert writable_names(before) == after
    assert writable_names(after) is after
