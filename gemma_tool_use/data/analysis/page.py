"""The analysis as one HTML page that holds everything it shows: no script, nothing fetched, every text escaped.

    html = page(statistics, about)

Each number of a table carries what it counts, so that a test or a program can read it back:

    <td data-table="turns" data-row="1" data-column="rows" data-value="299">299</td>
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from gemma_tool_use.data.analysis import tables
from gemma_tool_use.data.analysis.plots import plots
from gemma_tool_use.data.analysis.samples import Sample
from gemma_tool_use.data.analysis.statistics import Statistics
from gemma_tool_use.pages.page import Section, render
from gemma_tool_use.pages.plot import Plot

TEMPLATE = Path(__file__).with_name("page.html.jinja")


@dataclasses.dataclass(frozen=True, kw_only=True)
class About:
    """What the page says about itself.

    Attributes:
      title: its heading.
      source: form of the rows.
      licence: name and address of the source's terms; empty for rows of anybody.
      files: name and bytes of each input.
      dialect: the one whose lengths are in the overview.
      tokenizer: where it came from.
      seed: of the rows measured and shown.
    """

    title: str
    source: str
    licence: str
    files: Sequence[tuple[str, int]]
    dialect: str
    tokenizer: str
    seed: int


def page(statistics: Statistics, about: About, pictures: dict[str, Plot] | None = None) -> str:
    """The page as HTML text. `pictures`: of `plots(statistics)` when they are at hand."""
    return render(
        TEMPLATE,
        title=about.title,
        tiles=tables.tiles(statistics, about.dialect),
        sections=_sections(statistics, pictures if pictures is not None else plots(statistics)),
        about=about,
        samples=_samples(statistics),
    )


def _samples(statistics: Statistics) -> list[tuple[str, list[Sample]]]:
    return [(subset, statistics.samples.chosen(subset)) for subset in sorted(statistics.samples.held)]


def _sections(statistics: Statistics, pictures: dict[str, Plot]) -> list[Section]:
    return [
        *_made_of(statistics, pictures),
        *_lengths(statistics, pictures),
        Section("duplicates", "Duplicates", tables=[tables.duplicates(statistics)]),
        Section("languages", "Languages", tables=[tables.languages(statistics)]),
        Section(
            "types", "Argument types", tables=[tables.argument_types(statistics), tables.parameter_types(statistics)]
        ),
        Section("names", "Most frequent tools", tables=[tables.called(statistics), tables.offered(statistics)]),
        Section(
            "faults",
            "Faults",
            f"Rows with at least one such fault, of {statistics.rows:,} rows; gemma-tool-use check names each with its "
            "place and remedy.",
            tables=[tables.faults(statistics)],
        ),
    ]


def _made_of(statistics: Statistics, pictures: dict[str, Plot]) -> list[Section]:
    return [
        Section("read", "Rows read", tables=[tables.outcomes(statistics)]),
        Section("subsets", "Subsets", tables=[tables.subsets(statistics)]),
        Section(
            "turns",
            "Turns and messages",
            tables=[tables.turns(statistics), tables.roles(statistics)],
            plots=[pictures["turns"]],
        ),
        Section(
            "tools",
            "Tools used and offered",
            "Used: different tools named in the calls of a row. Offered: tools the row declares.",
            tables=[*tables.tool_counts(statistics), *tables.filters(statistics)],
            plots=[pictures["tools_offered"], pictures["used_x_offered"]],
        ),
        Section("grid", "Used x offered", tables=tables.grids(statistics), folded=tables.subset_grids(statistics)),
    ]


def _lengths(statistics: Statistics, pictures: dict[str, Plot]) -> list[Section]:
    measured = f"{statistics.measured:,} of {statistics.rows:,} rows"
    return [
        Section(
            "lengths",
            "Token lengths",
            f"Counted on {measured}, chosen by a hash of seed and place, with the real tokenizer, <bos> included. A "
            "row cut after its first call ends with its first assistant message that calls; what follows is left out.",
            tables=[tables.lengths(statistics)],
            plots=[plot for name, plot in pictures.items() if name.startswith("fits")],
        ),
        Section(
            "limits",
            "What each length limit loses",
            f"Rows longer than the limit, of {measured}, in percent of those the dialect can write.",
            tables=[tables.limits(statistics, first_call=False), tables.limits(statistics, first_call=True)],
        ),
    ]
