"""Numbers of the held-out suite beside right and wrong: names, arguments, schemas, decisions, use of tool results.

    measures(results, check_arguments=check)["argument_value_recall"]      # Measure(value=0.81, count=96, ...)

Over rows with expected calls:

    exact_call                   exactly these calls
    function_names               the same functions, each as often
    argument_names               share of the calls with the right name whose arguments have the expected names
    argument_name_precision      share of all arguments made that are expected; _recall: of all expected that are made
    argument_values              share of the arguments with a right name that have the expected value
    argument_value_precision     share of all arguments made with the expected value; _recall: of all expected
    under_call                   no call and no attempt at one
    tool_call_accuracy           of the rows with a call, its first has the name of the first expected one
    parameter_accuracy           that, and every expected argument with its value (Python's `==`), whatever else

Over the others, and over all:

    over_call                    a call, or an attempt at one, where none is expected
    uses_tool_result             at least half of the facts that the right answer takes from a tool (`result_use.py`)
    tool_result_facts            share of these facts that the reply has
    schema_valid                 share of the calls made that are of an offered tool and valid against its schema
    decision                     call, ask, refuse or answer as expected (`decisions.py`); decision_ask: where ask is

`tool_call_accuracy` and `parameter_accuracy` are those of the tool-using script, whose `evaluate_checkpoint` leaves out
rows in which the model called nothing: a model that calls once, rightly, has 100 %. They stand here to be compared with
its figures; `exact_call` has no such hole. Rows without an answer (generation errors) are in no measure.
"""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from gemma_tool_use.conversation import Message, Reply, ToolCall
from gemma_tool_use.errors import DataError
from gemma_tool_use.evaluation.aggregate import Measure, share_measure
from gemma_tool_use.evaluation.call_scores import CallScore, compare_calls, same_names
from gemma_tool_use.evaluation.decisions import DECISIONS, decision, text_decision
from gemma_tool_use.evaluation.exact_call import is_exact
from gemma_tool_use.evaluation.records import Item, Result
from gemma_tool_use.evaluation.result_use import result_use
from gemma_tool_use.evaluation.sequence import sequence_measures
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.scan import cut_at_stop
from gemma_tool_use.formats.tokenizer import Tokenizer

CheckArguments = Callable[[dict[str, Any], dict[str, Any]], bool | None]
"""Whether arguments are valid against a schema; None when the schema itself cannot be checked."""


def measures(results: Sequence[Result], *, check_arguments: CheckArguments) -> dict[str, Measure]:
    """The measures of the table above; one that is a share of nothing is left out."""
    answered = [result for result in results if result.answer.error is None]
    counts = [
        *_of_calls([result for result in answered if result.item.expected_calls]),
        *_of_restraint([result for result in answered if not result.item.expected_calls]),
        *_of_schemas(answered, check_arguments),
        *_of_decisions(answered),
        *_of_tool_results([result for result in answered if not result.item.expected_calls]),
    ]
    return {name: share_measure(right, count) for name, right, count in counts if count}


def script_accuracy(pairs: Sequence[tuple[Sequence[ToolCall], Reply]]) -> tuple[int, int, int]:
    """Rows of the tool-using script's two accuracies: right names, right names and arguments, rows that count."""
    rows = [(expected[0], reply.calls[0]) for expected, reply in pairs if expected and reply.calls]
    named = [(right, made) for right, made in rows if right.name == made.name]
    filled = sum(
        all(name in made.arguments and made.arguments[name] == value for name, value in right.arguments.items())
        for right, made in named
    )
    return len(named), filled, len(rows)


def text_measures(results: Sequence[Result], dialect: Dialect, tokenizer: Tokenizer) -> dict[str, Measure]:
    """The sequence scores of `sequence.py`: replies beside the texts that training on the rows would have taught.

    Rows without an answer, and right answers that the dialect cannot write, are left out.
    """
    rows = [(result, reference_text(result.item, dialect)) for result in results if result.answer.error is None]
    written = [(result, text) for result, text in rows if text is not None]
    start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    return sequence_measures(
        [text for _, text in written],
        [cut_at_stop(result.answer.text, dialect.stop_texts) for result, _ in written],
        [bool(result.item.expected_calls) for result, _ in written],
        lambda text: [*start, *tokenizer.encode(text)],
    )


def reference_text(item: Item, dialect: Dialect) -> str | None:
    """The right answer as the dialect writes it, without its end; None when it cannot."""
    right = Message(
        role="assistant",
        content=item.expected["content"],
        reasoning=item.expected["reasoning"],
        calls=item.expected_calls,
    )
    asked = dataclasses.replace(item.conversation, messages=(*item.conversation.messages, right))
    try:
        segments = dialect.segments(asked)
    except DataError:
        return None
    last = itertools.takewhile(lambda segment: segment.trained, reversed(segments))
    return cut_at_stop("".join(reversed([segment.text for segment in last])), dialect.stop_texts)


Count = tuple[str, int, int]


def _of_calls(rows: Sequence[Result]) -> list[Count]:
    total = sum((compare_calls(row.item.expected_calls, row.reply.calls) for row in rows), CallScore())
    named, filled, called = script_accuracy([(row.item.expected_calls, row.reply) for row in rows])
    silent = sum(not row.reply.calls and not row.reply.errors for row in rows)
    return [
        ("exact_call", sum(is_exact(row.reply, row.item.expected_calls) for row in rows), len(rows)),
        ("function_names", sum(same_names(row.item.expected_calls, row.reply.calls) for row in rows), len(rows)),
        ("argument_names", total.same_arguments, total.named),
        ("argument_name_precision", total.argument_names, total.arguments_made),
        ("argument_name_recall", total.argument_names, total.arguments_expected),
        ("argument_values", total.argument_values, total.argument_names),
        ("argument_value_precision", total.argument_values, total.arguments_made),
        ("argument_value_recall", total.argument_values, total.arguments_expected),
        ("tool_call_accuracy", named, called),
        ("parameter_accuracy", filled, called),
        ("under_call", silent, len(rows)),
    ]


def _of_restraint(rows: Sequence[Result]) -> list[Count]:
    return [("over_call", sum(bool(row.reply.calls or row.reply.errors) for row in rows), len(rows))]


def _of_schemas(rows: Sequence[Result], check_arguments: CheckArguments) -> list[Count]:
    valid = count = 0
    for row in rows:
        schemas = {tool.name: tool.parameters for tool in row.item.conversation.tools}
        for call in row.reply.calls:
            found = check_arguments(schemas[call.name], call.arguments) if call.name in schemas else False
            count += found is not None
            valid += found is True
    return [("schema_valid", valid, count)]


def _of_decisions(rows: Sequence[Result]) -> list[Count]:
    right, count = collections.Counter[str](), collections.Counter[str]()
    for row in rows:
        expected = "call" if row.item.expected_calls else text_decision(row.item.expected["content"])
        count[expected] += 1
        right[expected] += decision(row.reply) == expected
    by_decision = [(f"decision_{name}", right[name], count[name]) for name in DECISIONS]
    return [("decision", right.total(), count.total()), *by_decision]


def _of_tool_results(rows: Sequence[Result]) -> list[Count]:
    uses = [result_use(row.item.conversation, row.item.expected["content"], row.reply.text) for row in rows]
    uses = [use for use in uses if use.facts]
    return [
        ("uses_tool_result", sum(2 * use.found >= use.facts for use in uses), len(uses)),
        ("tool_result_facts", sum(use.found for use in uses), sum(use.facts for use in uses)),
    ]
