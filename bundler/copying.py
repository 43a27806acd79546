"""Copying a part of a file as fast as the disk takes it, and summing it up on the way."""

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

from . import BundleError
from .files import unreadable
from .progress import Progress, progress

_READ_BYTES = 256 << 10  # stays in the processor's cache between being read and being summed up
_COPIED_BYTES = 16 << 20
_SHOWN_BYTES = 256 << 20  # what may take two seconds


def crc32_of(file: BinaryIO, size: int) -> int:
    """CRC-32 of the next `size` bytes. Raises BundleError where they cannot be read."""
    return _Pass(file, size, checked=True).run(lambda done, total: None)


def copy(file: BinaryIO, size: int, out: BinaryIO, *, checked: bool) -> int:
    """Copies the next `size` bytes of a file to where `out` is; returns their CRC-32.

    checked: whether it is computed; else 0 is returned. Less than a MiB is in memory at a time.
    Raises BundleError where `file` cannot be read, and OSError where `out` cannot be written.
    """
    copying = _Pass(file, size, out, checked=checked)
    if size < _SHOWN_BYTES:
        return copying.run(lambda done, total: None)
    with progress(f"copying {Path(file.name).name}") as report:
        return copying.run(report)


class _Pass:
    """Once through a part of `file`."""

    def __init__(
        self, file: BinaryIO, size: int, out: BinaryIO | None = None, *, checked: bool
    ) -> None:
        self._file = file
        self._size = size
        self._out = out
        self._checked = checked
        self._chunk = memoryview(bytearray(min(size, _READ_BYTES)))
        # the system copies without a way through our memory, where it can: Linux
        self._in_kernel = out is not None and hasattr(os, "copy_file_range")

    def run(self, report: Progress) -> int:
        crc32 = done = 0
        with ThreadPoolExecutor(1) as threads:
            while done < self._size:
                count = min(_COPIED_BYTES, self._size - done)
                crc32 = self._piece(count, crc32, threads)
                done += count
                report(done, self._size)
        return crc32

    def _piece(self, count: int, crc32: int, threads: ThreadPoolExecutor) -> int:
        if self._out is None or not self._in_kernel:
            return self._read(count, crc32, self._out)
        start = self._file.tell()
        self._out.flush()
        moved = threads.submit(_copied_in_kernel, self._file, start, self._out, count)
        summed = self._read(count, crc32, None) if self._checked else 0
        if moved.result():
            self._file.seek(start + count)
            self._out.seek(count, os.SEEK_CUR)
            return summed
        # two file systems that it cannot copy between, or an error that reading will name
        self._in_kernel = False
        self._file.seek(start)
        return self._read(count, crc32, self._out)

    def _read(self, count: int, crc32: int, out: BinaryIO | None) -> int:
        while count:
            try:
                got = cast(Any, self._file).readinto(self._chunk[: min(count, len(self._chunk))])
            except OSError as error:
                raise unreadable(self._file.name, error) from error
            if not got:
                raise BundleError(
                    f"{self._file.name}: ended {count} bytes too early; it changed meanwhile"
                )
            chunk = self._chunk[:got]
            if self._checked:
                crc32 = zlib.crc32(chunk, crc32)
            if out is not None:
                out.write(chunk)
            count -= got
        return crc32


def _copied_in_kernel(file: BinaryIO, start: int, out: BinaryIO, count: int) -> bool:
    """False where the system refuses, or the file ends before; `out` may have got a part by then.

    The positions of both files stay.
    """
    to = out.tell()
    done = 0
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
