"""Writes synthetic tool-use conversations as JSONL.

$ gemma-tool-use synthesize --count 1000 --seed 0 --output rows.jsonl
$ gemma-tool-use synthesize --count 200 --tools my_tools.json --output mine.jsonl

A tools file is a JSON list of OpenAI tools (with or without the `function` wrapper), or `{"tools": [...]}` as an MCP
server lists them (`name`, `description`, `inputSchema`). Each line of the output is one conversation in the stored form
of `gemma_tool_use/conversation.py`.
"""

import collections
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import rich.console
import rich.table
import rich.text

from gemma_tool_use import flags
from gemma_tool_use.commands import run
from gemma_tool_use.conversation import Conversation, ToolSpec, conversation_to_dict, tool_from_dict
from gemma_tool_use.data.files import strict_json
from gemma_tool_use.data.synthetic.generate import KINDS, generate, kind_of, usable_kinds
from gemma_tool_use.data.synthetic.schema import schema_skills
from gemma_tool_use.data.synthetic.values import Split
from gemma_tool_use.errors import ConfigError, DataError, FileError

PROG = "gemma-tool-use synthesize"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynthesizeConfig:
    """What to write, and where."""

    output: Path
    """JSONL file to write; an existing one is refused."""
    count: int = 1000
    """Number of conversations."""
    seed: int = 0
    """Rows of different seeds differ; the same seed gives the same rows."""
    split: Split = "train"
    """`heldout` uses wordings that `train` never uses."""
    tools: Path | None = None
    """JSON file with your own tools (OpenAI or MCP form); the six built-in ones without it."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"count is {self.count}, expected at least 1")


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the file and prints how many rows of each kind it holds."""
    config = flags.parse(
        SynthesizeConfig, argv, prog=PROG, description="Write synthetic tool-use conversations as JSONL."
    )
    refuse_existing(config.output)
    tools = None if config.tools is None else read_tools(config.tools)
    conversations = generate(count=config.count, seed=config.seed, split=config.split, tools=tools)
    write_jsonl(config.output, conversations)
    console = rich.console.Console()
    for line in _left_out(tools) if tools else ():
        console.print(rich.text.Text(line))
    console.print(_table(conversations))
    for conversation in conversations[:2]:
        console.print(rich.text.Text(f"\n{_sample(conversation)}"))
    console.print(rich.text.Text(f"\n{len(conversations)} conversations in {config.output}"))
    return 0


def read_tools(path: Path) -> list[ToolSpec]:
    """Reads a tools file.

    Raises:
      FileError: the file cannot be read.
      DataError: it is not JSON, holds no tools, or one of them has no name.
    """
    try:
        value = strict_json(path.read_bytes())
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}") from None
    listed = value.get("tools", [value]) if isinstance(value, dict) else value
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{path} holds no tools; expected a JSON list of tools or an object with a list `tools`")
    tools = []
    for number, item in enumerate(listed):
        try:
            tools.append(tool_from_dict(_from_mcp(item)))
        except DataError as error:
            raise DataError(f"{path}, tool {number}: {error}") from None
    return tools


def refuse_existing(path: Path) -> None:
    """Raises FileError when `path` exists, so that nothing is overwritten."""
    if path.exists() or path.is_symlink():
        raise FileError(f"{path} exists already; choose another --output or remove it")


def write_jsonl(path: Path, conversations: Iterable[Conversation]) -> None:
    """Writes one conversation a line; the file appears under its name only when it is whole.

    Raises:
      FileError: the folder is missing or not writable, or the disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with partial.open("x", encoding="utf-8") as file:
                for conversation in conversations:
                    file.write(json.dumps(conversation_to_dict(conversation), ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from None


def _from_mcp(item: Any) -> Any:
    """`{"name", "inputSchema"}` of an MCP `tools/list` answer with the schema under the name that OpenAI gives it."""
    if isinstance(item, dict) and "inputSchema" in item and "parameters" not in item:
        return {
            **{key: value for key, value in item.items() if key != "inputSchema"},
            "parameters": item["inputSchema"],
        }
    return item


def _left_out(tools: Sequence[ToolSpec]) -> list[str]:
    """One line for every parameter and every kind of row that these tools cannot be given."""
    skills = schema_skills(tools)
    usable = usable_kinds(skills)
    return [
        f"left out: optional parameter {name!r} of {skill.spec.name}: {reason}"
        for skill in skills
        for name, reason in skill.skipped.items()
    ] + [f"left out: rows of kind {kind}, which these tools cannot express" for kind in KINDS if kind not in usable]


def _table(conversations: Sequence[Conversation]) -> rich.table.Table:
    counts = collections.Counter(map(kind_of, conversations))
    table = rich.table.Table("kind", rich.table.Column("rows", justify="right"))
    for kind in KINDS:
        table.add_row(kind, str(counts[kind]))
    return table


def _sample(conversation: Conversation) -> str:
    lines = [conversation.id, f"  tools: {', '.join(tool.name for tool in conversation.tools)}"]
    for message in conversation.messages:
        lines += [f"  {message.role}: {message.content}"] if message.content else []
        lines += [
            f"  {message.role}: {call.name} {json.dumps(call.arguments, ensure_ascii=False)}" for call in message.calls
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run(main))
