"""What every bundle is made of, whichever its format: the parts' names, and writing their bytes.

A part of a `.litertlm` has the name that it would have in a `.task`: a model of the type
tf_lite_embedder is TF_LITE_EMBEDDER in both.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from . import BundleError
from .copying import copy, crc32_of, crc32_of_bytes
from .files import open_file, unreadable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MODEL = "TF_LITE_PREFILL_DECODE"
TOKENIZER = "TOKENIZER_MODEL"
METADATA = "METADATA"

_DAMAGED = "its CRC-32 is not the one written beside it; it is damaged"


@dataclass(frozen=True)
class Extent:
    """Where a part's data lies in its bundle, in bytes; crc32: where the format has one."""

    offset: int
    size: int
    crc32: int | None = None


@dataclass(frozen=True)
class Piece:
    """A part of a file, by its place in there: to be copied out of another bundle.

    crc32: what the copied bytes must have, where the other bundle says it.
    """

    path: Path
    offset: int
    size: int
    crc32: int | None = None


@dataclass(frozen=True)
class Written:
    """A part that `write` puts into the bundle itself, which saves a copy of the model.

    `write` gets a file that starts at 0 and has room for exactly `size` bytes; it may seek, and
    patch what it wrote. What it skips reads as zeros, but the last byte must be written.
    """

    size: int
    write: Callable[[BinaryIO], None]


Source = bytes | Path | Piece | Written


def size_of(source: Source) -> int:
    """In bytes. Raises BundleError for a file that cannot be read."""
    match source:
        case bytes():
            return len(source)
        case Written() | Piece():
            return source.size
        case Path():
            with opened(source) as file:
                return file.seek(0, os.SEEK_END)


def write_part(
    file: BinaryIO, name: str, extent: Extent, source: Source, *, checked: bool = True
) -> int:
    """Writes a part's data where it was planned, and returns its CRC-32.

    checked: whether that is wanted of Written, which must be read once more for it; else it is 0.
    A chunk is in memory at a time. Raises BundleError for a source that is of another size by now
    or cannot be read.
    """
    file.seek(extent.offset)
    match source:
        case bytes():
            file.write(source)
            return crc32_of_bytes(source)
        case Written():
            room = _Room(file, name, extent)
            source.write(cast(BinaryIO, room))
            _refuse_other_size(name, extent.size, room.end)
            if not checked:
                return 0
            # read back rather than counted on the way: a header may be patched at the very end
            file.seek(extent.offset)
            return crc32_of(file, extent.size)
        case Piece():
            with open_file(source.path) as original:
                original.seek(source.offset)
                crc32 = copy(original, extent.size, file)
            if source.crc32 is not None and crc32 != source.crc32:
                # a new one would hide the damage for good
                raise BundleError(f"{source.path}: {name}: {_DAMAGED}")
            return crc32
        case Path():
            with open_file(source) as original:
                _refuse_other_size(name, extent.size, original.seek(0, os.SEEK_END))
                original.seek(0)
                return copy(original, extent.size, file)


def write_part_to(out: BinaryIO, bundle: Path, extent: Extent, where: str) -> None:
    """Copies a part out of its bundle. Raises BundleError where its CRC-32 is another."""
    with open_file(bundle) as original:
        original.seek(extent.offset)
        if copy(original, extent.size, out) != extent.crc32 and extent.crc32 is not None:
            raise BundleError(f"{where}: {_DAMAGED}")


def part_bytes(file: BinaryIO, extent: Extent, where: str) -> bytes:
    """The data of a part, its CRC-32 checked where there is one. Raises BundleError."""
    file.seek(extent.offset)
    data = file.read(extent.size)
    if len(data) != extent.size:
        raise BundleError(
            f"{where}: ends {extent.size - len(data)} bytes too early; it was cut off"
        )
    if extent.crc32 is not None and crc32_of_bytes(data) != extent.crc32:
        raise BundleError(f"{where}: {_DAMAGED}")
    return data


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """For a block that only reads this file: its every OSError is about the file."""
    with open_file(path) as file:
        try:
            yield file
        except OSError as error:
            raise unreadable(path, error) from error


class _Room(io.RawIOBase):
    """The part of a file that one part has: positions count from its start, its end is firm."""

    def __init__(self, file: BinaryIO, name: str, extent: Extent) -> None:
        super().__init__()
        self._file = file
        self._name = name
        self._extent = extent
        self._at = 0
        self.end = 0  # after the last byte that was written

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._extent.size}[whence]
        if start + offset < 0:
            raise ValueError(f"{self._name}: seek to {start + offset}, before the start")
        self._at = start + offset
        return self._at

    def write(self, data: "ReadableBuffer", /) -> int:
        size = memoryview(data).nbytes
        if self._at + size > self._extent.size:
            raise BundleError(
                f"{self._name}: {size} bytes from byte {self._at} do not fit into the "
                f"{self._extent.size} bytes that were planned for it"
            )
        self._file.seek(self._extent.offset + self._at)
        self._file.write(data)
        self._at += size
        self.end = max(self.end, self._at)
        return size


def _refuse_other_size(name: str, planned: int, size: int) -> None:
    if size != planned:
        raise BundleError(
            f"{name}: {size} bytes where {planned} were planned; "
            "its source changed while the bundle was written"
        )
