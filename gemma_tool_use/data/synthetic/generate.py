"""Synthetic tool-use conversations: deterministic, schema-valid, every argument value copied from the request.

    generate(count=1, seed=1)[0]   ->   id "synthetic:train:1:0:one_call:generate_image.11"
        user:       "Design a poster with a red fox in thick fog."
        assistant:  generate_image(prompt="a red fox in thick fog")

Five kinds of rows (`KINDS`). Row i depends on seed, split and i only, never on `count`. The splits share no wording,
and about half of the held-out values are unseen in training. An id ends with the kind and the wording used.
"""

import dataclasses
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

from gemma_tool_use.conversation import Conversation, Message, ToolSpec
from gemma_tool_use.data.synthetic.schema import schema_skills
from gemma_tool_use.data.synthetic.skill import Request, Skill, pick
from gemma_tool_use.data.synthetic.talk import FACTS, FIRST_NAMES, TALK
from gemma_tool_use.data.synthetic.tools import BUILTIN_SKILLS
from gemma_tool_use.data.synthetic.values import Split
from gemma_tool_use.data.synthetic.wordings import JOINS
from gemma_tool_use.errors import ConfigError, suggest

SOURCE = "synthetic"
KINDS: Mapping[str, float] = {
    "one_call": 0.45,
    "several_calls": 0.15,
    "no_call": 0.15,
    "missing_argument": 0.1,
    "tool_result": 0.15,
}
MOST_TOOLS = 3
TALK_SHARE, FACT_SHARE = 0.4, 0.2  # of no_call rows; the rest asks for a tool that is not offered
PAIR_SHARE = 0.3  # of several_calls rows: two calls of one tool
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly: any 100 rows hold each kind at its share


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Draft:
    """A row before tools are offered: messages, tools that must be offered, tools that must not."""

    messages: tuple[Message, ...]
    wording: str
    used: tuple[ToolSpec, ...] = ()
    barred: frozenset[str] = frozenset()


_Writer = Callable[[random.Random, Split, Sequence[Skill]], _Draft]


def generate(
    *,
    count: int,
    seed: int,
    split: Split = "train",
    kinds: Mapping[str, float] | None = None,
    tools: Sequence[ToolSpec] | None = None,
    most_tools: int = MOST_TOOLS,
    idle_options: bool = True,
) -> list[Conversation]:
    """`count` conversations about the built-in tools, or about `tools` (then worded from their schemas).

    Args:
      count: number of rows.
      seed: rows of different seeds differ.
      split: "heldout" uses wordings that "train" never uses.
      kinds: weight per kind, need not add up to 1. By default `KINDS`, less what `tools` cannot express.
      tools: specs to write rows about, instead of the built-in ones.
      most_tools: most tools a row offers; the ones it uses are always offered.
      idle_options: whether a called tool is also offered the optional parameters that the request does not mention.

    Raises:
      ConfigError: a kind that does not exist or that the tools cannot express, a bad weight, count or split.
      DataError: `tools` is empty, or a required parameter has a schema that no plain text value can fill.
    """
    if count < 0:
        raise ConfigError(f"count is {count}, expected 0 or more")
    if most_tools < 1:
        raise ConfigError(f"most_tools is {most_tools}, expected 1 or more")
    if split not in get_args(Split):
        raise ConfigError(f"split is {split!r}, expected one of {', '.join(get_args(Split))}")
    skills = BUILTIN_SKILLS if tools is None else schema_skills(tools)
    weights = _checked_weights(kinds, skills)
    rows = (_row(index, seed, split, weights, skills, most_tools) for index in range(count))
    return list(rows) if idle_options else [without_idle_options(row) for row in rows]


def without_idle_options(conversation: Conversation) -> Conversation:
    """The conversation with called tools reduced to their required parameters and those that a call uses."""
    used: dict[str, set[str]] = {}
    for call in (call for message in conversation.messages for call in message.calls):
        used.setdefault(call.name, set()).update(call.arguments)

    def reduce(tool: ToolSpec) -> ToolSpec:
        if tool.name not in used:
            return tool
        schema = tool.parameters
        kept = used[tool.name].union(schema.get("required") or ())
        properties = {name: value for name, value in (schema.get("properties") or {}).items() if name in kept}
        return dataclasses.replace(tool, parameters={**schema, "properties": properties})

    return dataclasses.replace(conversation, tools=tuple(map(reduce, conversation.tools)))


def kind_of(conversation: Conversation) -> str:
    """The kind of a synthetic row: `"synthetic:train:0:17:one_call:calculate.3"` gives `"one_call"`.

    Raises:
      ConfigError: the id is not that of a synthetic row.
    """
    parts = conversation.id.split(":", 5)
    if len(parts) != 6 or parts[0] != SOURCE or parts[4] not in KINDS:
        raise ConfigError(
            f"{conversation.id!r} is not the id of a synthetic row (synthetic:SPLIT:SEED:INDEX:KIND:WORDING)"
        )
    return parts[4]


def usable_kinds(skills: Sequence[Skill]) -> dict[str, float]:
    """`KINDS` without those that the tools cannot express.

    No `missing_argument` where no tool requires a parameter, no `several_calls` where all calls would be the same.
    """
    impossible = set()
    if not any(skill.can_miss for skill in skills):
        impossible.add("missing_argument")
    if len(skills) == 1 and not skills[0].varied:
        impossible.add("several_calls")
    return {kind: weight for kind, weight in KINDS.items() if kind not in impossible}


def _checked_weights(kinds: Mapping[str, float] | None, skills: Sequence[Skill]) -> dict[str, float]:
    usable = usable_kinds(skills)
    if kinds is None:
        return usable
    problems = [f"unknown kind {kind!r}. {suggest(kind, KINDS)}" for kind in kinds if kind not in KINDS]
    problems += [
        f"weight of {kind} is {weight}, expected a finite number >= 0"
        for kind, weight in kinds.items()
        if not 0 <= weight < math.inf
    ]
    problems += [
        f"kind {kind} is not possible with these tools: "
        + ("none requires a parameter" if kind == "missing_argument" else "all calls would be the same")
        for kind, weight in kinds.items()
        if kind in KINDS and kind not in usable and weight > 0
    ]
    if not problems and not sum(kinds.values()) > 0:
        problems = ["the weights of the kinds add up to 0"]
    if problems:
        raise ConfigError("; ".join(problems))
    return {kind: weight for kind, weight in kinds.items() if weight > 0}


def _row(
    index: int, seed: int, split: Split, weights: Mapping[str, float], skills: Sequence[Skill], most_tools: int
) -> Conversation:
    rng = random.Random(f"{seed}:{split}:{index}")
    kind = _kind_at((index + 1 + seed) * _GOLDEN % 1, weights)
    draft = _WRITERS[kind](rng, split, skills)
    return Conversation(
        id=f"{SOURCE}:{split}:{seed}:{index}:{kind}:{draft.wording}",
        source=SOURCE,
        tools=_offered(rng, draft, skills, most_tools),
        messages=draft.messages,
    )


def _kind_at(position: float, weights: Mapping[str, float]) -> str:
    remaining = position * sum(weights.values())
    for kind, weight in weights.items():
        remaining -= weight
        if remaining < 0:
            return kind
    return list(weights)[-1]  # rounding of the sum


def _offered(rng: random.Random, draft: _Draft, skills: Sequence[Skill], most_tools: int) -> tuple[ToolSpec, ...]:
    """The used tools and some others, at most `most_tools`, in random order."""
    used = list(dict.fromkeys(tool.name for tool in draft.used))
    others = [skill.spec for skill in skills if skill.spec.name not in draft.barred and skill.spec.name not in used]
    total = max(rng.randint(1, most_tools), len(used))
    offered = [*{tool.name: tool for tool in draft.used}.values()]
    offered += rng.sample(others, min(total - len(used), len(others)))
    rng.shuffle(offered)
    return tuple(offered)


def _one_call(rng: random.Random, split: Split, skills: Sequence[Skill]) -> _Draft:
    skill = rng.choice(skills)
    request = skill.request(rng, split)
    messages = (Message(role="user", content=request.text), Message(role="assistant", calls=request.calls))
    return _Draft(messages=messages, wording=request.wording, used=(skill.spec,))


def _several_calls(rng: random.Random, split: Split, skills: Sequence[Skill]) -> _Draft:
    one = rng.choice(skills)
    request = one.pair(rng, split) if rng.random() < PAIR_SHARE else None
    other = one
    if request is None:
        other = rng.choice([skill for skill in skills if skill is not one] or skills)
        request = _joined(rng, split, one, other)
    messages = (Message(role="user", content=request.text), Message(role="assistant", calls=request.calls))
    return _Draft(messages=messages, wording=request.wording, used=(one.spec, other.spec))


def _joined(rng: random.Random, split: Split, one: Skill, other: Skill) -> Request:
    first = second = one.clause(rng, split)
    while second.calls == first.calls:  # ends, because a single tool is `varied` (usable_kinds)
        second = other.clause(rng, split)
    index, join = pick(rng, JOINS[split])
    a, b = first.text, second.text
    return Request(
        text=join.format(a=a, b=b, A=a[0].upper() + a[1:], B=b[0].upper() + b[1:]),
        calls=first.calls + second.calls,
        wording=f"join.{index}+{first.wording}+{second.wording}",
    )


def _no_call(rng: random.Random, split: Split, skills: Sequence[Skill]) -> _Draft:
    share, skill = rng.random(), rng.choice(skills)
    # Beside a user's own tools no facts are asked: one of those tools may be meant to answer them.
    if share < FACT_SHARE and skills is BUILTIN_SKILLS:
        return _fact(rng, split)
    barred = frozenset(other.spec.name for other in skills if other is skill or skill.confusable(other.spec))
    if share < FACT_SHARE + TALK_SHARE or len(barred) == len(skills):
        return _talk(rng, split)
    request = skill.request(rng, split)
    return _Draft(
        messages=_exchange(request.text, skill.refusal(rng)), wording=f"absent+{request.wording}", barred=barred
    )


def _fact(rng: random.Random, split: Split) -> _Draft:
    number, table = pick(rng, FACTS)
    index, question = pick(rng, table.questions(split))
    entry = table.entries.draw(rng, split)
    return _Draft(
        messages=_exchange(question.format(x=entry.text), table.reply.format(x=entry.text, y=entry.truth)),
        wording=f"fact.{number}.{index}",
        barred=frozenset({"search_web"}),
    )


def _talk(rng: random.Random, split: Split) -> _Draft:
    index, (said, reply) = pick(rng, TALK[split])
    name = FIRST_NAMES.draw(rng, split).text
    return _Draft(messages=_exchange(said.format(name=name), reply.format(name=name)), wording=f"talk.{index}")


def _exchange(said: str, reply: str) -> tuple[Message, ...]:
    return Message(role="user", content=said), Message(role="assistant", content=reply)


def _missing_argument(rng: random.Random, split: Split, skills: Sequence[Skill]) -> _Draft:
    skill = rng.choice([skill for skill in skills if skill.can_miss])
    incomplete = skill.incomplete(rng, split)
    return _Draft(
        messages=_exchange(incomplete.text, incomplete.question), wording=incomplete.wording, used=(skill.spec,)
    )


def _tool_result(rng: random.Random, split: Split, skills: Sequence[Skill]) -> _Draft:
    skill = rng.choice(skills)
    request = skill.request(rng, split)
    result, reply = skill.answer(rng, request)
    messages = (
        Message(role="user", content=request.text),
        Message(role="assistant", calls=request.calls),
        Message(role="tool", content=result, name=skill.spec.name),
        Message(role="assistant", content=reply),
    )
    return _Draft(messages=messages, wording=request.wording, used=(skill.spec,))


_WRITERS: Mapping[str, _Writer] = {
    "one_call": _one_call,
    "several_calls": _several_calls,
    "no_call": _no_call,
    "missing_argument": _missing_argument,
    "tool_result": _tool_result,
}
