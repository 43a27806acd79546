"""Reads tables of a flatbuffer that may be damaged or hostile, without a schema's classes.

Every offset is checked before it is followed, and the number of steps is bounded, so that nested
vectors of the same few bytes cannot keep the reader busy. Nothing is read that is not asked for.
Source: the FlatBuffers documentation, "FlatBuffer internals".
"""

import mmap
import struct
from collections.abc import Iterator

from . import BundleError

_MAX_STEPS = 2_000_000  # 1,600 are taken for each layer of a signature of an LLM
_MAX_TEXT_BYTES = 1 << 16


class Flatbuffer:
    """`size` bytes of `data` from `base` on; positions count from `base`."""

    def __init__(self, data: bytes | mmap.mmap, base: int, size: int, where: str) -> None:
        self._data = data
        self._base = base
        self.size = size
        self.where = where
        self._steps = 0

    def root(self, identifier: bytes | None = None) -> "Table":
        """The root table of a buffer with this file identifier, such as b"TFL3", or with none."""
        found = self.read(4, 4)
        if identifier is not None and found != identifier:
            raise self.damaged(f"bytes 4 to 7 are {found!r}; {identifier!r} is needed")
        return Table(self, self.numbers("I", 0)[0])

    def read(self, at: int, size: int) -> bytes:
        self._check(at, size)
        return self._data[self._base + at : self._base + at + size]

    def numbers(self, kind: str, at: int, count: int = 1) -> tuple[int, ...]:
        """Little-endian integers; kind: their letter in `struct`."""
        numbers = struct.Struct(f"<{count}{kind}")
        self._check(at, numbers.size)
        return numbers.unpack_from(self._data, self._base + at)

    def damaged(self, what: str) -> BundleError:
        return BundleError(f"{self.where}: {what}; it is no flatbuffer, or damaged or cut off")

    def _check(self, at: int, size: int) -> None:
        self._steps += 1 + size // 64
        if self._steps > _MAX_STEPS:
            raise self.damaged(f"takes more than {_MAX_STEPS} steps to read")
        if not 0 <= at <= self.size - size:
            raise self.damaged(f"{size} bytes at byte {at} are past its {self.size} bytes")


class Table:
    """A table at a position; fields are asked for by their number in the schema, from 0."""

    def __init__(self, buffer: Flatbuffer, at: int) -> None:
        self._buffer = buffer
        self._at = at
        (distance,) = buffer.numbers("i", at)
        self._fields = at - distance
        self._fields_bytes, _ = buffer.numbers("H", self._fields, 2)

    def number(self, field: int, kind: str, default: int = 0) -> int:
        at = self._position(field)
        return default if at is None else self._buffer.numbers(kind, at)[0]

    def text(self, field: int) -> str:
        """A string; "" when it is left out. What is no UTF-8 or does not print is escaped."""
        text = self._text_bytes(field).decode("utf-8", "backslashreplace")
        return text if text.isprintable() else ascii(text)[1:-1]

    def exact_text(self, field: int) -> str:
        """A string as it stands, to be written again; "" when it is left out."""
        try:
            return self._text_bytes(field).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._buffer.damaged(f"has a text that is no UTF-8 ({error.reason})") from error

    def _text_bytes(self, field: int) -> bytes:
        at, size = self.vector(field)
        if size > _MAX_TEXT_BYTES:
            raise self._buffer.damaged(f"has a text of {size} bytes")
        return self._buffer.read(at, size)

    def numbers(self, field: int, kind: str) -> tuple[int, ...]:
        return self._buffer.numbers(kind, *self.vector(field))

    def table(self, field: int) -> "Table | None":
        at = self._position(field)
        return None if at is None else Table(self._buffer, self._target(at))

    def tables(self, field: int) -> "Iterator[Table]":
        at, count = self.vector(field)
        for position in range(at, at + 4 * count, 4):
            yield Table(self._buffer, self._target(position))

    def vector(self, field: int) -> tuple[int, int]:
        """Where the elements start, and how many there are: none when the field is left out."""
        position = self._position(field)
        if position is None:
            return 0, 0
        at = self._target(position)
        return at + 4, self._buffer.numbers("I", at)[0]

    def _position(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._fields_bytes:
            return None
        (offset,) = self._buffer.numbers("H", self._fields + entry)
        return self._at + offset if offset else None

    def _target(self, at: int) -> int:
        return at + self._buffer.numbers("I", at)[0]
