"""What a source is: a form of dataset, its licence, and the pure function that reads one row of it.

    def read_row(row: Mapping[str, Any], where: str) -> Conversation | Reject: ...

    SOURCE = Source(
        name="xlam",
        help="Salesforce/xlam-function-calling-60k",
        licence=Licence(name="CC-BY-4.0", url="https://huggingface.co/datasets/Salesforce/xlam-function-calling-60k"),
        columns=("query", "tools", "answers"),
        optional=("id",),
        read_row=read_row,
        recognises=lambda row: {"query", "answers"} <= row.keys(),
    )

`row` holds the columns of a parquet row or the fields of a JSON object; `where` is its place (`rows.jsonl:3`), for rows
without an id. A reader raises nothing but is total: whatever it cannot read is a `Reject`. Rows are read through
`SOURCE.read(row, where)`, which also gives every function a name that a model can be asked to write.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.sources.names import writable_names

Outcome = Conversation | Reject
ReadRow = Callable[[Mapping[str, Any], str], Outcome]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Licence:
    """Terms of a dataset. `name` is its SPDX id, `url` where they stand; `commercial` whether they allow such use."""

    name: str
    url: str
    commercial: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A form of dataset.

    Attributes:
      name: what `--source` takes.
      help: one line about it.
      licence: of the published dataset; None for a form that anybody's rows may have (OpenAI JSONL).
      columns: fields a row must have. Of a parquet file only these and `optional` are read.
      optional: fields a row may have.
      read_row: the row's conversation, or why it cannot be read. Pure and picklable, so a module-level function.
      recognises: whether a row is of this form, judged by the first row of a file.
      hub_id: the dataset on the Hugging Face hub, None when it is not there.
      hub_files: patterns of its files in that repository, as `fnmatch` reads them; none for all files that hold rows.
      subset: the subset of a row without reading the rest of it; None when the source has none.
    """

    name: str
    help: str
    licence: Licence | None
    columns: tuple[str, ...]
    optional: tuple[str, ...] = ()
    read_row: ReadRow
    recognises: Callable[[Mapping[str, Any]], bool]
    hub_id: str | None = None
    hub_files: tuple[str, ...] = ()
    subset: Callable[[Mapping[str, Any]], str] | None = None

    def read(self, row: Mapping[str, Any], where: str) -> Outcome:
        """The row's conversation with writable names, or why it cannot be read, at its place. Pure and total."""
        outcome = self.read_row(row, where)
        if isinstance(outcome, Reject):
            return outcome if outcome.where else dataclasses.replace(outcome, where=where)
        return writable_names(outcome)
