"""The account of rows: how many are kept, how many are not, and why; it always adds up.

tally.ordered()                                              # {"kept": 153, "more than 3 tools offered": 146}
chain({"kept": 153, "not single-turn": 2}, {"kept": 105, "longer than 512 tokens": 48})
# {"kept": 105, "not single-turn": 2, "longer than 512 tokens": 48}
"""

import collections
import dataclasses
from collections.abc import Mapping

from rich.table import Table

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.errors import DataError

KEPT = "kept"


@dataclasses.dataclass
class Tally:
    """Counts the outcome of every row read: `kept` and each reason for a reject.

    Attributes:
      counts: outcome to number of rows; the values add up to `rows`.
      shortened: how many of the kept ones a rule cut after their first call.
      bad: how many rows could not be read.
      first_bad: the first of them.
    """

    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    shortened: int = 0
    bad: int = 0
    first_bad: Reject | None = None

    @property
    def rows(self) -> int:
        return self.counts.total()

    @property
    def kept(self) -> int:
        return self.counts[KEPT]

    def add(self, outcome: Conversation | Reject, *, shortened: bool = False) -> None:
        if not isinstance(outcome, Reject):
            self.counts[KEPT] += 1
            self.shortened += shortened
            return
        self.counts[outcome.reason] += 1
        if outcome.bad:
            self.bad += 1
            self.first_bad = self.first_bad or outcome

    def ordered(self) -> dict[str, int]:
        """`kept` first (also when it is 0), then the reasons from the most to the least frequent."""
        rejects = {reason: n for reason, n in self.counts.most_common() if reason != KEPT}
        return {KEPT: self.kept, **rejects}

    def check(self, location: str, max_bad_share: float) -> None:
        """Raises when the rows read cannot be trained on.

        Raises:
          DataError: no row at all, more than `max_bad_share` of them unreadable, or none kept; with the counts.
        """
        if not self.rows:
            raise DataError(f"{location} holds no rows")
        if self.first_bad is not None and self.bad > max_bad_share * self.rows:
            first = self.first_bad
            raise DataError(
                f"{location}: {self.bad} of {self.rows} rows cannot be read, more than the share of "
                f"{max_bad_share:g} that is accepted. First: {first.where} (id {first.id!r}): {first.reason}: "
                f"{first.detail}. Is this the right --source? Otherwise repair the file or raise --max-bad-share."
            )
        if not self.kept:
            rejects = "; ".join(f"{n} x {reason}" for reason, n in self.ordered().items() if n)
            raise DataError(
                f"{location}: none of {self.rows} rows is kept ({rejects}). Loosen the rule: --max-tools-offered, "
                "--max-tools-used, --no-single-turn, --subsets."
            )


def counts_table(counts: Mapping[str, int]) -> Table:
    """`{"kept": 153, "not single-turn": 2}` as a table whose last line is their sum."""
    table = Table("rows", "outcome", show_footer=True)
    table.columns[0].justify = "right"
    for reason, n in counts.items():
        table.add_row(f"{n:,}", reason)
    table.columns[0].footer, table.columns[1].footer = f"{sum(counts.values()):,}", "rows read"
    return table


def chain(first: Mapping[str, int], then: Mapping[str, int]) -> dict[str, int]:
    """The account of two stages as one: what the first kept is what the second was given."""
    return {**first, **then}
