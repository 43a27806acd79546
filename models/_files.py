"""Reading files that are not trusted: at offsets with pread, and JSON with bounds.

Nothing is mapped: a mapped page counts in the resident set for as long as the map lives, and a
checkpoint read through a map ends up in memory whole.
"""

import json
import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import CheckpointError

# Room for the header of 100,000 tensors; parsed, hostile JSON of this size takes about 0.5 GB.
MAX_JSON_BYTES = 16 << 20

# What both formats call the types that need no dequantizing; both are little-endian.
PLAIN_TYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("u1"),
}


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a checkpoint: its shape in torch's order, and the file's word for its type."""

    shape: tuple[int, ...]
    dtype: str


def decode(raw: np.ndarray, dtype: str) -> np.ndarray:
    """Values of a plain type, as they lie in the file, to float32, rounded to nearest.

    raw: a contiguous array of PLAIN_TYPES[dtype], any shape; returns the same shape.
    """
    if dtype != "BF16":
        # float64 beyond float32's range becomes infinite, as it does in torch: no warning
        with np.errstate(over="ignore"):
            return raw.astype(np.float32, copy=False)
    # bfloat16 is the upper half of a float32; in place, which is 13 times as fast as `<<`
    bits = raw.astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


def shown(name: str) -> str:
    """A name from a file as an error message may print it: on one line, and not endless."""
    short = name if len(name) <= 120 else name[:117] + "..."
    return short if short.isprintable() and short else repr(short)


class SourceFile:
    """A regular file that is read at offsets.

    Raises CheckpointError where it cannot be opened or read, or ends too early.
    """

    def __init__(self, path: Path) -> None:
        self.name = shown(path.name)
        try:
            # opening a pipe would wait for its writer
            if not stat.S_ISREG(path.stat().st_mode):
                raise CheckpointError(f"{self.name}: not a regular file")
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise CheckpointError(f"{self.name}: cannot be opened: {error.strerror}") from error
        self.size_bytes = os.fstat(self._descriptor).st_size

    def read(self, start: int, size_bytes: int) -> bytes:
        """The bytes from `start` on, all of them."""
        data = np.empty(size_bytes, np.uint8)
        self.read_into(data, start)
        return data.tobytes()

    def read_into(self, array: np.ndarray, start: int) -> None:
        """Fills a contiguous array with the bytes from `start` on."""
        rest = array.reshape(-1).view(np.uint8).data
        while rest:
            try:
                count = os.preadv(self._descriptor, [rest], start)
            except OSError as error:
                raise CheckpointError(f"{self.name}: cannot be read: {error.strerror}") from error
            if count == 0:
                raise CheckpointError(f"{self.name}: ends at byte {start}; it has been cut short")
            rest, start = rest[count:], start + count

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object; CheckpointError for anything else, and for a key that stands twice."""
    value = _parse(data, where)
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: {type(value).__name__}; a JSON object is needed")
    return value


def _parse(data: bytes, where: str) -> Any:
    try:
        return json.loads(data.decode(), object_pairs_hook=_unique)
    except RecursionError as error:
        raise CheckpointError(f"{where}: nested too deeply") from error
    except ValueError as error:
        raise CheckpointError(f"{where}: not valid JSON: {error}") from error


def load_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of at most MAX_JSON_BYTES.

    Raises CheckpointError, naming the file, where there is no such file or it is not that.
    """
    return parse_json(_json_bytes(path), shown(path.name))


def load_json_list(path: Path) -> list[Any]:
    """The JSON list in a file, as `load_json`."""
    value = _parse(_json_bytes(path), shown(path.name))
    if not isinstance(value, list):
        raise CheckpointError(f"{shown(path.name)}: {type(value).__name__}; a list is needed")
    return value


def _json_bytes(path: Path) -> bytes:
    source = SourceFile(path)
    try:
        if source.size_bytes > MAX_JSON_BYTES:
            raise CheckpointError(
                f"{source.name}: {source.size_bytes} bytes; at most {MAX_JSON_BYTES} are read"
            )
        return source.read(0, source.size_bytes)
    finally:
        source.close()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Python's own dict would keep the last of two equal keys, and say nothing."""
    result = dict(pairs)
    if len(result) != len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(twice)} stands twice")
    return result
