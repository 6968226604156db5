"""Rendered segments to token ids and a loss mask.

    segments = [Segment("<start_of_turn>user\\n", control=True), Segment("Hi"),
                Segment("<end_of_turn>\\n<start_of_turn>model\\n", control=True),
                Segment("Hello", trained=True), Segment("<end_of_turn>", trained=True, control=True)]
    encode(segments, tokenizer)
    # tokens     <bos> <start_of_turn> user \\n Hi <end_of_turn> \\n <start_of_turn> model \\n Hello <end_of_turn>
    # loss_mask    F          F         F   F  F       F        F        F          F   F   T         T

The ids equal those of the joined text under Gemma's own tokenizer, except that text which may not hold control pieces
never yields one. Merges cross segments (a template's newline and a user's become the single piece of two newlines), so
neighbouring texts are joined before they are encoded. Cuts are made where a merge cannot or must not cross: at control
pieces, and where training starts or stops, which is also where the prompt ends when the model generates.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from gemma_tool_use.conversation import Segment
from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """One sequence: `tokens` int32 [length] and `loss_mask` bool [length], True where a token adds to the loss."""

    tokens: np.ndarray
    loss_mask: np.ndarray


def encode(segments: Iterable[Segment], tokenizer: Tokenizer) -> Encoded:
    """Encodes segments as in the module's example: `<bos>` once and first, a token trained iff its text is.

    A tokenizer without a `bos_id` (Qwen) gets none; one with `space_in_front` gets its space behind `<bos>`.

    Raises:
      DataError: a control segment holds `<bos>` elsewhere than at the very start.
    """
    tokens: list[int] = []
    trained_counts: list[tuple[bool, int]] = []
    for part, trained in _runs(segments, tokenizer):
        if isinstance(part, int):
            ids = [part]
        else:
            begins = tokenizer.space_in_front and all(token == tokenizer.bos_id for token in tokens)
            ids = tokenizer.encode(" " + part if begins else part)
        tokens += ids
        trained_counts.append((trained, len(ids)))
    if tokenizer.bos_id is not None and tokens[:1] != [tokenizer.bos_id]:
        tokens.insert(0, tokenizer.bos_id)
        trained_counts.insert(0, (False, 1))
    if tokenizer.bos_id is not None and tokens.count(tokenizer.bos_id) > 1:
        raise DataError("a dialect's own text holds <bos> after the start; encode() adds it once, leave it out")
    flags, counts = zip(*trained_counts, strict=True)
    return Encoded(tokens=np.array(tokens, np.int32), loss_mask=np.repeat(np.array(flags, bool), counts))


def _runs(segments: Iterable[Segment], tokenizer: Tokenizer) -> Iterator[tuple[str | int, bool]]:
    """Control ids and the longest texts between them that are wholly trained or wholly not."""
    pending: list[str] = []
    pending_trained = False
    for segment in segments:
        for part in tokenizer.split_control(segment.text) if segment.control else (segment.text,):
            if pending and (isinstance(part, int) or segment.trained != pending_trained):
                yield "".join(pending), pending_trained
                pending = []
            if isinstance(part, int):
                yield part, segment.trained
            elif part:
                pending.append(part)
                pending_trained = segment.trained
    if pending:
        yield "".join(pending), pending_trained
