"""Mixing, augmentation and stages in the prepare command: shares, sides of the split, and the same bytes always."""

import numpy as np
import pytest

from gemma_tool_use.data.augment import MixSettings
from gemma_tool_use.data.engine import duplicates
from gemma_tool_use.data.engine.map_unit import SCHEMA, RowWriter
from gemma_tool_use.data.engine.mixture import draw


@pytest.mark.parametrize(
    ("have", "weights", "want"),
    [
        ([40, 20], (1, 1), [21, 20]),
        ([40, 20], (4, 1), [40, 10]),
        ([40, 20], (1, 0), [40, 0]),
        ([30, 0], (1, 1), [30, 0]),
        ([30, 90], (0.1, 0.3), [30, 90]),
        ([5, 5, 5], (1, 2, 3), [2, 4, 5]),
    ],
)
def test_weights_draw_the_most_rows_in_their_proportion_to_within_a_row(tmp_path, have, weights, want):
    inputs = np.repeat(np.arange(len(have)), have)
    positions = np.arange(len(inputs), dtype=np.int64)
    kept = tmp_path / "0.parquet"
    with RowWriter(kept, SCHEMA) as file:
        for n in positions.tolist():
            columns = {"position": n, "id": f"r{n}", "source": "s", "apis": (), "bands": (), "has_call": True}
            file.add(tuple(columns.get(name) for name in SCHEMA.names))

    def drawn(seed):
        with duplicates.connect(tmp_path / "spill", workers=1, memory_bytes=64 << 20) as con:
            return draw(con, [str(kept)], positions, inputs, weights, MixSettings(seed=seed)).copies > 0

    assert np.bincount(inputs[drawn(0)], minlength=len(have)).tolist() == want
    assert (drawn(0) == drawn(0)).all()
    if 0 < drawn(0).sum() < len(inputs) and min(weights):
        assert (drawn(0) != drawn(1)).any()
