"""Copying a part of a file as fast as the disk takes it, and summing it up on the way."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

# some ten times as fast as zlib's, with which the sum takes as long as the copy
from zlib_ng.zlib_ng import crc32 as crc32_of_bytes

from . import BundleError
from .files import unreadable
from .progress import Progress, progress

_CHUNK_BYTES = 128 << 10  # stays in the processor's cache until it is summed up and written
_PIECE_BYTES = 64 << 20  # copied by the system, and summed up by a thread meanwhile
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
    crc32 = done = 0
    if out is not None and hasattr(os, "copy_file_range"):  # Linux
        crc32, done = _by_system(file, size, out, report)
    chunk = memoryview(bytearray(min(size - done, _CHUNK_BYTES)))
    while done < size:
        try:
            got = cast(Any, file).readinto(chunk[: size - done])
        except OSError as error:
            raise unreadable(file.name, error) from error
        if not got:
            missing = size - done
            raise BundleError(f"{file.name}: ended {missing} bytes too early; it changed meanwhile")
        crc32 = crc32_of_bytes(chunk[:got], crc32)
        if out is not None:
            out.write(chunk[:got])
        done += got
        report(done, size)
    return crc32


def _by_system(file: BinaryIO, size: int, out: BinaryIO, report: Progress) -> tuple[int, int]:
    """Copies without a way through our memory; returns the CRC-32 and the size of what it could.

    It stops where the system refuses, as between some file systems, or the file ends: reading the
    rest names the error.
    """
    out.flush()
    start, to = file.tell(), out.tell()
    crc32 = done = 0
    with ThreadPoolExecutor(1) as beside:
        while done < size:
            count = min(_PIECE_BYTES, size - done)
            try:
                summed = beside.submit(_crc32_at, file.fileno(), start + done, count, crc32)
                _copy_range(file.fileno(), start + done, count, out.fileno(), to + done)
                crc32 = summed.result()
            except OSError:
                break
            done += count
            report(done, size)
    file.seek(start + done)
    out.seek(to + done)
    return crc32, done


def _copy_range(source: int, start: int, count: int, out: int, to: int) -> None:
    """Raises OSError where the system refuses, or the file ends before; a part may be copied."""
    while count:
        moved = os.copy_file_range(source, out, count, start, to)
        if not moved:
            raise OSError
        start, to, count = start + moved, to + moved, count - moved


def _crc32_at(source: int, start: int, count: int, crc32: int) -> int:
    """Goes on with a sum, and leaves the file's position. Raises OSError where it ends before."""
    chunk = memoryview(bytearray(min(count, _CHUNK_BYTES)))
    while count:
        got = os.preadv(source, [chunk[:count]], start)
        if not got:
            raise OSError
        crc32 = crc32_of_bytes(chunk[:got], crc32)
        start, count = start + got, count - got
    return crc32
