"""Tokens per second and memory of one LoRA training step: ours, stock Tunix and TRL + PEFT, on the same 1,500 rows.

    uv run python benchmarks/train_throughput.py --trl-python VENV/bin/python --rows a.parquet b.jsonl
    # writes benchmarks/train_throughput.json; without --rows synthetic ones; without --trl-python two contenders

VENV is made once:

    uv venv VENV && uv pip install --python VENV/bin/python --find-links WHEELS torch==2.13.0+cpu transformers==5.12.1 \
        trl==1.16.0 peft==0.21.2

Every contender is a process of its own that computes only when told to, and has two steps to compile and warm up. TRL
takes turns with ours, step by step; stock Tunix needs the memory for itself and has ours before and after it. So a
machine that slows down slows both. Ours has the precision of its rival. The machine's own rate is that of XLA's product
of two 2048 x 2048 matrices in that precision, taken after each step; the best one counts.

Ours keeps freed memory (`gemma_tool_use.heap`). The contenders `..._kept` are the rivals with the same settings of the
C library in their environment, which nobody gives them by default.

Tokens are those of the rows: padding is not counted, prompt is. The share of the machine's rate counts the arithmetic
that the step cannot do without (`model_flops`), not what it does.
"""

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from throughput_child import Contender

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.pipeline import encode_rows
from gemma_tool_use.data.rules import RuleSettings
from gemma_tool_use.data.sources.load import AUTO, load
from gemma_tool_use.data.synthetic.generate import generate
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.formats.encode import Encoded
from gemma_tool_use.formats.tokenizer import load_tokenizer
from gemma_tool_use.models.load import load_base, read_spec
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.resolve import LocalCheckpoint, resolve
from gemma_tool_use.models.spec import ModelSpec

HERE = Path(__file__).parent
WARM_UP = 2
DIALECT = "gemma_json"
KEPT = (
    "env",
    "GLIBC_TUNABLES=glibc.malloc.hugetlb=1",
    "MALLOC_ARENA_MAX=1",
    "MALLOC_MMAP_MAX_=0",
    f"MALLOC_TRIM_THRESHOLD_={2**60}",
)
"""Keeps the memory that a process frees, from outside; see mallopt(3)."""
MOST = 10**6  # of anything that a rule may limit


def main() -> int:
    arguments = _arguments()
    local = resolve(arguments.model)
    rows = choose_rows(arguments, local)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, arguments, rows)
        measured = {
            other: measure(other, rival, arguments.steps, folder) for other, rival in rivals(arguments, folder).items()
        }
    pairs = {other: compare(answers, other, read_spec(local)) for other, answers in measured.items()}
    result = {
        "command": "python benchmarks/train_throughput.py",
        "machine": _machine(),
        "rows": describe(rows, arguments),
        "shapes": {key: getattr(arguments, key) for key in SHAPES},
        "summary": summarize(pairs),
        "pairs": pairs,
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["summary"], indent=2))
    return 0


SHAPES = ("our_rows", "our_length", "stock_rows", "max_length", "trl_rows")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", type=Path, default=[], help="files of conversations; none: synthetic ones")
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--max-length", type=int, default=640, help="tokens of the longest row, and of a padded one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="embedded:gemma-3-270m")
    parser.add_argument("--our-rows", type=int, default=4, help="packed rows of a step of ours")
    parser.add_argument("--our-length", type=int, default=640, help="tokens of a packed row, ours and TRL's")
    parser.add_argument("--trl-rows", type=int, default=4, help="packed rows of a step of TRL")
    parser.add_argument("--stock-rows", type=int, default=4, help="padded rows of a step of stock Tunix")
    parser.add_argument("--steps", type=int, default=4, help="measured steps of each contender of a pair")
    parser.add_argument("--trl-python", help="interpreter of the environment with torch, transformers, trl and peft")
    parser.add_argument("--only", nargs="*", help="names of rivals, all without it")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    return parser.parse_args()


def choose_rows(arguments: argparse.Namespace, local: LocalCheckpoint) -> list[Encoded]:
    """`--count` rows of at most `--max-length` tokens in the dialect gemma_json, drawn by the seed."""
    if arguments.rows:
        rule = RuleSettings(max_tools_used=MOST, max_tools_offered=MOST)
        conversations: list[Conversation] = []
        for path in arguments.rows:
            conversations += load(AUTO, str(path), rule=rule, max_bad_share=1.0).conversations
    else:
        conversations = generate(count=2 * arguments.count, seed=arguments.seed, split="train")
    tokenizer = load_tokenizer(local.require_tokenizer())
    encoded = encode_rows(conversations, get_dialect(DIALECT), tokenizer, max_length=arguments.max_length).rows
    if len(encoded) < arguments.count:
        raise SystemExit(
            f"{len(encoded)} rows have at most {arguments.max_length} tokens, --count is {arguments.count}"
        )
    chosen = np.random.default_rng(arguments.seed).permutation(len(encoded))[: arguments.count]
    return [encoded[int(i)] for i in chosen]


def write_inputs(folder: Path, arguments: argparse.Namespace, rows: Sequence[Encoded]) -> None:
    """rows.npz, options.json and, for TRL, the model as a Hugging Face folder."""
    np.savez(
        folder / "rows.npz",
        tokens=np.concatenate([row.tokens for row in rows]),
        loss_mask=np.concatenate([row.loss_mask for row in rows]),
        lengths=np.array([len(row.tokens) for row in rows]),
    )
    options = {"model": arguments.model} | {key: getattr(arguments, key) for key in SHAPES}
    (folder / "options.json").write_text(json.dumps(options))
    if arguments.trl_python:
        # In a process of its own, so that this one stays small.
        writer = multiprocessing.get_context("spawn").Process(target=_write_model, args=(arguments.model, folder))
        writer.start()
        writer.join()


def _write_model(model: str, folder: Path) -> None:
    from gemma_tool_use.models.model_folder import save_model_folder

    local = resolve(model)
    save_model_folder(folder / "hf", load_base(local, dtype=np.float32), source=local)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rival:
    """What ours is compared with: its command, and the precision of both."""

    command: list[str]
    dtype: str


def rivals(arguments: argparse.Namespace, folder: Path) -> dict[str, Rival]:
    """All, or those of `--only`."""
    found = {"stock": Rival(command=_jax(folder, "stock"), dtype="float32")}
    if arguments.trl_python:
        script = str(HERE / "throughput_trl.py")
        for dtype in ("float32", "bfloat16"):
            found[f"trl_{dtype}"] = Rival(command=[arguments.trl_python, script, str(folder), dtype], dtype=dtype)
    found |= {f"{name}_kept": Rival(command=[*KEPT, *r.command], dtype=r.dtype) for name, r in found.items()}
    return {name: rival for name, rival in found.items() if not arguments.only or name in arguments.only}


def _jax(folder: Path, contender: str) -> list[str]:
    script = "throughput_ours.py" if contender.startswith("ours") else "throughput_jax.py"
    return [sys.executable, str(HERE / script), contender, str(folder)]


def measure(other: str, rival: Rival, steps: int, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Measured steps of ours, of the rival, and of the machine.

    Stock Tunix leaves no room for another, so ours has its steps before and after it. The others take turns with ours.
    """
    commands = {
        "ours": _jax(folder, f"ours_{rival.dtype}"),
        other: rival.command,
        "matrix": _jax(folder, f"matrix_{rival.dtype}"),
    }
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    alone = other.startswith("stock")
    for block in [["ours"], [other], ["ours"]] if alone else [["ours", other]]:
        contenders = {name: Contender(commands[name], folder / f"{name}.log") for name in (*block, "matrix")}
        try:
            for turn in range(-WARM_UP, steps):
                for name, contender in contenders.items():
                    answer = contender.step()
                    print(f"{name} {turn}: {answer['seconds']:.2f} s", file=sys.stderr, flush=True)
                    if turn >= 0:
                        answers[name].append(answer)
        finally:
            for contender in contenders.values():
                contender.close()
    return answers


def model_flops(spec: ModelSpec, lengths: Sequence[int], trained: int, lora_parameters: int) -> float:
    """Arithmetic that a step with frozen weights cannot do without, counting a multiplication and an addition as two.

    A token passes P weights outside the embedding forward (2 P) and its gradient passes them back (2 P); the p LoRA
    parameters cost 2 p forward and, for their gradient and that of their input, 4 p back. A query and a key of one
    segment within reach of each other cost 4 N H forward (score and weighted value) and twice that back. A trained
    token costs 2 V D for its logits and 2 V D for their gradient. Padding, prompt positions' logits, rematerialisation
    and the merging of adapters into weights are not counted.
    """
    matrices = spec.num_layers * (
        spec.embed_dim * spec.head_dim * (2 * spec.num_heads + 2 * spec.num_kv_heads)
        + 3 * spec.embed_dim * spec.hidden_dim
    )
    pairs = 0
    for layer in range(spec.num_layers):
        for length in lengths:
            reach = min(length, spec.sliding_window or length) if spec.is_local(layer) else length
            pairs += reach * (reach + 1) // 2 + (length - reach) * reach
    return (
        sum(lengths) * (4 * matrices + 6 * lora_parameters)
        + 12 * spec.num_heads * spec.head_dim * pairs
        + 4 * spec.vocab_size * spec.embed_dim * trained
    )


def lora_parameters(spec: ModelSpec, rank: int) -> int:
    """Of q, kv (one shared `a`), the attention output, gate, up and down of every layer."""
    width, heads, kv = spec.embed_dim, spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    sizes = [(width, heads), (width, 2 * kv), (heads, width), *[(width, spec.hidden_dim)] * 3]
    return spec.num_layers * rank * sum(a + b for a, b in sizes)


def compare(answers: dict[str, list[dict[str, Any]]], other: str, spec: ModelSpec) -> dict[str, Any]:
    """Speeds of both by the sum over their steps, and what of the machine's rate they used."""
    rate = max(answer["gflops"] for answer in answers["matrix"])
    result: dict[str, Any] = {"matrix_gflops": round(rate, 1)}
    for name in ("ours", other):
        seconds = [answer["seconds"] for answer in answers[name]]
        tokens = [sum(answer["lengths"]) for answer in answers[name]]
        flops = sum(
            model_flops(spec, answer["lengths"], answer["trained"], lora_parameters(spec, LoraSpec().rank))
            for answer in answers[name]
        )
        result[name] = {
            "tokens_per_second": round(sum(tokens) / sum(seconds), 1),
            "peak_gb": max(answer["peak_gb"] for answer in answers[name]),
            "share_of_matrix_rate": round(flops / sum(seconds) / 1e9 / rate, 3),
            "seconds": [round(s, 3) for s in seconds],
            "tokens": tokens,
            "trained": [answer["trained"] for answer in answers[name]],
            "loss": [round(answer["loss"], 4) for answer in answers[name]],
        }
    ours, theirs = result["ours"], result[other]
    result["speed_ratio"] = round(ours["tokens_per_second"] / theirs["tokens_per_second"], 2)
    result["memory_ratio"] = round(ours["peak_gb"] / theirs["peak_gb"], 2)
    return result


def summarize(pairs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures that matter; TRL's are those of its faster precision, as its users run it."""
    best = {name: name for name in pairs if name == "stock" or name.endswith("_kept")}
    if trl := [name for name in pairs if name in ("trl_float32", "trl_bfloat16")]:
        best["trl"] = max(trl, key=lambda name: pairs[name][name]["tokens_per_second"])
    summary: dict[str, Any] = {}
    for label, name in best.items():
        pair = pairs[name]
        summary[label] = {
            "contender": name,
            "ours_times_as_fast": pair["speed_ratio"],
            "our_memory_as_share": pair["memory_ratio"],
            "our_share_of_matrix_rate": pair["ours"]["share_of_matrix_rate"],
            "tokens_per_second": [pair["ours"]["tokens_per_second"], pair[name]["tokens_per_second"]],
            "peak_gb": [pair["ours"]["peak_gb"], pair[name]["peak_gb"]],
        }
    return summary


def describe(rows: Sequence[Encoded], arguments: argparse.Namespace) -> dict[str, Any]:
    """Which rows, and how long they are."""
    lengths = np.array([len(row.tokens) for row in rows])
    digest = hashlib.sha256()
    for row in rows:
        digest.update(np.asarray(row.tokens, np.int32).tobytes() + np.asarray(row.loss_mask, bool).tobytes())
    return {
        "files": [path.name for path in arguments.rows] or "synthetic",
        "seed": arguments.seed,
        "dialect": DIALECT,
        "count": len(rows),
        "sha256_of_tokens_and_masks": digest.hexdigest(),
        "tokens": int(lengths.sum()),
        "trained_share": round(float(np.mean(np.concatenate([row.loss_mask for row in rows]))), 4),
        "length_deciles": np.percentile(lengths, range(0, 101, 10)).astype(int).tolist(),
    }


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    packages = ("jax", "google-tunix", "qwix", "flax", "optax")
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "versions": {package: metadata.version(package) for package in packages},
    }


if __name__ == "__main__":
    sys.exit(main())
