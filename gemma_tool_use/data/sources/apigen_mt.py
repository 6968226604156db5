r"""Reads APIGen-MT (https://huggingface.co/datasets/Salesforce/APIGen-MT-5k): CC-BY-NC-4.0, not for commercial use.

5,000 long chats of an airline's and a shop's agent in the ShareGPT form (`sharegpt.py`), with the rules of the house as
the system text and bare functions as tools:

    {"system": "# Retail agent policy ...", "tools": "[{\"name\": \"find_user\", \"parameters\": {...}}]",
     "conversations": [{"from": "human", "value": "Hi, I'm u1."},
                       {"from": "function_call", "value": "{\"name\": \"find_user\", \"arguments\": {...}}"},
                       {"from": "observation", "value": "Ann"}, {"from": "gpt", "value": "Hello Ann."}]}

One of the functions, `think`, does nothing but note a thought. It is left out, as are its calls with their (empty)
results: an agent that may think has a place of its own for that, and no server offers such a function.
"""

from collections.abc import Iterator

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.sources import sharegpt, turns
from gemma_tool_use.data.sources.source import Licence, Source
from gemma_tool_use.data.sources.turns import Row, Turn

NAME = "apigen-mt"
THINK = "think"
# How the two policies begin: what tells these rows from anybody's rows in the same form.
POLICIES = ("# Retail", "# Airline")


@turns.reader
def read_row(row: Row, where: str) -> Conversation:
    """The row as `sharegpt` reads it, without the function `think` and what it was asked."""
    tools, said = sharegpt.read_parts(row)
    return Conversation(
        id=turns.row_id(row, where),
        source=NAME,
        tools=tuple(tool for tool in tools if tool.name != THINK),
        messages=turns.pair(_without_thoughts(said)),
    )


def _without_thoughts(said: Iterator[Turn]) -> Iterator[Turn]:
    thinking = False
    for turn in said:
        answered, thinking = thinking, turn.call is not None and turn.call.name == THINK
        if not thinking and not (answered and turn.kind == "result"):
            yield turn


def _recognises(row: Row) -> bool:
    system = row.get("system")
    return {"tools", "conversations"} <= row.keys() and isinstance(system, str) and system.startswith(POLICIES)


SOURCE = Source(
    name=NAME,
    help="APIGen-MT: long chats of an airline's and a shop's agent; not for commercial use",
    licence=Licence(
        name="CC-BY-NC-4.0", url="https://huggingface.co/datasets/Salesforce/APIGen-MT-5k", commercial=False
    ),
    columns=("tools", "conversations"),
    optional=("id", "system"),
    read_row=read_row,
    recognises=_recognises,
    hub_id="Salesforce/APIGen-MT-5k",
    hub_files=("apigen-mt_5k.json",),
)
