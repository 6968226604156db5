"""What the teacher is asked for: an endless list of scenarios that depends on the seed and the tools only.

    plan = Plan(tools=tools, seed=0, languages=("English",))
    plan[0]   # Scenario(seed=0, job=0, kind="one_call", used=(get_weather,), persona="a nurse between two shifts", ...)

Any number of rows is a beginning of the same list, so a longer run continues a shorter one. Each kind goes through the
tools in turn, in an order of the seed, so that all are used about equally often.
"""

import dataclasses
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gemma_tool_use.conversation import ToolSpec
from gemma_tool_use.data.teacher.voices import LENGTHS, PERSONAS, STYLES
from gemma_tool_use.errors import DataError

ONE_CALL, SEVERAL_CALLS, NO_CALL, MISSING_ARGUMENT = "one_call", "several_calls", "no_call", "missing_argument"
KINDS: Mapping[str, float] = {ONE_CALL: 0.5, SEVERAL_CALLS: 0.2, NO_CALL: 0.15, MISSING_ARGUMENT: 0.15}
MOST_TOOLS = 3
PAIR_SHARE = 0.7  # of several_calls rows, when there are two tools: one call of each; the rest calls one tool twice
TALK_SHARE = 0.4  # of no_call rows: what needs no tool at all; the rest asks for something no offered tool does
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly: any ten scenarios hold the common kinds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """One question to the teacher: which requests to write.

    Attributes:
      seed: of the plan.
      job: its place in the plan, from 0.
      kind: one of `KINDS`.
      used: the tools that the requests need: none, one, or two.
      times: how many calls the requests need.
      offered: the tools of the row, `used` among them.
      missing: the required parameter that a `missing_argument` request leaves out.
      options: optional parameters that the requests state as well, `tool.parameter`.
      talk: whether a `no_call` request is one that nobody needs a tool for.
      persona: who is speaking.
      style: how.
      length: at what length.
      language: in which language.
    """

    seed: int
    job: int
    kind: str
    used: tuple[ToolSpec, ...]
    times: int
    offered: tuple[ToolSpec, ...]
    missing: str = ""
    options: tuple[str, ...] = ()
    talk: bool = False
    persona: str
    style: str
    length: str
    language: str


class Plan:
    """The endless list of scenarios; `plan[i]` builds the list up to there."""

    def __init__(self, *, tools: Sequence[ToolSpec], seed: int, languages: Sequence[str]) -> None:
        """Begins a plan.

        Raises:
          DataError: no tools, or two of one name.
        """
        names = [tool.name for tool in tools]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"two tools are named {', '.join(map(repr, repeated))}; rename one of each")
        if not tools:
            raise DataError("there are no tools to write requests for")
        self.tools, self._seed, self._languages = tuple(tools), seed, tuple(languages)
        rng = random.Random(f"teacher:{seed}")
        self._start = rng.random()
        pairs = list(itertools.combinations(self.tools, 2)) if len(tools) <= 200 else list(itertools.pairwise(tools))
        # Two calls of one tool must differ, so it needs a parameter.
        twice = [(tool,) for tool in self.tools if _properties(tool)]
        askable = [(tool, name) for tool in self.tools for name in required(tool)]
        impossible = {
            kind for kind, able in ((MISSING_ARGUMENT, askable), (SEVERAL_CALLS, [*twice, *pairs])) if not able
        }
        self._weights = {kind: weight for kind, weight in KINDS.items() if kind not in impossible}
        self._pair_share = PAIR_SHARE if twice and pairs else float(bool(pairs))
        self._single, self._twice = _endless([(tool,) for tool in self.tools], rng), _endless(twice, rng)
        self._pairs, self._askable = _endless(pairs, rng), _endless(askable, rng)
        self._scenarios: list[Scenario] = []

    def __getitem__(self, job: int) -> Scenario:
        while len(self._scenarios) <= job:
            self._scenarios.append(self._scenario(len(self._scenarios)))
        return self._scenarios[job]

    def _scenario(self, job: int) -> Scenario:
        rng = random.Random(f"teacher:{self._seed}:{job}")
        kind = _at(self._weights, (self._start + job * _GOLDEN) % 1.0)
        used, times, missing = self._content(kind, rng)
        others = [tool for tool in self.tools if tool not in used]
        fewest = max(1, len(used))
        extra = rng.randint(fewest, max(fewest, MOST_TOOLS)) - len(used)
        offered = [*used, *rng.sample(others, min(extra, len(others)))]
        rng.shuffle(offered)
        options = [f"{tool.name}.{name}" for tool in used for name in optional(tool)]
        return Scenario(
            seed=self._seed,
            job=job,
            kind=kind,
            used=used,
            times=times,
            offered=tuple(offered),
            missing=missing,
            options=tuple(rng.sample(options, min(len(options), rng.choice((0, 0, 1, 2))))),
            talk=kind == NO_CALL and rng.random() < TALK_SHARE,
            persona=rng.choice(PERSONAS),
            style=rng.choice(STYLES),
            length=rng.choice(LENGTHS),
            language=self._languages[job % len(self._languages)],
        )

    def _content(self, kind: str, rng: random.Random) -> tuple[tuple[ToolSpec, ...], int, str]:
        """The tools that are used, the number of calls, and the parameter left out."""
        if kind == NO_CALL:
            return (), 0, ""
        if kind == MISSING_ARGUMENT:
            tool, name = next(self._askable)
            return (tool,), 0, name
        if kind == SEVERAL_CALLS:
            return next(self._pairs if rng.random() < self._pair_share else self._twice), 2, ""
        return next(self._single), 1, ""


def required(tool: ToolSpec) -> list[str]:
    """Names of the required parameters that the schema also describes."""
    names = tool.parameters.get("required")
    return [name for name in names if name in _properties(tool)] if isinstance(names, list) else []


def optional(tool: ToolSpec) -> list[str]:
    """Names of the other parameters."""
    needed = required(tool)
    return [name for name in _properties(tool) if name not in needed]


def _properties(tool: ToolSpec) -> dict[str, Any]:
    properties = tool.parameters.get("properties")
    return properties if isinstance(properties, dict) else {}


def _endless(values: Sequence[Any], rng: random.Random) -> Iterator[Any]:
    """All values in a random order, then all in another, and so on."""
    order = random.Random(rng.random())
    while values:
        yield from order.sample(values, len(values))


def _at(weights: Mapping[str, float], place: float) -> str:
    """The kind that covers `place` (0 to 1) when the weights lie one after the other."""
    kinds, place = list(weights), place * sum(weights.values())
    for kind in kinds:
        if (place := place - weights[kind]) < 0:
            return kind
    return kinds[-1]
