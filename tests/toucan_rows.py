"""Made-up rows in the layout of Toucan SFT, for tests of what happens to many rows."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SUBSETS = ("single-turn-original", "single-turn-diversify", "irrelevant", "multi-turn")
_WORDS = [
    "harbour",
    "violet",
    "engine",
    "window",
    "ladder",
    "copper",
    "meadow",
    "signal",
    "basket",
    "thunder",
    "pillow",
    "marble",
    "orchard",
    "lantern",
    "saddle",
    "compass",
    "feather",
    "glacier",
    "hammer",
    "island",
    "jacket",
    "kettle",
    "lemon",
    "mirror",
    "needle",
    "oyster",
    "pepper",
    "quarry",
    "ribbon",
    "silver",
]


def tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    return {"type": "function", "function": {"name": name, "description": f"Does {name}", "parameters": parameters}}


def row(
    number: int | str,
    *,
    question: str,
    tools: tuple[str, ...] = ("find",),
    called: str | None = None,
    subset: str = "single-turn-original",
    arguments: str = '{"query": "é"}',
) -> dict[str, str]:
    """One row that calls the first of its tools."""
    call = {"name": called or tools[0], "arguments": arguments}
    messages = [
        {"role": "user", "content": question},
        {"role": "tool_call", "content": str(call)},
        {"role": "tool_response", "content": "ok"},
        {"role": "assistant", "content": "Done."},
    ]
    return {
        "uuid": f"u{number}",
        "subset_name": subset,
        "question": question,
        "target_tools": tools[0],
        "tools": json.dumps([tool(name) for name in tools]),
        "messages": json.dumps(messages),
    }


def question(draw: random.Random, words: int = 14) -> str:
    return " ".join(draw.choices(_WORDS, k=words)) + "?"


def rows(count: int, *, seed: int = 0, start: int = 0) -> list[dict[str, str]]:
    """Rows of every kind: kept ones, exact and near duplicates, other subsets, undeclared calls, broken arguments."""
    draw, result = random.Random(seed), []
    for number in range(start, start + count):
        kind = draw.random()
        tools = tuple(draw.sample([f"tool_{i}" for i in range(200)], draw.randint(1, 2)))
        text = question(draw)
        if kind < 0.1 and result:
            earlier = draw.choice(result)
            result.append({**earlier, "uuid": f"u{number}"})
        elif kind < 0.15:
            result.append(row(number, question=text, tools=tools, subset=draw.choice(SUBSETS[2:])))
        elif kind < 0.2:
            result.append(row(number, question=text, tools=tools, called="nowhere"))
        elif kind < 0.25:
            result.append(row(number, question=text, tools=tools, arguments="{"))
        else:
            result.append(row(number, question=text, tools=tools))
    return result


def write(path: Path, rows: list[dict[str, str]], **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path
