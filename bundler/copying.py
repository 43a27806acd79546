"""Copying a part of a file as fast as the disk takes it, and summing it up on the way."""

import os
from pathlib import Path
from typing import Any, BinaryIO, cast

# some ten times as fast as zlib's, with which the sum takes as long as the copy
from zlib_ng.zlib_ng import crc32 as crc32_of_bytes

from . import BundleError
from .files import unreadable
from .progress import Progress, progress

_CHUNK_BYTES = 128 << 10  # stays in the processor's cache until it is summed up and written
_PIECE_BYTES = 1 << 20  # copied by the system, and read from what it has in memory then
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
    # the system copies without a way through our memory, where it can: Linux
    direct = out if hasattr(os, "copy_file_range") else None
    crc32 = done = 0
    while done < size:
        count = min(_PIECE_BYTES, size - done)
        if direct is not None and not _copied_by_system(file, direct, count):
            direct = None  # refused between some file systems; and an error is named by reading
        crc32 = _read(file, count, crc32, chunk, out if direct is None else None)
        if direct is not None:
            direct.seek(count, os.SEEK_CUR)
        done += count
        report(done, size)
    return crc32


def _read(file: BinaryIO, count: int, crc32: int, chunk: memoryview, out: BinaryIO | None) -> int:
    """The CRC-32 goes on over the next bytes; they are written too, where there is an `out`."""
    while count:
        try:
            got = cast(Any, file).readinto(chunk[:count])
        except OSError as error:
            raise unreadable(file.name, error) from error
        if not got:
            raise BundleError(f"{file.name}: ended {count} bytes too early; it changed meanwhile")
        crc32 = crc32_of_bytes(chunk[:got], crc32)
        if out is not None:
            out.write(chunk[:got])
        count -= got
    return crc32


def _copied_by_system(file: BinaryIO, out: BinaryIO, count: int) -> bool:
    """False where it refuses, or the file ends before; a part may have been written by then.

    The positions of both files stay.
    """
    out.flush()
    start, to, done = file.tell(), out.tell(), 0
    try:
        while done < count:
            moved = os.copy_file_range(
                file.fileno(), out.fileno(), count - done, start + done, to + done
            )
            if not moved:
                return False
            done += moved
    except OSError:
        return False
    return True
