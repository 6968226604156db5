"""What every dialect shares: from three things a dialect writes, the training text and the prompt are derived.

    dialect = get_dialect("gemma_json")
    dialect.prompt(conversation)       # all messages, then the opening of the next model turn
    dialect.segments(conversation)     # all messages; each model turn's body is marked trained
    dialect.parse("Hi!<end_of_turn>")  # Reply(raw="Hi!<end_of_turn>", text="Hi!")

A conversation is cut into turns: the messages since the model's last reply, and the reply. The opening of a turn is
shown to the model, the body is what it must learn, its end tag included. A body starts and ends without white space
(contents and reasoning are stripped), so no merge of the tokenizer can cross the place where training starts. The
newline after the end tag belongs to the next opening and is not trained. `<bos>` is never written; `encode` adds it.
"""

import abc
import dataclasses
from collections.abc import Iterable
from typing import ClassVar, final

from gemma_tool_use.conversation import Conversation, Message, Reply, Segment, ToolSpec
from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.scan import Findings, cut_at_stop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turn:
    """The messages between two replies of the model, and the reply.

    Attributes:
      messages: system, user and tool messages since `previous`, in order; every tool message has a name.
      reply: what the model answered; None when the conversation ends before it.
      tools: the tools offered; empty in all turns but the first.
      previous: the model's reply before `messages`; None in the first turn.
    """

    messages: tuple[Message, ...]
    reply: Message | None
    tools: tuple[ToolSpec, ...]
    previous: Message | None

    def split_system(self) -> tuple[list[str], tuple[Message, ...]]:
        """The texts of the system messages a conversation begins with, and the other messages of this turn."""
        count = 0
        if self.previous is None:
            while count < len(self.messages) and self.messages[count].role == "system":
                count += 1
        texts = [message.content.strip() for message in self.messages[:count]]
        return [text for text in texts if text], self.messages[count:]


class Dialect(abc.ABC):
    """One way of writing tools and calls as text: renders, parses and masks.

    Attributes:
      name: the registry's name.
      stop_texts: generation ends at the first of these, and `parse` ignores everything from there on.
      control_texts: control pieces a tokenizer should have for this dialect; others are encoded as plain text.
      between_turns: what follows a reply's end tag, before the next turn; shown, not trained.
    """

    name: ClassVar[str]
    stop_texts: ClassVar[tuple[str, ...]]
    control_texts: ClassVar[tuple[str, ...]]
    between_turns: ClassVar[str] = "\n"

    @abc.abstractmethod
    def render_context(self, turn: Turn) -> list[Segment]:
        """System text, tools and the turn's messages."""

    @abc.abstractmethod
    def render_opening(self, turn: Turn) -> list[Segment]:
        """What stands between the context and the first character of the model's body."""

    @abc.abstractmethod
    def render_body(self, reply: Message) -> list[Segment]:
        """The reply as the model must write it, end tag included."""

    @abc.abstractmethod
    def read_body(self, body: str, findings: Findings) -> None:
        """Collects text, reasoning, calls and errors from a body that was cut at the first stop text."""

    @final
    def render_turn(self, turn: Turn) -> tuple[list[Segment], list[Segment]]:
        """The opening (shown to the model) and the body (trained; empty when there is no reply yet)."""
        body = self.render_body(turn.reply) if turn.reply is not None else []
        opening = [*self._before(turn), *self.render_opening(turn)]
        return opening, [dataclasses.replace(segment, trained=True) for segment in body]

    @final
    def segments(self, conversation: Conversation) -> list[Segment]:
        """The whole conversation; trained exactly where the model wrote.

        Raises:
          DataError: a value no dialect can write (a non-finite number, a lone surrogate, nesting too deep), or a tool
            result that belongs to no call.
        """
        *finished, last = split_turns(conversation)
        return _checked([*self._finished(finished), *(self._before(last) if last.messages or last.tools else [])])

    @final
    def prompt(self, conversation: Conversation) -> list[Segment]:
        """All messages, then the opening of the next model turn; joined, a prefix of any continuation's `segments`.

        Raises:
          DataError: as `segments`.
        """
        *finished, last = split_turns(conversation)
        return _checked([*self._finished(finished), *self.render_turn(last)[0]])

    @final
    def parse(self, text: str) -> Reply:
        """What a model wrote, as far as it can be read. Never raises; time is linear in the text.

        A call that cannot be read, is not closed or has a key twice is an entry of `errors`.
        """
        findings = Findings()
        self.read_body(cut_at_stop(text, self.stop_texts), findings)
        return Reply(
            raw=text,
            text="\n".join(findings.texts),
            reasoning="\n".join(findings.reasonings),
            calls=tuple(findings.calls),
            errors=tuple(findings.errors),
        )

    def _before(self, turn: Turn) -> list[Segment]:
        lead = [tag(self.between_turns)] if turn.previous is not None else []
        return [*lead, *self.render_context(turn)]

    def _finished(self, turns: list[Turn]) -> Iterable[Segment]:
        for turn in turns:
            opening, body = self.render_turn(turn)
            yield from opening
            yield from body


def tag(text: str) -> Segment:
    """The dialect's own text, whose turn tags become control tokens."""
    return Segment(text, control=True)


def said(text: str) -> Segment:
    """Text of a user, tool, schema or model; a turn tag in it stays ordinary text."""
    return Segment(text)


def join(parts: Iterable[list[Segment]], separator: Segment) -> list[Segment]:
    """The parts with the separator between them."""
    result: list[Segment] = []
    for part in parts:
        if result:
            result.append(separator)
        result += part
    return result


def split_turns(conversation: Conversation) -> list[Turn]:
    """The turns of a conversation; the last one always has no reply (and, after a reply, no messages).

    Messages user, assistant, user give two turns: (user; assistant) and (user; no reply).
    """
    turns: list[Turn] = []
    pending: list[Message] = []
    tools, previous = conversation.tools, None
    for message in conversation.messages:
        if message.role != "assistant":
            pending.append(message)
            continue
        turns.append(Turn(messages=_named(pending, previous), reply=message, tools=tools, previous=previous))
        pending, tools, previous = [], (), message
    return [*turns, Turn(messages=_named(pending, previous), reply=None, tools=tools, previous=previous)]


def _named(messages: list[Message], previous: Message | None) -> tuple[Message, ...]:
    """Gives a result without a function name the name of the call at its position."""
    calls = iter(previous.calls if previous is not None else ())
    result = []
    for message in messages:
        if message.role == "tool":
            call = next(calls, None)
            if message.name is None:
                if call is None:
                    raise DataError(
                        "a tool message has no function name and no call it could answer: "
                        f"{message.content[:60]!r}; set its name or drop the row"
                    )
                message = dataclasses.replace(message, name=call.name)
        result.append(message)
    return tuple(result)


def _checked(segments: list[Segment]) -> list[Segment]:
    """Without empty segments, neighbours of the same kind joined; refuses what cannot be written as UTF-8."""
    result: list[Segment] = []
    for segment in segments:
        if not segment.text:
            continue
        try:
            segment.text.encode()
        except UnicodeEncodeError as error:
            where = segment.text[max(0, error.start - 20) : error.start + 20]
            raise DataError(f"text holds half of a surrogate pair, which no tokenizer can encode: {where!r}") from None
        last = result[-1] if result else None
        if last is not None and (last.trained, last.control) == (segment.trained, segment.control):
            result[-1] = dataclasses.replace(last, text=last.text + segment.text)
        else:
            result.append(segment)
    return result
