"""Generates any number of rows in the shape of Toucan's SFT configuration from a few genuine ones.

    uv run python benchmarks/toucan_shaped.py --rows toucan-sft-sample.parquet --tools mcp-tools.parquet \\
        --count 1000000 --output toucan-shaped

Every row starts as a genuine one drawn with replacement, so columns, lengths, the repr of the calls and the tool
outputs are the true ones. What makes rows differ: the words of the question (half of them drawn anew from all
questions), the tools that are offered but not called (from one MCP server drawn anew), and the subset, drawn with the
published counts; rows of `irrelevant` lose their calls, those of `multi-turn` are two genuine rows in sequence. The
rows are a function of the seed alone: the same command writes the same bytes.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import json
import random
import uuid
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

# Rows per subset of the published SFT configuration.
SUBSETS = {
    "irrelevant": 40_000,
    "multi-turn": 35_243,
    "single-turn-original": 28_254,
    "single-turn-diversify": 15_790,
}
COLUMNS = ("uuid", "subset_name", "question", "target_tools", "tools", "messages")
SHARD_ROWS = 50_000
GROUP_ROWS = 1_000


@dataclasses.dataclass(frozen=True)
class Material:
    """What rows are made of: genuine rows with parsed JSON, tools of each MCP server, all words of all questions."""

    rows: list[dict[str, Any]]
    servers: list[list[dict[str, Any]]]
    words: list[str]


@functools.cache
def material(rows: Path, tools: Path) -> Material:
    genuine = pq.read_table(rows).to_pylist()
    parsed = [row | {key: orjson.loads(row[key]) for key in ("tools", "messages")} for row in genuine]
    servers = [orjson.loads(row["tools"]) for row in pq.read_table(tools).to_pylist()]
    words = sorted({word for row in genuine for word in row["question"].split()})
    return Material(rows=parsed, servers=[server for server in servers if server], words=words)


def make_row(number: int, seed: int, from_: Material) -> dict[str, str]:
    """Row `number` of the set."""
    rng = random.Random(f"{seed}:{number}")
    subset = rng.choices(list(SUBSETS), weights=list(SUBSETS.values()))[0]
    turns = [_turn(rng, from_) for _ in range(2 if subset == "multi-turn" else 1)]
    messages = [message for turn in turns for message in turn["messages"]]
    if subset == "irrelevant":
        messages = [message for message in messages if message["role"] in ("user", "assistant")]
    tools = {tool["function"]["name"]: tool for turn in turns for tool in turn["tools"]}
    questions = [turn["question"] for turn in turns]
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed}:{number}")),
        "subset_name": subset,
        "question": json.dumps(questions) if subset == "multi-turn" else questions[0],
        "target_tools": ", ".join(turn["target_tools"] for turn in turns),
        "tools": orjson.dumps(list(tools.values())).decode(),
        "messages": orjson.dumps(messages).decode(),
    }


def _turn(rng: random.Random, from_: Material) -> dict[str, Any]:
    row = rng.choice(from_.rows)
    question = " ".join(rng.choice(from_.words) if rng.random() < 0.5 else word for word in row["question"].split())
    messages = [
        message | {"content": question} if message["role"] == "user" else message for message in row["messages"]
    ]
    called = "".join(message["content"] for message in messages if message["role"] == "tool_call")
    server = rng.choice(from_.servers)
    tools = [
        tool if f"'{tool['function']['name']}'" in called else _from_mcp(rng.choice(server)) for tool in row["tools"]
    ]
    return row | {"question": question, "messages": messages, "tools": tools}


def _from_mcp(tool: dict[str, Any]) -> dict[str, Any]:
    function = {"name": tool["name"], "description": tool.get("description") or ""}
    return {"type": "function", "function": function | {"parameters": tool.get("input_schema") or {"type": "object"}}}


def write_shard(path: Path, start: int, stop: int, seed: int, rows: Path, tools: Path) -> Path:
    from_ = material(rows, tools)
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    with pq.ParquetWriter(path, schema, compression="snappy") as writer:
        for first in range(start, stop, GROUP_ROWS):
            made = [make_row(number, seed, from_) for number in range(first, min(stop, first + GROUP_ROWS))]
            writer.write_table(pa.Table.from_pylist(made, schema=schema))
    return path


def generate(output: Path, count: int, *, rows: Path, tools: Path, seed: int = 0) -> list[Path]:
    """Writes `train-NNNNN-of-NNNNN.parquet` shards of 50,000 rows into a new folder, on all cores."""
    output.mkdir(parents=True)
    starts = range(0, count, SHARD_ROWS)
    with concurrent.futures.ProcessPoolExecutor() as pool:
        shards = [
            pool.submit(
                write_shard,
                output / f"train-{i:05d}-of-{len(starts):05d}.parquet",
                start,
                min(count, start + SHARD_ROWS),
                seed,
                rows,
                tools,
            )
            for i, start in enumerate(starts)
        ]
        return [shard.result() for shard in shards]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, required=True, help="genuine rows, parquet in the SFT columns")
    parser.add_argument("--tools", type=Path, required=True, help="MCP servers, parquet with a JSON column `tools`")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    shards = generate(given.output, given.count, rows=given.rows, tools=given.tools, seed=given.seed)
    print(f"{given.count:,} rows, {sum(shard.stat().st_size for shard in shards) / 1e9:.2f} GB, {given.output}")


if __name__ == "__main__":
    main()
