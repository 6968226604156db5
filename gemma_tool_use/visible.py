"""Text of a row or a model as it may be shown: nothing in it steers the terminal or rearranges the page around it.

visible("a\\x1b[31m\\u202eb")             # "a\\\\x1b[31m\\\\u202eb"
visible("two\\nlines")                   # "two\\nlines", as they are
one_line("two\\nlines", most=80)         # "two⏎lines"
"""

_MARKS = {"\n": "⏎", "\t": "⇥"}


def visible(text: str, keep: str = "\n\t") -> str:
    """Control characters, direction marks and lone surrogates as escapes, but for those in `keep`."""
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def one_line(text: str, most: int) -> str:
    """The same on one line, no longer than `most` characters, ending in … when something is left out."""
    # Cut before looking at each character: a model's text may be long.
    shown = visible("".join(_MARKS.get(c, c) for c in text[: most + 1]), keep="")
    return shown if len(shown) <= most else shown[: most - 1] + "…"
