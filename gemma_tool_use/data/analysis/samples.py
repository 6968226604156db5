"""A few rows of each subset, chosen by hash and written so that a person can read them.

samples = Samples(seed=0)
samples.offer("irrelevant", "train.parquet row 3", conversation)
samples.chosen("irrelevant")[0].parts[0]      # Part(label="tools", text="now()\\nadd(a: integer, b: integer)", cut=0)
"""

import bisect
import dataclasses
import hashlib

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.pages.row_parts import Part, message_parts, tools_part

PER_SUBSET = 3
MOST_PARTS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One row: where it stands, its id, its parts, and how many further messages are not shown."""

    where: str
    id: str
    parts: tuple[Part, ...]
    hidden: int = 0


@dataclasses.dataclass
class Samples:
    """The rows of each subset whose hash of seed and place is smallest: the same rows in any order of reading."""

    seed: int = 0
    held: dict[str, list[tuple[bytes, Sample]]] = dataclasses.field(default_factory=dict)

    def offer(self, subset: str, where: str, conversation: Conversation) -> None:
        key = hashlib.blake2b(f"{self.seed}:{where}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        held = self.held.setdefault(subset, [])
        if len(held) < PER_SUBSET or key < held[-1][0]:
            self._insert(held, key, sample(where, conversation))

    def take(self, subset: str, held: list[tuple[bytes, Sample]]) -> None:
        """Offers rows that another process held."""
        for key, row in held:
            self._insert(self.held.setdefault(subset, []), key, row)

    def chosen(self, subset: str) -> list[Sample]:
        return [row for _, row in self.held.get(subset, [])]

    @staticmethod
    def _insert(held: list[tuple[bytes, Sample]], key: bytes, row: Sample) -> None:
        bisect.insort(held, (key, row), key=lambda item: item[0])
        del held[PER_SUBSET:]


def sample(where: str, conversation: Conversation) -> Sample:
    """The row as it is shown: tools as signatures, calls as `name {arguments}`, long texts cut."""
    parts = [tools_part(conversation.tools)] if conversation.tools else []
    shown = conversation.messages[:MOST_PARTS]
    for message in shown:
        parts += message_parts(message)
    hidden = len(conversation.messages) - len(shown)
    return Sample(where=where[:200], id=conversation.id[:200], parts=tuple(parts), hidden=hidden)
