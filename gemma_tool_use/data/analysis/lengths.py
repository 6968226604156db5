"""How many tokens a conversation has in each dialect, and how many it would have if cut after its first call.

row_lengths(conversation, {"hermes": get_dialect("hermes")}, tokenizer)
# {"hermes": RowLength(tokens=412, first_call=97, trained=21, first_call_trained=12)}
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.encode import encode
from gemma_tool_use.formats.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowLength:
    """Tokens of one conversation in one dialect.

    Attributes:
      tokens: of the whole conversation, `<bos>` included.
      first_call: of the conversation up to and including its first assistant message with calls; of the whole when
        there is none.
      trained: how many of `tokens` contribute to the loss.
      first_call_trained: how many of `first_call` do.
    """

    tokens: int
    first_call: int
    trained: int
    first_call_trained: int


def row_lengths(
    conversation: Conversation, dialects: Mapping[str, Dialect], tokenizer: Tokenizer
) -> dict[str, RowLength | None]:
    """The lengths by name of the dialect; None where the dialect cannot write the conversation."""
    result: dict[str, RowLength | None] = {}
    for name, dialect in dialects.items():
        try:
            result[name] = row_length(conversation, dialect, tokenizer)
        except DataError:
            result[name] = None
    return result


def row_length(conversation: Conversation, dialect: Dialect, tokenizer: Tokenizer) -> RowLength:
    """The length in one dialect.

    Raises:
      DataError: the dialect cannot write the conversation.
    """
    encoded = encode(dialect.segments(conversation), tokenizer)
    tokens = len(encoded.tokens)
    replies = [message for message in conversation.messages if message.role == "assistant"]
    calling = next((i for i, message in enumerate(replies) if message.calls), None)
    # Each reply is one run of trained tokens, and by the dialects' prefix law the tokens up to the end of a reply are
    # those of the conversation that ends there; encoding the cut conversation again would cost as much again.
    ends = np.flatnonzero(encoded.loss_mask & ~np.append(encoded.loss_mask[1:], False)) + 1
    # A mask with another number of runs is wrong altogether; then nothing is cut, and `trained` shows it.
    first_call = tokens if calling is None or len(ends) != len(replies) else int(ends[calling])
    return RowLength(
        tokens=tokens,
        first_call=first_call,
        trained=int(encoded.loss_mask[1:].sum()),
        first_call_trained=int(encoded.loss_mask[1:first_call].sum()),
    )
