"""Reads GGUF files: the header once, then tensors by row ranges, dequantized.

The header is walked here; the `gguf` package gives the sizes of the quantized types and dequantizes
them. Its own GGUFReader maps the file and keeps an array object for each string, 1.6 KB apiece:
160 MB and 2 s for SmolLM2's 49,152 tokens and 48,900 merges, so about 1.2 GB for the 514,906 merges
and 262,144 tokens of Gemma 3. This one takes 12 MB and 0.06 s for SmolLM2's.
Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import CheckpointError
from ._files import PLAIN_TYPES, SourceFile, TensorInfo, decode, shown

if TYPE_CHECKING:
    from gguf.constants import GGMLQuantizationType

# gguf_metadata_value_type: the scalars, by the code that struct and numpy share, and the two others
_SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_STRING, _ARRAY = 8, 9
_U64 = struct.Struct("<Q")

_WINDOW_BYTES = 1 << 20
# Gemma 3's header, with 514,906 merges, takes about 20 MB; a hostile one of 64 MB about 0.5 GB.
_MAX_HEADER_BYTES = 64 << 20
_MAX_COUNT = 1 << 16  # tensors, or key/values; the largest models have about 2,000 of the former
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
_DEFAULT_ALIGNMENT = 32  # GGUF_DEFAULT_ALIGNMENT
_DEQUANTIZED_VALUES = 1 << 15  # at a time, which is 3 times as fast as 512 K: they stay in L2


@dataclass(frozen=True)
class GgufTensorInfo(TensorInfo):
    """kind: the type by its number in ggml; offset: where it begins in the file, in bytes.

    The last dimension is cut into blocks of block_size values, which take block_bytes bytes.
    """

    kind: "GGMLQuantizationType"
    offset: int
    block_size: int
    block_bytes: int

    @property
    def size_bytes(self) -> int:
        """What the tensor takes in the file."""
        return math.prod(self.shape) // self.block_size * self.block_bytes


class GgufFile:
    """A GGUF file, held open; its header has been checked against its size.

    metadata: the key/values as Python's own types; strings that are not UTF-8 keep their bytes as
    surrogate escapes.
    tensors: by the file's names, in the file's order; shapes in torch's order.
    Raises CheckpointError where the file is not what its format says.
    """

    def __init__(self, path: Path) -> None:
        self._source = SourceFile(path)
        self.name = self._source.name
        try:
            cursor = _Cursor(self._source)
            tensor_count, key_count = _read_counts(cursor)
            self.metadata = _read_metadata(cursor, key_count)
            infos = [_read_tensor_info(cursor) for _ in range(tensor_count)]
            self.tensors = _placed(infos, self._data_start(cursor.position), self._source)
        except CheckpointError:
            self.close()
            raise

    def read_rows(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Rows of dimension 0, float32, [len(rows), ...]; only their blocks are dequantized.

        rows: integers, in any order. What lies between the lowest and the highest is read too.
        """
        info = self.tensors[name]
        if rows.size == 0:
            return np.empty((0, *info.shape[1:]), np.float32)
        first, last = int(rows.min()), int(rows.max())
        assert 0 <= first <= last < info.shape[0], (name, first, last)
        row_bytes = info.size_bytes // info.shape[0]
        raw = np.empty((last + 1 - first, row_bytes), np.uint8)
        self._source.read_into(raw, info.offset + first * row_bytes)
        if np.any(np.diff(rows) != 1):
            raw = raw[rows - first]
        return _dequantize(raw, info).reshape(rows.size, *info.shape[1:])

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        self._source.close()

    def _data_start(self, header_end: int) -> int:
        """Where the data begins: after the header, rounded up to the file's alignment."""
        alignment = self.metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
            raise CheckpointError(
                f"{self.name}: general.alignment={alignment!r:.80}; needs a power of two"
            )
        return -(-header_end // alignment) * alignment


class _Cursor:
    """Walks a header through a window of its bytes, and never beyond what may be a header."""

    def __init__(self, source: SourceFile) -> None:
        self.name = source.name
        self._source = source
        self._window = b""
        self._start = 0  # of the window, in the file
        self._at = 0  # in the window
        self._end = min(source.size_bytes, _MAX_HEADER_BYTES)

    @property
    def position(self) -> int:
        """The offset in the file of the next byte."""
        return self._start + self._at

    def take(self, size_bytes: int) -> bytes:
        """The next bytes. Raises CheckpointError where the header cannot have them."""
        at = self._at
        if at + size_bytes > len(self._window):
            self._refill(size_bytes)
            at = 0
        self._at = at + size_bytes
        return self._window[at : self._at]

    def unpack(self, code: str) -> Any:
        """The next number, of a struct code."""
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def string(self) -> str:
        """The next string; bytes that are not UTF-8 become surrogate escapes."""
        (length,) = _U64.unpack(self.take(_U64.size))
        return self.take(length).decode("utf-8", "surrogateescape")

    def check_count(self, count: int, least_bytes: int, what: str) -> int:
        """The count, where that many of at least so many bytes each can follow."""
        left = self._end - self.position
        if count * least_bytes > left:
            raise CheckpointError(f"{self.name}: {count} {what} in the {left} bytes that are left")
        return count

    def _refill(self, size_bytes: int) -> None:
        self._start, self._at = self.position, 0
        left = self._end - self._start
        if size_bytes > left:
            reason = "it has been cut short, or is damaged"
            if self._end == _MAX_HEADER_BYTES:
                reason = f"headers of at most {_MAX_HEADER_BYTES} bytes are read"
            raise CheckpointError(
                f"{self.name}: its header needs {size_bytes} bytes at byte {self._start}, where "
                f"{left} are left: {reason}"
            )
        self._window = self._source.read(self._start, min(max(size_bytes, _WINDOW_BYTES), left))


def _read_counts(cursor: _Cursor) -> tuple[int, int]:
    """Checks magic and version; returns the numbers of tensors and of key/values."""
    magic = cursor.take(4)
    if magic != b"GGUF":
        raise CheckpointError(f"{cursor.name}: begins with {magic!r}; a GGUF file with b'GGUF'")
    version = cursor.unpack("I")
    if version & 0xFFFF == 0:
        raise CheckpointError(f"{cursor.name}: big-endian; only little-endian GGUF is read")
    if version not in (2, 3):
        raise CheckpointError(f"{cursor.name}: GGUF version {version}; 2 and 3 are read")
    counts = cursor.unpack("Q"), cursor.unpack("Q")
    for count, what in zip(counts, ("tensors", "key/values"), strict=True):
        if count > _MAX_COUNT:
            raise CheckpointError(f"{cursor.name}: {count} {what}; at most {_MAX_COUNT} are read")
    return counts


def _read_metadata(cursor: _Cursor, count: int) -> dict[str, Any]:
    """The key/values, each key once."""
    metadata: dict[str, Any] = {}
    for _ in range(count):
        key = cursor.string()
        if key in metadata:
            raise CheckpointError(f"{cursor.name}: the key {shown(key)} stands twice")
        metadata[key] = _read_value(cursor, cursor.unpack("I"), key)
    parts = metadata.get("split.count", 0)
    if parts not in (0, 1):
        raise CheckpointError(
            f"{cursor.name}: one of {parts!r:.20} parts; join them: llama-gguf-split --merge"
        )
    return metadata


def _read_value(cursor: _Cursor, kind: int, key: str) -> Any:
    """A scalar, a string, or a list of either."""
    if kind in _SCALARS:
        return cursor.unpack(_SCALARS[kind])
    if kind == _STRING:
        return cursor.string()
    if kind != _ARRAY:
        raise CheckpointError(f"{cursor.name}: {shown(key)} has the unknown value type {kind}")
    item_kind, count = cursor.unpack("I"), cursor.unpack("Q")
    what = f"items of {shown(key)}"
    if item_kind == _STRING:
        cursor.check_count(count, least_bytes=_U64.size, what=what)
        return [cursor.string() for _ in range(count)]
    if item_kind not in _SCALARS:
        raise CheckpointError(
            f"{cursor.name}: {shown(key)} is an array of value type {item_kind}; "
            "numbers and strings are read"
        )
    dtype = np.dtype("<" + _SCALARS[item_kind])
    cursor.check_count(count, least_bytes=dtype.itemsize, what=what)
    return np.frombuffer(cursor.take(count * dtype.itemsize), dtype).tolist()


def _read_tensor_info(cursor: _Cursor) -> tuple[str, GgufTensorInfo]:
    """A tensor's name, and its entry with the offset from the start of the data, as stored."""
    # costs 0.1 s, most of it for the package's other modules
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    name = cursor.string()
    where = f"{cursor.name}: {shown(name)}"
    dimensions = cursor.unpack("I")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise CheckpointError(f"{where} has {dimensions} dimensions; 1 to {_MAX_DIMENSIONS} exist")
    # ggml counts dimensions from the innermost
    shape = tuple(cursor.unpack("Q") for _ in range(dimensions))[::-1]
    number, offset = cursor.unpack("I"), cursor.unpack("Q")
    try:
        kind = GGMLQuantizationType(number)
    except ValueError as error:
        raise CheckpointError(f"{where} has the unknown tensor type {number}") from error
    block_size, block_bytes = GGML_QUANT_SIZES[kind]
    if 0 in shape or shape[-1] % block_size or (dimensions == 1 and block_size > 1):
        raise CheckpointError(
            f"{where} is {list(shape)} of {kind.name}; needs sizes above 0, and 2 or more of them, "
            f"the last a multiple of {block_size}, where that is above 1"
        )
    return name, GgufTensorInfo(shape, kind.name, kind, offset, block_size, block_bytes)


def _placed(
    infos: list[tuple[str, GgufTensorInfo]], data_start: int, source: SourceFile
) -> dict[str, GgufTensorInfo]:
    """The tensors with their offsets in the file; they must lie inside it, and apart."""
    tensors: dict[str, GgufTensorInfo] = {}
    for name, info in infos:
        if name in tensors:
            raise CheckpointError(f"{source.name}: the tensor {shown(name)} stands twice")
        tensors[name] = replace(info, offset=data_start + info.offset)
    due = data_start
    for name, info in sorted(tensors.items(), key=lambda item: item[1].offset):
        if info.offset < due:
            raise CheckpointError(
                f"{source.name}: {shown(name)} begins at byte {info.offset}; the tensor before it "
                f"ends at {due}"
            )
        due = info.offset + info.size_bytes
        if due > source.size_bytes:
            raise CheckpointError(
                f"{source.name}: {source.size_bytes} bytes; {shown(name)} ends at byte {due}: "
                "the file has been cut short, or is damaged"
            )
    for kind in {info.dtype: info for info in tensors.values()}.values():
        _check_dequantizes(kind, source.name)
    return tensors


def _check_dequantizes(info: GgufTensorInfo, where: str) -> None:
    """Raises CheckpointError for a type that cannot be read; asks `gguf`, by a block of zeros."""
    try:
        _dequantize(np.zeros((1, info.block_bytes), np.uint8), info)
    except NotImplementedError as error:
        raise CheckpointError(f"{where}: tensors of type {info.dtype}; {error}") from error


def _dequantize(raw: np.ndarray, info: GgufTensorInfo) -> np.ndarray:
    """Bytes of whole blocks, [rows, row bytes] -> float32, [values]."""
    if info.dtype in PLAIN_TYPES:
        return decode(raw.view(PLAIN_TYPES[info.dtype]), info.dtype)
    from gguf.quants import dequantize

    blocks = raw.reshape(-1, info.block_bytes)
    values = np.empty((len(blocks), info.block_size), np.float32)
    step = _DEQUANTIZED_VALUES // info.block_size
    # a damaged scale may be infinite or NaN: the value says so, a warning would say it twice
    with np.errstate(all="ignore"):
        for start in range(0, len(blocks), step):
            part = blocks[start : start + step]
            # as one row: gguf goes through rows by sixteens, which is slower for short ones
            row = dequantize(part.reshape(1, -1), info.kind)
            values[start : start + step] = row.reshape(len(part), -1)
    return values
