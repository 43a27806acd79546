"""safetensors files: exact bytes, the safetensors library as the other reader, and damage."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from taskpress.models import CheckpointError
from taskpress.models._files import MAX_JSON_BYTES
from taskpress.models._safetensors import SafetensorsFile

F32 = {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}
DATA = struct.pack("<2f", 1.5, -2.0)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes x.safetensors from a header, as an object or as bytes, and the data."""

    def write(header: Any, data: bytes = DATA, length: int | None = None) -> Path:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        path = tmp_path / "x.safetensors"
        path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
        return path

    return write


def test_smallest_file(write: Write) -> None:
    file = SafetensorsFile(write({"w": F32}))
    assert file.tensors["w"].shape == (2, 1)
    assert file.tensors["w"].dtype == "F32"
    rows = file.read_rows("w", 0, 2)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1.5], [-2.0]]
    assert file.read_rows("w", 1, 2).tolist() == [[-2.0]]
    assert file.read_rows("w", 1, 1).shape == (0, 1)
    file.close()
    file.close()


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8),
        *(torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool),
    ],
    ids=str,
)
def test_every_type_reads_as_torch_converts_it(tmp_path: Path, dtype: torch.dtype) -> None:
    bits = np.random.default_rng(0).integers(0, 256, (7, 5, 8), np.uint8)
    if dtype == torch.bool:
        tensor = torch.from_numpy(bits).gt(127)
    else:
        tensor = torch.from_numpy(bits).view(dtype)
    save_file({"pad": torch.ones(3), "w": tensor}, tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", "pt") as other:
        # torch has no conversion of every unsigned type to float32, but to int64 and from there
        whole = other.get_tensor("w")
        if dtype == torch.uint64:
            expected = whole.numpy().astype(np.float32)
        else:
            expected = whole.to(torch.float32).numpy()
    file = SafetensorsFile(tmp_path / "x.safetensors")
    assert file.tensors["w"].shape == expected.shape
    for start, stop in [(0, 7), (0, 1), (3, 6), (6, 7), (4, 4)]:
        np.testing.assert_array_equal(file.read_rows("w", start, stop), expected[start:stop])
    file.close()


def test_every_bfloat16_becomes_its_float32(write: Write) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    header = {"w": {"dtype": "BF16", "shape": [256, 256], "data_offsets": [0, 2 << 16]}}
    file = SafetensorsFile(write(header, bits.tobytes()))
    values = file.read_rows("w", 0, 256)
    expected = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).float().numpy()
    # as bits, so that each NaN keeps its own
    np.testing.assert_array_equal(
        values.reshape(-1).view(np.uint32) >> 16, expected.view(np.uint32) >> 16
    )
    file.close()


def test_rows_can_be_written_to(write: Write) -> None:
    file = SafetensorsFile(write({"w": F32}))
    rows = file.read_rows("w", 0, 2)
    rows *= 2
    assert rows.tolist() == [[3.0], [-4.0]]
    assert file.read_rows("w", 0, 2).tolist() == [[1.5], [-2.0]]
    file.close()


def test_a_float64_beyond_float32_becomes_infinite_without_a_warning(write: Write) -> None:
    header = {"w": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}
    file = SafetensorsFile(write(header, struct.pack("<d", 1e300)))
    assert file.read_rows("w", 0, 1).tolist() == [np.inf]
    file.close()


def test_an_empty_tensor_and_metadata_are_no_error(write: Write) -> None:
    empty = {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]}
    file = SafetensorsFile(write({"__metadata__": {"format": "pt"}, "e": empty, "w": F32}))
    assert sorted(file.tensors) == ["e", "w"]
    assert file.read_rows("e", 0, 0).shape == (0, 4)
    file.close()


def entry(**changes: Any) -> dict[str, Any]:
    return {"w": F32 | changes}


BROKEN_ENTRIES = [
    ({"w": [1]}, "w: [1]; needs dtype, shape and data_offsets"),
    ({"w": F32 | {"extra": 1}}, "needs dtype, shape and data_offsets"),
    (entry(dtype="F8_E4M3"), "w: dtype 'F8_E4M3'; taskpress reads F64, F32, F16, BF16"),
    (entry(dtype=None), "w: dtype None; taskpress reads"),
    (entry(dtype=["F32"]), "w: dtype ['F32']; taskpress reads"),
    (entry(shape=2), "w: shape 2; needs a list of sizes"),
    (entry(shape=[-1, 2]), "w: shape [-1, 2]; needs a list of sizes"),
    (entry(shape=[2.0]), "w: shape [2.0]; needs a list of sizes"),
    (entry(shape=[True, 2]), "w: shape [True, 2]; needs a list of sizes"),
    (entry(shape=[1 << 63]), "needs a list of sizes"),
    (entry(shape=[1] * 9), "needs a list of sizes"),
    (entry(data_offsets=[0]), "w: data_offsets [0]; needs [begin, end]"),
    (entry(data_offsets=[-8, 0]), "w: data_offsets [-8, 0]; needs [begin, end]"),
    (entry(data_offsets=[8, 0]), "w: data_offsets [8, 0]; needs [begin, end]"),
    (entry(data_offsets=[0, "8"]), "needs [begin, end]"),
    (entry(shape=[3, 1]), "w: 8 bytes; [3, 1] of F32 needs 12"),
    (entry(shape=[1 << 40, 1 << 40]), "w: shape [1099511627776, 1099511627776]; needs a list"),
    (entry(shape=[0, 1 << 60]), "w: shape [0, 1152921504606846976]; needs a list of sizes"),
    (entry(shape=[1 << 40]), "w: 8 bytes; [1099511627776] of F32 needs 4398046511104"),
    (entry(data_offsets=[4, 12]), "w begins at byte 4 of the weights; 0 is due"),
    ({"w": F32, "v": F32}, "begins at byte 0 of the weights; 8 is due"),
    ({"w": F32, "v": F32 | {"data_offsets": [12, 20]}}, "v begins at byte 12 of the weights; 8"),
    ({"w": F32, "v": F32 | {"data_offsets": [8, 16]}}, "8 bytes of weights; its header needs 16"),
    ({}, "8 bytes after the last tensor; needs 0"),
    ({"a\nb": {}}, r"x.safetensors: 'a\nb': {}; needs"),
    ({"n" * 500: {}}, "n" * 117 + "...: {}; needs"),
]


@pytest.mark.parametrize(("header", "message"), BROKEN_ENTRIES)
def test_a_broken_entry_is_refused(write: Write, header: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(message)) as error:
        SafetensorsFile(write(header))
    assert str(error.value).startswith("x.safetensors: ")
    assert "\n" not in str(error.value)


BROKEN_HEADERS = [
    (b"{", "its header: not valid JSON"),
    (b"\xff{}", "its header: not valid JSON"),
    (b"[]", "its header: list; a JSON object is needed"),
    (b"[" * 100_000, "its header: nested too deeply"),
    (b'{"w": ' + b"1" * 5000 + b"}", "its header: not valid JSON"),
    (b'{"w": {}, "v": {}, "w": {}}', "its header: not valid JSON: the key w stands twice"),
    (b'{"w": {"dtype": 1, "dtype": 2}}', "the key dtype stands twice"),
]


@pytest.mark.parametrize(("header", "message"), BROKEN_HEADERS)
def test_a_broken_header_is_refused(write: Write, header: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=f"^x.safetensors: .*{re.escape(message)}"):
        SafetensorsFile(write(header))


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (1 << 63, f"a header of {1 << 63} bytes; at most {MAX_JSON_BYTES} are read"),
        (100_000, "a header of 100000 bytes in a file of 80; it has been cut short"),
        (1, "not valid JSON"),
    ],
)
def test_a_header_that_lies_about_its_length(write: Write, length: int, message: str) -> None:
    with pytest.raises(CheckpointError, match=f"^x.safetensors: .*{re.escape(message)}"):
        SafetensorsFile(write({"w": F32}, length=length))


def test_what_is_not_safetensors_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"short")
    with pytest.raises(CheckpointError, match=r"^x\.safetensors: 5 bytes; not a safe"):
        SafetensorsFile(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(CheckpointError, match="a Git LFS pointer, not the weights; run `git lfs"):
        SafetensorsFile(path)
    with pytest.raises(CheckpointError, match=r"^y: cannot be opened: No such file or directory$"):
        SafetensorsFile(tmp_path / "y")
    with pytest.raises(CheckpointError, match=r": not a regular file$"):
        SafetensorsFile(tmp_path)


def test_a_file_that_shrinks_while_it_is_open(write: Write) -> None:
    path = write({"w": F32})
    file = SafetensorsFile(path)
    with path.open("r+b") as shrunk:
        shrunk.truncate(path.stat().st_size - 4)
    with pytest.raises(CheckpointError, match="ends at byte 76; it has been cut short"):
        file.read_rows("w", 0, 2)
    file.close()


SOUND = json.dumps({"w": F32, "v": F32 | {"data_offsets": [8, 16]}}).encode()
SOUND = struct.pack("<Q", len(SOUND)) + SOUND + DATA + DATA


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
    path = tmp_path / "x.safetensors"
    path.write_bytes(data[:size_bytes])
    try:
        file = SafetensorsFile(path)
    except CheckpointError as error:
        message = str(error)
    else:
        message = "x.safetensors: sound"
        for name, info in file.tensors.items():
            if info.shape:
                assert file.read_rows(name, 0, info.shape[0]).shape == info.shape
        file.close()
    assert re.fullmatch(r"x\.safetensors: .+", message)
