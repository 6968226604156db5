"""Filtering and preparing Toucan-shaped rows: `gemma-tool-use prepare` against the plain way, in one run.

    uv run python benchmarks/toucan_shaped.py --rows ROWS --tools TOOLS --count 1000000 --output toucan-shaped
    uv run python benchmarks/prepare.py --data toucan-shaped --bfcl bfcl_eval/data --scratch scratch

writes benchmarks/prepare.json. The plain way is what one writes first, in one process, on `datasets.load_dataset`, with
one Python function for `.filter` and one for `.map`, then `.to_parquet`. It is measured for two jobs:

    filter    the project's rule (subset, turns, tools used and offered, calls declared) and the conversion
    whole     what `prepare` does by default: also arguments against their schemas (jsonschema), no BFCL questions, no
              exact or near duplicates (MinHash and MinHashLSH of datasketch, 128 permutations, as ours)

Both read the same shards. In the filter job both must keep the same rows, by id; in the whole job the near matches
differ by a few, and both counts are given. Ours also writes the reason of every row left out, and a manifest. Memory
is the resident set of the whole process tree, shared pages counted in each process.
"""

import argparse
import ast
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

SUBSETS = ("single-turn-original", "single-turn-diversify")
# The plain way is measured at a million rows for the whole job only: that alone takes eight minutes.
PLAIN_UP_TO = {"filter": 100_000, "whole": 1_000_000}
OUR_FLAGS = {
    "filter": ("--no-exact-duplicates", "--no-near-duplicates", "--no-keep-out-bfcl", "--no-valid-arguments"),
    "whole": (),
}


def plain_keep(row: dict[str, Any]) -> bool:
    """The project's rule as one writes it first; rows of other subsets are not parsed."""
    if row["subset_name"] not in SUBSETS:
        return False
    messages, tools = json.loads(row["messages"]), json.loads(row["tools"])
    offered = [tool["function"]["name"] for tool in tools]
    calls = [ast.literal_eval(message["content"]) for message in messages if message["role"] == "tool_call"]
    try:
        arguments = [json.loads(call["arguments"]) for call in calls]
    except ValueError:
        return False
    used = {call["name"] for call in calls}
    return (
        sum(message["role"] == "user" for message in messages) == 1
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


def plain_valid(row: dict[str, Any]) -> bool:
    """Whether the first calls fit the schemas of their tools."""
    import jsonschema

    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in json.loads(row["tools"])}
    last = json.loads(row["messages"])[-1]
    for call in last.get("tool_calls", []):
        try:
            jsonschema.validate(call["function"]["arguments"], schemas[call["function"]["name"]])
        except (jsonschema.ValidationError, jsonschema.SchemaError):
            return False
    return True


class PlainUnseen:
    """Whether a row asks neither a benchmark question nor what an earlier row asked, exactly or nearly."""

    def __init__(self, benchmark: list[str]) -> None:
        from datasketch import MinHashLSH

        self.seen, self.rows = set(map(self.normal, benchmark)), 0
        self.near, self.near_benchmark = MinHashLSH(0.8, 128), MinHashLSH(0.6, 128)
        for number, text in enumerate(sorted(self.seen)):
            self.near_benchmark.insert(number, self.minhash(text))

    @staticmethod
    def normal(text: str) -> str:
        return " ".join(text.casefold().split())

    @staticmethod
    def minhash(text: str) -> Any:
        from datasketch import MinHash

        result = MinHash(128)
        result.update_batch([text[i : i + 5].encode() for i in range(max(1, len(text) - 4))])
        return result

    def __call__(self, row: dict[str, Any]) -> bool:
        text = self.normal(next(m["content"] for m in json.loads(row["messages"]) if m["role"] == "user"))
        signature = self.minhash(text)
        if text in self.seen or self.near_benchmark.query(signature) or self.near.query(signature):
            return False
        self.seen.add(text)
        self.rows += 1
        self.near.insert(self.rows, signature)
        return True


def run_plain(shards: list[Path], output: Path, bfcl: Path | None) -> None:
    import datasets

    rows = datasets.load_dataset("parquet", data_files=[str(shard) for shard in shards], split="train")
    kept = rows.filter(plain_keep)
    converted = kept.map(plain_convert, remove_columns=kept.column_names)
    if bfcl is not None:
        from gemma_tool_use.data.contamination.questions import bfcl_questions

        unseen = PlainUnseen([text for _, text in bfcl_questions(bfcl)])
        converted = converted.filter(plain_valid).filter(unseen)
    converted.to_parquet(str(output / "plain.parquet"))


def measure(command: list[str], env: dict[str, str]) -> dict[str, float]:
    """Seconds, seconds of processors and peak memory of a command and all its children."""
    start, before, peak = time.perf_counter(), _cpu(), 0
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
    seconds, cpu = time.perf_counter() - start, _cpu() - before
    return {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_gb": round(peak / 1e9, 3)}


def _cpu() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
        path = folder / f"{shard.stem.partition('-of-')[0]}.parquet"
        pq.write_table(table, path, row_group_size=1_000, compression="snappy")
        left -= table.num_rows
    return folder


def ids(files: list[Path]) -> list[str]:
    return [value for file in files for value in pq.read_table(file, columns=["id"])["id"].to_pylist()]


def compare(job: str, folder: Path, rows: int, given: argparse.Namespace) -> dict[str, Any]:
    """One job on one folder, by both ways; the plain one only up to the size asked for."""
    scratch, env = given.scratch, dict(os.environ) | {"HF_DATASETS_CACHE": str(given.scratch / "cache")}
    result: dict[str, Any] = {"job": job, "rows": rows}
    result["ours"] = measure(ours(folder, scratch / "ours", OUR_FLAGS[job]), env)
    kept = ids(sorted((scratch / "ours").glob("train-*.parquet")))
    result["ours"]["kept"] = len(kept)
    if rows <= min(given.plain_up_to, PLAIN_UP_TO[job]):
        (scratch / "plain").mkdir()
        command = [sys.executable, __file__, "--plain", str(folder), "--scratch", str(scratch / "plain")]
        result["plain"] = measure([*command, *(["--bfcl", str(given.bfcl)] if job == "whole" else [])], env)
        theirs = ids([scratch / "plain" / "plain.parquet"])
        result["plain"]["kept"] = len(theirs)
        if job == "filter" and theirs != kept:
            raise SystemExit(f"the two ways keep different rows: {len(kept)} and {len(theirs)}")
        result["ratio"] = round(result["plain"]["seconds"] / result["ours"]["seconds"], 2)
    for name in ("ours", "plain", "cache"):
        shutil.rmtree(scratch / name, ignore_errors=True)
    for name in ("ours", "plain"):
        if name in result:
            result[name]["rows_per_second"] = round(rows / result[name]["seconds"])
    print(json.dumps(result), flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of benchmarks/toucan_shaped.py")
    parser.add_argument("--bfcl", type=Path, help="data folder of the bfcl-eval package, for the plain way")
    parser.add_argument("--scratch", type=Path, required=True, help="new folder for outputs and caches; removed")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--plain-up-to", type=int, default=1_000_000, help="largest set for the plain way")
    parser.add_argument("--report", type=Path, default=Path(__file__).with_suffix(".json"), help="file to write")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        run_plain(sorted(given.plain.glob("*.parquet")), given.scratch, given.bfcl)
        return
    given.scratch.mkdir(parents=True)
    results = []
    for rows in given.rows:
        folder = part_of(given.data, rows, given.scratch)
        results += [compare(job, folder, rows, given) for job in OUR_FLAGS]
    shutil.rmtree(given.scratch)
    report = {
        "command": "uv run python benchmarks/prepare.py --data toucan-shaped --bfcl bfcl_eval/data --scratch scratch",
        "machine": {"cpus": os.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 1e9, 1)},
        "results": results,
    }
    given.report.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
