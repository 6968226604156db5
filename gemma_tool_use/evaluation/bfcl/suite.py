"""BFCL v4 as a suite: its questions as items, and the judge.

    suite = BfclSuite(categories=("simple_python", "irrelevance"), limit=100)
    suite.items()[0].conversation                  # the question, with tools as JSON Schema
    suite.judge(suite.items()[0], reply)           # Verdict(official=True, strict=True, failure=None, detail="")

    BfclSuite(official_prompt=True)                # functions in the leaderboard's system text, for `python_calls`

What a question expects is one of three things: certain calls (`rule.match`), no call (the irrelevance categories), or
any call (live_relevance). An answer with a call that cannot be read counts as the leaderboard counts it: as no call at
all. Its irrelevance score is therefore highest for a model that writes nothing readable; `strict` asks for words, and
no attempt at a call.
"""

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, final

from gemma_tool_use.bfcl_files import INSTALL, PREFIX, data_folder
from gemma_tool_use.conversation import Conversation, Message, Reply, Role
from gemma_tool_use.errors import ConfigError, DataError, FileError, suggest
from gemma_tool_use.evaluation.bfcl.expected import as_call, from_json, read_expected, to_json
from gemma_tool_use.evaluation.bfcl.functions import as_tools, hinted, shown_name
from gemma_tool_use.evaluation.bfcl.prompt import SystemPrompt, load_prompt
from gemma_tool_use.evaluation.bfcl.rule import match
from gemma_tool_use.evaluation.records import Item, Verdict

NON_LIVE = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
)
LIVE = (
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
    "live_relevance",
)
CATEGORIES = (*NON_LIVE, *LIVE)
"""The categories of one turn, each scored by itself."""
NOT_SUPPORTED = (
    "multi_turn_base",
    "multi_turn_miss_func",
    "multi_turn_miss_param",
    "multi_turn_long_context",
    "memory_kv",
    "memory_vector",
    "memory_rec_sum",
    "web_search_base",
    "web_search_no_snippet",
    "format_sensitivity",
)
"""The categories of BFCL v4 that need its simulated services, or its other prompts."""
NAME = "bfcl"

Expects = Literal["calls", "no_call", "any_call"]


def language_of(category: str) -> str:
    """`python`, `java` or `javascript`."""
    return {"simple_java": "java", "simple_javascript": "javascript"}.get(category, "python")


def expects(category: str) -> Expects:
    """What a right answer to a question of this category is."""
    if category.endswith("irrelevance"):
        return "no_call"
    return "any_call" if category == "live_relevance" else "calls"


def checked_categories(names: Sequence[str]) -> tuple[str, ...]:
    """The categories in BFCL's order; `live` and `non_live` stand for theirs.

    Raises:
      ConfigError: names every unknown one and every one that is not supported yet.
    """
    groups = {"live": LIVE, "non_live": NON_LIVE}
    asked = {one for name in names for one in groups.get(name, (name,))}
    families = {name.split("_")[0] for name in NOT_SUPPORTED}
    later = sorted(name for name in asked if name in NOT_SUPPORTED or name.split("_")[0] in families)
    unknown = sorted(asked - set(CATEGORIES) - set(later))
    problems = [f"{name!r} is no category of BFCL. {suggest(name, (*CATEGORIES, *groups))}" for name in unknown]
    if later:
        problems.append(f"not yet supported: {', '.join(later)}. Supported: {', '.join(CATEGORIES)}")
    if problems or not asked:
        raise ConfigError("; ".join(problems) or f"no category given. Known: {', '.join(CATEGORIES)}.")
    return tuple(name for name in CATEGORIES if name in asked)


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class BfclSuite:
    """The questions of some categories.

    Attributes:
      folder: `bfcl_eval` or its folder `data`; None for the installed package.
      categories: as `checked_categories` takes them.
      limit: most questions of each category, evenly spread over it; None for all.
      official_prompt: the functions stand in BFCL's own system text, and no tools are given; answers are to be read by
        the dialect `python_calls`, also those of Java and JavaScript, whose source code must then stand in strings.
    """

    folder: Path | None = None
    categories: Sequence[str] = CATEGORIES
    limit: int | None = None
    official_prompt: bool = False

    def __post_init__(self) -> None:
        """Raises `ConfigError` for a category or limit that cannot be."""
        object.__setattr__(self, "categories", checked_categories(self.categories))
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"the limit of questions must be 1 or more, got {self.limit}")

    @property
    def name(self) -> str:
        return NAME

    def items(self) -> Sequence[Item]:
        """The questions in the order of the categories and files.

        Raises:
          DataError: the package or folder is missing, or a line is not what BFCL v4 has.
          FileError: a file cannot be read.
        """
        return self._items

    @functools.cached_property
    def _items(self) -> tuple[Item, ...]:
        folder = data_folder(self.folder)
        prompt = load_prompt(folder) if self.official_prompt else None
        return tuple(item for name in self.categories for item in _category(folder, name, self.limit, prompt))

    def judge(self, item: Item, reply: Reply) -> Verdict:
        """Judges a reply by the leaderboard's rule, and strictly."""
        wants = expects(item.category)
        if wants == "no_call":
            return _judge_refusal(reply)
        if reply.errors:
            return _wrong("broken_syntax", reply.errors[0])
        if not reply.calls:
            return _wrong("no_call", "a call was expected")
        mismatch = match(reply.calls, from_json(item.expected), item.language) if wants == "calls" else None
        return _wrong(mismatch.failure, mismatch.detail) if mismatch else Verdict(official=True, strict=True)


def _wrong(failure: str, detail: str) -> Verdict:
    return Verdict(official=False, strict=False, failure=failure, detail=detail)


def _judge_refusal(reply: Reply) -> Verdict:
    if reply.calls:
        return _wrong("over_call", f"{reply.calls[0].name} called, expected no call")
    if reply.errors:
        return Verdict(official=True, strict=False, failure="broken_syntax", detail=reply.errors[0])
    if not reply.text.strip():
        return Verdict(official=True, strict=False, failure="broken_syntax", detail="no call, but no word either")
    return Verdict(official=True, strict=True)


def _category(folder: Path, category: str, limit: int | None, prompt: SystemPrompt | None) -> Iterator[Item]:
    name = f"{PREFIX}{category}.json"
    rows = list(_rows(folder / name))
    answers: dict[str, Any] = {}
    if expects(category) == "calls":
        path = folder / "possible_answer" / name
        answers = {row["id"]: row.get("ground_truth") for row in _rows(path)}
        if [row["id"] for row in rows] != list(answers):
            raise DataError(f"{path} does not answer the questions of {name} one by one; both come from {INSTALL}")
    count = len(rows) if limit is None else min(limit, len(rows))
    for number in range(count):
        row = rows[number * len(rows) // count]
        try:
            yield _item(row, category, answers.get(row["id"], []), prompt)
        except (DataError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{folder / name}: {row['id']}: {error!r:.300}") from None


def _item(row: Mapping[str, Any], category: str, answers: Any, prompt: SystemPrompt | None) -> Item:
    language = language_of(category)
    functions = [hinted(function, language) for function in row["function"]]
    (turn,) = row["question"]
    messages = tuple(Message(role=cast(Role, each["role"]), content=each["content"]) for each in turn)
    expected = read_expected(answers, row["function"], language)
    if prompt is None:
        expected = tuple(dataclasses.replace(call, name=shown_name(call.name)) for call in expected)
    else:
        messages = (Message(role="system", content=prompt.system_text(functions)), *messages)
    return Item(
        id=row["id"],
        suite=NAME,
        category=category,
        conversation=Conversation(
            id=row["id"], source=NAME, messages=messages, tools=as_tools(functions) if prompt is None else ()
        ),
        expected=to_json(expected),
        expected_calls=tuple(as_call(call, language) for call in expected),
        language=language,
    )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}. It comes with bfcl-eval: {INSTALL}") from None
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}: line {number} is not JSON ({error}); install the package again") from None
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise DataError(f"{path}: line {number} is no question of BFCL: {line[:80]}")
        yield row
