"""Copying a part of a file as fast as the disk takes it, and summing it up on the way."""

from pathlib import Path
from typing import Any, BinaryIO, cast

# some ten times as fast as zlib's, with which the sum takes as long as the copy
from zlib_ng.zlib_ng import crc32 as crc32_of_bytes

from . import BundleError
from .files import unreadable
from .progress import Progress, progress

_CHUNK_BYTES = 128 << 10  # stays in the processor's cache until it is summed up and written
_SHOWN_BYTES = 256 << 20  # what may take two seconds


def crc32_of(file: BinaryIO, size: int) -> int:
    """CRC-32 of the next `size` bytes. Raises BundleError where they cannot be read."""
    return _shown(file, size, None)


def copy(file: BinaryIO, size: int, out: BinaryIO) -> int:
    """Copies the next `size` bytes of a file to where `out` is; returns their CRC-32.

    A chunk is in memory at a time. Raises BundleError where `file` cannot be read, and OSError
    where `out` cannot be written.
    """
    return _shown(file, size, out)


def _shown(file: BinaryIO, size: int, out: BinaryIO | None) -> int:
    if size < _SHOWN_BYTES:
        return _pass(file, size, out, lambda done, total: None)
    verb = "checking" if out is None else "copying"
    with progress(f"{verb} {Path(file.name).name}") as report:
        return _pass(file, size, out, report)


def _pass(file: BinaryIO, size: int, out: BinaryIO | None, report: Progress) -> int:
    chunk = memoryview(bytearray(min(size, _CHUNK_BYTES)))
    crc32 = done = 0
    while done < size:
        try:
            got = cast(Any, file).readinto(chunk[: size - done])
        except OSError as error:
            raise unreadable(file.name, error) from error
        if not got:
            raise BundleError(
                f"{file.name}: ended {size - done} bytes too early; it changed meanwhile"
            )
        crc32 = crc32_of_bytes(chunk[:got], crc32)
        if out is not None:
            out.write(chunk[:got])
        done += got
        report(done, size)
    return crc32
