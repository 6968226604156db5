r"""Reads Toucan-1.5M, the teachers' configurations Kimi-K2, OSS and Qwen3: 1,527,259 rows, not yet selected.

Text columns as in SFT, but `available_tools` instead of `tools`, and two quality assessments. `messages` is a JSON list
in OpenAI's old form, one call in a message, and (OSS) the teacher's reasoning:

    [{"role": "system", "content": "# Tools\n\n... <tools>\n...\n</tools>\n\nFor each function call ..."},
     {"role": "user", "content": "What is 3 km in miles?"},
     {"role": "assistant", "content": "", "reasoning_content": "Convert it.",
      "function_call": {"name": "unit-convert", "arguments": "{\"value\": 3, \"to\": \"mi\"}"}},
     {"role": "function", "name": "unit-convert", "content": "1.86"},
     {"role": "assistant", "content": "About 1.86 miles."}]

What a system turn says of the tools is taken out, because a dialect writes them; an emptied turn is left out. The
scores of the assessments stand as numbers in `meta["quality"]`, the annotation in `meta["target_tools"]`.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from gemma_tool_use.conversation import Conversation, Message, ToolCall
from gemma_tool_use.data import rejects
from gemma_tool_use.data.rejects import Reject, RowError, short
from gemma_tool_use.data.rules import quality
from gemma_tool_use.data.sources import toucan
from gemma_tool_use.data.sources.source import Source

# How the templates of Kimi-K2 and of Qwen write a list of tools into a system turn.
KIMI = ("<|im_system|>tool_declare<|im_middle|>", "<|im_end|>")
QWEN = ("# Tools\n", "</tools>")
QWEN_TAIL = ("For each function call", "</tool_call>")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Said:
    """One message. `kind` is its role, or `call` for an assistant that calls."""

    kind: str
    text: str
    reasoning: str = ""
    name: str | None = None
    call: ToolCall | None = None


def read_row(row: Mapping[str, Any], where: str, *, source: str) -> Conversation | Reject:
    """One row as a conversation whose source is `SOURCE/SUBSET`, or why it cannot be read."""
    row_id = toucan.text_or(row.get("uuid"), where)
    try:
        items = toucan.json_list(row.get("messages"), rejects.BROKEN_MESSAGES)
        said = [_said(item, i) for i, item in enumerate(items)]
        if all(each.kind == "system" for each in said):
            raise RowError(rejects.NO_MESSAGES, "nobody says anything")
        tools = toucan.read_tools(row.get("available_tools"))
        messages = tuple(_messages(said))
    except RowError as error:
        return Reject(id=row_id, reason=error.reason, detail=error.detail, where=where)
    meta: dict[str, Any] = {}
    if isinstance(annotation := row.get("target_tools"), str):
        meta["target_tools"] = annotation
    if scores := quality.scores(row):
        meta[quality.QUALITY] = scores
    return Conversation(id=row_id, source=f"{source}/{toucan.subset(row)}", tools=tools, messages=messages, meta=meta)


def without_tools(text: str) -> str:
    """A system text without the tools that a chat template wrote into it.

    `"Be brief.\\n\\n# Tools\\n\\n...</tools>\\n\\nFor each function call ...</tool_call>"` gives `"Be brief."`
    """
    for opening, closing in (KIMI, QWEN):
        start, end = text.find(opening), text.rfind(closing)
        if 0 <= start < end:
            before, after = text[:start].rstrip(), text[end + len(closing) :].strip()
            if after.startswith(QWEN_TAIL[0]):
                after = after.rpartition(QWEN_TAIL[1])[2].strip()
            return "\n\n".join(part for part in (before, after) if part)
    return text


def _said(item: Any, i: int) -> _Said:
    where = f"messages[{i}]"
    if not isinstance(item, dict):
        raise RowError(rejects.UNREADABLE_MESSAGE, f"{where} is not an object: {short(item)}")
    role, called = item.get("role"), item.get("function_call")
    text = _text(item.get("content"), f"{where}.content")
    if role == "assistant":
        reasoning = _text(item.get("reasoning_content"), f"{where}.reasoning_content")
        if called:
            return _Said(kind="call", text=text, reasoning=reasoning, call=_call(called, where))
        return _Said(kind="assistant", text=text, reasoning=reasoning)
    if role not in ("system", "user", "function"):
        raise RowError(rejects.UNREADABLE_MESSAGE, f"{where}.role is {short(role)}")
    name = item.get("name")
    return _Said(kind=role, text=text, name=name if isinstance(name, str) else None)


def _call(value: Any, where: str) -> ToolCall:
    name, arguments = (value.get("name"), value.get("arguments")) if isinstance(value, dict) else (None, None)
    if not isinstance(name, str) or not name or not isinstance(arguments, str):
        raise RowError(rejects.UNREADABLE_CALL, f"{where}.function_call has no name or arguments: {short(value)}")
    return toucan.read_arguments(name, arguments)


def _text(value: Any, where: str) -> str:
    if value is not None and not isinstance(value, str):
        raise RowError(rejects.UNREADABLE_MESSAGE, f"{where} is not text: {short(value)}")
    return value or ""


def _messages(said: list[_Said]) -> Iterator[Message]:
    """Calls in a row become one message, with the text directly before them; results follow in the same order."""
    groups = [list(group) for _, group in itertools.groupby(said, key=lambda each: each.kind)]
    for before, group, after in zip([[], *groups], groups, [*groups[1:], []], strict=False):
        kind = group[0].kind
        if kind == "call":
            if after and (after[0].kind != "function" or len(after) != len(group)):
                raise RowError(rejects.UNPAIRED, f"{len(group)} calls, then {len(after)} {after[0].kind} messages")
            yield _assistant([*(before if before and before[0].kind == "assistant" else []), *group])
        elif kind == "function":
            if not before or before[0].kind != "call":
                raise RowError(rejects.UNPAIRED, f"a result after {before[0].kind if before else 'nothing'}")
            for result, call in zip(group, _calls(before), strict=True):
                if result.name not in (None, call.name):
                    raise RowError(rejects.UNPAIRED, f"{call.name} called, {result.name} answers")
                yield Message(role="tool", content=result.text, name=call.name)
        elif kind == "assistant":
            if not after or after[0].kind != "call":
                yield _assistant(group)
        else:
            for each in group:
                text = without_tools(each.text) if kind == "system" else each.text
                if text.strip() or kind == "user":
                    yield Message(role="system" if kind == "system" else "user", content=text)


def _assistant(said: list[_Said]) -> Message:
    return Message(
        role="assistant",
        content="\n\n".join(each.text for each in said if each.text),
        reasoning="\n\n".join(each.reasoning for each in said if each.reasoning),
        calls=tuple(_calls(said)),
    )


def _calls(said: list[_Said]) -> Iterator[ToolCall]:
    return (each.call for each in said if each.call is not None)


def _teacher(config: str, rows: str, mark: str | None) -> Source:
    """The source of one configuration; `auto` knows it by what only its messages hold."""
    name = f"toucan-{config.lower()}"
    return Source(
        name=name,
        help=f"Toucan-1.5M, configuration {config}: {rows} rows with quality scores",
        licence=toucan.LICENCE,
        columns=("uuid", "subset_name", "available_tools", "messages"),
        optional=("target_tools", *quality.COLUMNS),
        read_row=functools.partial(read_row, source=name),
        recognises=functools.partial(_recognises, mark=mark),
        hub_id=toucan.HUB_ID,
        hub_files=(f"{config}/*.parquet",),
        subset=toucan.subset,
    )


def _recognises(row: Mapping[str, Any], *, mark: str | None) -> bool:
    if not {"uuid", "available_tools", "messages"} <= row.keys():
        return False
    return mark is None or mark in toucan.text_or(row["messages"], "")


KIMI_K2 = _teacher("Kimi-K2", "518,516", KIMI[0])
OSS = _teacher("OSS", "457,130", '"reasoning_content"')
QWEN3 = _teacher("Qwen3", "551,613", None)
