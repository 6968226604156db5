"""Requests for any tool, worded from its name, description and parameters.

    create_event(title, date, notify?)  "Create a calendar event"
    ->  'Please create a calendar event with title "tides" and date 2026-03-14.'
        create_event(title="tides", date="2026-03-14")

A required parameter that no short text can say is an error; an optional one is left out of the calls and named in
`SchemaSkill.skipped`. A schema does not tell what a tool returns, so results are placeholders (a status, a reference).
"""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, final

from gemma_tool_use.conversation import ToolCall, ToolSpec
from gemma_tool_use.data.synthetic import schema_wordings as wordings
from gemma_tool_use.data.synthetic.fillers import Filled, Filler
from gemma_tool_use.data.synthetic.schema_values import filler, words_of
from gemma_tool_use.data.synthetic.skill import Incomplete, Request, Skill, pick
from gemma_tool_use.data.synthetic.values import Split
from gemma_tool_use.errors import DataError

OPTIONAL_SHARE = 0.35
MOST_OPTIONAL = 3


@final
class SchemaSkill(Skill):
    """A tool that is known only by its schema."""

    def __init__(self, spec: ToolSpec):
        self.spec = spec
        self.words = words_of(spec.name)
        self.action = _action(spec, self.words)
        self.required: dict[str, Filler] = {}
        self.optional: dict[str, Filler] = {}
        self.skipped: dict[str, str] = {}
        self._read_parameters()
        rng = random.Random(0)
        self._varied = len({json.dumps(self._draw(rng, "train")[1]) for _ in range(32)}) > 1

    @property
    def can_miss(self) -> bool:
        return bool(self.required)

    @property
    def varied(self) -> bool:
        return self._varied

    def confusable(self, other: ToolSpec) -> bool:
        verbs = wordings.READING | wordings.DOING
        mine, theirs = set(self.words), set(words_of(other.name))
        return bool(((mine - verbs) or mine) & ((theirs - verbs) or theirs))

    def request(self, rng: random.Random, split: Split) -> Request:
        return self._worded(rng, split, wordings.WITH[split], wordings.BARE[split])

    def clause(self, rng: random.Random, split: Split) -> Request:
        return self._worded(rng, split, wordings.CLAUSES[split], wordings.BARE_CLAUSES)

    def pair(self, rng: random.Random, split: Split) -> Request | None:
        return None

    def incomplete(self, rng: random.Random, split: Split) -> Incomplete:
        filled, _ = self._draw(rng, split)
        missing = rng.choice(list(self.required))
        del filled[missing]
        index, text = self._say(rng, wordings.WITH[split] if filled else wordings.BARE[split], filled)
        question = rng.choice(wordings.QUESTIONS).format(label=_label(missing))
        return Incomplete(text=text, question=question, wording=f"{self.spec.name}.{index}")

    def answer(self, rng: random.Random, request: Request) -> tuple[str, str]:
        if self.words and self.words[0] in wordings.READING:
            value: Any = rng.randint(2, 999)
            return json.dumps({"result": value}), rng.choice(wordings.FOUND).format(value=value)
        value = f"R-{rng.randint(1000, 9999)}"
        return json.dumps({"status": "ok", "reference": value}), rng.choice(wordings.DONE).format(value=value)

    def refusal(self, rng: random.Random) -> str:
        return rng.choice(wordings.REFUSALS).format(action=self.action)

    def _read_parameters(self) -> None:
        schema = self.spec.parameters
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, dict):
            raise DataError(f"tool {self.spec.name!r}: properties must be an object, got {properties!r}")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise DataError(f"tool {self.spec.name!r}: required must be a list of names, got {required!r}")
        problems = []
        for name in dict.fromkeys([*properties, *required]):
            try:
                made = filler(properties.get(name, True), name, schema)
            except DataError as error:
                if name in required:
                    problems.append(f"tool {self.spec.name!r}, required parameter {name!r}: {error}")
                self.skipped[name] = str(error)
                continue
            (self.required if name in required else self.optional)[name] = made
        if problems:
            raise DataError("; ".join(problems))

    def _draw(self, rng: random.Random, split: Split) -> tuple[dict[str, Filled], dict[str, Any]]:
        """The arguments, required ones first, as what is said and as what is called."""
        chosen = [name for name in self.optional if rng.random() < OPTIONAL_SHARE][:MOST_OPTIONAL]
        every = {**self.required, **{name: self.optional[name] for name in chosen}}
        filled = {name: made.draw(rng, split) for name, made in every.items()}
        return filled, {name: one.value for name, one in filled.items()}

    def _worded(self, rng: random.Random, split: Split, with_details: Sequence[str], bare: Sequence[str]) -> Request:
        filled, arguments = self._draw(rng, split)
        index, text = self._say(rng, with_details if filled else bare, filled)
        call = ToolCall(name=self.spec.name, arguments=arguments)
        return Request(text=text, calls=(call,), wording=f"{self.spec.name}.{index}")

    def _say(self, rng: random.Random, choices: Sequence[str], filled: Mapping[str, Filled]) -> tuple[int, str]:
        index, wording = pick(rng, choices)
        details = _details(rng, filled)
        words = {"action": self.action, "details": details}
        return index, wording.format_map(words | {k.capitalize(): v[:1].upper() + v[1:] for k, v in words.items()})


def schema_skills(tools: Sequence[ToolSpec]) -> tuple[SchemaSkill, ...]:
    """One skill per tool.

    Raises:
      DataError: no tools, two with one name, or a required parameter that no text can say; lists every problem.
    """
    if not tools:
        raise DataError("there are no tools to write rows about; give at least one")
    names = [tool.name for tool in tools]
    problems = [
        f"tool {name!r} is given {names.count(name)} times" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    skills = []
    for tool in tools:
        try:
            skills.append(SchemaSkill(tool))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("; ".join(problems))
    return tuple(skills)


def _action(spec: ToolSpec, words: Sequence[str]) -> str:
    """The description of create_event, `Create a calendar event.`, as an imperative; else the words of the name."""
    first = spec.description.strip().split("\n")[0].split(". ")[0].rstrip(".")
    described = first.split()
    if words and 3 <= len(described) <= 8 and described[0].lower() == words[0] and first.isprintable():
        return first[0].lower() + first[1:]
    if words and words[0] in wordings.READING | wordings.DOING:
        return " ".join(words)
    return f"use the {' '.join(words) or spec.name} tool"


def _label(name: str) -> str:
    return " ".join(words_of(name)) or name


def _details(rng: random.Random, filled: Mapping[str, Filled]) -> str:
    style = rng.choice(wordings.DETAILS)
    quote = rng.random() < 0.4
    parts = []
    for name, one in filled.items():
        text = one.text
        if isinstance(one.value, str) and (quote or not text.replace("-", "").isalnum()):
            text = f'"{text}"'
        parts.append(style.format(label=_label(name), value=text))
    return " and ".join(part for part in (", ".join(parts[:-1]), "".join(parts[-1:])) if part)
