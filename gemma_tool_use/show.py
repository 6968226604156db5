"""The command `gemma-tool-use show`: what a model is trained on, token by token.

    gemma-tool-use show                                            a built-in conversation in the default dialect
    gemma-tool-use show rows.jsonl --dialect hermes --count 2      conversations of a file
    gemma-tool-use show prepared/toucan --tokens                   one line per token: position, id, piece

On a terminal trained tokens are green, control tokens magenta, and every second token is underlined. Without colour
(a pipe, `NO_COLOR`) tokens are separated by `¦` and trained ones stand in double brackets:

    Weather¦▁in¦▁Oslo¦?¦⏎
    ⟦Sun¦ny¦.⟧

Spaces are `▁`, newlines `⏎`, tabs `⇥`; other invisible characters are shown as escapes (`\\u200b`).
"""

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from gemma_tool_use.commands import EXIT_OK, run
from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data.counts import Tally
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import EVERYTHING
from gemma_tool_use.data.sources import load as sources
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.flags import name_first_words, parse
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.dialects import DEFAULT_DIALECT, get_dialect
from gemma_tool_use.formats.encode import Encoded, encode
from gemma_tool_use.formats.tokenizer import Tokenizer, load_tokenizer
from gemma_tool_use.formats.turn_tags import in_turns_of
from gemma_tool_use.models.resolve import tokenizer_file
from gemma_tool_use.settings import export_to_libraries, load_settings
from gemma_tool_use.visible import visible

EXAMPLE = Conversation(
    id="example",
    source="built in",
    tools=(
        ToolSpec(
            name="get_weather",
            description="Current weather in a city.",
            parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        ),
    ),
    messages=(
        Message(role="user", content="What is the weather in Oslo?"),
        Message(role="assistant", calls=(ToolCall(name="get_weather", arguments={"city": "Oslo"}),)),
        Message(role="tool", name="get_weather", content='{"sky": "clear", "celsius": 21}'),
        Message(role="assistant", content="Clear sky and 21 °C in Oslo."),
    ),
)
"""The conversation shown when no input is given."""

_MARKS = {"\n": "⏎", "\t": "⇥", " ": "▁"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Flags of `gemma-tool-use show`."""

    input: str | None = None
    """File, folder or hub id of conversations, also taken as the first word; none shows a built-in conversation."""
    source: str = sources.AUTO
    """Form of the rows: toucan-sft, openai-jsonl, or auto to find out by looking."""
    dialect: str = DEFAULT_DIALECT
    """How tools and calls are written as text: gemma_json, hermes, functiongemma, ..."""
    model: str = "embedded:gemma-3-270m"
    """Where the tokenizer comes from: a model as `train` takes it, or a tokenizer.model, tokenizer.json or .gguf."""
    count: int = 3
    """How many conversations to show."""
    tokens: bool = False
    """Print one line per token instead: position, id, T where trained, piece."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"count must be 1 or more, got {self.count}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0."""
    words = name_first_words(sys.argv[1:] if argv is None else argv, ("input",))
    description = (
        "Prints rendered conversations token by token: trained tokens green, control tokens magenta. Without colour "
        "tokens are separated by ¦ and trained ones stand in ⟦ ⟧."
    )
    config = parse(ShowConfig, words, prog="gemma-tool-use show", description=description)
    dialect = get_dialect(config.dialect)
    rows = _rows(config)
    tokenizer = _tokenizer(config.model)
    console = Console(highlight=False)
    show(rows, in_turns_of(dialect, tokenizer), tokenizer, console, one_per_line=config.tokens)
    return EXIT_OK


def show(
    rows: Iterator[Conversation | Reject],
    dialect: Dialect,
    tokenizer: Tokenizer,
    console: Console,
    *,
    one_per_line: bool = False,
) -> None:
    """Prints every row: its tokens, or why it has none."""
    for row in rows:
        try:
            if isinstance(row, Reject):
                raise DataError(f"{row.reason}: {row.detail}" if row.detail else row.reason)
            encoded = encode(dialect.segments(row), tokenizer)
        except DataError as error:
            place = f" ({row.where})" if isinstance(row, Reject) and row.where else ""
            line = visible(f"{row.id or 'row'}{place} left out: {error}", keep="")
            console.print(Text(line, "red"), soft_wrap=True)
            continue
        console.print(Text(_headline(row, encoded), "bold"), soft_wrap=True)
        body = token_lines(encoded, tokenizer) if one_per_line else token_text(encoded, tokenizer, _has_colour(console))
        console.print(body, soft_wrap=True)
        console.print()


def token_text(encoded: Encoded, tokenizer: Tokenizer, colour: bool) -> Text:
    """The tokens in a row, as in the module's example; a line break after each piece that ends with a newline."""
    text, line_starts = Text(), True
    ids, flags = encoded.tokens.tolist(), encoded.loss_mask.tolist()
    control = set(tokenizer.control_ids.values())
    neighbours = zip([False, *flags], [*flags[1:], False], strict=False)
    for i, (id, trained, (before, after)) in enumerate(zip(ids, flags, neighbours, strict=True)):
        piece = visible_piece(tokenizer, id)
        if colour:
            text.append(piece, _style(id, trained, control) + (" underline" if i % 2 else ""))
        else:
            brackets = "⟦" * (trained and not before), "⟧" * (trained and not after)
            text.append(("" if line_starts else "¦") + brackets[0] + piece + brackets[1])
        line_starts = tokenizer.piece(id).endswith("\n")
        if line_starts:
            text.append("\n")
    return text


def token_lines(encoded: Encoded, tokenizer: Tokenizer) -> Text:
    """`    3      107    ⏎`: position, id, T where trained, piece."""
    control = set(tokenizer.control_ids.values())
    text = Text()
    for i, (id, trained) in enumerate(zip(encoded.tokens.tolist(), encoded.loss_mask.tolist(), strict=True)):
        line = f"{i:>6} {id:>8}  {'T' if trained else ' '}  {visible_piece(tokenizer, id)}\n"
        text.append(line, _style(id, trained, control))
    return text


def visible_piece(tokenizer: Tokenizer, id: int) -> str:
    """The piece with every invisible character made visible: `"\\n\\n"` gives `⏎⏎`, an escape code `\\x1b`."""
    return visible("".join(_MARKS.get(character, character) for character in tokenizer.piece(id)), keep="")


def _style(id: int, trained: bool, control: set[int]) -> str:
    return ("magenta" if id in control else "green" if trained else "default") + (" bold" if trained else "")


def _headline(row: Conversation, encoded: Encoded) -> str:
    count, trained = len(encoded.tokens), int(encoded.loss_mask.sum())
    name = visible(", ".join(filter(None, (row.id, row.source))), keep="") or "conversation"
    return f"{name}: {count} tokens, {trained} trained ({trained / count:.1%})"


def _has_colour(console: Console) -> bool:
    return console.is_terminal and not console.no_color


def _rows(config: ShowConfig) -> Iterator[Conversation | Reject]:
    """The first `count` rows, those that cannot be read included."""
    if config.input is None:
        return iter((EXAMPLE,))
    return _read(*sources.locate(config.source, config.input, allow_non_commercial=True), config)


def _read(source: sources.Source, files: list[Path], config: ShowConfig) -> Iterator[Conversation | Reject]:
    tally = Tally()
    yield from itertools.islice(sources.outcomes(source, files, EVERYTHING, tally), config.count)
    if not tally.rows:
        raise DataError(f"{config.input} holds no rows")


def _tokenizer(model: str) -> Tokenizer:
    settings = load_settings()
    export_to_libraries(settings)
    return load_tokenizer(tokenizer_file(model, cache_dir=settings.cache_dir))


if __name__ == "__main__":
    sys.exit(run(main))
