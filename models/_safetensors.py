"""Reads safetensors files by row ranges.

A file is: the header's length (u64, little-endian), the header (JSON), the data. The header gives
each tensor its dtype, shape and begin and end in the data; the tensors fill the data without gaps.
Source: https://github.com/huggingface/safetensors, "Format".
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import CheckpointError
from ._files import MAX_JSON_BYTES, PLAIN_TYPES, SourceFile, TensorInfo, decode, parse_json, shown

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class _Stored(TensorInfo):
    """begin, end: in bytes from the start of the data."""

    begin: int
    end: int


class SafetensorsFile:
    """One safetensors file, held open; its header has been checked against its size.

    Raises CheckpointError where it is not what its format says.
    """

    def __init__(self, path: Path) -> None:
        self._source = SourceFile(path)
        self.name = self._source.name
        try:
            header, self._data_start = _read_header(self._source)
            header.pop("__metadata__", None)  # free text that readers may ignore
            self.tensors = {
                name: _stored(entry, f"{self.name}: {shown(name)}")
                for name, entry in header.items()
            }
            _check_layout(self.name, self.tensors, self._source.size_bytes - self._data_start)
        except CheckpointError:
            self.close()
            raise

    def read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) of a tensor, of its dimension 0: float32, [stop - start, ...]."""
        stored = self.tensors[name]
        assert 0 <= start <= stop <= stored.shape[0], (name, start, stop)
        raw = np.empty((stop - start, *stored.shape[1:]), PLAIN_TYPES[stored.dtype])
        row_bytes = (stored.end - stored.begin) // (stored.shape[0] or 1)
        self._source.read_into(raw, self._data_start + stored.begin + start * row_bytes)
        return decode(raw, stored.dtype)

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        self._source.close()


def _read_header(source: SourceFile) -> tuple[dict[str, Any], int]:
    """The header, bounded before it is read, and the byte where the data starts."""
    if source.size_bytes < _LENGTH.size:
        raise CheckpointError(f"{source.name}: {source.size_bytes} bytes; not a safetensors file")
    start = source.read(0, _LENGTH.size)
    if start == b"version ":
        raise CheckpointError(
            f"{source.name}: a Git LFS pointer, not the weights; run `git lfs pull` in its folder"
        )
    (length,) = _LENGTH.unpack(start)
    if length > MAX_JSON_BYTES:
        raise CheckpointError(
            f"{source.name}: a header of {length} bytes; at most {MAX_JSON_BYTES} are read, "
            "so this is not a safetensors file"
        )
    if length > source.size_bytes - _LENGTH.size:
        raise CheckpointError(
            f"{source.name}: a header of {length} bytes in a file of {source.size_bytes}; "
            "it has been cut short, or is not a safetensors file"
        )
    header = parse_json(source.read(_LENGTH.size, length), f"{source.name}: its header")
    return header, _LENGTH.size + length


def _stored(entry: Any, where: str) -> _Stored:
    """A tensor's entry in the header, checked in itself."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where}: {entry!r:.80}; needs dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in PLAIN_TYPES:
        raise CheckpointError(
            f"{where}: dtype {dtype!r:.80}; taskpress reads {', '.join(PLAIN_TYPES)}"
        )
    if not _are_sizes(shape):
        raise CheckpointError(f"{where}: shape {shape!r:.80}; needs a list of sizes")
    if not _is_range(offsets):
        raise CheckpointError(f"{where}: data_offsets {offsets!r:.80}; needs [begin, end]")
    begin, end = offsets
    needed = math.prod(shape) * PLAIN_TYPES[dtype].itemsize
    if end - begin != needed:
        raise CheckpointError(
            f"{where}: {end - begin} bytes; {shape!r:.80} of {dtype} needs {needed}"
        )
    return _Stored(tuple(shape), dtype, begin, end)


def _are_sizes(values: Any) -> bool:
    """Whether it is a short list of integers that fit into 60 bits, as does their product."""
    return (
        isinstance(values, list)
        and len(values) <= 8
        and all(type(value) is int and value >= 0 for value in values)
        # numpy multiplies them as well, and without those that are 0
        and math.prod(value or 1 for value in values) < 1 << 60
    )


def _is_range(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 2
        and all(type(value) is int for value in values)
        and 0 <= values[0] <= values[1]
    )


def _check_layout(name: str, tensors: dict[str, _Stored], size_bytes: int) -> None:
    """Checks that the tensors fill the data, of this size, without gap or overlap."""
    due = 0
    ordered = sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end))
    for tensor, stored in ordered:
        if stored.begin != due:
            raise CheckpointError(
                f"{name}: {shown(tensor)} begins at byte {stored.begin} of the weights; {due} is "
                "due, where the tensor before it ends"
            )
        due = stored.end
    if due > size_bytes:
        raise CheckpointError(
            f"{name}: {size_bytes} bytes of weights; its header needs {due}: it has been cut short"
        )
    if due < size_bytes:
        raise CheckpointError(f"{name}: {size_bytes - due} bytes after the last tensor; needs 0")
