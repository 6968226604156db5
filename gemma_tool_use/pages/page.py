"""A page as HTML text: no script, nothing fetched, every text escaped and made visible.

    html = render(TEMPLATE, title="run: rows.jsonl", tiles=[...], sections=[Section("turns", "Turns", tables=[...])])

`TEMPLATE` extends `base.html.jinja`, which has the head, the overview and the sections, and fills its blocks `lead`,
`links` and `more`. Each number carries what it counts, so that a test or a program can read it back:

    <td data-table="turns" data-row="1" data-column="rows" data-value="299">299</td>
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from gemma_tool_use import __version__
from gemma_tool_use.errors import FileError
from gemma_tool_use.pages.plot import Plot
from gemma_tool_use.pages.table_parts import Table, Tile
from gemma_tool_use.visible import visible

_HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with an anchor, and what stands below it.

    Attributes:
      facts: names and texts.
      folded: tables that are shown on demand, under the words `fold`.
    """

    anchor: str
    title: str
    text: str = ""
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[Table] = ()
    folded: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    fold: str = "Each subset"


def render(template: Path, *, title: str, tiles: Sequence[Tile], sections: Sequence[Section], **more: Any) -> str:
    """The page.

    Args:
      template: file that extends `base.html.jinja`.
      title: heading and title of the page.
      tiles: numbers of the overview.
      sections: in their order.
      more: what the template's own blocks show.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([_HERE, template.parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    html = environment.get_template(template.name).render(
        title=title, tiles=tiles, sections=sections, version=__version__, **more
    )
    return html.encode("utf-8", "replace").decode()


def write_page(path: Path, text: str) -> None:
    """Writes under another name first, so that a file with this name is whole.

    Raises:
      FileError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(text.encode("utf-8", "replace"))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise FileError(f"cannot write {path}: {error.strerror or error}") from None
