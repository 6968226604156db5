"""Numbers of a page read back, and whatever in it points elsewhere."""

import collections
import html.parser
import json

LINKING = {"src", "srcset", "href", "data", "action", "formaction", "poster", "background", "ping"}
ACTIVE = {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "video", "source"}


class Numbers(html.parser.HTMLParser):
    """`numbers["turns", "1", "rows"]` of a page; `texts` what stands in the cells."""

    def __init__(self, path):
        super().__init__()
        self.values: dict[tuple[str, str, str], float] = {}
        self.texts: dict[tuple[str, str, str], str] = {}
        self.tags: collections.Counter[str] = collections.Counter()
        self.links: list[str] = []
        self.key: tuple[str, str, str] | None = None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags[tag] += 1
        self.links += [value or "" for name, value in attributes if name.split(":")[-1] in LINKING]
        self.key = None
        if "data-table" in given:
            self.key = given["data-table"], given["data-row"], given["data-column"]
        elif "data-tile" in given:
            self.key = "tile", given["data-tile"], "value"
        if self.key is not None:
            assert self.key not in self.values, f"{self.key} twice"
            self.values[self.key] = json.loads(given["data-value"])

    def handle_data(self, data):
        if self.key is not None:
            self.texts[self.key] = self.texts.get(self.key, "") + data

    def handle_endtag(self, tag):
        self.key = None

    def table(self, name, column="rows"):
        return {row: value for (table, row, of), value in self.values.items() if (table, of) == (name, column)}

    def alone(self):
        """Whether the page neither runs nor fetches anything."""
        return not self.tags.keys() & ACTIVE and all(link.startswith("#") for link in self.links)
