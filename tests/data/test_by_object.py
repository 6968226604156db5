"""What is remembered is of the very object, and is forgotten before it is too much."""

import dataclasses

from gemma_tool_use.conversation import Message, ToolSpec
from gemma_tool_use.data.by_object import ByObject
from gemma_tool_use.data.row_text import json_text, messages_text, tools_text

TOOL = ToolSpec(name="now", parameters={"type": "object"})


def test_an_equal_object_is_another():
    known: ByObject[int] = ByObject()
    known.put(TOOL, 7)
    assert known.get(TOOL) == 7
    assert known.get(dataclasses.replace(TOOL)) is None


def test_no_new_object_is_taken_for_one_that_is_gone():
    known: ByObject[int] = ByObject(most=10_000)
    for number in range(1000):
        tool = ToolSpec(name=str(number))
        assert known.get(tool) is None
        known.put(tool, number)


def test_it_holds_no_more_than_it_may():
    known: ByObject[int] = ByObject(most=3)
    tools = [ToolSpec(name=str(number)) for number in range(7)]
    for number, tool in enumerate(tools):
        known.put(tool, number)
    assert [known.get(tool) for tool in tools] == [None] * 6 + [6]


def test_texts_are_those_of_the_whole_list_also_when_one_tool_has_a_number_that_is_too_long():
    long = ToolSpec(name="f", parameters={"default": 2**70})
    small = ToolSpec(name="g", parameters={"default": 1e-7, "é": "ü"})
    for tools in [(), (TOOL,), (small, TOOL, small), (small, long)]:
        function = [{"name": t.name, "description": t.description, "parameters": t.parameters} for t in tools]
        assert tools_text(tools) == json_text([{"type": "function", "function": each} for each in function])
    assert "1e-07" in tools_text((small, long))
    assert "1e-7" in tools_text((small,))
    assert messages_text((Message(role="user", content="é"),)) == '[{"role":"user","content":"é"}]'
