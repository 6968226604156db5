"""Names that a model can be asked to write: `[A-Za-z0-9_.-]`, 1 to 64 characters, as hosted APIs take them.

    conversation = writable_names(conversation_with_tool("Get Weather/now"))
    conversation.tools[0].name            # "Get_Weather_now"
    conversation.meta["names"]            # {"Get_Weather_now": "Get Weather/now"}
    restore_names(conversation)           # the conversation as it was, to the last character

The same name is always written the same way, unless that would give two functions of one row the same name. No JAX.
"""

import dataclasses
import hashlib
import re
import string
import unicodedata
from collections.abc import Mapping

from gemma_tool_use.conversation import Conversation, Message

NAMES = "names"
"""The key of `Conversation.meta` under which `{written name: name in the source}` stands."""
MAX_LENGTH = 64

_SAFE = frozenset(string.ascii_letters + string.digits + "_.-")
# Writable names of rows so far; servers' tools come back in thousands of rows.
_KNOWN: set[str] = set()
_MOST_KNOWN = 8192
_WRITABLE = re.compile(f"[A-Za-z0-9_.-]{{1,{MAX_LENGTH}}}")


def is_writable(name: str) -> bool:
    """Whether a name is 1 to 64 letters, digits, `_`, `.` and `-`."""
    return _WRITABLE.fullmatch(name) is not None


def writable_names(conversation: Conversation) -> Conversation:
    """The conversation with writable names in tools, calls and tool messages; itself when they all are.

    Text is left alone: what a user or tool wrote about a function keeps the name it used.
    """
    if _all_writable(conversation):
        return conversation
    names = _names(conversation)
    known: Mapping[str, str] = conversation.meta.get(NAMES) or {}
    taken = {name for name in names if is_writable(name)} | set(known)
    written: dict[str, str] = {}
    for name in names:
        if not is_writable(name):
            written[name] = _free(name, taken)
            taken.add(written[name])
    originals = {**known, **{new: old for old, new in written.items()}}
    return dataclasses.replace(_renamed(conversation, written), meta={**conversation.meta, NAMES: originals})


def restore_names(conversation: Conversation) -> Conversation:
    """The inverse of `writable_names`: the names of the source, and no map."""
    known = conversation.meta.get(NAMES)
    if not known:
        return conversation
    meta = {key: value for key, value in conversation.meta.items() if key != NAMES}
    return dataclasses.replace(_renamed(conversation, known), meta=meta)


def written_name(name: str) -> str:
    """The name without accents, `_` for each run of other characters; over-long ones end in a part of their sha256.

    `"Get Weather/now"` gives `"Get_Weather_now"`; a name of which nothing is left gives `"tool_"` and the sha256.
    """
    plain = "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))
    slug = "_".join("".join(char if char in _SAFE else " " for char in plain).split())
    if not slug.strip("_.-"):
        return _with_digest("tool", name, 8)
    return slug if len(slug) <= MAX_LENGTH else _with_digest(slug, name, 8)


def _all_writable(conversation: Conversation) -> bool:
    """The question that is asked of every row, and answered by yes for nearly all of them."""
    names = [tool.name for tool in conversation.tools]
    for message in conversation.messages:
        if message.calls:
            names += [call.name for call in message.calls]
        elif message.name is not None:
            names.append(message.name)
    if _KNOWN.issuperset(names):
        return True
    if not all(map(is_writable, names)):
        return False
    if len(_KNOWN) > _MOST_KNOWN:
        _KNOWN.clear()
    _KNOWN.update(names)
    return True


def _free(name: str, taken: set[str]) -> str:
    """The written name, with more and more of its sha256 while another function of the row has it."""
    written, digits = written_name(name), 8
    while written in taken:
        written, digits = _with_digest(written_name(name), name, digits), digits + 1
    return written


def _with_digest(slug: str, name: str, digits: int) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
    return f"{slug[: MAX_LENGTH - 1 - digits]}_{digest}"


def _names(conversation: Conversation) -> dict[str, None]:
    """Every name of a function in the row, in order of appearance."""
    names = dict.fromkeys(tool.name for tool in conversation.tools)
    for message in conversation.messages:
        names.update(dict.fromkeys(call.name for call in message.calls))
        if message.name is not None:
            names[message.name] = None
    return names


def _renamed(conversation: Conversation, new: Mapping[str, str]) -> Conversation:
    """The conversation with each name that is a key of `new` replaced."""

    def message_renamed(message: Message) -> Message:
        calls = tuple(dataclasses.replace(call, name=new.get(call.name, call.name)) for call in message.calls)
        name = message.name if message.name is None else new.get(message.name, message.name)
        return dataclasses.replace(message, calls=calls, name=name)

    return dataclasses.replace(
        conversation,
        tools=tuple(dataclasses.replace(tool, name=new.get(tool.name, tool.name)) for tool in conversation.tools),
        messages=tuple(message_renamed(message) for message in conversation.messages),
    )
