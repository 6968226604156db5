"""What draws the values of one parameter: members of a list, texts, numbers, arrays of them.

Numbers(1, 20, Fraction(1, 2)).draw(rng, "train")   ->   Filled(value=7.5, text="7.5")
"""

import abc
import dataclasses
import json
import math
import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, final

from gemma_tool_use.data.synthetic.values import Source, Split
from gemma_tool_use.errors import DataError

_TRIES = 200


@dataclasses.dataclass(frozen=True)
class Filled:
    """A JSON value and the text that says it; the text holds every string and number verbatim."""

    value: Any
    text: str


class Filler(abc.ABC):
    """Draws values of one parameter."""

    @abc.abstractmethod
    def draw(self, rng: random.Random, split: Split) -> Filled:
        """One value that the schema accepts."""


@final
class Members(Filler):
    """One of a closed list: enum, const, examples, or the two booleans."""

    def __init__(self, values: Sequence[Any]):
        self.values = [Filled(value, value if isinstance(value, str) else json.dumps(value)) for value in values]

    def draw(self, rng: random.Random, split: Split) -> Filled:
        return rng.choice(self.values)


@final
class Texts(Filler):
    """Strings of a source."""

    def __init__(self, source: Source):
        self.source = source

    def draw(self, rng: random.Random, split: Split) -> Filled:
        text = self.source.draw(rng, split).text
        return Filled(text, text)


@final
class BoundedTexts(Filler):
    """Strings of a source that keep length limits: those found among the first few hundred draws of each split."""

    def __init__(self, source: Source, shortest: int, longest: float):
        rng = random.Random(0)
        self.texts: dict[Split, list[str]] = {"train": [], "heldout": []}
        for split, texts in self.texts.items():
            drawn = dict.fromkeys(source.draw(rng, split).text for _ in range(_TRIES))
            texts.extend(text for text in drawn if shortest <= len(text) <= longest)
            if not texts:
                limits = f"{shortest} or more" if longest == math.inf else f"{shortest} to {longest:g}"
                raise DataError(f"no text of {limits} characters at hand; add `examples` to the schema")

    def draw(self, rng: random.Random, split: Split) -> Filled:
        text = rng.choice(self.texts[split])
        return Filled(text, text)


@final
class Numbers(Filler):
    """`step` times every whole number from `first` to `last`; whole results are JSON integers."""

    def __init__(self, first: int, last: int, step: Fraction):
        self.first, self.last, self.step = first, last, step

    def draw(self, rng: random.Random, split: Split) -> Filled:
        number = rng.randint(self.first, self.last) * self.step
        value = int(number) if number.denominator == 1 else float(number)
        return Filled(value, json.dumps(value))


@final
class Lists(Filler):
    """Short arrays of scalars, spoken as `a, b and c`; texts with a space in them are all quoted."""

    def __init__(self, items: Filler, shortest: int, longest: int, distinct: bool):
        self.items, self.shortest, self.longest, self.distinct = items, shortest, longest, distinct

    def draw(self, rng: random.Random, split: Split) -> Filled:
        wanted = rng.randint(self.shortest, self.longest)
        items: list[Filled] = []
        for _ in range(_TRIES):
            if len(items) == wanted:
                break
            item = self.items.draw(rng, split)
            if not self.distinct or item not in items:
                items.append(item)
        if len(items) < self.shortest:
            raise DataError(f"no {self.shortest} distinct items at hand; add `examples` to the items")
        quote = any(isinstance(item.value, str) and not item.text.isalnum() for item in items)
        texts = [f'"{item.text}"' if quote else item.text for item in items]
        text = " and ".join(part for part in (", ".join(texts[:-1]), texts[-1]) if part)
        return Filled([item.value for item in items], text)
