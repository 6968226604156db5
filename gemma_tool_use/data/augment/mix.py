"""Which rows are taken, and how often: decided on key columns only, the same whatever the order of the rows.

    settings = MixSettings(weights={"toucan-sft": 3, "xlam": 1}, max_no_call_share=0.2)
    mixed = mix([MixRow(id="a", source="toucan-sft/irrelevant", has_call=False, convertible=False), ...], settings)
    mixed.copies[0]       # 0: row "a" is left out; 1: taken; 2: taken twice, as "a" and "a#2"
    mixed.no_call[0]      # True: taken as a row without a call, made by `augment(..., make_no_call=True)`
    mixed.counts          # {"taken": 8000, "left out by the mix": 1200, "made a row without a call": 0, "copies": 0}

`quotas.py` says how many rows of each source are taken; which ones, a hash of the seed, the source and the id says. So
rows added later move few others.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from gemma_tool_use.data.augment.draws import Draws
from gemma_tool_use.data.augment.quotas import Available, Quota, quotas
from gemma_tool_use.errors import ConfigError, DataError, suggest

STEP = "mix"
LEFT_OUT = "left out by the mix"
EVERYTHING = ""
"""The one group of all rows when there are no weights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixFlags:
    """How much of what is taken. By default everything is."""

    max_copies: int = 1
    """Most times a row is taken so that its source reaches its proportion; 1 only leaves rows of the others out."""
    min_no_call_share: float = 0.0
    """Least share of rows without a call; rows with calls are left out, or converted, until it is reached."""
    max_no_call_share: float = 1.0
    """Largest share of rows without a call; the others are left out."""
    make_no_call: bool = False
    """Make rows without a call from rows with one when there are too few. Their tools are judged by words only."""
    max_rows: int | None = None
    """Most rows taken in all; none for no limit."""

    def __post_init__(self) -> None:
        if problems := self.problems():
            raise ConfigError("; ".join(problems))

    def problems(self) -> list[str]:
        """What is wrong with the settings."""
        problems = []
        if not 0 <= self.min_no_call_share <= self.max_no_call_share <= 1:
            problems.append(
                "min_no_call_share and max_no_call_share are shares from 0 to 1, the first not above the second; got "
                f"{self.min_no_call_share} and {self.max_no_call_share}"
            )
        if self.max_copies < 1:
            problems.append(f"max_copies must be 1 or more, got {self.max_copies}")
        if self.max_rows is not None and self.max_rows < 1:
            problems.append(f"max_rows must be 1 or more, got {self.max_rows}")
        return problems


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixSettings(MixFlags):
    """The flags with the seed, which a command has only one of, and the weights, which may also be of its inputs."""

    seed: int = 0
    """Of the choice of rows."""
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    """Proportions of the sources, `{"toucan-sft": 3, "xlam": 1}`; without any, each has the rows it has. A subset is
    named as `toucan-sft/irrelevant`. With weights every source needs one."""

    def problems(self) -> list[str]:
        wrong = {name: weight for name, weight in self.weights.items() if not 0 < weight < 1e9}
        return [f"the weight of {name!r} must be above 0, got {w}" for name, w in wrong.items()] + super().problems()

    @property
    def changes_nothing(self) -> bool:
        """Whether every row is taken once, so that no key column has to be read."""
        return dataclasses.replace(self, seed=0) == MixSettings()


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixRow:
    """The keys of a row. `convertible`: whether `no_call.convertible` is true for it."""

    id: str
    source: str
    has_call: bool
    convertible: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mixed:
    """The decision on each row, in the order of the rows.

    Attributes:
      copies: uint16 [rows], how often the row is taken; 0 leaves it out.
      no_call: bool [rows], whether it is taken as a row without a call.
      quotas: what was available and what is taken of each source of the weights.
      counts: rows taken and left out (together the rows given), converted ones, and copies beyond the first.
    """

    copies: np.ndarray
    no_call: np.ndarray
    quotas: Mapping[str, Quota]
    counts: Mapping[str, int]


def mix(rows: Iterable[MixRow], settings: MixSettings) -> Mixed:
    """Decides on every row; holds 17 bytes of each.

    Raises:
      DataError: a source without a weight, a weight without rows, or no row could be taken.
    """
    groups, kinds, ranks, sources = _columns(rows, settings)
    names = [_weight_of(source, settings) for source in sources]
    _check_weights(names, sources, settings)
    labels = sorted(set(names))
    of_source = np.array([labels.index(name) for name in names], np.int64)
    group = of_source[groups] if len(groups) else groups
    available = {
        label: Available(*(int(((group == i) & (kinds == kind)).sum()) for kind in _KINDS))
        for i, label in enumerate(labels)
    }
    taken = quotas(available, settings.weights or {EVERYTHING: 1.0}, settings) if labels else {}
    copies, no_call = np.zeros(len(kinds), np.uint16), np.zeros(len(kinds), bool)
    for i, label in enumerate(labels):
        _take(copies, no_call, {kind: _ranked(ranks, (group == i) & (kinds == kind)) for kind in _KINDS}, taken[label])
    if len(kinds) and not copies.any():
        raise DataError(
            f"the mix takes none of {len(kinds)} rows: {_describe(available)}. Loosen "
            "--mix.min-no-call-share, --mix.max-no-call-share or --weights"
        )
    rows_taken = int(np.count_nonzero(copies))
    counts = {
        "taken": rows_taken,
        LEFT_OUT: len(copies) - rows_taken,
        "made a row without a call": int(no_call.sum()),
        "copies": int(copies.sum()) - rows_taken,
    }
    return Mixed(copies=copies, no_call=no_call, quotas=taken, counts=counts)


_CALL, _CONVERTIBLE, _NO_CALL = _KINDS = (0, 1, 2)


def _columns(rows: Iterable[MixRow], settings: MixSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    sources: dict[str, int] = {}
    groups, kinds, ranks = bytearray(), bytearray(), bytearray()
    convert = settings.make_no_call
    for row in rows:
        groups += sources.setdefault(row.source, len(sources)).to_bytes(8, "little")
        kinds.append(_NO_CALL if not row.has_call else _CONVERTIBLE if convert and row.convertible else _CALL)
        ranks += Draws(seed=settings.seed, step=STEP, row=row.id).bits(row.source).to_bytes(8, "little")
    return np.frombuffer(groups, "<i8"), np.frombuffer(kinds, np.uint8), np.frombuffer(ranks, "<u8"), list(sources)


def _ranked(ranks: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Positions of the members, by hash."""
    positions = np.flatnonzero(members)
    return positions[np.argsort(ranks[positions], kind="stable")]


def _take(copies: np.ndarray, no_call: np.ndarray, ranked: Mapping[int, np.ndarray], quota: Quota) -> None:
    converted = ranked[_CONVERTIBLE][: quota.converted]
    no_call[converted] = True
    calls = np.concatenate([ranked[_CALL], ranked[_CONVERTIBLE][quota.converted :]])
    # Natural rows come before converted ones: when not all are needed, they are the better ones.
    for positions, wanted in ((calls, quota.call), (np.concatenate([ranked[_NO_CALL], converted]), quota.no_call)):
        if len(positions):
            each, more = divmod(wanted, len(positions))
            copies[positions] = each
            copies[positions[:more]] += 1


def _weight_of(source: str, settings: MixSettings) -> str:
    """The name in the weights that stands for a source: itself, or what is before its subset."""
    if not settings.weights:
        return EVERYTHING
    return source if source in settings.weights else source.partition("/")[0]


def _check_weights(names: list[str], sources: list[str], settings: MixSettings) -> None:
    if not settings.weights:
        return
    if missing := sorted({s for s, name in zip(sources, names, strict=True) if name not in settings.weights}):
        raise DataError(f"no weight for the source {missing[0]!r}. {suggest(missing[0], settings.weights)}")
    if idle := sorted(set(settings.weights) - set(names)):
        raise DataError(f"a weight for {idle[0]!r}, but no row is of it. {suggest(idle[0], sources)}")


def _describe(available: Mapping[str, Available]) -> str:
    return "; ".join(
        f"{label or 'all sources'}: {a.call + a.convertible} with and {a.no_call} without a call"
        for label, a in available.items()
    )
