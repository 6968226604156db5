"""What a run leaves on the disk. For `--output rows.jsonl`:

    rows.jsonl                     the rows, one conversation a line, for `--source openai-jsonl`
    rows.teacher/journal.jsonl     every answer that was paid for
    rows.teacher/rejects.jsonl     everything that became no row, with the reason
    rows.teacher/manifest.json     model, host, seed, counts, tokens, cost, identities of the files

All but the journal are derived from it and appear whole, under their name, or not at all.
"""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gemma_tool_use import __version__
from gemma_tool_use.conversation import ToolSpec, conversation_to_dict
from gemma_tool_use.data.files import identity, strict_json
from gemma_tool_use.data.keys import tool_id
from gemma_tool_use.data.teacher.client import Asking
from gemma_tool_use.data.teacher.cost import Ledger
from gemma_tool_use.data.teacher.endpoint import Endpoint
from gemma_tool_use.data.teacher.journal import Journal
from gemma_tool_use.data.teacher.prompts import VERSION
from gemma_tool_use.data.teacher.run import ENOUGH, Collected, reasons
from gemma_tool_use.errors import DataError, FileError

JOURNAL, REJECTS, MANIFEST = "journal.jsonl", "rejects.jsonl", "manifest.json"
MANIFEST_FORMAT = 1


def account_folder(output: Path) -> Path:
    """`rows.teacher` beside `rows.jsonl`."""
    return output.with_name(f"{output.stem}.teacher")


def plan_settings(
    endpoint: Endpoint,
    asking: Asking,
    tools: Iterable[ToolSpec],
    *,
    seed: int,
    languages: Iterable[str],
    batch: int,
    repair: bool,
) -> dict[str, Any]:
    """What answers depend on: a journal continues only with the same. Count, speed and prices may change."""
    return {
        "prompts": VERSION,
        "endpoint": endpoint.host,
        "model": endpoint.model,
        "seed": seed,
        "languages": list(languages),
        "requests_per_answer": batch,
        "repair": repair,
        "temperature": asking.temperature,
        "max_answer_tokens": asking.max_answer_tokens,
        "structured": asking.structured,
        "tools": [{"name": tool.name, "description": tool.description, "id": tool_id(tool)} for tool in tools],
    }


def refuse_foreign(output: Path) -> None:
    """Raises FileError when `output` exists and is not what an earlier run with this journal wrote."""
    if not output.exists() and not output.is_symlink():
        return
    try:
        manifest = strict_json((account_folder(output) / MANIFEST).read_bytes())
        if manifest["rows_file"]["sha256"] == identity(output)["sha256"]:
            return
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise FileError(f"{output} exists already; choose another --output or remove it")


def write_results(
    output: Path,
    collected: Collected,
    journal: Journal,
    ledger: Ledger,
    settings: dict[str, Any],
    *,
    count: int,
    inputs: Iterable[Path],
) -> dict[str, Any]:
    """Writes rows, rejects and manifest; returns the manifest.

    Raises:
      FileError: the folder is not writable or the disk is full.
      DataError: a text cannot be stored, which the checks before rule out.
    """
    folder = account_folder(output)
    try:
        rows = [conversation_to_dict(row) for row in collected.rows]
        _replace(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        _replace(folder / REJECTS, "".join(json.dumps(dataclasses.asdict(r)) + "\n" for r in collected.rejects))
        manifest = {
            "format": MANIFEST_FORMAT,
            "version": __version__,
            "settings": settings,
            "licence": f"the terms of use of {settings['model']} apply to what it wrote",
            "asked_for": count,
            "rows": len(collected.rows),
            "complete": collected.ended == ENOUGH and collected.error is None,
            "ended": str(collected.error) if collected.error else collected.ended,
            "kinds": dict(sorted(Counter(row.meta["kind"] for row in collected.rows).items())),
            "rejects": reasons(collected.rejects),
            **_paid(journal, ledger),
            "tools_files": [identity(path) for path in inputs],
            "rows_file": identity(output) | {"file": output.name},
            "rejects_file": identity(folder / REJECTS) | {"file": REJECTS},
        }
        _replace(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    except UnicodeEncodeError as error:
        raise DataError(f"a text is not valid Unicode: {error}") from None
    except OSError as error:
        raise FileError(f"cannot write {output}: {error.strerror or error}") from None
    return manifest


def _paid(journal: Journal, ledger: Ledger) -> dict[str, Any]:
    return {
        "answers": len(journal.answers),
        "models": sorted({answer.model for answer in journal.answers.values() if answer.model})[:20],
        "tokens_in": journal.tokens.sent,
        "tokens_out": journal.tokens.written,
        "estimated_answers": journal.uncounted,
        "lost_attempts": journal.lost,
        "price_in": ledger.prices.sent,
        "price_out": ledger.prices.written,
        "cost": round(ledger.cost, 6),
    }


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
