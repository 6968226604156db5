"""One encoded row as the bytes of one record: three numbers, the token ids, and the mask as run lengths.

    pack(Encoded(tokens=[2, 5, 6, 7], loss_mask=[F, F, T, T]))      # little-endian 32-bit numbers
    # 1 4 2   2 5 6 7   2 2
    # | | |   tokens    untrained, trained, untrained, ... tokens in a row
    # | | number of runs
    # | number of tokens
    # FORMAT

A row of a conversation has a run for each turn, so the mask costs a few numbers instead of a byte for each token.
"""

import numpy as np

from gemma_tool_use.errors import DataError
from gemma_tool_use.formats.encode import Encoded

FORMAT = 1
_HEADER = 3
_NUMBER = np.dtype("<i4")


def pack(row: Encoded) -> bytes:
    """The record of a row (see the module's example)."""
    mask = row.loss_mask
    cuts = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    # The first run is untrained, so a row that begins with a trained token has a first run of 0.
    starts = [0, 0] if mask.size and mask[0] else [0]
    runs = np.diff(np.concatenate([starts, cuts, [mask.size]]))
    numbers = np.concatenate([[FORMAT, row.tokens.size, runs.size], row.tokens, runs])
    return numbers.astype(_NUMBER).tobytes()


def unpack(record: bytes) -> Encoded:
    """The row of a record; its `tokens` are a read-only view of it.

    Raises:
      DataError: the bytes are not a whole record of this `FORMAT`.
    """
    if len(record) < _HEADER * _NUMBER.itemsize or len(record) % _NUMBER.itemsize:
        raise DataError(f"a record of {len(record)} bytes is not a row")
    numbers = np.frombuffer(record, _NUMBER)
    version, length, count = (int(n) for n in numbers[:_HEADER])
    if version != FORMAT:
        raise DataError(f"a record has format {version}, expected {FORMAT}")
    runs = numbers[_HEADER + length :]
    if length < 0 or count != runs.size or (runs < 0).any() or int(runs.sum(dtype=np.int64)) != length:
        raise DataError(f"a record says {length} tokens and {count} runs, and holds {numbers.size - _HEADER} numbers")
    trained = np.arange(count) % 2 == 1
    return Encoded(tokens=numbers[_HEADER : _HEADER + length], loss_mask=np.repeat(trained, runs))
