"""The same requests answered before and after training, side by side.

comparison = Comparison(held_out, kinds, answer)     # answer: list[Conversation] -> list[Reply]
comparison.run("before"); train(); comparison.run("after")
comparison.scores()      # {"count": 64, "exact_before": 0.0, "exact_after": 0.95, "by_kind_before": ..., ...}
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gemma_tool_use.conversation import Conversation, Message, Reply, conversation_to_dict
from gemma_tool_use.evaluation.exact_call import is_exact, question_and_answer, score

Stage = Literal["before", "after"]
_SHOWN = 6


class Comparison:
    """Replies of one model at two times to conversations whose last message is the expected answer."""

    def __init__(
        self,
        conversations: Sequence[Conversation],
        kinds: Sequence[str],
        answer: Callable[[Sequence[Conversation]], list[Reply]],
    ) -> None:
        """Raises `DataError` when a conversation does not end with an assistant message."""
        self._conversations = conversations
        pairs = [question_and_answer(conversation) for conversation in conversations]
        self._questions = [question for question, _ in pairs]
        self._expected: list[Message] = [expected for _, expected in pairs]
        self._kinds = list(kinds)
        self._answer = answer
        self._replies: dict[Stage, list[Reply]] = {}

    def run(self, stage: Stage) -> None:
        """Has every request answered by the model as it is now."""
        self._replies[stage] = self._answer(self._questions)

    def scores(self) -> dict[str, Any]:
        """Exact-call score of each stage that was run."""
        result: dict[str, Any] = {"count": len(self._questions)}
        for stage, replies in self._replies.items():
            values = score(replies, self._expected, self._kinds)
            result |= {f"exact_{stage}": values["exact"], f"by_kind_{stage}": values["by_kind"]}
        return result

    def write(self, file: Path) -> None:
        """One JSON line per request: the conversation with its expected answer, and each stage's raw reply."""
        with file.open("w", encoding="utf-8") as out:
            for i, conversation in enumerate(self._conversations):
                line = {"kind": self._kinds[i], **conversation_to_dict(conversation)}
                for stage, replies in self._replies.items():
                    exact = is_exact(replies[i], self._expected[i].calls)
                    line[stage] = {"text": replies[i].raw, "exact": exact, "errors": replies[i].errors}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")

    def print(self, console: Console) -> None:
        """A few requests of different kinds with the replies before and after side by side."""
        table = Table(title="held-out requests", show_lines=True, expand=True)
        for column in ("request", *self._replies):
            table.add_column(column, ratio=1)
        for i in self._examples():
            cells = [self._cell(replies[i], self._expected[i]) for replies in self._replies.values()]
            table.add_row(Text(self._questions[i].messages[-1].content), *cells)
        console.print(table)

    def _examples(self) -> list[int]:
        """The first request of each kind in turn, up to `_SHOWN`."""
        by_kind = [[i for i, k in enumerate(self._kinds) if k == kind] for kind in dict.fromkeys(self._kinds)]
        turns = [group[n] for n in range(_SHOWN) for group in by_kind if n < len(group)]
        return turns[:_SHOWN]

    def _cell(self, reply: Reply, expected: Message) -> Text:
        # What a model wrote is shown as plain text: no markup, no terminal escapes.
        shown = "".join(c if c.isprintable() or c == "\n" else "�" for c in reply.raw.strip())
        shown = shown if len(shown) <= 240 else shown[:237] + "..."
        return Text(shown, style="green" if is_exact(reply, expected.calls) else "red")
