"""Benchmark questions out of files: BFCL's own folder, and any other benchmark's JSONL or text file.

    bfcl_questions(Path("bfcl_eval/data"))       # ("simple_python_0", "Find the area of a triangle with ..."), ...
    file_questions(Path("when2call.jsonl"))      # ("when2call.jsonl:1", "..."), ...

A line of a file is a JSON object with `question` (text, or messages as BFCL nests them) or `messages`, a JSON string,
or plain text. An item with several user messages gives one question for each of them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gemma_tool_use.bfcl_files import data_folder, question_files
from gemma_tool_use.data.files import jsonl_lines, strict_json
from gemma_tool_use.data.rejects import Reject, short
from gemma_tool_use.errors import DataError


def bfcl_questions(folder: Path) -> Iterator[tuple[str, str]]:
    """Item id and text of each user message in the question files of BFCL v4, in the order of the file names.

    Raises:
      FileError: a file cannot be read.
      DataError: no question file there, or one of another form.
    """
    for file in question_files(data_folder(folder)):
        yield from file_questions(file)


def file_questions(path: Path) -> Iterator[tuple[str, str]]:
    """Item id (the row's `id`, else file and line) and text of each question of a JSONL or text file.

    Raises:
      FileError: the file cannot be read.
      DataError: a line that is too long or not UTF-8, or an object without `question` and `messages`.
    """
    for number, line in jsonl_lines(path):
        where = f"{path.name}:{number}"
        if isinstance(line, Reject):
            raise DataError(f"{where}: {line.reason}: {line.detail}")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{where} is not UTF-8 ({error.reason})") from None
        try:
            row = strict_json(text)
        except ValueError:
            row = text
        if not isinstance(row, dict):
            yield where, row if isinstance(row, str) else text
            continue
        question = row.get("question", row.get("messages"))
        if question is None:
            raise DataError(f"{where} has neither `question` nor `messages`: {short(text)}")
        item = str(row.get("id") or row.get("uuid") or where)
        yield from ((item, found) for found in _user_texts(question))


def _user_texts(question: Any) -> Iterator[str]:
    """A text; the contents of user messages in a list; or those of lists of messages in a list."""
    if isinstance(question, str):
        yield question
    elif isinstance(question, dict):
        if question.get("role", "user") == "user" and isinstance(question.get("content"), str):
            yield question["content"]
    elif isinstance(question, list):
        for part in question:
            yield from _user_texts(part)
