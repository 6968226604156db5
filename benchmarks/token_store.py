"""The token store on 100,000 rows of a prepared folder: the first start, the second, and encoding again without it.

    uv run python benchmarks/token_store.py --scratch scratch          # writes benchmarks/token_store.json

Each way runs in a process of its own, from opening the folder to rows that can be trained on; `seconds` leave out the
start of Python and the loading of the tokenizer. `plain` is what a run without the store does: it reads all rows into
memory and encodes them in one process. Peak memory is that of the main process and of its largest worker. In the end
50 single bits of the store are flipped, each is looked for by the next start and by reading all rows of the file.
"""

import argparse
import hashlib
import json
import platform
import random
import resource
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from array_record.python.array_record_data_source import ArrayRecordDataSource

from gemma_tool_use.conversation import Conversation, conversation_to_dict
from gemma_tool_use.data.engine.pool import default_workers
from gemma_tool_use.data.packing import plan_batches
from gemma_tool_use.data.pipeline import batches, encode_rows
from gemma_tool_use.data.prepared import fingerprint_of, open_prepared
from gemma_tool_use.data.rows import BatchShape, EncodedRows, row_sizes
from gemma_tool_use.data.store.encode_unit import Recipe
from gemma_tool_use.data.store.token_store import open_or_build
from gemma_tool_use.data.store.units import parquet_units
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.formats.tokenizer import load_tokenizer
from gemma_tool_use.models.resolve import resolve

ROWS, SHARD_ROWS, FLIPS = 100_000, 50_000, 50
MAX_LENGTH = 512
USAGES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def write_folder(folder: Path, rows: int) -> None:
    """A folder of template rows in the layout of `gemma-tool-use prepare`."""
    folder.mkdir(parents=True)
    conversations = generate(count=rows, seed=0)
    entries = []
    shards = [conversations[start : start + SHARD_ROWS] for start in range(0, rows, SHARD_ROWS)]
    for number, shard in enumerate(shards):
        path = folder / f"train-{number:05}-of-{len(shards):05}.parquet"
        stored = [conversation_to_dict(conversation) for conversation in shard]
        texts = [row | {name: json.dumps(row[name]) for name in ("tools", "messages")} for row in stored]
        pq.write_table(pa.Table.from_pylist(texts), path, row_group_size=1000, compression="zstd")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entries.append({"file": path.name, "bytes": path.stat().st_size, "sha256": digest})
    (folder / "manifest.json").write_text(json.dumps({"conversations": entries}))


def recipe() -> Recipe:
    tokenizer = load_tokenizer(resolve("embedded:gemma-3-270m").require_tokenizer())
    return Recipe(dialect=get_dialect("gemma_json"), tokenizer=tokenizer, max_length=MAX_LENGTH)


def paths_of(folder: Path) -> tuple[list[Path], str]:
    prepared = open_prepared(folder)
    assert prepared is not None
    return [shard.path for shard in prepared.train], fingerprint_of(prepared.train)


def plain(folder: Path, cache: Path, how: Recipe) -> EncodedRows:
    paths, _ = paths_of(folder)
    conversations = [row for unit in parquet_units(paths) for row in unit.read() if isinstance(row, Conversation)]
    return encode_rows(conversations, how.dialect, how.tokenizer, max_length=how.max_length)


def store(folder: Path, cache: Path, how: Recipe) -> EncodedRows:
    paths, content = paths_of(folder)
    units = lambda: parquet_units(paths)  # noqa: E731
    return open_or_build(units, content=content, recipe=how, cache=cache, processes=default_workers()).encoded


WAYS: dict[str, Callable[[Path, Path, Recipe], EncodedRows]] = {"plain": plain, "store": store}


def one_way(name: str, folder: Path, cache: Path) -> dict[str, Any]:
    """What a child process measures."""
    how = recipe()
    start, worked = time.perf_counter(), sum(map(_cpu, USAGES))
    encoded = WAYS[name](folder, cache, how)
    seconds, worked = time.perf_counter() - start, sum(map(_cpu, USAGES)) - worked
    peaks = [resource.getrusage(who).ru_maxrss * 1024 / 1e9 for who in USAGES]
    start = time.perf_counter()
    shape = BatchShape(batch_size=8, length=MAX_LENGTH, pad_id=how.tokenizer.pad_id)
    elements = batches(encoded.rows, plan_batches(row_sizes(encoded.rows), shape, packing=False))
    digest = hashlib.sha256()
    for number, element in enumerate(elements):
        digest.update(element["tokens"].tobytes() + element["loss_mask"].tobytes())
        if number == 999:
            break
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds_of_all_processes": round(worked, 2),
        "peak_gb_main": round(peaks[0], 2),
        "peak_gb_largest_worker": round(peaks[1], 2),
        "rows_batched_per_second": round(8000 / (time.perf_counter() - start)),
        "rows": len(encoded.rows),
        "mean_tokens": round(float(row_sizes(encoded.rows).lengths.mean()), 1),
        "sha256_of_1000_batches": digest.hexdigest(),
    }


def _cpu(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def in_child(name: str, folder: Path) -> dict[str, Any]:
    # Not as a script: worker processes would import all of this file, as they do not import all of the train command.
    code = f"import sys; sys.path[0] = {str(Path(__file__).parent)!r}; import token_store; token_store.main()"
    arguments = [sys.executable, "-c", code, "--scratch", str(folder.parent), "--only", name]
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def flips(folder: Path, cache: Path) -> dict[str, int]:
    """How many of `FLIPS` flipped bits the next start finds, and how many a run that is under way does."""
    how, (_, content), rng = recipe(), paths_of(folder), random.Random(0)
    warnings.simplefilter("ignore")

    def units() -> Sequence[Any]:
        raise RebuildError

    def start() -> None:
        open_or_build(units, content=content, recipe=how, cache=cache, processes=1)

    (place,) = (path for path in cache.iterdir() if not path.name.startswith("."))
    files = sorted(place.iterdir())
    found = {"flips": FLIPS, "found_by_the_next_start": 0}
    reading = {"flips_in_records": 0, "raised_on_reading": 0, "read_right": 0, "read_wrong": 0}
    for _ in range(FLIPS):
        file = rng.choices(files, [path.stat().st_size for path in files])[0]
        whole = file.read_bytes()
        at, bit = rng.randrange(len(whole)), rng.randrange(8)
        changed = whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
        if file.suffix == ".arrayrecord":
            reading["flips_in_records"] += 1
            reading[_read(file, whole, changed)] += 1
        file.write_bytes(changed)
        try:
            start()
        except RebuildError:
            found["found_by_the_next_start"] += 1
        file.write_bytes(whole)
    start()
    return found | reading


class RebuildError(Exception):
    """Raised in place of a second build."""


def _read(file: Path, whole: bytes, changed: bytes) -> str:
    """Reads every record of one file before and after a change on disk."""
    expected = _records(file)
    file.write_bytes(changed)
    try:
        same = _records(file) == expected
    except (RuntimeError, ValueError):
        return "raised_on_reading"
    finally:
        file.write_bytes(whole)
    return "read_right" if same else "read_wrong"


def _records(file: Path) -> list[bytes]:
    source = ArrayRecordDataSource(str(file))
    return [source[place] for place in range(len(source))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path, required=True, help="a new folder; removed in the end")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--only", choices=[*WAYS, "write"])
    arguments = parser.parse_args()
    folder, cache = arguments.scratch / "prepared", arguments.scratch / "tokens"
    if arguments.only == "write":
        write_folder(folder, arguments.rows)
        return
    if arguments.only:
        print(json.dumps(one_way(arguments.only, folder, cache)))
        return
    # In a process of its own: on Linux a child's peak memory begins with what its parent holds.
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only", "write"], check=True)
    ways = {name: in_child(way, folder) for name, way in (("plain", "plain"), ("cold", "store"), ("warm", "store"))}
    if len({way["sha256_of_1000_batches"] for way in ways.values()}) != 1:
        raise SystemExit("the ways give other batches")
    files = [path.stat().st_size for path in cache.rglob("*") if path.is_file()]
    result = {
        "command": "uv run python benchmarks/token_store.py --scratch scratch",
        "machine": {"processor": platform.machine(), "cores": default_workers(), "python": platform.python_version()},
        "rows": arguments.rows,
        "dialect": "gemma_json",
        "ways": ways,
        "rows_per_second": {name: round(arguments.rows / way["seconds"]) for name, way in ways.items()},
        "store_megabytes": round(sum(files) / 1e6, 1),
        "ratio_plain_to_cold": round(ways["plain"]["seconds"] / ways["cold"]["seconds"], 2),
        "ratio_plain_to_warm": round(ways["plain"]["seconds"] / ways["warm"]["seconds"], 1),
        "damage": flips(folder, cache),
    }
    shutil.rmtree(arguments.scratch)
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
