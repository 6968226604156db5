"""Converts files of any source and shows that nothing is lost: rows kept, each reason, calls parsed back from the text.

    uv run python benchmarks/round_trip.py FILE ... [--source NAME] [--dialects gemma_json hermes functiongemma]

Every row that passes (consistent, arguments valid against their schemas) is rendered, the trained text of each reply is
parsed, and the calls parsed back must equal the calls put in and fit their schemas again. Ends with 1 if one does not.
"""

import argparse
import collections
import dataclasses
import json
import sys
from pathlib import Path

from gemma_tool_use.conversation import Conversation, ToolCall
from gemma_tool_use.data.counts import Tally
from gemma_tool_use.data.rules import EVERYTHING
from gemma_tool_use.data.rules.schemas import faults, validator
from gemma_tool_use.data.sources.load import locate, outcomes
from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.dialects import get_dialect


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--source", default="auto")
    parser.add_argument("--dialects", nargs="+", default=["gemma_json", "hermes", "functiongemma"])
    given = parser.parse_args()
    dialects = [get_dialect(name) for name in given.dialects]
    lost = sum(_file(file, given.source, dialects) for file in given.files)
    print(f"{lost} calls lost")
    return int(lost > 0)


def _file(file: Path, name: str, dialects: list[Dialect]) -> int:
    source, files = locate(name, str(file), allow_non_commercial=True)
    tally, seen = Tally(), collections.Counter[str]()
    rules = dataclasses.replace(EVERYTHING, valid_arguments=True)
    for outcome in outcomes(source, files, rules, tally):
        if isinstance(outcome, Conversation):
            seen["calls"] += sum(len(message.calls) for message in outcome.messages)
            seen.update(_lost(outcome, dialects))
    left_out = "; ".join(f"{n} {reason}" for reason, n in tally.ordered().items() if reason != "kept")
    print(f"{file.name} ({source.name}): {tally.kept} of {tally.rows} rows kept; {left_out or 'none left out'}")
    print(f"    {seen['calls']} calls; {dict(seen - collections.Counter(calls=seen['calls'])) or 'all parsed back'}")
    return sum(n for what, n in seen.items() if what.startswith("lost"))


def _lost(conversation: Conversation, dialects: list[Dialect]) -> collections.Counter[str]:
    found = collections.Counter[str]()
    schemas = {tool.name: validator(tool.parameters) for tool in conversation.tools}
    for dialect in dialects:
        try:
            dialect.segments(conversation)
        except DataError:
            found[f"rows that {dialect.name} cannot write"] += 1
            continue
        for message in conversation.messages:
            if message.role != "assistant":
                continue
            text = "".join(segment.text for segment in dialect.render_body(message))
            reply = dialect.parse(text)
            checks = [(schemas[call.name], call.arguments) for call in reply.calls if call.name in schemas]
            wrong = reply.errors or _typed(reply.calls) != _typed(message.calls)
            if wrong or any(isinstance(check, str) or faults(check, arguments) for check, arguments in checks):
                found[f"lost in {dialect.name}"] += max(1, len(message.calls))
    return found


def _typed(calls: tuple[ToolCall, ...]) -> list[tuple[str, str]]:
    return [(call.name, json.dumps(call.arguments, sort_keys=True)) for call in calls]


if __name__ == "__main__":
    sys.exit(main())
