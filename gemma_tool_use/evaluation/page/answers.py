"""Twenty answers to read: of right ones and of every kind of failure in turn, chosen by a hash of the item's id.

chosen(results)[0].outcome      # "right"; then the failures in the order of `FAILURES`
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

from gemma_tool_use.evaluation.records import FAILURES, Item, Result
from gemma_tool_use.pages.row_parts import Part, call_text, message_parts, text_part, tools_part

SHOWN = 20
RIGHT = "right"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """An answer as the page shows it.

    Attributes:
      id, suite, category: of its item.
      outcome: `right`, or why it is wrong under the strict rule.
      detail: what was expected and what was found.
      prompt: tools and messages.
      sides: expected, got, and got by the base where there is one.
    """

    id: str
    suite: str
    category: str
    outcome: str
    detail: str
    prompt: tuple[Part, ...]
    sides: tuple[Part, ...]


def chosen(
    results: Sequence[Result], base: Mapping[tuple[str, str], Result] | None = None, most: int = SHOWN
) -> list[Shown]:
    """The answers to show; `base` has the base's results by suite and item id."""
    groups: dict[str, list[Result]] = {name: [] for name in (RIGHT, *FAILURES)}
    for result in sorted(results, key=_hash):
        groups[result.verdict.failure or RIGHT].append(result)
    turns = [group[n] for n in range(most) for group in groups.values() if n < len(group)][:most]
    order = list(groups)
    turns.sort(key=lambda result: order.index(result.verdict.failure or RIGHT))
    return [_shown(result, (base or {}).get((result.item.suite, result.item.id))) for result in turns]


def _shown(result: Result, base: Result | None) -> Shown:
    item = result.item
    tools = [tools_part(item.conversation.tools)] if item.conversation.tools else []
    sides = [_expected(item), _got("got", result)]
    if base is not None:
        sides.append(_got(f"base got, {(base.verdict.failure or RIGHT).replace('_', ' ')}", base))
    return Shown(
        id=item.id,
        suite=item.suite,
        category=item.category,
        outcome=result.verdict.failure or RIGHT,
        detail=text_part("", result.verdict.detail).text,
        prompt=(*tools, *(part for message in item.conversation.messages for part in message_parts(message))),
        sides=tuple(sides),
    )


def _expected(item: Item) -> Part:
    if item.expected_calls:
        return text_part("expected", "\n".join(map(call_text, item.expected_calls)))
    words = f"\n{item.expected}" if isinstance(item.expected, str) else ""
    return text_part("expected", f"no call{words}")


def _got(label: str, result: Result) -> Part:
    if result.answer.error is not None:
        return text_part(label, f"no answer: {result.answer.error}")
    return text_part(label, result.answer.text.strip() or "nothing was written")


def _hash(result: Result) -> bytes:
    name = f"{result.item.suite}:{result.item.id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(name, digest_size=16).digest()
