"""Numbers of Arrow columns as NumPy arrays and back, without pandas.

    number_array(pa.array([3, None, 5]))         # array([3, 0, 5])
    number_array(table["eval"])                  # array([False, True]): of a column of booleans
    arrow_array(np.array([3, 5], np.uint64))     # pa.array([3, 5], pa.uint64())

`pa.array` of a list or an array, and `to_numpy` of a column, import pandas, which takes half a second in each
process. No JAX.
"""

import numpy as np
import pyarrow as pa


def number_array(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The numbers or booleans of a column, 0 where there is none; not to be written to."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    is_boolean = pa.types.is_boolean(column.type)
    if is_boolean:
        column = column.cast(pa.uint8())
    whole = pa.Array.from_buffers(column.type, len(column), [None, column.buffers()[1]], offset=column.offset)
    values = np.from_dlpack(whole)
    if column.null_count:  # `fill_null` imports pandas, too
        values = np.multiply(values, np.from_dlpack(column.is_valid().cast(pa.uint8())), dtype=values.dtype)
    return values.view(bool) if is_boolean else values


def arrow_array(values: np.ndarray) -> pa.Array:
    """The numbers or booleans as an Arrow array of the same type."""
    values = np.ascontiguousarray(values)
    is_boolean = values.dtype == bool
    kind = pa.from_numpy_dtype(np.dtype(np.uint8) if is_boolean else values.dtype)
    array = pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
    return array.cast(pa.bool_()) if is_boolean else array
