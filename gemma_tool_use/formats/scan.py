"""Reading and protecting text around tags, without regular expressions and in linear time.

A model's own words may hold a dialect's tags ("write <tool_call> first"). `guard` puts a backslash behind the first
character of such a tag (`<\\tool_call>`), `unguard` takes it away; both leave all other text alone, and a text that
already holds a guarded tag gets one more backslash, so `unguard(guard(text)) == text` for every text:

    guard("write <tool_call>", ["<tool_call>"])  ->  "write <\\tool_call>"
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from gemma_tool_use.conversation import ToolCall

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"


@dataclasses.dataclass
class Findings:
    """What a dialect collects while it reads a body; `Reply` is made from it."""

    texts: list[str] = dataclasses.field(default_factory=list)
    reasonings: list[str] = dataclasses.field(default_factory=list)
    calls: list[ToolCall] = dataclasses.field(default_factory=list)
    errors: list[str] = dataclasses.field(default_factory=list)

    def add_text(self, text: str) -> None:
        if text := text.strip():
            self.texts.append(text)

    def add_reasoning(self, text: str) -> None:
        if text := text.strip():
            self.reasonings.append(text)

    def add_calls(self, read: Callable[[str], Sequence[ToolCall]], source: str) -> None:
        """Calls read from `source`, or an error that quotes it; none of a block whose reading failed is kept."""
        try:
            self.calls += read(source)
        except ValueError as error:
            self.add_error(str(error), source)

    def add_error(self, problem: str, source: str) -> None:
        source = source.strip()
        self.errors.append(f"{problem}: {source if len(source) <= 120 else source[:117] + '...'}")


def cut_at_stop(text: str, stop_texts: Iterable[str]) -> str:
    """The text before the first of the stop texts."""
    for stop in stop_texts:
        text = text.partition(stop)[0]
    return text


def guard(text: str, tags: Iterable[str]) -> str:
    """Puts a backslash into every tag in `text` (module docstring)."""
    return _shift(text, tags, lambda slashes: slashes + "\\")


def unguard(text: str, tags: Iterable[str]) -> str:
    """The inverse of `guard`."""
    return _shift(text, tags, lambda slashes: slashes[1:])


def _shift(text: str, tags: Iterable[str], change: Callable[[str], str]) -> str:
    """Changes the backslashes between the first character of a tag and its rest, wherever one stands.

    Tags with different first characters do not hold each other's, so each first character gets a pass of its own.
    """
    rests: dict[str, list[str]] = {}
    for each in tags:
        rests.setdefault(each[0], []).append(each[1:])
    for first, endings in rests.items():
        pieces, start, found = [], 0, text.find(first)
        while found >= 0:
            after = found + 1
            while text.startswith("\\", after):
                after += 1
            if text.startswith(tuple(endings), after):
                pieces += [text[start : found + 1], change(text[found + 1 : after])]
                start = after
            found = text.find(first, after)
        text = "".join([*pieces, text[start:]])
    return text


def write_reasoning(reasoning: str, tags: Iterable[str]) -> list[str]:
    """`["<think>\\n...\\n</think>"]`, or nothing when there is no reasoning."""
    reasoning = reasoning.strip()
    return [f"{THINK_OPEN}\n{guard(reasoning, tags)}\n{THINK_CLOSE}"] if reasoning else []


def take_reasoning(body: str, tags: Iterable[str], findings: Findings) -> str:
    """Moves a leading `<think>...</think>` into the findings and returns the rest of the body."""
    body = body.strip()
    if not body.startswith(THINK_OPEN):
        return body
    reasoning, closed, rest = body[len(THINK_OPEN) :].partition(THINK_CLOSE)
    findings.add_reasoning(unguard(reasoning, tags))
    if not closed:
        findings.add_error(f"the reasoning is not closed by {THINK_CLOSE}", reasoning)
    return rest


Kind = Literal["text", "block", "unclosed"]


def split_blocks(text: str, opening: str, closing: str) -> Iterator[tuple[Kind, str]]:
    """The text cut at `opening ... closing`: texts, the insides of blocks, and openings without their closing.

    A block ends at the first closing, and is unclosed when another opening or the end of the text comes first. So no
    character is looked at by two blocks, whatever their insides are.
    """
    position, start, end = 0, text.find(opening), 0
    while start >= 0:
        yield "text", text[position:start]
        inside = start + len(opening)
        if 0 <= end < inside:  # A search that found nothing is not repeated, or many openings would cost a square.
            end = text.find(closing, inside)
        start = text.find(opening, inside)
        if end < inside or (0 <= start <= end):
            position = start if start >= 0 else len(text)
            yield "unclosed", text[inside:position]
        else:
            position = end + len(closing)
            yield "block", text[inside:end]
    yield "text", text[position:]
