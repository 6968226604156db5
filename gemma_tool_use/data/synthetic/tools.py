"""The six built-in tools of the synthetic rows: what they take, what they return, how their results are told.

    get_weather(location, unit?)   calculate(expression)    search_web(query)
    correct_grammar(text)          generate_image(prompt, style?)   text_to_speech(text, voice?)

Descriptions are short on purpose: the schemas are most of a row's tokens, and a laptop CPU pays for each of them.
"""

import json
import random
from collections.abc import Callable, Mapping
from typing import Any, final

from gemma_tool_use.conversation import ToolCall, ToolSpec
from gemma_tool_use.data.synthetic import values as values
from gemma_tool_use.data.synthetic.skill import Incomplete, Request, Skill, pick
from gemma_tool_use.data.synthetic.values import Source, Split, Value
from gemma_tool_use.data.synthetic.wordings import Wordings
from gemma_tool_use.data.synthetic.wordings_heldout import HELDOUT
from gemma_tool_use.data.synthetic.wordings_train import TRAIN

# A result and the wordings that tell it; keys of the result and of the arguments may stand in the wordings.
Answer = Callable[[random.Random, Mapping[str, str], str], tuple[dict[str, Any], tuple[str, ...]]]


# Of the training requests to a tool with an optional parameter, this share is drawn from the wordings that mention it
# and the rest from all: seen in a third of the requests, an option was mostly left out of the calls.
OPTION_SHARE = 0.4


@final
class BuiltinSkill(Skill):
    """A tool with hand-written wordings and a pool of values for every parameter."""

    def __init__(
        self,
        spec: ToolSpec,
        sources: Mapping[str, Source],
        questions: tuple[str, ...],
        ability: str,
        answer: Answer,
        served_by: tuple[str, ...] = (),
    ):
        self.spec = spec
        self.sources = sources
        self.questions = questions
        self.ability = ability
        self.answer_parts = answer
        self.served_by = served_by
        self.wordings: Mapping[Split, Wordings] = {"train": TRAIN[spec.name], "heldout": HELDOUT[spec.name]}

    @property
    def can_miss(self) -> bool:
        return True

    @property
    def varied(self) -> bool:
        return True

    def confusable(self, other: ToolSpec) -> bool:
        return other.name in self.served_by

    def request(self, rng: random.Random, split: Split) -> Request:
        numbered = list(enumerate(self.wordings[split].requests))
        optional = set(self.sources) - set(self.spec.parameters["required"])
        if split == "train" and optional and rng.random() < OPTION_SHARE:
            numbered = [(i, w) for i, w in numbered if any("{" + name + "}" in w for name in optional)]
        return self._fill(rng, split, *rng.choice(numbered))

    def clause(self, rng: random.Random, split: Split) -> Request:
        return self._fill(rng, split, *pick(rng, self.wordings[split].clauses))

    def pair(self, rng: random.Random, split: Split) -> Request:
        index, wording = pick(rng, self.wordings[split].pairs)
        name = self.spec.parameters["required"][0]
        first = second = self.sources[name].draw(rng, split).text
        while second == first:
            second = self.sources[name].draw(rng, split).text
        return Request(
            text=wording.format_map({name: first, f"{name}_2": second}),
            calls=tuple(ToolCall(name=self.spec.name, arguments={name: text}) for text in (first, second)),
            wording=f"pair+{self.spec.name}.{index}",
        )

    def incomplete(self, rng: random.Random, split: Split) -> Incomplete:
        index, wording = pick(rng, self.wordings[split].missing)
        drawn = self._draw(rng, split, wording)
        return Incomplete(
            text=wording.format_map({name: value.text for name, value in drawn.items()}),
            question=rng.choice(self.questions),
            wording=f"{self.spec.name}.{index}",
        )

    def answer(self, rng: random.Random, request: Request) -> tuple[str, str]:
        arguments = request.calls[0].arguments
        result, tellings = self.answer_parts(rng, arguments, request.truth)
        return json.dumps(result, ensure_ascii=False), rng.choice(tellings).format_map({**arguments, **result})

    def refusal(self, rng: random.Random) -> str:
        return rng.choice(REFUSALS).format(ability=self.ability)

    def _fill(self, rng: random.Random, split: Split, index: int, wording: str) -> Request:
        drawn = self._draw(rng, split, wording)
        arguments = {name: value.text for name, value in drawn.items()}
        return Request(
            text=wording.format_map(arguments),
            calls=(ToolCall(name=self.spec.name, arguments=dict(arguments)),),
            wording=f"{self.spec.name}.{index}",
            truth="".join(value.truth for value in drawn.values()),
        )

    def _draw(self, rng: random.Random, split: Split, wording: str) -> dict[str, Value]:
        """Values of the parameters that the wording mentions, in schema order."""
        return {name: source.draw(rng, split) for name, source in self.sources.items() if "{" + name + "}" in wording}


REFUSALS = (
    "I'm sorry, I can't {ability} with the tools I have.",
    "None of my tools can {ability}, so I can't help with that.",
    "I have no tool to {ability}.",
    "Sorry, I'm not able to {ability} here.",
)


def _weather(rng: random.Random, arguments: Mapping[str, str], truth: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    unit = arguments.get("unit", "celsius")
    degrees = rng.randint(-8, 35) if unit == "celsius" else rng.randint(18, 95)
    sky = rng.choice(("sunny", "cloudy", "rainy", "windy", "foggy", "clear"))
    return {"temperature": degrees, "unit": unit, "sky": sky}, (
        "It is {temperature} degrees {unit} and {sky} in {location}.",
        "In {location} it is {sky}, with {temperature} degrees {unit}.",
        "The weather in {location} is {sky} at {temperature} degrees {unit}.",
    )


def _sum(rng: random.Random, arguments: Mapping[str, str], truth: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    value = float(truth) if "." in truth else int(truth)
    return {"result": value}, ("{expression} = {result}", "The result is {result}.", "{expression} is {result}.")


def _search(rng: random.Random, arguments: Mapping[str, str], truth: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    kind = rng.choice(("a short guide", "all you need to know", "an overview", "facts and figures"))
    query = arguments["query"]
    page = {
        "title": f"{query[0].upper()}{query[1:]}: {kind}",
        "url": f"https://www.example.org/{rng.randint(100, 9999)}",
    }
    return page, (
        'I found "{title}" at {url}.',
        'The first result is "{title}": {url}',
        'Here is a page about it: "{title}" ({url}).',
    )


def _grammar(rng: random.Random, arguments: Mapping[str, str], truth: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    return {"corrected": truth}, (
        'The correct sentence is: "{corrected}"',
        "Corrected: {corrected}",
        'It should be "{corrected}"',
    )


def _image(rng: random.Random, arguments: Mapping[str, str], truth: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    return {"url": f"https://img.example.org/{rng.randint(100, 9999)}.png"}, (
        "Here is your image: {url}",
        "The picture of {prompt} is ready: {url}",
        "Done! You can see it at {url}",
    )


def _speech(rng: random.Random, arguments: Mapping[str, str], truth: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    return {"url": f"https://audio.example.org/{rng.randint(100, 9999)}.mp3", "seconds": rng.randint(2, 9)}, (
        "Your audio is ready: {url}",
        "Here is the recording ({seconds} seconds): {url}",
        "Done, you can listen to it at {url}",
    )


def _tool(name: str, description: str, required: str, optional: Mapping[str, Any] | None = None) -> ToolSpec:
    properties: dict[str, Any] = {required: {"type": "string"}, **(optional or {})}
    return ToolSpec(
        name=name,
        description=description,
        parameters={"type": "object", "properties": properties, "required": [required]},
    )


def _enum(choice: values.Choice) -> dict[str, Any]:
    return {"type": "string", "enum": [value.text for value in choice.values]}


BUILTIN_SKILLS: tuple[BuiltinSkill, ...] = (
    BuiltinSkill(
        _tool("get_weather", "Current weather in a place", "location", {"unit": _enum(values.UNITS)}),
        {"location": values.LOCATIONS, "unit": values.UNITS},
        ("Which city do you want the weather for?", "For which place should I check the weather?"),
        "check the weather",
        _weather,
        served_by=("search_web",),
    ),
    BuiltinSkill(
        _tool("calculate", "Evaluate an arithmetic expression", "expression"),
        {"expression": values.Expressions()},
        ("What should I calculate?", "Which expression should I calculate?"),
        "calculate that",
        _sum,
        served_by=("search_web",),
    ),
    BuiltinSkill(
        _tool("search_web", "Search the web", "query"),
        {"query": values.QUERIES},
        ("What should I search for?", "Which topic should I search the web for?"),
        "search the web",
        _search,
    ),
    BuiltinSkill(
        _tool("correct_grammar", "Correct the grammar of a text", "text"),
        {"text": values.SENTENCES},
        ("Which sentence should I correct?", "Please send me the text I should correct."),
        "correct grammar",
        _grammar,
    ),
    BuiltinSkill(
        _tool("generate_image", "Generate an image", "prompt", {"style": _enum(values.STYLES)}),
        {"prompt": values.PROMPTS, "style": values.STYLES},
        ("What should the image show?", "What would you like me to draw?"),
        "make images",
        _image,
    ),
    BuiltinSkill(
        _tool("text_to_speech", "Read a text aloud", "text", {"voice": {"type": "string"}}),
        {"text": values.SPEECHES, "voice": values.VOICES},
        ("Which text should I read aloud?", "What should the recording say?"),
        "turn text into speech",
        _speech,
    ),
)
