r"""Reads xLAM (https://huggingface.co/datasets/Salesforce/xlam-function-calling-60k), 60,000 requests and their calls.

    {"id": 1, "query": "Weather in Oslo?", "answers": "[{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}]",
     "tools": "[{\"name\": \"weather\", \"description\": \"Get weather\",
                 \"parameters\": {\"city\": {\"description\": \"City\", \"type\": \"str\", \"default\": \"\"}}}]"}

`tools` and `answers` are JSON text. Parameters stand without the wrapper of JSON Schema, with Python types, and are
optional when the type says so or there is a default (`schema.py`). Every row has one to many calls and no other answer.
"""

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.sources import turns
from gemma_tool_use.data.sources.source import Licence, Source
from gemma_tool_use.data.sources.turns import Row

NAME = "xlam"


@turns.reader
def read_row(row: Row, where: str) -> Conversation:
    """The request, and one message with all calls."""
    asked = turns.user(turns.read_text(row.get("query"), "query"))
    return Conversation(
        id=turns.row_id(row, where),
        source=NAME,
        tools=turns.read_tools(row.get("tools")),
        messages=turns.pair([asked, *turns.read_calls(row.get("answers"), "answers")]),
    )


SOURCE = Source(
    name=NAME,
    help="xLAM function calling 60k: one request, one to many calls",
    licence=Licence(name="CC-BY-4.0", url="https://huggingface.co/datasets/Salesforce/xlam-function-calling-60k"),
    columns=("query", "tools", "answers"),
    optional=("id",),
    read_row=read_row,
    recognises=lambda row: {"query", "tools", "answers"} <= row.keys(),
    hub_id="Salesforce/xlam-function-calling-60k",
    hub_files=("xlam_function_calling_60k.json",),
)
