"""Gemma's turns in the turn tags of another family, so that every dialect can be trained on every model.

    dialect = in_turns_of(get_dialect("gemma_json"), tokenizer)      # itself, with Gemma's tokenizer

    Gemma      <start_of_turn>user\\nHi<end_of_turn>\\n<start_of_turn>model\\n         Hello<end_of_turn>
    ChatML     <|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n              Hello<|im_end|>
    Llama 3    <|start_header_id|>user<|end_header_id|>\\n\\nHi<|eot_id|>...           Hello<|eot_id|>
    Llama 2    [INST] Hi [/INST]                                                     Hello</s>

Only the tags between turns change; how tools and calls are written stays the dialect's. A dialect with turn tags of its
own (`hermes`) keeps them. Sources: the chat templates of Qwen/Qwen3-0.6B, meta-llama/Llama-3.1-8B-Instruct and
mistralai/Mistral-7B-Instruct-v0.1. Of the last, the space behind [/INST] is left out: a body starts where a piece does.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import final

from gemma_tool_use.conversation import Message, Segment
from gemma_tool_use.formats.dialect import Dialect, Turn
from gemma_tool_use.formats.layouts import END_OF_TURN, START_OF_TURN
from gemma_tool_use.formats.scan import Findings, guard, unguard
from gemma_tool_use.formats.special_pieces import SpecialPieces
from gemma_tool_use.formats.tokenizer_base import Tokenizer

_EOS = "<eos>"
_TAG = re.compile(f"{START_OF_TURN}(\\w+)\n|{END_OF_TURN}\n?|{_EOS}")
_ROLES = {"model": "assistant", "developer": "system"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TurnTags:
    """What stands around a turn.

    Attributes:
      opening: before the text; "{role}" is the role.
      closing: behind the text of a turn that is not the model's.
      model_opening, model_closing: around the model's; the closing is what it learns to stop with.
      between: behind the model's closing, before the next turn.
    """

    opening: str
    closing: str
    model_opening: str
    model_closing: str
    between: str


_HEADER = "<|start_header_id|>{role}<|end_header_id|>\n\n"
_TAGS: Mapping[str, TurnTags] = {
    "ChatML": TurnTags(
        opening="<|im_start|>{role}\n",
        closing="<|im_end|>\n",
        model_opening="<|im_start|>assistant\n",
        model_closing="<|im_end|>",
        between="\n",
    ),
    "Llama 3": TurnTags(
        opening=_HEADER,
        closing="<|eot_id|>",
        model_opening=_HEADER.format(role="assistant"),
        model_closing="<|eot_id|>",
        between="",
    ),
    "Llama 2 or Mistral": TurnTags(
        opening="[INST] ", closing=" [/INST]", model_opening="", model_closing="</s>", between=""
    ),
}


def in_turns_of(dialect: Dialect, tokenizer: Tokenizer) -> Dialect:
    """The dialect as it is written for the tokenizer's family; itself where nothing changes."""
    tags = _TAGS.get(tokenizer.special.family)
    if tags is None or not {START_OF_TURN, _EOS} & {*dialect.control_texts, *dialect.stop_texts}:
        return dialect
    return RetaggedDialect(dialect, tags, tokenizer.special)


@final
class RetaggedDialect(Dialect):
    """A dialect with other turn tags. Its name, and all but the turn tags, are those of `inner`."""

    def __init__(self, inner: Dialect, tags: TurnTags, special: SpecialPieces):
        self._inner, self._tags, self._special = inner, tags, special
        written = {START_OF_TURN: "", END_OF_TURN: tags.model_closing, _EOS: special.eos}
        # The base class has these for a class; here they follow from two objects.
        self.name = inner.name  # pyright: ignore[reportAttributeAccessIssue]
        self.stop_texts = tuple(written.get(text, text) for text in inner.stop_texts)  # pyright: ignore[reportAttributeAccessIssue]
        self.control_texts = tuple(  # pyright: ignore[reportAttributeAccessIssue]
            text for text in (written.get(text, text) for text in inner.control_texts) if text
        )
        self.between_turns = tags.between if START_OF_TURN in inner.control_texts else inner.between_turns  # pyright: ignore[reportAttributeAccessIssue]

    def render_context(self, turn: Turn) -> list[Segment]:
        return self._retag(self._inner.render_context(turn), "user")

    def render_opening(self, turn: Turn) -> list[Segment]:
        return self._retag(self._inner.render_opening(turn), "model")

    def render_body(self, reply: Message) -> list[Segment]:
        # `inner` keeps its own stop texts out of a body; these are others.
        return [
            segment if segment.control else dataclasses.replace(segment, text=guard(segment.text, self.stop_texts))
            for segment in self._retag(self._inner.render_body(reply), "model")
        ]

    def read_body(self, body: str, findings: Findings) -> None:
        self._inner.read_body(unguard(body, self.stop_texts), findings)

    def _retag(self, segments: list[Segment], role: str) -> list[Segment]:
        """`role`: whose turn it is until the first tag says otherwise."""
        current = role

        def write(match: re.Match[str]) -> str:
            nonlocal current
            if match[0] == _EOS:
                return self._special.eos
            if match[1]:
                current = match[1]
                if current == "model":
                    return self._tags.model_opening
                return self._tags.opening.format(role=_ROLES.get(current, current))
            return self._tags.model_closing if current == "model" else self._tags.closing

        return [
            dataclasses.replace(segment, text=_TAG.sub(write, segment.text)) if segment.control else segment
            for segment in segments
        ]
