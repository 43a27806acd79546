"""The zip records of a `.task`: stored entries, laid out so that each can be mapped in place.

Source: PKWARE APPNOTE 6.3.10, section 4.3; the alignment is that of MediaPipe's bundler. A larger
one is made by an extra field of the local header, the one that Android's signer and zipalign write:
zeros in front of the header would move the first "PK" away from byte 4.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import SEEK_END
from itertools import pairwise
from typing import Any, BinaryIO

from . import BundleError
from .parts import Extent

ALIGNMENT = 4  # of an entry's data, in bytes from the start of the archive
MAX_ALIGNMENT = 1 << 15  # an extra field has less than 64 KiB
MAX_ENTRIES = 64
MAX_NAME = 64
ENTRY_NAME = re.compile(f"[A-Z][A-Z0-9_]{{0,{MAX_NAME - 1}}}")

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_EXTRA64_LOCAL = struct.Struct("<HHQQ")
_EXTRA_HEADER = struct.Struct("<HH")
_EXTRA_PADDING = struct.Struct("<HHH")
_ZIP64 = 1  # id of the extra field with 64-bit sizes
_PADDING = 0xD935  # id of Android's: the alignment in 2 bytes, then zeros

_U16, _U32 = 0xFFFF, 0xFFFF_FFFF
_VERSION, _VERSION64 = 20, 45  # 2.0: the least of all; 4.5: zip64
_MADE_ON_UNIX = 3 << 8
_PERMISSIONS = 0o100644 << 16
_DATE = (1980 - 1980) << 9 | 1 << 5 | 1  # 1 January 1980, the first day zip knows; time 00:00
_MAX_DIRECTORY_BYTES = 64 * 1024
_MAX_COMMENT_BYTES = 0xFFFF


@dataclass(frozen=True)
class Placed:
    """One planned entry: `header` is where its local header starts, `offset` its data.

    alignment: of the data; padding: the bytes of the extra field that make it, or 0.
    """

    name: str
    header: int
    offset: int
    size: int
    zip64: bool
    alignment: int = ALIGNMENT
    padding: int = 0


def plan(
    sizes: Sequence[tuple[str, int]], zip64_from: int = _U32, alignment: int = ALIGNMENT
) -> list[Placed]:
    """Where each entry goes, given (name, size in bytes) in order. Nothing is open yet.

    1 to 4 zero bytes stand before every local header, never none: the first header is then at
    byte 4 when its name has a length of 2 mod 4, which is how the runtimes' sniffers know it.
    Entries of `zip64_from` bytes or more get 64-bit sizes. alignment: of each entry's data.
    Raises BundleError for one that is no power of two, or not from 4 to MAX_ALIGNMENT.
    """
    if alignment.bit_count() != 1 or not ALIGNMENT <= alignment <= MAX_ALIGNMENT:
        raise BundleError(
            f"alignment: {alignment}; a power of two from {ALIGNMENT} to {MAX_ALIGNMENT} is needed"
        )
    placed: list[Placed] = []
    end = 0
    for name, size in sizes:
        zip64 = size >= zip64_from
        header_bytes = _LOCAL.size + len(name) + (_EXTRA64_LOCAL.size if zip64 else 0)
        header = end + ALIGNMENT - (end + header_bytes) % ALIGNMENT
        padding = -(header + header_bytes) % alignment
        if 0 < padding < _EXTRA_PADDING.size:
            padding += alignment  # no extra field is that short
        offset = header + header_bytes + padding
        placed.append(Placed(name, header, offset, size, zip64, alignment, padding))
        end = offset + size
    return placed


def local_header(entry: Placed, crc32: int) -> bytes:
    size = _U32 if entry.zip64 else entry.size
    extra = _EXTRA64_LOCAL.pack(_ZIP64, 16, entry.size, entry.size) if entry.zip64 else b""
    if entry.padding:
        body_bytes = entry.padding - _EXTRA_HEADER.size
        extra += _EXTRA_PADDING.pack(_PADDING, body_bytes, entry.alignment)
        extra += bytes(entry.padding - _EXTRA_PADDING.size)
    version = _VERSION64 if entry.zip64 else _VERSION
    name = entry.name.encode("ascii")
    fixed = _LOCAL.pack(
        b"PK\3\4", version, 0, 0, 0, _DATE, crc32, size, size, len(name), len(extra)
    )
    return fixed + name + extra


def directory(entries: Sequence[tuple[Placed, int]], start: int, zip64_from: int = _U32) -> bytes:
    """The central directory and the end records, for (entry, CRC-32) pairs; it lies at `start`."""
    central = b"".join(_central_header(entry, crc32, zip64_from) for entry, crc32 in entries)
    count, size = len(entries), len(central)
    records = b""
    if start >= zip64_from:
        end64 = start + size
        records = _END64.pack(
            b"PK\6\6", _END64.size - 12, _MADE_ON_UNIX | _VERSION64, _VERSION64, 0, 0,
            count, count, size, start,
        ) + _LOCATOR64.pack(b"PK\6\7", 0, end64, 1)  # fmt: skip
        start = _U32
    return central + records + _END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0)


def _central_header(entry: Placed, crc32: int, zip64_from: int) -> bytes:
    wide = [entry.size, entry.size] if entry.zip64 else []
    far = entry.header >= zip64_from
    if far:
        wide.append(entry.header)
    extra = struct.pack(f"<HH{len(wide)}Q", _ZIP64, 8 * len(wide), *wide) if wide else b""
    size = _U32 if entry.zip64 else entry.size
    version = _VERSION64 if wide else _VERSION
    name = entry.name.encode("ascii")
    fixed = _CENTRAL.pack(
        b"PK\1\2", _MADE_ON_UNIX | version, version, 0, 0, 0, _DATE, crc32, size, size,
        len(name), len(extra), 0, 0, 0, _PERMISSIONS, _U32 if far else entry.header,
    )  # fmt: skip
    return fixed + name + extra


def read_directory(file: BinaryIO, where: str) -> dict[str, Extent]:
    """The entries of a stored-only zip, in the directory's order; every number is checked first.

    Raises BundleError for what is no zip, is cut off, compressed, encrypted or split, names an
    entry twice, lets entries overlap or leave the file, or says one thing in the directory and
    another in the local header.
    """
    file_bytes = file.seek(0, SEEK_END)
    count, size, start = find_directory(file, file_bytes, where)
    if count > MAX_ENTRIES or size > _MAX_DIRECTORY_BYTES:
        raise BundleError(
            f"{where}: the directory claims {count} entries in {size} bytes; "
            f"a bundle has at most {MAX_ENTRIES} in {_MAX_DIRECTORY_BYTES}"
        )
    central = _read(file, start, size, where, "the directory")
    entries: dict[str, Extent] = {}
    for name, header, data_bytes, crc32 in _central_headers(central, count, where):
        if name in entries:
            raise BundleError(f"{where}: {name}: is there twice; each entry may be there once")
        offset = _data_offset(file, name, header, where)
        if offset + data_bytes > start:
            raise BundleError(
                f"{where}: {name}: {data_bytes} bytes from byte {offset} reach past the directory "
                f"at byte {start}; the file is damaged or was cut off"
            )
        entries[name] = Extent(offset, data_bytes, crc32)
    _refuse_overlaps(entries, where)
    return entries


def find_directory(file: BinaryIO, file_bytes: int, where: str) -> tuple[int, int, int]:
    """(number of entries, size in bytes, start) of the central directory, as the file claims."""
    tail_bytes = min(file_bytes, _END.size + _MAX_COMMENT_BYTES)
    tail = _read(file, file_bytes - tail_bytes, tail_bytes, where, "the end")
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise BundleError(
            f"{where}: has no zip directory at its end; it is no .task or was cut off"
        )
    _, disk, first_disk, here, count, size, start, _ = _END.unpack_from(tail, at)
    if disk or first_disk or here != count:
        raise BundleError(f"{where}: is one of several parts; a bundle is one file")
    if count == _U16 or _U32 in (size, start):
        locator_at = file_bytes - tail_bytes + at - _LOCATOR64.size
        locator = _read(file, locator_at, _LOCATOR64.size, where, "the zip64 locator")
        magic, _, end64, _ = _LOCATOR64.unpack(locator)
        if magic != b"PK\6\7":
            raise BundleError(f"{where}: promises zip64 records and has none; it is damaged")
        record = _read(file, end64, _END64.size, where, "the zip64 directory end")
        magic, *_, count, size, start = _END64.unpack(record)
        if magic != b"PK\6\6":
            raise BundleError(f"{where}: byte {end64} is no zip64 record; it is damaged")
    return count, size, start


def _central_headers(central: bytes, count: int, where: str) -> Iterator[tuple[str, int, int, int]]:
    """(name, byte of the local header, size in bytes, CRC-32) of each entry."""
    at = 0
    for number in range(count):
        what = f"directory entry {number}"
        fields = _unpack(_CENTRAL, central, at, f"{where}: {what}")
        magic, _, _, flags, method, _, _, crc32, packed, size = fields[:10]
        name_bytes, extra_bytes, comment_bytes, *_, header = fields[10:]
        if magic != b"PK\1\2":
            raise BundleError(f"{where}: {what} does not start with its PK mark; it is damaged")
        names_at = at + _CENTRAL.size
        extra_at = names_at + name_bytes
        at = extra_at + extra_bytes + comment_bytes
        if at > len(central):
            raise BundleError(f"{where}: {what} is cut off")
        name = _checked_name(central[names_at:extra_at], where)
        wide = _wide(central[extra_at : extra_at + extra_bytes], f"{where}: {name}")
        # in this order, and only those that the fixed record has no room for
        size = next(wide) if size == _U32 else size
        packed = next(wide) if packed == _U32 else packed
        header = next(wide) if header == _U32 else header
        if flags & 1 or method or packed != size:
            how = "encrypted" if flags & 1 else f"compressed (method {method})"
            raise BundleError(
                f"{where}: {name}: is {how}; the runtimes map entries in place, store it as it is"
            )
        yield name, header, size, crc32


def _checked_name(raw: bytes, where: str) -> str:
    name = raw.decode("ascii", "backslashreplace")
    if not ENTRY_NAME.fullmatch(name):
        raise BundleError(
            f"{where}: has an entry named {name[:MAX_NAME]!r}; a bundle's entries are named in "
            "capital letters, digits and underscores, without folders"
        )
    return name


def _wide(extra: bytes, where: str) -> Iterator[int]:
    """The 64-bit numbers of the zip64 extra field, and an error past the last one."""
    at = 0
    while at + _EXTRA_HEADER.size <= len(extra):
        kind, size = _EXTRA_HEADER.unpack_from(extra, at)
        at += _EXTRA_HEADER.size
        if kind == _ZIP64:
            body = extra[at : at + size]
            for number_at in range(0, len(body) - 7, 8):
                yield int.from_bytes(body[number_at : number_at + 8], "little")
            break
        at += size
    raise BundleError(f"{where}: has no 64-bit size where it promises one; the file is damaged")


def _data_offset(file: BinaryIO, name: str, header: int, where: str) -> int:
    """Where the data of the entry starts, from its local header, which must name it too."""
    what = f"{where}: {name}"
    fixed = _read(file, header, _LOCAL.size, what, "the local header")
    magic, _, _, method, *_, name_bytes, extra_bytes = _LOCAL.unpack(fixed)
    if magic != b"PK\3\4":
        raise BundleError(f"{what}: byte {header} is no local header; the file is damaged")
    local_name = _read(file, header + _LOCAL.size, name_bytes, what, "the local header's name")
    if local_name != name.encode("ascii") or method:
        raise BundleError(
            f"{what}: the local header says {local_name[:MAX_NAME]!r}, method {method}; "
            "it must say the same as the directory"
        )
    return header + _LOCAL.size + name_bytes + extra_bytes


def _refuse_overlaps(entries: dict[str, Extent], where: str) -> None:
    in_order = sorted(entries.items(), key=lambda item: (item[1].offset, item[1].size))
    for (name, extent), (after, next_extent) in pairwise(in_order):
        if extent.offset + extent.size > next_extent.offset:
            raise BundleError(f"{where}: {name} and {after} overlap; the file is damaged")


def _read(file: BinaryIO, offset: int, size: int, where: str, what: str) -> bytes:
    file_bytes = file.seek(0, SEEK_END)
    if not 0 <= offset <= file_bytes - size:
        raise BundleError(
            f"{where}: {what} would lie at bytes {offset} to {offset + size}; "
            f"the file has {file_bytes} bytes"
        )
    file.seek(offset)
    return file.read(size)


def _unpack(record: struct.Struct, data: bytes, at: int, where: str) -> tuple[Any, ...]:
    if at + record.size > len(data):
        raise BundleError(f"{where} is cut off")
    return record.unpack_from(data, at)
