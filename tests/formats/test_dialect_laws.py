"""The laws of every dialect on random conversations: prefix, boundary, round trip, content stays content."""

import dataclasses
import json

import pytest
from hypothesis import given
from strategies import conversations, replies, texts

from gemma_tool_use.conversation import Conversation, Message, Segment, ToolCall, ToolSpec
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.formats.dialect import Dialect, split_turns
from gemma_tool_use.formats.dialects import DEFAULT_DIALECT, DIALECTS, get_dialect
from gemma_tool_use.formats.scan import guard, unguard

every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))


def joined(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments)


@every_dialect
@given(conversation=conversations())
def test_the_prompt_before_a_reply_is_a_prefix_and_training_starts_where_it_ends(
    dialect: Dialect, conversation: Conversation
) -> None:
    segments = dialect.segments(conversation)
    text = joined(segments)
    starts, position = [], 0
    trained_before = False
    for segment in segments:
        if segment.trained and not trained_before:
            starts.append(position)
        trained_before = segment.trained
        position += len(segment.text)
    prompts = []
    for index, message in enumerate(conversation.messages):
        if message.role == "assistant":
            cut = dataclasses.replace(conversation, messages=conversation.messages[:index])
            prompts.append(joined(dialect.prompt(cut)))
            assert text.startswith(prompts[-1])
    assert starts == [len(prompt) for prompt in prompts]


@every_dialect
@given(conversation=conversations())
def test_the_whole_conversation_is_a_prefix_of_its_own_prompt(dialect: Dialect, conversation: Conversation) -> None:
    assert joined(dialect.prompt(conversation)).startswith(joined(dialect.segments(conversation)))


@every_dialect
@given(conversation=conversations())
def test_what_is_trained_depends_on_the_reply_alone(dialect: Dialect, conversation: Conversation) -> None:
    trained = joined([segment for segment in dialect.segments(conversation) if segment.trained])
    alone = [joined(dialect.render_body(m)) for m in conversation.messages if m.role == "assistant"]
    assert trained == "".join(alone)


@every_dialect
@given(reply=replies())
def test_parsing_the_trained_text_gives_the_reply_back(dialect: Dialect, reply: Message) -> None:
    segments = dialect.segments(Conversation(messages=(Message(role="user", content="Hi"), reply)))
    text = joined([segment for segment in segments if segment.trained])
    for shown in (text, text + "anything behind the end tag <tool_call>"):
        parsed = dialect.parse(shown)
        assert parsed.errors == ()
        assert typed(parsed.calls) == typed(reply.calls)
        assert parsed.text == reply.content.strip()
        assert parsed.reasoning == reply.reasoning.strip()
        assert parsed.raw == shown


def typed(calls: tuple[ToolCall, ...]) -> list[tuple[str, str]]:
    """Names and arguments such that 1, 1.0 and True differ, and the order of keys does not matter."""
    return [(call.name, json.dumps(call.arguments, sort_keys=True)) for call in calls]


@every_dialect
@given(reply=replies())
def test_a_body_starts_and_ends_without_white_space_and_holds_a_stop_text_only_as_its_end(
    dialect: Dialect, reply: Message
) -> None:
    *body, end = dialect.render_body(reply)
    assert end.control and end.text in dialect.stop_texts
    text = joined(body)
    assert text == text.strip()
    assert not any(stop in text for stop in dialect.stop_texts)


@every_dialect
@given(text=texts)
def test_words_of_users_tools_schemas_and_models_are_never_in_a_control_segment(dialect: Dialect, text: str) -> None:
    for segment in dialect.segments(conversation_of(f"QX{text}QX")):
        assert not (segment.control and "QX" in segment.text)


def conversation_of(text: str) -> Conversation:
    schema = {"type": "object", "properties": {text: {"type": "string", "description": text, "enum": [text]}}}
    call = ToolCall(name=text, arguments={text: [text, {text: text}]})
    return Conversation(
        tools=(ToolSpec(name=text, description=text, parameters=schema),),
        messages=(
            Message(role="system", content=text),
            Message(role="user", content=text),
            Message(role="assistant", content=text, reasoning=text, calls=(call,)),
            Message(role="tool", content=text),
            Message(role="system", content=text),
            Message(role="assistant", content=text),
        ),
    )


@given(text=texts)
def test_guarding_is_undone_by_unguarding_and_leaves_no_tag(text: str) -> None:
    tags = ("<tool_call>", "</tool_call>", "<end_of_turn>", "```tool_code", "\nAction:")
    guarded = guard(text, tags)
    assert unguard(guarded, tags) == text
    assert not any(tag in guarded for tag in tags)


@given(conversation=conversations())
def test_turns_hold_every_message_once_and_name_every_result(conversation: Conversation) -> None:
    turns = split_turns(conversation)
    messages = [message for turn in turns for message in (*turn.messages, turn.reply) if message is not None]
    assert [(m.role, m.content) for m in messages] == [(m.role, m.content) for m in conversation.messages]
    assert all(message.name for message in messages if message.role == "tool")
    assert turns[-1].reply is None


@every_dialect
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_number_is_refused_when_rendered(dialect: Dialect, value: float) -> None:
    reply = Message(role="assistant", calls=(ToolCall(name="f", arguments={"a": [{"b": value}]}),))
    with pytest.raises(DataError, match="not finite"):
        dialect.segments(Conversation(messages=(reply,)))


@every_dialect
@pytest.mark.parametrize(
    "value", [(1, 2), {1: 2}, b"x", 10**5000, object()], ids=["tuple", "key", "bytes", "long", "object"]
)
def test_what_is_no_json_value_is_refused_when_rendered(dialect: Dialect, value: object) -> None:
    reply = Message(role="assistant", calls=(ToolCall(name="f", arguments={"a": value}),))
    with pytest.raises(DataError):
        dialect.segments(Conversation(messages=(reply,)))


@every_dialect
def test_half_a_surrogate_pair_is_refused_when_rendered(dialect: Dialect) -> None:
    with pytest.raises(DataError, match="surrogate"):
        dialect.prompt(Conversation(messages=(Message(role="user", content="a\ud800b"),)))


@every_dialect
def test_a_result_without_a_name_or_a_call_is_refused(dialect: Dialect) -> None:
    with pytest.raises(DataError, match="no function name"):
        dialect.segments(Conversation(messages=(Message(role="user"), Message(role="tool", content="3"))))


def test_dialects_are_found_by_name_and_a_misspelt_one_is_suggested() -> None:
    assert all(get_dialect(name).name == name for name in DIALECTS)
    assert DEFAULT_DIALECT in DIALECTS
    with pytest.raises(ConfigError, match=r"no dialect 'hermez'. Did you mean 'hermes'\? Known: functiongemma, "):
        get_dialect("hermez")
