"""Filtering and preparing Toucan-shaped rows: `gemma-tool-use prepare` against the plain way, in one run.

    uv run python benchmarks/toucan_shaped.py --rows ROWS --tools TOOLS --count 1000000 --output toucan-shaped
    uv run python benchmarks/prepare.py --data toucan-shaped --scratch scratch    # writes benchmarks/prepare.json

The plain way is what one writes first: `datasets.load_dataset`, Python `.filter` with the project's rule, `.map` into
conversations, `.to_parquet`, one process, json.loads for each row. Both read the same shards and keep the same rows
(compared by id); ours also writes a reject with its reason for every other row, and a manifest. Duplicate removal and
the split, which the plain way does not have, are off in the compared run and on in the run of all rows beside it.
Memory is the resident set of the whole process tree, shared pages counted in each process.
"""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

SUBSETS = ("single-turn-original", "single-turn-diversify")
PLAIN_FLAGS = ("--no-exact-duplicates", "--no-near-duplicates", "--no-keep-out-benchmarks", "--eval-share", "0")


def plain_keep(row: dict[str, Any]) -> bool:
    """The project's rule as one writes it first."""
    messages, tools = json.loads(row["messages"]), json.loads(row["tools"])
    offered = [tool["function"]["name"] for tool in tools]
    calls = [ast.literal_eval(message["content"]) for message in messages if message["role"] == "tool_call"]
    try:
        arguments = [json.loads(call["arguments"]) for call in calls]
    except ValueError:
        return False
    used = {call["name"] for call in calls}
    return (
        row["subset_name"] in SUBSETS
        and sum(message["role"] == "user" for message in messages) == 1
        and len(used) <= 2
        and len(offered) <= 3
        and len(set(offered)) == len(offered)
        and used <= set(offered)
        and all(isinstance(value, dict) for value in arguments)
    )


def plain_convert(row: dict[str, Any]) -> dict[str, str]:
    """The row up to its first calls, in OpenAI form."""
    messages: list[dict[str, Any]] = []
    for message in json.loads(row["messages"]):
        if message["role"] == "tool_call":
            call = ast.literal_eval(message["content"])
            function = {"name": call["name"], "arguments": json.loads(call["arguments"])}
            if messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": ""})
            messages[-1].setdefault("tool_calls", []).append({"type": "function", "function": function})
        elif message["role"] == "tool_response":
            break
        else:
            messages.append({"role": message["role"], "content": message["content"]})
    return {"id": row["uuid"], "source": "toucan-sft", "tools": row["tools"], "messages": json.dumps(messages)}


def run_plain(shards: list[Path], output: Path) -> None:
    import datasets

    rows = datasets.load_dataset("parquet", data_files=[str(shard) for shard in shards], split="train")
    kept = rows.filter(plain_keep)
    kept.map(plain_convert, remove_columns=kept.column_names).to_parquet(str(output / "plain.parquet"))


def measure(command: list[str], env: dict[str, str]) -> dict[str, float]:
    """Seconds and peak memory of a command and all its children."""
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    tree = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        for child in [tree, *_children(tree)]:
            try:
                total += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        peak = max(peak, total)
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return {"seconds": round(time.perf_counter() - start, 2), "peak_gb": round(peak / 1e9, 3)}


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def ours(folder: Path, output: Path, flags: tuple[str, ...]) -> list[str]:
    command = ["prepare", "--source", "toucan-sft", "--input", str(folder), "--output", str(output), *flags]
    return [sys.executable, "-m", "gemma_tool_use.cli", *command]


def part_of(data: Path, rows: int, scratch: Path) -> Path:
    """A folder with the first `rows` rows, in shards as large as the whole set's."""
    shards = sorted(data.glob("*.parquet"))
    if rows >= sum(pq.read_metadata(shard).num_rows for shard in shards):
        return data
    folder = scratch / f"rows-{rows}"
    folder.mkdir()
    left = rows
    for shard in shards:
        if left <= 0:
            break
        table = pq.read_table(shard).slice(0, left)
        pq.write_table(table, folder / shard.name.partition("-of-")[0], row_group_size=1_000, compression="snappy")
        (folder / shard.name.partition("-of-")[0]).rename(folder / f"{shard.stem.partition('-of-')[0]}.parquet")
        left -= table.num_rows
    return folder


def ids(files: list[Path]) -> list[str]:
    return [value for file in files for value in pq.read_table(file, columns=["id"])["id"].to_pylist()]


def compare(data: Path, rows: int, scratch: Path, *, plain: bool) -> dict[str, Any]:
    folder, env = part_of(data, rows, scratch), dict(os.environ) | {"HF_DATASETS_CACHE": str(scratch / "cache")}
    result: dict[str, Any] = {"rows": rows}
    result["ours"] = measure(ours(folder, scratch / "ours", PLAIN_FLAGS), env)
    kept = ids(sorted((scratch / "ours").glob("train-*.parquet")))
    result["kept"] = len(kept)
    if plain:
        (scratch / "plain").mkdir()
        command = [sys.executable, __file__, "--plain", str(folder), "--scratch", str(scratch / "plain")]
        result["plain"] = measure(command, env)
        result["same_rows_kept"] = kept == ids([scratch / "plain" / "plain.parquet"])
        result["ratio"] = round(result["plain"]["seconds"] / result["ours"]["seconds"], 2)
    for name in ("ours", "plain", "cache"):
        shutil.rmtree(scratch / name, ignore_errors=True)
    result["everything_on"] = measure(ours(folder, scratch / "ours", ()), env)
    result["everything_on"]["kept"] = len(ids(sorted((scratch / "ours").glob("train-*.parquet"))))
    shutil.rmtree(scratch / "ours")
    for name in ("ours", "plain", "everything_on"):
        if name in result:
            result[name]["rows_per_second"] = round(rows / result[name]["seconds"])
    print(json.dumps(result), flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of benchmarks/toucan_shaped.py")
    parser.add_argument("--scratch", type=Path, required=True, help="new folder for outputs and caches; removed")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--plain-up-to", type=int, default=1_000_000, help="largest set for the plain way")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        run_plain(sorted(given.plain.glob("*.parquet")), given.scratch)
        return
    given.scratch.mkdir(parents=True)
    results = [compare(given.data, rows, given.scratch, plain=rows <= given.plain_up_to) for rows in given.rows]
    shutil.rmtree(given.scratch)
    report = {
        "command": "uv run python benchmarks/prepare.py --data toucan-shaped --scratch scratch",
        "machine": {"cpus": os.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 1e9, 1)},
        "sets": results,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
