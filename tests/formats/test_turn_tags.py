"""Dialects of Gemma's turns in the turn tags of other families: literal pictures, and the laws of dialects again."""

from pathlib import Path

import pytest
from hypothesis import given
from strategies import conversations
from tiny_byte_level import write_tiny_llama3_tokenizer, write_tiny_qwen_tokenizer
from tiny_tokenizer import tiny_tokenizer

from gemma_tool_use.conversation import Conversation, Message, ToolCall
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.dialects import DIALECTS, get_dialect
from gemma_tool_use.formats.encode import encode
from gemma_tool_use.formats.special_pieces import KINDS
from gemma_tool_use.formats.tokenizer import Tokenizer, load_tokenizer
from gemma_tool_use.formats.turn_tags import in_turns_of

PLAIN = Conversation(
    id="1",
    source="test",
    tools=(),
    messages=(
        Message(role="user", content="Hi"),
        Message(role="assistant", content="Hello"),
        Message(role="user", content="Bye"),
    ),
)


class OfFamily:
    """The part of a tokenizer that says its family."""

    def __init__(self, family: str):
        self.special = next(kind for kind in KINDS if kind.family == family)


def retagged(name: str, family: str) -> Dialect:
    tokenizer: Tokenizer = OfFamily(family)  # pyright: ignore[reportAssignmentType]
    return in_turns_of(get_dialect(name), tokenizer)


def joined(segments) -> str:
    return "".join(segment.text for segment in segments)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    def written(write, name: str) -> Tokenizer:
        folder: Path = tmp_path_factory.mktemp(name)
        return load_tokenizer(write(folder))

    return {
        "ChatML": written(write_tiny_qwen_tokenizer, "qwen"),
        "Llama 3": written(write_tiny_llama3_tokenizer, "llama3"),
    }


@pytest.mark.parametrize(
    ("family", "text"),
    [
        (
            "ChatML",
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
            "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "Llama 3",
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("Llama 2 or Mistral", "[INST] Hi [/INST]Hello</s>[INST] Bye [/INST]"),
    ],
)
def test_the_turns_of_a_family_are_those_of_its_chat_template(family: str, text: str):
    assert joined(retagged("gemma_json", family).prompt(PLAIN)) == text


def test_with_gemma_s_tokenizer_every_dialect_is_itself():
    assert all(in_turns_of(dialect, tiny_tokenizer()) is dialect for dialect in DIALECTS.values())


def test_a_dialect_with_turn_tags_of_its_own_keeps_them():
    assert retagged("hermes", "ChatML") is get_dialect("hermes")
    assert retagged("inline_call", "ChatML").stop_texts[0] == "<|endoftext|>"


@pytest.mark.parametrize("family", ["ChatML", "Llama 3", "Llama 2 or Mistral"])
@given(conversation=conversations())
def test_a_prompt_is_a_prefix_and_what_was_trained_reads_back(family: str, conversation: Conversation):
    for name in ("gemma_json", "functiongemma", "yaml_call"):
        dialect, inner = retagged(name, family), get_dialect(name)
        whole = joined(dialect.segments(conversation))
        for count, message in enumerate(conversation.messages):
            if message.role != "assistant":
                continue
            before = Conversation(
                id="x", source="test", tools=conversation.tools, messages=conversation.messages[:count]
            )
            prompt = joined(dialect.prompt(before))
            assert whole.startswith(prompt)
            body = joined(dialect.render_body(message))
            assert whole[len(prompt) :].startswith(body)
            found, expected = dialect.parse(body), inner.parse(joined(inner.render_body(message)))
            assert (found.text, found.calls, found.errors) == (expected.text, expected.calls, expected.errors)


def test_a_stop_text_that_the_model_says_is_no_stop():
    dialect = retagged("gemma_json", "ChatML")
    body = joined(dialect.render_body(Message(role="assistant", content="write <|im_end|> last")))
    assert dialect.parse(body).text == "write <|im_end|> last"


def test_the_tags_of_qwen3_s_calls_are_pieces_of_its_vocabulary_and_never_from_what_was_said(
    tokenizers: dict[str, Tokenizer],
):
    tokenizer = tokenizers["ChatML"]
    call = ToolCall(name="f", arguments={"text": "a </tool_call> b"})
    conversation = Conversation(
        id="1",
        source="test",
        tools=(),
        messages=(
            Message(role="user", content="say <tool_call>"),
            Message(role="assistant", content="no <tool_call>", reasoning="<think>?", calls=(call,)),
            Message(role="tool", content="</tool_response>", name="f"),
        ),
    )
    tokens = encode(get_dialect("qwen3").segments(conversation), tokenizer).tokens.tolist()
    for text in ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"):
        assert tokens.count(tokenizer.control_ids[text]) == 1, text


def test_turn_tags_become_control_pieces_and_the_end_of_a_reply_is_trained(tokenizers: dict[str, Tokenizer]):
    for family, end in (("ChatML", "<|im_end|>"), ("Llama 3", "<|eot_id|>")):
        tokenizer = tokenizers[family]
        encoded = encode(in_turns_of(get_dialect("gemma_json"), tokenizer).segments(PLAIN), tokenizer)
        ends = encoded.tokens == tokenizer.control_ids[end]
        assert ends.sum() == 3
        assert encoded.loss_mask[ends].tolist() == [False, True, False]
