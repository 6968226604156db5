"""Draws rows so that each input has the share of the result that its weight asks for.

    weighted(inputs=[0, 0, 0, 0, 1, 1], weights=(1, 1), positions=..., seed=0)   # keeps 2 of the first, 2 of the second

No row is repeated: the input that is scarcest for its weight keeps all its rows, and of the others as many rows are
drawn as fit beside it.
"""

from collections.abc import Sequence

import numpy as np

from gemma_tool_use.data.engine.split import mixed


def weighted(inputs: np.ndarray, weights: Sequence[float], positions: np.ndarray, *, seed: int) -> np.ndarray:
    """bool [rows]: the rows that are drawn.

    Args:
      inputs: int [rows], the number of each row's input.
      weights: of each input, not negative; one without rows does not limit the others.
      positions: int64 [rows], what the drawing is by.
      seed: of the drawing.
    """
    have = np.bincount(inputs, minlength=len(weights))
    weight = np.asarray(weights, np.float64)
    scarce = [rows / w for rows, w in zip(have, weight, strict=True) if w > 0 and rows > 0]
    unit = min(scarce, default=0.0)
    # A hair above, so that 0.1 * 30 / 0.1 is 30 rows and not 29.
    wanted = np.minimum(have, np.floor(weight * unit + 1e-9)).astype(np.int64)
    drawn = np.zeros(len(inputs), bool)
    order = mixed(positions.astype(np.uint64), seed)
    for number, count in enumerate(wanted):
        rows = np.flatnonzero(inputs == number)
        drawn[rows[np.argsort(order[rows], kind="stable")[:count]]] = True
    return drawn
