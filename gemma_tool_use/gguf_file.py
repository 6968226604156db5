"""Reads GGUF files, the single-file format of llama.cpp: metadata, a tensor table, and quantised tensors.

    file = GgufFile("gemma-3-270m-q4_k_m.gguf")
    file.metadata["gemma3.block_count"]              # 18
    file.metadata["tokenizer.ggml.tokens"][2]        # "<bos>"
    file.tensors["blk.0.attn_q.weight"].shape        # (1024, 640)
    file.tensors["blk.0.attn_q.weight"].dequantize() # float32 array of that shape

Layout (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), all little-endian: the magic `GGUF`, version, number
of tensors, number of metadata entries; the entries; one record per tensor (name, dimensions, type, offset); padding;
the tensor bytes. Constants and block formats come from the `gguf` package; its own reader makes several NumPy views per
array element, which costs 8 s on the 262,144 vocabulary pieces of a Gemma file, so the header is parsed here (0.3 s).

A file from outside is not trusted: every count and length is compared with the bytes that are really there before
anything is allocated, so a hostile or truncated file raises `CheckpointError` at once.
"""

import dataclasses
import math
import mmap
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType, GGUFValueType
from gguf.quants import dequantize

from gemma_tool_use.errors import CheckpointError, FileError

_SUPPORTED_VERSIONS = (2, 3)
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS of llama.cpp
_MAX_NAME_BYTES = 65_535  # the specification's limit for a key
_SMALLEST_ENTRY_BYTES = 8 + 4 + 1  # key length, value type, one byte of value
_SMALLEST_TENSOR_RECORD_BYTES = 8 + 4 + 8 + 4 + 8  # name length, dimension count, one dimension, type, offset

_SCALARS: dict[GGUFValueType, np.dtype[Any]] = {
    GGUFValueType.UINT8: np.dtype("<u1"),
    GGUFValueType.INT8: np.dtype("<i1"),
    GGUFValueType.UINT16: np.dtype("<u2"),
    GGUFValueType.INT16: np.dtype("<i2"),
    GGUFValueType.UINT32: np.dtype("<u4"),
    GGUFValueType.INT32: np.dtype("<i4"),
    GGUFValueType.FLOAT32: np.dtype("<f4"),
    GGUFValueType.BOOL: np.dtype("?"),
    GGUFValueType.UINT64: np.dtype("<u8"),
    GGUFValueType.INT64: np.dtype("<i8"),
    GGUFValueType.FLOAT64: np.dtype("<f8"),
}

READABLE_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q5_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K")
"""Tensor types that `GgufTensor.dequantize` accepts."""

# Dequantisation makes several temporaries per value; a slice of this many values keeps them in the processor's cache.
_VALUES_PER_SLICE = 131_072


@dataclasses.dataclass(frozen=True, kw_only=True)
class GgufTensor:
    """One tensor of the file, still in its stored form.

    `shape` is in NumPy order (the file stores the reverse), `type_name` is for example "Q5_0", `data` the stored
    bytes as a read-only uint8 array over the memory-mapped file.
    """

    name: str
    shape: tuple[int, ...]
    type_name: str
    data: np.ndarray

    def dequantize(self) -> np.ndarray:
        """The values as a new float32 array of `shape`; `CheckpointError` for a type outside `READABLE_TYPES`."""
        if self.type_name not in READABLE_TYPES:
            raise CheckpointError(
                f"tensor {self.name!r} has the type {self.type_name}, expected one of {', '.join(READABLE_TYPES)}; "
                "use a file quantised in one of these"
            )
        kind = GGMLQuantizationType[self.type_name]
        block_values, block_bytes = GGML_QUANT_SIZES[kind]
        values = np.empty(math.prod(self.shape), np.float32)
        blocks = self.data.reshape(-1, block_bytes)
        step = max(1, _VALUES_PER_SLICE // block_values)
        for start in range(0, len(blocks), step):
            part = blocks[start : start + step]
            # One long row: gguf's dequantize handles rows in groups of 16 with Python's speed, blocks with NumPy's.
            values[start * block_values : (start + len(part)) * block_values] = dequantize(part.reshape(1, -1), kind)
        return values.reshape(self.shape)


class GgufFile:
    """An open GGUF file.

    `metadata`: key -> str, int, float, bool, `list[str]` (array of strings) or a 1-D NumPy array (array of numbers).
    `tensors`: name -> `GgufTensor`, in file order.

    Raises `FileError` when the file cannot be opened and `CheckpointError` when it is not a whole, sane GGUF file.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < 24:
                    raise CheckpointError(
                        f"{self.path} is not a whole GGUF file: it has only {size} bytes; download or convert it again"
                    )
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise FileError(f"{self.path} cannot be opened: {error.strerror or error}") from error
        header = _Header(self.path, self._bytes)
        self.metadata: dict[str, Any] = header.metadata
        self.tensors: dict[str, GgufTensor] = {}
        whole = np.frombuffer(self._bytes, np.uint8)
        for record in header.records:
            start = header.data_start + record.offset
            self.tensors[record.name] = GgufTensor(
                name=record.name,
                shape=record.shape,
                type_name=record.kind.name,
                data=whole[start : start + record.nbytes],
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Record:
    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    offset: int
    nbytes: int


class _Header:
    """A cursor over the header bytes that never reads or allocates beyond what the file holds."""

    def __init__(self, path: Path, data: mmap.mmap):
        self.path, self.data, self.size, self.at = path, data, len(data), 0
        self._check_magic()
        tensor_count, entry_count = self._number("<Q"), self._number("<Q")
        self._check_count(entry_count, _SMALLEST_ENTRY_BYTES, "metadata entries")
        self.metadata: dict[str, Any] = {}
        for _ in range(entry_count):
            key = self._string("a metadata key", _MAX_NAME_BYTES)
            if key in self.metadata:
                raise self._broken(f"the metadata key {key!r} appears twice")
            self.metadata[key] = self._value(key)
        self._check_count(tensor_count, _SMALLEST_TENSOR_RECORD_BYTES, "tensors")
        self.records = [self._record() for _ in range(tensor_count)]
        alignment = self._alignment()
        self.data_start = -(-self.at // alignment) * alignment
        self._check_records(alignment)

    def _broken(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path} is not a whole GGUF file: {what}; download or convert it again")

    def _check_magic(self) -> None:
        magic = self._take(4, "the magic bytes")
        if magic != b"GGUF":
            raise self._broken(f"it starts with {magic!r}, expected b'GGUF'")
        version = self._number("<I")
        if version not in _SUPPORTED_VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            why = "it is big-endian" if swapped in _SUPPORTED_VERSIONS else f"it has the version {version}"
            raise CheckpointError(
                f"{self.path}: {why}, expected a little-endian GGUF of version 2 or 3; convert it again"
            )

    def _check_count(self, count: int, smallest: int, what: str) -> None:
        if count > (self.size - self.at) // smallest:
            raise self._broken(f"it announces {count} {what} at byte {self.at} of {self.size}, which cannot fit")

    def _take(self, count: int, what: str) -> bytes:
        end = self.at + count
        if end > self.size:
            raise self._broken(f"{what} at byte {self.at} takes {count} bytes and the file ends at byte {self.size}")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def _number(self, code: str) -> int:
        return struct.unpack(code, self._take(struct.calcsize(code), "a number"))[0]

    def _string(self, what: str, limit: int | None = None) -> str:
        length = self._number("<Q")
        if limit is not None and length > limit:
            raise self._broken(f"{what} at byte {self.at} has {length} bytes, at most {limit} are allowed")
        raw = self._take(length, what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._broken(f"{what} before byte {self.at} is not UTF-8 ({error.reason})") from error

    def _value_type(self, key: str) -> GGUFValueType:
        code = self._number("<I")
        try:
            return GGUFValueType(code)
        except ValueError as error:
            raise self._broken(f"the value of {key!r} has the unknown type {code}") from error

    def _value(self, key: str) -> Any:
        kind = self._value_type(key)
        if kind == GGUFValueType.STRING:
            return self._string(f"the value of {key!r}")
        if kind == GGUFValueType.ARRAY:
            return self._array(key)
        return self._numbers(key, _SCALARS[kind], 1)[0].item()

    def _array(self, key: str) -> list[str] | np.ndarray:
        kind = self._value_type(key)
        count = self._number("<Q")
        if kind == GGUFValueType.ARRAY:
            raise self._broken(f"the value of {key!r} is an array of arrays, which no Gemma file holds")
        if kind == GGUFValueType.STRING:
            self._check_count(count, 8, f"strings in {key!r}")
            return self._strings(key, count)
        self._check_count(count, _SCALARS[kind].itemsize, f"numbers in {key!r}")
        return self._numbers(key, _SCALARS[kind], count)

    def _strings(self, key: str, count: int) -> list[str]:
        # Written flat, without a call per string: 262,144 of them are the whole cost of opening a Gemma file.
        data, size, at, length_of = self.data, self.size, self.at, struct.Struct("<Q").unpack_from
        strings: list[str] = []
        try:
            for _ in range(count):
                start = at + 8
                at = start + length_of(data, at)[0]
                if at > size:
                    raise self._broken(f"a string of {key!r} at byte {start} reaches beyond the end at byte {size}")
                strings.append(data[start:at].decode("utf-8"))
        except struct.error as error:
            raise self._broken(f"the strings of {key!r} end at byte {size}, after {len(strings)} of {count}") from error
        except UnicodeDecodeError as error:
            raise self._broken(f"string {len(strings)} of {key!r} is not UTF-8 ({error.reason})") from error
        self.at = at
        return strings

    def _numbers(self, key: str, dtype: np.dtype[Any], count: int) -> np.ndarray:
        raw = self._take(count * dtype.itemsize, f"the value of {key!r}")
        if dtype == np.bool_ and not set(raw) <= {0, 1}:
            raise self._broken(f"a boolean of {key!r} is neither 0 nor 1")
        return np.frombuffer(raw, dtype)

    def _record(self) -> _Record:
        name = self._string("a tensor name", _MAX_NAME_BYTES)
        dimensions = self._number("<I")
        if not 1 <= dimensions <= _MAX_DIMENSIONS:
            raise self._broken(f"tensor {name!r} has {dimensions} dimensions, expected 1 to {_MAX_DIMENSIONS}")
        shape = tuple(self._number("<Q") for _ in range(dimensions))[::-1]
        code, offset = self._number("<I"), self._number("<Q")
        try:
            kind = GGMLQuantizationType(code)
            block_values, block_bytes = GGML_QUANT_SIZES[kind]
        except (ValueError, KeyError) as error:
            raise self._broken(f"tensor {name!r} has the unknown type {code}") from error
        if min(shape) < 1 or shape[-1] % block_values:
            raise self._broken(
                f"tensor {name!r} of shape {shape} does not divide into {kind.name} blocks of {block_values}"
            )
        nbytes = math.prod(shape) // block_values * block_bytes
        return _Record(name=name, shape=shape, kind=kind, offset=offset, nbytes=nbytes)

    def _alignment(self) -> int:
        alignment = self.metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= 2**20 or alignment & (alignment - 1):
            raise self._broken(f"general.alignment is {alignment!r}, expected a power of two")
        return alignment

    def _check_records(self, alignment: int) -> None:
        names: set[str] = set()
        end_of_last = 0
        for record in sorted(self.records, key=lambda record: record.offset):
            if record.name in names:
                raise self._broken(f"tensor {record.name!r} appears twice")
            names.add(record.name)
            if record.offset % alignment or record.offset < end_of_last:
                raise self._broken(
                    f"tensor {record.name!r} at offset {record.offset} is misaligned or overlaps another"
                )
            end_of_last = record.offset + record.nbytes
            if self.data_start + end_of_last > self.size:
                end = self.data_start + end_of_last
                raise self._broken(f"tensor {record.name!r} ends at byte {end} and the file at byte {self.size}")
