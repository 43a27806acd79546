"""GGUF files: exact bytes, the gguf package as the other reader and writer, and damage."""

import re
import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from taskpress.models import CheckpointError, _gguf
from taskpress.models._gguf import GgufFile

U8, U32, STRING, ARRAY = 0, 4, 8, 9
F32, F16, Q8_0 = 0, 1, 8

Write = Callable[[bytes], Path]


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def tensor(name: bytes, dims: tuple[int, ...], kind: int, offset: int) -> bytes:
    packed = struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
    return string(name) + packed


def file(pairs: list[bytes], tensors: list[bytes], data: bytes = b"", alignment: int = 32) -> bytes:
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs + tensors)
    return header + bytes(-len(header) % alignment) + data


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(data: bytes) -> Path:
        (tmp_path / "x.gguf").write_bytes(data)
        return tmp_path / "x.gguf"

    return write


def all_rows(reader: GgufFile, name: str) -> np.ndarray:
    return reader.read_rows(name, np.arange(reader.tensors[name].shape[0]))


def test_smallest_file(write: Write) -> None:
    data = bytes.fromhex(
        "47475546 03000000 0100000000000000 0100000000000000"  # GGUF 3, one tensor, one key
        "0100000000000000 6b 04000000 07000000"  # k: u32 = 7
        "0100000000000000 74 02000000 0200000000000000 0100000000000000"  # t: 2 dims, 2 and 1
        "00000000 0000000000000000"  # F32, at 0
    )
    assert len(data) == 82
    data += bytes(14) + struct.pack("<2f", 1.5, -2.0)
    assert data == file(
        [pair(b"k", U32, struct.pack("<I", 7))], [tensor(b"t", (2, 1), F32, 0)], data[96:]
    )
    reader = GgufFile(write(data))
    assert reader.metadata == {"k": 7}
    assert reader.tensors["t"].shape == (1, 2)
    assert reader.tensors["t"].dtype == "F32"
    assert reader.read_rows("t", np.arange(1)).tolist() == [[1.5, -2.0]]
    assert reader.read_rows("t", np.arange(0)).shape == (0, 2)
    reader.close()
    reader.close()


def test_every_value_type(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "test")
    kinds = gguf.GGUFValueType
    expected = {"general.architecture": "test"}
    numbers = {
        kinds.UINT8: 255,
        kinds.INT8: -128,
        kinds.UINT16: 65535,
        kinds.INT16: -32768,
        kinds.UINT32: (1 << 32) - 1,
        kinds.INT32: -(1 << 31),
        kinds.FLOAT32: 0.5,
        kinds.BOOL: True,
        kinds.UINT64: (1 << 64) - 1,
        kinds.INT64: -(1 << 63),
        kinds.FLOAT64: 1e-300,
    }
    for kind, value in numbers.items():
        writer.add_key_value(f"one.{kind.name}", value, kind)
        writer.add_key_value(f"list.{kind.name}", [value, type(value)(1)], kinds.ARRAY, kind)
        expected |= {f"one.{kind.name}": value, f"list.{kind.name}": [value, type(value)(1)]}
    for key, value in {"s": "é\n", "l": ["a", "", "ü" * 70]}.items():
        (writer.add_array if isinstance(value, list) else writer.add_string)(key, value)
        expected[key] = value
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    reader = GgufFile(tmp_path / "x.gguf")
    assert reader.metadata == expected
    assert {k: type(v) for k, v in reader.metadata.items()} == {
        k: type(v) for k, v in expected.items()
    }
    reader.close()


def test_strings_that_are_not_utf8_keep_their_bytes(write: Write) -> None:
    tokens = b"\xff\xfe", b"ok", b"\xe2\x82"
    value = struct.pack("<IQ", STRING, 3) + b"".join(map(string, tokens))
    reader = GgufFile(write(file([pair(b"tokens", ARRAY, value)], [])))
    read = reader.metadata["tokens"]
    assert [token.encode("utf-8", "surrogateescape") for token in read] == list(tokens)
    reader.close()


def test_values_across_the_window_that_the_header_is_read_by(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gguf, "_WINDOW_BYTES", 16)
    words = [b"x" * size for size in range(40)]
    value = struct.pack("<IQ", STRING, 40) + b"".join(map(string, words))
    numbers = struct.pack("<IQ40H", 2, 40, *range(40))
    data = file([pair(b"w", ARRAY, value), pair(b"n", ARRAY, numbers)], [])
    reader = GgufFile(write(data))
    assert reader.metadata == {"w": [word.decode() for word in words], "n": list(range(40))}
    reader.close()


@pytest.mark.parametrize("kind", list(GGMLQuantizationType), ids=lambda kind: kind.name)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # gguf's, for the random scales
def test_every_tensor_type_as_gguf_dequantizes_it(
    tmp_path: Path, kind: GGMLQuantizationType
) -> None:
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    rows, blocks = 37, 3
    raw = np.random.default_rng(kind).integers(0, 256, (rows, blocks * block_bytes), np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "test")
    writer.add_tensor("pad", np.ones(5, np.float32))
    writer.add_tensor("t", raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    try:
        if kind.name in ("F64", "I8", "I16", "I32", "I64"):
            expected = raw.view(f"{kind.name[0].lower()}{block_bytes}").astype(np.float32)
        else:
            expected = gguf.dequantize(raw, kind)
    except NotImplementedError:  # Q8_1, Q8_K and Q1_0 in gguf 0.19
        with pytest.raises(CheckpointError, match=rf"^x\.gguf: tensors of type {kind.name}; "):
            GgufFile(tmp_path / "x.gguf")
        return
    reader = GgufFile(tmp_path / "x.gguf")
    assert reader.tensors["t"].shape == expected.shape == (rows, blocks * block_size)
    assert reader.tensors["t"].dtype == kind.name
    np.testing.assert_array_equal(all_rows(reader, "t"), expected)
    for picked in ([36], [5, 6, 7], [7, 6, 5], [30, 0, 17, 17]):
        rows_read = reader.read_rows("t", np.array(picked))
        assert rows_read.dtype == np.float32
        np.testing.assert_array_equal(rows_read, expected[picked])
    np.testing.assert_array_equal(all_rows(reader, "pad"), np.ones(5))
    reader.close()


def test_more_dimensions_and_long_rows(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((2, 3, 5, 1 << 14)).astype(np.float32)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "test")
    quantized = gguf.quantize(values, GGMLQuantizationType.Q8_0)
    writer.add_tensor("t", quantized, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    reader = GgufFile(tmp_path / "x.gguf")
    expected = gguf.dequantize(quantized, GGMLQuantizationType.Q8_0)
    np.testing.assert_array_equal(all_rows(reader, "t"), expected)
    np.testing.assert_array_equal(reader.read_rows("t", np.array([1])), expected[1:])
    reader.close()


K = pair(b"k", U32, bytes(4))
T = tensor(b"t", (1,), F32, 0)
ALIGN = b"general.alignment"

BROKEN = {
    "empty": (b"", "its header needs 4 bytes at byte 0, where 0 are left"),
    "magic": (b"GGML" + bytes(40), "begins with b'GGML'; a GGUF file with b'GGUF'"),
    "version": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1; 2 and 3 are read"),
    "future": (b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "GGUF version 4; 2 and 3 are read"),
    "big": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian; only little-endian GGUF is read"),
    "tensors": (
        b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0),
        f"{1 << 60} tensors; at most 65536 are read",
    ),
    "keys": (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 65537),
        "65537 key/values; at most 65536 are read",
    ),
    "key length": (
        file([struct.pack("<Q", 1 << 63) + bytes(20)], []),
        f"its header needs {1 << 63} bytes at byte 32, where 32 are left: it has been cut short",
    ),
    "same key": (file([K, K], []), "the key k stands twice"),
    "value type": (file([pair(b"k", 13, bytes(8))], []), "k has the unknown value type 13"),
    "strange key": (
        file([pair(b"\x1b[2J\xff", 13, bytes(8))], []),
        r"'\x1b[2J\udcff' has the unknown value type 13",
    ),
    "array type": (
        file([pair(b"k", ARRAY, struct.pack("<IQ", ARRAY, 1) + bytes(64))], []),
        "k is an array of value type 9; numbers and strings are read",
    ),
    "array of numbers": (
        file([pair(b"k", ARRAY, struct.pack("<IQ", U8, 1 << 62))], []),
        f"{1 << 62} items of k in the 15 bytes that are left",
    ),
    "array of strings": (
        file([pair(b"k", ARRAY, struct.pack("<IQ", STRING, 100) + bytes(99))], []),
        "100 items of k in the ",
    ),
    "split": (
        file([pair(b"split.count", 2, b"\x03\x00")], []),
        "one of 3 parts; join them: llama-gguf-split --merge",
    ),
    "alignment": (file([pair(ALIGN, U32, b"\x30\0\0\0")], []), "general.alignment=48; needs a "),
    "no alignment": (file([pair(ALIGN, U32, bytes(4))], []), "general.alignment=0; needs a power"),
    "bool": (file([pair(ALIGN, 7, b"\x01")], []), "general.alignment=True; needs a power of two"),
    "no dimension": (file([], [tensor(b"t", (), F32, 0)]), "t has 0 dimensions; 1 to 4 exist"),
    "dimensions": (file([], [tensor(b"t", (1,) * 5, F32, 0)]), "t has 5 dimensions; 1 to 4 exist"),
    "tensor type": (file([], [tensor(b"t", (1,), 5, 0)]), "t has the unknown tensor type 5"),
    "part of a block": (
        file([], [tensor(b"t", (48, 2), Q8_0, 0)]),
        "t is [2, 48] of Q8_0; needs sizes above 0, and 2 or more of them, the last a multiple of "
        "32, where that is above 1",
    ),
    "quantized vector": (
        file([], [tensor(b"t", (32,), Q8_0, 0)], bytes(34)),
        "t is [32] of Q8_0; needs sizes above 0, and 2 or more of them",
    ),
    "no size": (
        file([], [tensor(b"t", (1 << 63, 0), F32, 0)]),
        f"t is [0, {1 << 63}] of F32; needs",
    ),
    "same tensor": (file([], [T, T], bytes(4)), "the tensor t stands twice"),
    "overlap": (
        file([], [tensor(b"t", (9,), F32, 0), tensor(b"u", (1,), F32, 32)], bytes(64)),
        "u begins at byte 128; the tensor before it ends at 132",
    ),
    "cut short": (
        file([], [T], bytes(3)),
        "67 bytes; t ends at byte 68: the file has been cut short, or is damaged",
    ),
    "huge": (
        file([], [tensor(b"t", (1 << 63, 1 << 63, 1 << 63), F32, 0)], bytes(4)),
        f"100 bytes; t ends at byte {96 + (1 << 191)}: the file has been cut short",
    ),
    "far": (
        file([], [tensor(b"t", (1,), F32, (1 << 64) - 32)], bytes(4)),
        f"68 bytes; t ends at byte {(1 << 64) + 36}: the file has been cut short",
    ),
}


@pytest.mark.parametrize(("data", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused(write: Write, data: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=f"^x.gguf: {re.escape(message)}") as error:
        GgufFile(write(data))
    assert "\n" not in str(error.value)


def test_a_header_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gguf, "_MAX_HEADER_BYTES", 1000)
    path = tmp_path / "x.gguf"
    path.write_bytes(file([pair(b"k", STRING, string(b"x" * 2000))], []))
    with pytest.raises(CheckpointError, match="headers of at most 1000 bytes are read"):
        GgufFile(path)


def test_the_alignment_places_the_data(write: Write) -> None:
    pairs = [pair(ALIGN, U32, struct.pack("<I", 256))]
    reader = GgufFile(write(file(pairs, [T], struct.pack("<f", 2.5), alignment=256)))
    assert all_rows(reader, "t").tolist() == [2.5]
    reader.close()


WORDS = struct.pack("<IQ", STRING, 2) + string(b"a") + string(b"bc")
SOUND = file(
    [K, pair(b"words", ARRAY, WORDS), pair(ALIGN, U32, struct.pack("<I", 32))],
    [T, tensor(b"u", (32, 2), Q8_0, 32), tensor(b"h", (3,), F16, 128)],
    bytes(range(134)),
)


@settings(deadline=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size_bytes=st.just(len(SOUND)) | st.integers(0, len(SOUND)),
    changes=st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=4),
)
def test_damage_gives_tensors_or_one_error(
    tmp_path: Path, size_bytes: int, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(SOUND)
    for at, value in changes:
        data[at] = value
    path = tmp_path / "x.gguf"
    path.write_bytes(data[:size_bytes])
    try:
        reader = GgufFile(path)
    except CheckpointError as error:
        message = str(error)
    else:
        message = "x.gguf: sound"
        for name, info in reader.tensors.items():
            if info.shape[0] < 1000:
                assert all_rows(reader, name).shape == info.shape
        reader.close()
    assert re.fullmatch(r"x\.gguf: .+", message)
