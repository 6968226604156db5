"""Reading GGUF files: literal values, literal quantised blocks, and files that lie about themselves."""

import struct
import time
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from tiny_checkpoint import finish_gguf

from gemma_tool_use.errors import CheckpointError, FileError
from gemma_tool_use.gguf_file import GgufFile

MATRIX = (np.arange(2 * 64, dtype=np.float32).reshape(2, 64) - 64) / 64


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    writer = gguf.GGUFWriter(tmp_path / "small.gguf", "gemma3")
    writer.add_block_count(18)
    writer.add_rope_freq_base(1e6)
    writer.add_add_bos_token(True)
    writer.add_array("tokenizer.ggml.tokens", ["<pad>", "été", "▁"])
    writer.add_array("tokenizer.ggml.scores", [0.0, -1.5, 2.0])
    writer.add_tensor("a.weight", MATRIX)
    writer.add_tensor("b.weight", np.array([1, 2, 3], np.float32))
    finish_gguf(writer)
    return tmp_path / "small.gguf"


def test_metadata_come_back_as_plain_values(small_file: Path):
    metadata = GgufFile(small_file).metadata
    assert metadata["general.architecture"] == "gemma3"
    assert metadata["gemma3.block_count"] == 18
    assert metadata["gemma3.rope.freq_base"] == 1e6
    assert metadata["tokenizer.ggml.add_bos_token"] is True
    assert metadata["tokenizer.ggml.tokens"] == ["<pad>", "été", "▁"]
    assert metadata["tokenizer.ggml.scores"].tolist() == [0.0, -1.5, 2.0]


def test_tensors_have_numpy_shapes_and_values(small_file: Path):
    tensors = GgufFile(small_file).tensors
    assert list(tensors) == ["a.weight", "b.weight"]
    assert tensors["a.weight"].shape == (2, 64)
    assert tensors["a.weight"].type_name == "F32"
    np.testing.assert_array_equal(tensors["a.weight"].dequantize(), MATRIX)
    assert tensors["b.weight"].dequantize().tolist() == [1, 2, 3]


@pytest.mark.parametrize("type_name", ["F16", "BF16", "Q8_0", "Q5_0", "Q4_0"])
def test_a_matrix_over_many_slices_dequantises_as_gguf_does_it_whole(tmp_path: Path, type_name: str):
    kind = gguf.GGMLQuantizationType[type_name]
    values = np.random.default_rng(0).standard_normal((700, 640), np.float32)
    stored = quantize(values, kind)
    writer = gguf.GGUFWriter(tmp_path / "q.gguf", "gemma3")
    writer.add_tensor("w", stored, raw_dtype=kind)
    finish_gguf(writer)
    tensor = GgufFile(tmp_path / "q.gguf").tensors["w"]
    assert tensor.shape == (700, 640)
    np.testing.assert_array_equal(tensor.dequantize(), dequantize(stored, kind))


# One block of 256 values each, from the structures of ggml-common.h. Scale d = 1, all eight sub-scales 1, all minima 0;
# every byte of quants is 0x21: low half 1, high half 2.
ONE, ZERO = np.float16(1).tobytes(), np.float16(0).tobytes()
SUB_SCALES_OF_ONE = bytes([1] * 4 + [0] * 4 + [1] * 4)
LITERAL_BLOCKS = {
    "Q4_K": (ONE + ZERO + SUB_SCALES_OF_ONE + b"\x21" * 128, ([1] * 32 + [2] * 32) * 4),
    "Q5_K": (ONE + ZERO + SUB_SCALES_OF_ONE + b"\xff" * 32 + b"\x21" * 128, ([17] * 32 + [18] * 32) * 4),
    "Q6_K": (b"\x21" * 128 + b"\x00" * 64 + b"\x01" * 16 + ONE, ([1 - 32] * 64 + [2 - 32] * 64) * 2),
}


@pytest.mark.parametrize("type_name", sorted(LITERAL_BLOCKS))
def test_a_literal_block_has_its_literal_values(tmp_path: Path, type_name: str):
    block, values = LITERAL_BLOCKS[type_name]
    writer = gguf.GGUFWriter(tmp_path / "k.gguf", "gemma3")
    stored = np.frombuffer(block * 3, np.uint8).reshape(3, -1)
    writer.add_tensor("w", stored, raw_dtype=gguf.GGMLQuantizationType[type_name])
    finish_gguf(writer)
    tensor = GgufFile(tmp_path / "k.gguf").tensors["w"]
    assert tensor.shape == (3, 256)
    assert tensor.dequantize().tolist() == [values] * 3


def test_a_type_we_do_not_read_is_named_with_the_tensor(tmp_path: Path):
    writer = gguf.GGUFWriter(tmp_path / "q2.gguf", "gemma3")
    writer.add_tensor("blk.0.w", np.zeros((1, 84), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q2_K)
    finish_gguf(writer)
    with pytest.raises(CheckpointError, match=r"'blk.0.w' has the type Q2_K, expected one of F32, .*Q6_K"):
        GgufFile(tmp_path / "q2.gguf").tensors["blk.0.w"].dequantize()


def test_a_file_cut_anywhere_is_refused(small_file: Path, tmp_path: Path):
    whole = small_file.read_bytes()
    cut = tmp_path / "cut.gguf"
    for length in range(0, len(whole) - 32, 7):
        cut.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut\.gguf"):
            GgufFile(cut)


def test_a_damaged_header_never_does_worse_than_a_clear_error(small_file: Path, tmp_path: Path):
    whole = small_file.read_bytes()
    header_bytes = whole.index(b"b.weight") + 40
    rng = np.random.default_rng(0)
    broken = tmp_path / "broken.gguf"
    refused = 0
    started = time.perf_counter()
    for _ in range(1500):
        data = bytearray(whole)
        for position in rng.integers(0, header_bytes, rng.integers(1, 4)):
            data[position] = rng.choice(np.array([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)]))
        broken.write_bytes(data)
        try:
            for tensor in GgufFile(broken).tensors.values():
                tensor.data.sum()
        except CheckpointError:
            refused += 1
    assert refused > 300
    assert time.perf_counter() - started < 20


def header(tensors: int, entries: int, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries) + rest


def entry(key: bytes, value_type: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", value_type) + value


def record(shape: tuple[int, ...], kind: int = 0, offset: int = 0, name: bytes = b"w") -> bytes:
    sizes = struct.pack(f"<{len(shape)}Q", *shape)
    return (
        struct.pack("<Q", len(name)) + name + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)
    )


PADDING = b"\0" * 256
UINT8, BOOL, STRING, ARRAY, UINT32 = 0, 7, 8, 9, 4
HOSTILE = {
    "another file type": (b"PK\3\4" + PADDING, "starts with b'PK"),
    "a future version": (header(0, 0, PADDING, version=9), "it has the version 9, expected"),
    "big-endian": (header(0, 0, PADDING, version=0x03000000), "it is big-endian"),
    "2**60 tensors": (header(2**60, 0, PADDING), f"announces {2**60} tensors"),
    "2**60 entries": (header(0, 2**60, PADDING), f"announces {2**60} metadata entries"),
    "a key of 2**62 bytes": (header(0, 1, struct.pack("<Q", 2**62) + PADDING), "at most 65535"),
    "2**61 strings": (header(0, 1, entry(b"k", ARRAY, struct.pack("<IQ", STRING, 2**61)) + PADDING), "cannot fit"),
    "2**61 bytes": (header(0, 1, entry(b"k", ARRAY, struct.pack("<IQ", UINT8, 2**61)) + PADDING), "cannot fit"),
    "arrays of arrays": (header(0, 1, entry(b"k", ARRAY, struct.pack("<IQ", ARRAY, 1)) + PADDING), "array of arrays"),
    "a string beyond the end": (
        header(0, 1, entry(b"k", ARRAY, struct.pack("<IQQ", STRING, 1, 2**63)) + PADDING),
        "reaches beyond the end",
    ),
    "an unknown value type": (header(0, 1, entry(b"k", 99, PADDING)), "unknown type 99"),
    "a boolean of 7": (header(0, 1, entry(b"k", BOOL, b"\x07") + PADDING), "neither 0 nor 1"),
    "a key that is not UTF-8": (header(0, 1, entry(b"\xff\xfe", UINT8, b"\0") + PADDING), "not UTF-8"),
    "a key twice": (header(0, 2, entry(b"k", UINT8, b"\0") * 2 + PADDING), "'k' appears twice"),
    "alignment of 3": (
        header(0, 1, entry(b"general.alignment", UINT32, struct.pack("<I", 3)) + PADDING),
        "expected a power of two",
    ),
    "nine dimensions": (header(1, 0, record((1,) * 9) + PADDING), "has 9 dimensions"),
    "a dimension of 0": (header(1, 0, record((0,)) + PADDING), "does not divide"),
    "a shape of 2**120 values": (header(1, 0, record((2**60, 2**60)) + PADDING), "ends at byte"),
    "an unknown tensor type": (header(1, 0, record((4,), kind=250) + PADDING), "unknown type 250"),
    "half a block": (header(1, 0, record((16,), kind=8) + PADDING), "does not divide into Q8_0 blocks of 32"),
    "data outside the file": (header(1, 0, record((4,), offset=2**40) + PADDING), "and the file at byte"),
    "data off the alignment": (header(1, 0, record((4,), offset=5) + PADDING), "misaligned or overlaps"),
    "two tensors on one place": (
        header(2, 0, record((4,), name=b"v") + record((4,), name=b"w") + PADDING),
        "misaligned or overlaps",
    ),
    "a tensor twice": (header(2, 0, record((4,)) + record((4,), offset=32) + PADDING), "'w' appears twice"),
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_a_hostile_file_is_refused_at_once_with_the_reason(tmp_path: Path, case: str):
    data, reason = HOSTILE[case]
    path = tmp_path / "hostile.gguf"
    path.write_bytes(data)
    started = time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        GgufFile(path)
    assert reason in str(caught.value) and str(path) in str(caught.value)
    assert time.perf_counter() - started < 1


def test_an_absent_file_is_a_file_error(tmp_path: Path):
    with pytest.raises(FileError, match=r"none\.gguf cannot be opened: No such file"):
        GgufFile(tmp_path / "none.gguf")


def test_opening_a_vocabulary_of_262144_pieces_takes_under_a_second_and_a_half(tmp_path: Path):
    writer = gguf.GGUFWriter(tmp_path / "vocabulary.gguf", "gemma3")
    writer.add_array("tokenizer.ggml.tokens", [f"piece{number}" for number in range(262_144)])
    writer.add_tensor("w", np.zeros(4, np.float32))
    finish_gguf(writer)
    started = time.perf_counter()
    tokens = GgufFile(tmp_path / "vocabulary.gguf").metadata["tokenizer.ggml.tokens"]
    assert time.perf_counter() - started < 1.5
    assert len(tokens) == 262_144 and tokens[-1] == "piece262143"
