"""Bodies of the form reasoning, text, calls in tags: `<tool_call>` ... `</tool_call>` and its like.

<think>
reasoning
</think>
text
<tool_call>
{"name": "f", "args": {}}
</tool_call>
"""

import dataclasses
from collections.abc import Callable, Sequence

from gemma_tool_use.conversation import Message, ToolCall
from gemma_tool_use.formats.scan import (
    THINK_CLOSE,
    THINK_OPEN,
    Findings,
    guard,
    split_blocks,
    take_reasoning,
    unguard,
    write_reasoning,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaggedCalls:
    """Writes and reads such bodies.

    Attributes:
      opening, closing: what stands around a call, white space included; reading does not insist on the white space.
      stop_texts: the dialect's; never written inside a body.
      write: the inside of a call, without any of the tags it is given.
      read: the calls in the inside of a block, stripped; raises ValueError.
      after_reasoning: what parts reasoning from the rest.
      lone_closing: whether a closing without an opening is an error (three backticks may close other things).
    """

    opening: str
    closing: str
    stop_texts: tuple[str, ...]
    write: Callable[[ToolCall, Sequence[str]], str]
    read: Callable[[str], Sequence[ToolCall]]
    after_reasoning: str = "\n"
    lone_closing: bool = True

    @property
    def text_tags(self) -> tuple[str, ...]:
        """What the model's text and reasoning may hold only with a backslash."""
        closing = (self.closing.strip(),) if self.lone_closing else ()
        return (self.opening.strip(), *closing, *self.stop_texts, THINK_OPEN, THINK_CLOSE)

    def write_body(self, reply: Message) -> str:
        """The model's body without its end tag.

        Raises:
          DataError: an argument that is no JSON value.
        """
        text = reply.content.strip()
        tags = (*self.text_tags, self.closing.strip())
        said = "\n".join(
            [
                *([guard(text, self.text_tags)] if text else []),
                *(f"{self.opening}{self.write(call, tags)}{self.closing}" for call in reply.calls),
            ]
        )
        reasoning = write_reasoning(reply.reasoning, self.text_tags)
        return self.after_reasoning.join([*reasoning, *([said] if said else [])])

    def read_body(self, body: str, findings: Findings) -> None:
        rest = take_reasoning(body, self.text_tags, findings)
        for kind, part in split_blocks(rest, self.opening.strip(), self.closing.strip()):
            if kind == "block":
                findings.add_calls(lambda source: self.read(source.strip()), part)
            elif kind == "unclosed":
                findings.add_error(f"a call is not closed by {self.closing.strip()}", part)
            else:
                self._read_text(part, findings)

    def _read_text(self, part: str, findings: Findings) -> None:
        first, *others = part.split(self.closing.strip()) if self.lone_closing else [part]
        findings.add_text(unguard(first, self.text_tags))
        for other in others:
            findings.add_error(f"{self.closing.strip()} without {self.opening.strip()} before it", other)
            findings.add_text(unguard(other, self.text_tags))
