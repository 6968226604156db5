"""The record of a row that is not used, and the reasons for which a row cannot be read at all.

    Reject(id="demo:1", reason=UNREADABLE_CALL, detail="expected a dict with a name: '{}'", where="rows.jsonl:3")

Nothing is dropped without a `Reject`, so kept rows and rejects always add up to the rows read. No JAX.
"""

import dataclasses

# Rows that could not be read. A file with many of them is damaged or of another kind, so their share stops a run.
BROKEN_LINE = "line is not valid JSON"
BROKEN_MESSAGES = "messages are not valid JSON"
BROKEN_TOOLS = "tools are not valid JSON"
BROKEN_ARGUMENTS = "call arguments are not valid JSON"
ARGUMENTS_NOT_OBJECT = "call arguments are not an object"
UNREADABLE_CALL = "unreadable call"
UNREADABLE_MESSAGE = "unreadable message"
UNREADABLE_TOOL = "unreadable tool"
UNPAIRED = "calls and responses do not pair up"
NO_MESSAGES = "no messages"
NOT_UNICODE = "text is not valid Unicode"
ROW_TOO_LARGE = "row is too large"
BAD_REASONS = frozenset(
    {
        BROKEN_LINE,
        BROKEN_MESSAGES,
        BROKEN_TOOLS,
        BROKEN_ARGUMENTS,
        ARGUMENTS_NOT_OBJECT,
        UNREADABLE_CALL,
        UNREADABLE_MESSAGE,
        UNREADABLE_TOOL,
        UNPAIRED,
        NO_MESSAGES,
        NOT_UNICODE,
        ROW_TOO_LARGE,
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reject:
    """A row that is not used. `reason` is what is counted, `detail` what was found, `where` its file and row."""

    id: str = ""
    reason: str
    detail: str = ""
    where: str = ""

    @property
    def bad(self) -> bool:
        """Whether the row could not be read, as opposed to filtered out by a rule."""
        return self.reason in BAD_REASONS


class RowError(Exception):
    """Raised inside a reader to leave it with a reason; it becomes a `Reject` and reaches no user."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def short(value: object, limit: int = 160) -> str:
    """The `repr` of a value, cut for a message."""
    try:
        text = repr(value[: limit + 1] if isinstance(value, str | bytes) else value)
    except (RecursionError, ValueError):  # nested deeper than Python follows, or an integer of over 4,300 digits
        text = f"{type(value).__name__} beyond showing"
    return text if len(text) <= limit else text[: limit - 3] + "..."
