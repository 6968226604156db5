"""How messages become turns: Gemma's two alternating roles, or a turn for each role; dialects derive from these."""

import abc
import dataclasses
import itertools
from collections.abc import Sequence
from typing import ClassVar, final

from gemma_tool_use.conversation import Message, Segment, ToolSpec
from gemma_tool_use.formats.dialect import Dialect, Turn, join, said, tag
from gemma_tool_use.formats.json_value import write_json
from gemma_tool_use.formats.scan import Findings
from gemma_tool_use.formats.tagged_calls import TaggedCalls

START_OF_TURN, END_OF_TURN = "<start_of_turn>", "<end_of_turn>"


class GemmaTurns(Dialect):
    """Gemma's turns, `user` and `model` alternating (https://ai.google.dev/gemma/docs/core/prompt-structure).

    Gemma has no system role: everything between two replies is one user turn, its parts separated by a blank line.
    In the first one the texts of the leading system messages come first, then the tools, then the rest in order; it is
    written even when an assistant message comes first, if there are tools or system text. Two user messages in a row,
    a system message in the middle, a question right after tool results: parts of the same turn. Consecutive results
    are parted by one newline. Empty texts leave no blank lines.
    """

    control_texts: ClassVar[tuple[str, ...]] = (START_OF_TURN, END_OF_TURN)
    tools_before_system: ClassVar[bool] = False
    result_role: ClassVar[str] = "user"

    @abc.abstractmethod
    def tools_block(self, tools: Sequence[ToolSpec]) -> list[Segment]:
        """The offered tools (at least one), without a newline at the end."""

    @abc.abstractmethod
    def result_block(self, name: str, content: str) -> list[Segment]:
        """One tool result, without a newline at the end."""

    @final
    def render_context(self, turn: Turn) -> list[Segment]:
        system, messages = turn.split_system()
        head = [[said("\n\n".join(system))]] if system else []
        if turn.tools:
            head.insert(0 if self.tools_before_system else len(head), self.tools_block(turn.tools))
        turns: list[tuple[str, list[list[Segment]]]] = [("user", head)] if head else []
        for is_result, group in itertools.groupby(messages, lambda message: message.role == "tool"):
            for role, part in self._parts(is_result, list(group)):
                if not turns or turns[-1][0] != role or role == "tool":
                    turns.append((role, []))
                turns[-1][1].extend([part] if part else [])
        return [
            segment
            for role, parts in turns
            for segment in [tag(f"{START_OF_TURN}{role}\n"), *join(parts, tag("\n\n")), tag(f"{END_OF_TURN}\n")]
        ]

    def _parts(self, is_result: bool, messages: list[Message]) -> list[tuple[str, list[Segment]]]:
        if not is_result:
            texts = [message.content.strip() for message in messages]
            return [("user", [said(text)] if text else []) for text in texts]
        results = [self.result_block(message.name or "", message.content) for message in messages]
        if self.result_role == "user":
            return [("user", join(results, tag("\n")))]
        return [(self.result_role, result) for result in results]

    @final
    def render_opening(self, turn: Turn) -> list[Segment]:
        return [tag(f"{START_OF_TURN}model\n")]


class RoleTurns(Dialect):
    """A turn for each message: system, user, assistant, tool.

    Tools and the leading system messages share the first system turn (system text first, a blank line, the tools);
    later system messages are system turns of their own. Consecutive results share a turn, one newline between.
    """

    opening_tag: ClassVar[str]
    end_tag: ClassVar[str]
    calls: ClassVar[TaggedCalls]
    result_role: ClassVar[str] = "tool"

    @abc.abstractmethod
    def tools_block(self, tools: Sequence[ToolSpec]) -> list[Segment]:
        """The offered tools (at least one), without a newline at the end."""

    @abc.abstractmethod
    def result_block(self, name: str, content: str) -> list[Segment]:
        """One tool result, without a newline at the end."""

    @final
    def render_context(self, turn: Turn) -> list[Segment]:
        system, messages = turn.split_system()
        head = [[said("\n\n".join(system))]] if system else []
        if turn.tools:
            head.append(self.tools_block(turn.tools))
        turns = [("system", join(head, tag("\n\n")))] if head else []
        for is_result, group in itertools.groupby(messages, lambda message: message.role == "tool"):
            if is_result:
                results = [self.result_block(message.name or "", message.content) for message in group]
                turns.append((self.result_role, join(results, tag("\n"))))
            else:
                turns += [(message.role, [said(message.content.strip())]) for message in group]
        return [
            segment
            for role, content in turns
            for segment in [tag(self.opening_tag.format(role=role)), *content, tag(f"{self.end_tag}\n")]
        ]

    @final
    def render_opening(self, turn: Turn) -> list[Segment]:
        return [tag(self.opening_tag.format(role="assistant"))]

    def render_body(self, reply: Message) -> list[Segment]:
        return [said(self.calls.write_body(reply)), tag(self.end_tag)]

    @final
    def read_body(self, body: str, findings: Findings) -> None:
        self.calls.read_body(body, findings)


class ZephyrTurns(RoleTurns):
    """Zephyr's role lines, each turn ended by the tokenizer's end of sequence, which is `<eos>` for Gemma.

    Template: https://huggingface.co/HuggingFaceH4/zephyr-7b-beta. The system turn lists the tools, one JSON object per
    line, and says how to call one.
    """

    # A model that runs on instead of ending its turn writes the next role line.
    stop_texts: ClassVar[tuple[str, ...]] = ("<eos>", "<|user|>", "<|tool|>")
    control_texts: ClassVar[tuple[str, ...]] = ("<eos>",)
    opening_tag: ClassVar[str] = "<|{role}|>\n"
    end_tag: ClassVar[str] = "<eos>"
    how_to_call: ClassVar[str]

    @final
    def tools_block(self, tools: Sequence[ToolSpec]) -> list[Segment]:
        lines = "\n".join(write_json(dataclasses.asdict(tool)) for tool in tools)
        return [tag("Available tools:\n"), said(lines), tag(f"\n{self.how_to_call}")]
