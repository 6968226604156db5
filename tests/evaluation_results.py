"""Results of made-up evaluations: right and wrong answers as told, without a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma_tool_use.conversation import Conversation, Message, Reply, ToolCall, ToolSpec
from gemma_tool_use.evaluation.aggregate import aggregate, scores_to_dict, write_scores
from gemma_tool_use.evaluation.records import Answer, Item, Result, Verdict, write_results

ROLL = ToolSpec(
    name="roll", parameters={"type": "object", "properties": {"sides": {"type": "integer"}}, "required": ["sides"]}
)


def result(
    id: str,
    *,
    right: bool = True,
    category: str = "simple_python",
    suite: str = "bfcl",
    question: str = "Roll a d6",
    text: str | None = None,
    failure: str = "wrong_value",
    official: bool | None = None,
    error: str | None = None,
) -> Result:
    """A result; wrong ones have the failure `wrong_value` unless told otherwise."""
    call = ToolCall(name="roll", arguments={"sides": 6 if right else 20})
    written = "" if error is not None else text if text is not None else f"<call>{call.arguments}</call>"
    return Result(
        item=Item(
            id=id,
            suite=suite,
            category=category,
            conversation=Conversation(id=id, tools=(ROLL,), messages=(Message(role="user", content=question),)),
            expected=[{"roll": {"sides": [6]}}],
            expected_calls=(ToolCall(name="roll", arguments={"sides": 6}),),
        ),
        answer=Answer(item_id=id, text=written, error=error, prompt_tokens=100, new_tokens=12),
        reply=Reply(raw=written, calls=() if error is not None else (call,)),
        verdict=Verdict(
            official=right if official is None else official,
            strict=right,
            failure=None if right else "generation_error" if error is not None else failure,
            detail="" if right else "sides: expected 6, got 20",
        ),
    )


def write_evaluation(folder: Path, results: list[Result], provenance: Mapping[str, Any] | None = None) -> Path:
    """The folder as `evaluate` leaves it; returns it."""
    folder.mkdir(parents=True)
    write_results(folder / "results.jsonl", results)
    write_scores(folder / "scores.json", scores_to_dict(aggregate(results), provenance=provenance or {"model": "tiny"}))
    return folder
