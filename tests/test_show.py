"""The command `show`, with the tokenizer of 512 pieces."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from tiny_tokenizer import tiny_tokenizer, write_tiny_tokenizer

from gemma_tool_use.commands import run
from gemma_tool_use.conversation import Conversation, Message, Segment, conversation_to_dict
from gemma_tool_use.errors import ConfigError, DataError, FileError
from gemma_tool_use.formats.dialects import DIALECTS
from gemma_tool_use.formats.encode import Encoded, encode
from gemma_tool_use.show import EXAMPLE, main, show, token_lines, token_text, visible_piece

SEGMENTS = [
    Segment("<start_of_turn>user\n", control=True),
    Segment("What is  it?"),
    Segment("<end_of_turn>\n<start_of_turn>model\n", control=True),
    Segment("Oslo", trained=True),
    Segment("<end_of_turn>", trained=True, control=True),
]


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tiny_tokenizer(folder)
    return str(folder)


@pytest.fixture
def encoded() -> Encoded:
    return encode(SEGMENTS, tiny_tokenizer())


def write_rows(path: Path, *rows: Conversation | str) -> str:
    lines = [row if isinstance(row, str) else json.dumps(conversation_to_dict(row)) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def greeting(id: str, user: str = "Hi") -> Conversation:
    return Conversation(
        id=id, messages=(Message(role="user", content=user), Message(role="assistant", content="Hello"))
    )


def test_without_colour_trained_tokens_stand_in_brackets(encoded: Encoded):
    assert token_text(encoded, tiny_tokenizer(), colour=False).plain == (
        "<bos>¦<start_of_turn>¦user¦⏎\n"
        "What¦▁is¦▁▁¦i¦t¦?¦<end_of_turn>¦⏎\n"
        "<start_of_turn>¦mo¦del¦⏎\n"
        "⟦Oslo¦<end_of_turn>⟧"
    )


def test_on_a_terminal_the_text_is_the_same_without_separators(encoded: Encoded):
    plain = token_text(encoded, tiny_tokenizer(), colour=False).plain
    coloured = token_text(encoded, tiny_tokenizer(), colour=True)
    assert coloured.plain == plain.translate(str.maketrans("", "", "¦⟦⟧"))
    styles = {coloured.plain[span.start : span.end]: str(span.style) for span in coloured.spans}
    assert "green" in styles["Oslo"]
    assert "magenta" in styles["<end_of_turn>"]
    assert "green" not in styles["What"]


def test_one_line_per_token_shows_position_id_and_mask(encoded: Encoded):
    lines = token_lines(encoded, tiny_tokenizer()).plain.splitlines()
    assert len(lines) == len(encoded.tokens)
    assert lines[0] == "     0        2     <bos>"
    assert lines[-1] == "    17       11  T  <end_of_turn>"


def test_what_a_terminal_would_obey_is_escaped():
    tokenizer = tiny_tokenizer()
    assert [visible_piece(tokenizer, id) for id in tokenizer.encode("\n\n\t")] == ["⏎⏎", "⇥"]
    assert "\x1b" not in "".join(visible_piece(tokenizer, id) for id in tokenizer.encode("\x1b[31m"))


def test_the_headline_counts_tokens_and_the_trained_share(tokenizer_folder: str, capsys: pytest.CaptureFixture[str]):
    assert main(["--model", tokenizer_folder]) == 0
    encoded = encode(DIALECTS["gemma_json"].segments(EXAMPLE), tiny_tokenizer())
    n, trained = len(encoded.tokens), int(encoded.loss_mask.sum())
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"example, built in: {n} tokens, {trained} trained ({trained / n:.1%})"


@pytest.mark.parametrize("name", DIALECTS)
def test_the_example_can_be_shown_in_every_dialect(
    name: str, tokenizer_folder: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["--model", tokenizer_folder, "--dialect", name, "--tokens"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 100


def test_a_file_is_shown_up_to_the_count(tokenizer_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = write_rows(tmp_path / "rows.jsonl", greeting("a"), greeting("b"), greeting("c"))
    assert main([path, "--model", tokenizer_folder, "--count", "2"]) == 0
    out = capsys.readouterr().out
    assert [line.split(",")[0] for line in out.splitlines() if " tokens, " in line] == ["a", "b"]


def test_a_row_that_cannot_be_read_is_named(tokenizer_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = write_rows(tmp_path / "rows.jsonl", '{"id": "torn", "messages": [', greeting("whole"))
    assert main(["--input", path, "--model", tokenizer_folder]) == 0
    out = capsys.readouterr().out
    assert "(rows.jsonl:1) left out: line is not valid JSON" in out
    assert "whole, " in out


def test_a_row_the_dialect_cannot_write_is_named():
    orphan = Conversation(
        id="orphan", messages=(Message(role="tool", content="1"), Message(role="assistant", content="x"))
    )
    out = io.StringIO()
    show(iter([orphan]), DIALECTS["gemma_json"], tiny_tokenizer(), Console(file=out))
    assert "orphan left out: " in out.getvalue()


def test_no_color_is_respected(tokenizer_folder: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    show(iter([EXAMPLE]), DIALECTS["gemma_json"], tiny_tokenizer(), Console(file=out, force_terminal=True))
    assert "⟦" in out.getvalue()
    assert "\x1b[32m" not in out.getvalue()


def test_mistakes_name_their_remedy(tokenizer_folder: str, tmp_path: Path):
    with pytest.raises(ConfigError, match="Did you mean 'hermes'"):
        main(["--model", tokenizer_folder, "--dialect", "hermez"])
    with pytest.raises(ConfigError, match="count must be 1 or more, got 0"):
        main(["--model", tokenizer_folder, "--count", "0"])
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="holds no rows"):
        main([str(tmp_path / "empty.jsonl"), "--model", tokenizer_folder])
    with pytest.raises(FileError, match="absent"):
        main([str(tmp_path / "absent.jsonl"), "--model", tokenizer_folder])


def test_a_mistake_is_exit_code_2(capsys: pytest.CaptureFixture[str]):
    assert run(main, ["--dialekt", "hermes"]) == 2
    assert "did you mean --dialect" in capsys.readouterr().err
