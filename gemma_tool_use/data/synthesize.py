"""Writes synthetic tool-use conversations as JSONL: from templates, or by a teacher (a large model behind an endpoint).

$ gemma-tool-use synthesize --count 1000 --seed 0 --output rows.jsonl
$ gemma-tool-use synthesize --count 200 --tools my_tools.json --output mine.jsonl
$ gemma-tool-use synthesize --teacher http://127.0.0.1:8000/v1 --teacher-model qwen3-32b --tools a.json b.json \
      --count 500 --output taught.jsonl

With `--teacher` every answer is checked before it becomes a row (`teacher/checks.py`, `teacher/grounding.py`), and the
account of the run stands beside the rows (`teacher/files.py`); the same command continues a run that was stopped.

A tools file holds OpenAI tools or what an MCP server answers to `tools/list` (`sources/mcp.py`). Each line of the
output is one conversation in the stored form of `gemma_tool_use/conversation.py`.
"""

import collections
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import rich.console
import rich.table
import rich.text

from gemma_tool_use import flags
from gemma_tool_use.commands import EXIT_BLOCKED, EXIT_OK, run
from gemma_tool_use.conversation import Conversation, ToolSpec, conversation_to_dict
from gemma_tool_use.data.counts import KEPT, counts_table
from gemma_tool_use.data.sources.mcp import read_tools
from gemma_tool_use.data.synthetic.generate import KINDS, generate, kind_of, usable_kinds
from gemma_tool_use.data.synthetic.schema import schema_skills
from gemma_tool_use.data.synthetic.tools import BUILTIN_SKILLS
from gemma_tool_use.data.synthetic.values import Split
from gemma_tool_use.data.teacher.client import Asking, Structured
from gemma_tool_use.data.teacher.cost import Prices
from gemma_tool_use.data.teacher.endpoint import OPENAI_KEY, TEACHER_KEY, endpoint_at
from gemma_tool_use.data.teacher.files import account_folder
from gemma_tool_use.data.teacher.run import BUDGET, GIVEN_UP
from gemma_tool_use.data.teacher.synthesis import TeacherConfig, synthesize
from gemma_tool_use.errors import ConfigError, FileError
from gemma_tool_use.settings import load_settings

PROG = "gemma-tool-use synthesize"
_REMEDIES = {
    BUDGET: "The same command with a higher --max-cost continues.",
    GIVEN_UP: "See rejects.jsonl for what was wrong with the answers; a stronger --teacher-model may do better.",
}


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
    """`heldout` uses wordings that `train` never uses; without --teacher only."""
    tools: tuple[Path, ...] = ()
    """JSON files with your own tools (OpenAI or MCP form); the six built-in ones without them."""
    teacher: str | None = None
    """Base URL of an OpenAI-compatible endpoint whose model writes the rows; all flags below need it. Its key goes into
    TEACHER_API_KEY (or OPENAI_API_KEY for api.openai.com), in the environment or in .env."""
    teacher_model: str = ""
    """Name of the model at the endpoint."""
    languages: tuple[str, ...] = ("English",)
    """Languages of the requests, in turn."""
    requests_per_answer: int = 4
    """Requests that the teacher writes in one answer; more are cheaper and more alike."""
    repair: bool = True
    """Ask once more, with the problem, when an answer does not pass a check."""
    concurrency: int = 8
    """Most requests to the endpoint at once."""
    requests_per_minute: float | None = None
    """Most requests a minute; none for no limit."""
    tokens_per_minute: float | None = None
    """Most tokens a minute, sent and written together; none for no limit."""
    timeout: float = 120.0
    """Seconds for one whole answer."""
    retries: int = 6
    """How often a failed request is sent again, with growing waits or after what the endpoint asks for."""
    temperature: float | None = 1.0
    """Temperature of the teacher; none for the endpoint's own."""
    max_answer_tokens: int = 2048
    """Most tokens of one answer, the teacher's reasoning included."""
    structured: Structured = "auto"
    """Form of structured output asked for; auto begins with json_schema and takes less where the endpoint refuses."""
    price_in: float = 0.0
    """Price of a million tokens sent, in the currency of your choice."""
    price_out: float = 0.0
    """Price of a million tokens written."""
    max_cost: float | None = None
    """Send nothing that could make the run cost more than this, all its parts together; needs the prices."""

    def __post_init__(self) -> None:
        problems = [] if self.count >= 1 else [f"count is {self.count}, expected at least 1"]
        if self.teacher is None:
            names = [field.name for field in dataclasses.fields(self)]
            for name in names[names.index("teacher") + 1 :]:
                if getattr(self, name) != getattr(type(self), name):
                    problems.append(f"{name} needs --teacher URL; rows from templates ask no endpoint")
        else:
            if self.split != "train":
                problems.append("split belongs to the templates; a teacher has none (hold rows out in prepare)")
            try:
                _ = self.teacher_config
            except ConfigError as error:
                problems.append(str(error))
        if problems:
            raise ConfigError("; ".join(problems))

    @property
    def teacher_config(self) -> TeacherConfig:
        """The flags of the teacher as its settings."""
        return TeacherConfig(
            url=self.teacher or "",
            model=self.teacher_model,
            languages=self.languages,
            batch=self.requests_per_answer,
            repair=self.repair,
            asking=Asking(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Asking)}),
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            prices=Prices(sent=self.price_in, written=self.price_out),
            max_cost=self.max_cost,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the file and prints how many rows of each kind it holds."""
    config = flags.parse(
        SynthesizeConfig, argv, prog=PROG, description="Write synthetic tool-use conversations as JSONL."
    )
    tools = [tool for path in config.tools for tool in read_tools(path)] or None
    if config.teacher is not None:
        return _ask_teacher(config, tools or [skill.spec for skill in BUILTIN_SKILLS])
    refuse_existing(config.output)
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


def _ask_teacher(config: SynthesizeConfig, tools: Sequence[ToolSpec]) -> int:
    settings = load_settings()
    secrets = {TEACHER_KEY: settings.teacher_api_key, OPENAI_KEY: settings.openai_api_key}
    keys = {name: secret.reveal for name, secret in secrets.items() if secret is not None}
    endpoint = endpoint_at(config.teacher or "", config.teacher_model, keys)
    if endpoint.shows_key:
        print(f"warning: {endpoint.key_name} travels unencrypted to {endpoint.host}; use https", file=sys.stderr)
    manifest = synthesize(
        config.teacher_config,
        tools,
        output=config.output,
        count=config.count,
        seed=config.seed,
        keys=keys,
        inputs=config.tools,
    )
    console = rich.console.Console()
    console.print(counts_table({KEPT: manifest["rows"], **manifest["rejects"]}))
    cost = f", cost {manifest['cost']:.4f}" if config.price_in or config.price_out else ""
    folder = account_folder(config.output)
    lines = [
        f"{manifest['answers']} answers, {manifest['tokens_in']:,} tokens in, {manifest['tokens_out']:,} out{cost}",
        f"{manifest['rows']} conversations in {config.output}, the account of the run in {folder}",
        f"Licence: {manifest['licence']}.",
    ]
    if not manifest["complete"]:
        lines.append(f"{config.count} were asked for: {manifest['ended']}. {_REMEDIES[manifest['ended']]}")
    for line in lines:
        console.print(rich.text.Text(line))
    return EXIT_OK if manifest["complete"] else EXIT_BLOCKED


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
