"""The command `gemma-tool-use check`: every fault of a file of conversations, with its line and what to do about it.

    $ gemma-tool-use check rows.jsonl --max-length 512
    call of an undeclared tool: 1 in 1 row. Declare the tool in tools, or correct the name
      rows.jsonl:3  messages[1].tool_calls[0].function.name: got 'get_wether', expected one of 2 declared; did you ...

    120 rows, 119 usable: 30,412 tokens, 4,102 of them trained (13.5 %). Longest: 1,204 tokens, rows.jsonl:88

The exit code is 0 when there is nothing to say and 2 otherwise; `--json` prints the same for machines.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gemma_tool_use.commands import EXIT_MISTAKE, EXIT_OK, run
from gemma_tool_use.data.analysis.checking import (
    Checked,
    CheckSettings,
    Looked,
    check_files,
    openai_rows,
    source_rows,
)
from gemma_tool_use.data.analysis.faults import REMEDIES
from gemma_tool_use.data.rules.settings import RuleSettings
from gemma_tool_use.data.sources import load as sources
from gemma_tool_use.data.sources import openai_jsonl
from gemma_tool_use.data.sources.source import Source
from gemma_tool_use.errors import ConfigError
from gemma_tool_use.flags import name_first_words, parse
from gemma_tool_use.formats.dialects import DEFAULT_DIALECT, get_dialect
from gemma_tool_use.formats.tokenizer import load_tokenizer
from gemma_tool_use.formats.turn_tags import in_turns_of
from gemma_tool_use.models.resolve import tokenizer_file
from gemma_tool_use.settings import export_to_libraries, load_settings
from gemma_tool_use.visible import visible


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Flags of `gemma-tool-use check`."""

    input: str
    """File, folder or hub id of conversations, also taken as the first word."""
    source: str = openai_jsonl.NAME
    """Form of the rows; the OpenAI form is looked at most closely."""
    dialect: str = DEFAULT_DIALECT
    """How tools and calls are written as text: gemma_json, hermes, functiongemma, ..."""
    model: str = "embedded:gemma-3-270m"
    """Where the tokenizer comes from: a model as `train` takes it, or a tokenizer.model, tokenizer.json or .gguf."""
    max_length: int | None = 512
    """Most tokens of a row; none for no limit."""
    first_call_only: bool = True
    """Count each row up to its first calls, where prepare and train end it by default."""
    keep_out_bfcl: bool = True
    """Report questions of the Berkeley Function-Calling Leaderboard v4, the same or nearly the same."""
    keep_out: tuple[Path, ...] = ()
    """Further files of benchmark questions: JSONL with `question` or `messages`, or a question a line."""
    show: int = 5
    """How many faults of each kind are listed; the rest is counted."""
    json: bool = False
    """Print one JSON object instead of text."""

    def __post_init__(self) -> None:
        limits = {"show": self.show, "max_length": self.max_length}
        problems = [f"{name} must be 1 or more, got {n}" for name, n in limits.items() if n is not None and n < 1]
        if problems:
            raise ConfigError("; ".join(problems))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0 for a clean file and 2 for one with faults."""
    words = name_first_words(sys.argv[1:] if argv is None else argv, ("input",))
    config = parse(CheckConfig, words, prog="gemma-tool-use check", description="Names every fault of a file of rows.")
    dialect = get_dialect(config.dialect)
    settings = load_settings()
    export_to_libraries(settings)
    source, files = sources.locate(config.source, config.input, allow_non_commercial=True)
    tokenizer = load_tokenizer(tokenizer_file(config.model, cache_dir=settings.cache_dir))
    check_settings = CheckSettings(
        dialect=in_turns_of(dialect, tokenizer),
        tokenizer=tokenizer,
        max_length=config.max_length,
        first_call_only=config.first_call_only,
        rules=RuleSettings(keep_out_bfcl=config.keep_out_bfcl, keep_out=config.keep_out),
        shown=config.show,
    )
    checked = check_files(_rows(source, files), check_settings)
    print(json.dumps(checked.to_dict(), indent=2) if config.json else report(checked))
    return EXIT_OK if checked.clean else EXIT_MISTAKE


def report(checked: Checked) -> str:
    """The text of the module's example."""
    lines = []
    for name, kind in checked.ordered().items():
        remedy = REMEDIES[name]
        rows = f" in {_many(kind.rows, 'row')}" if kind.shown[0].where else ""
        lines.append(f"{name}: {kind.count:,}{rows}. {remedy[0].upper()}{remedy[1:]}")
        for one in kind.shown:
            known_by = f" ({one.id})" if one.id and one.id != one.where else ""
            place = " ".join(filter(None, (f"{one.where}{known_by}", one.fault.path)))
            lines.append(visible(f"  {place}: {one.fault.found}" if place else f"  {one.fault.found}", keep=""))
        if kind.count > len(kind.shown):
            lines.append(f"  ... and {kind.count - len(kind.shown):,} more")
        lines.append("")
    trained = f" ({checked.trained / checked.tokens:.1%})" if checked.tokens else ""
    summary = (
        f"{_many(checked.rows, 'row')}, {checked.usable:,} usable: {checked.tokens:,} tokens, {checked.trained:,} of "
        f"them trained{trained}."
    )
    tokens, where = checked.longest
    longest = f" Longest: {tokens:,} tokens, {visible(where, keep='')}" if where else ""
    return "\n".join([*lines, summary + longest])


def _rows(source: Source, files: Sequence[Path]) -> Iterator[Iterator[Looked]]:
    for path in files:
        yield openai_rows(path) if source.name == openai_jsonl.NAME else source_rows(source, path)


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(run(main))
