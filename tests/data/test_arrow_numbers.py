"""Numbers of Arrow columns: the same as Arrow's own, and without pandas."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gemma_tool_use.data.arrow_numbers import arrow_array, number_array

READ = """
import sys
from pathlib import Path
from gemma_tool_use.data.parquet_file import parquet_batches
rows = [row for batch in parquet_batches(Path(sys.argv[1]), ["short", "long"], lazy=True) for _, row in batch]
assert [(row["short"], row["long"]) for row in rows[:2]] == [("a", "a" * 99), (None, None)], rows[0]
sys.exit("pandas" in sys.modules)
"""


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([3, None, 5], pa.int32()), [3, 0, 5]),
        (pa.array([1, 2, 3], pa.uint64())[1:], [2, 3]),
        (pa.array([True, None, False]), [True, False, False]),
        (pa.chunked_array([[1], [2, 3]]), [1, 2, 3]),
        (pa.chunked_array([], pa.int64()), []),
        (pa.array([], pa.bool_()), []),
    ],
)
def test_numbers_and_booleans_come_out_as_they_are_and_absent_ones_as_zero(column, expected):
    found = number_array(column)
    assert found.tolist() == expected
    assert found.dtype == column.type.to_pandas_dtype()


@pytest.mark.parametrize("kind", [pa.int32(), pa.uint64(), pa.uint8(), pa.bool_()])
def test_an_array_goes_to_arrow_and_back(kind):
    column = pa.array([1, 0, 1], pa.uint8()).cast(kind)
    assert arrow_array(number_array(column)).equals(column)


def test_reading_rows_does_not_import_pandas(tmp_path):
    path = tmp_path / "rows.parquet"
    table = pa.table({"short": ["a", None] * 50, "long": [text and text + "a" * 98 for text in ["a", None] * 50]})
    pq.write_table(table, path, use_dictionary=["short"], compression="none")
    subprocess.run([sys.executable, "-c", READ, str(path)], check=True)
