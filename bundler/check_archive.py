"""Checks the zip records of a `.task`, and goes on where a reader would stop.

`archive.read_directory` raises for the first fault; here each is a finding, and the entries that
can be seen are given back with them, so that the rest of the bundle is checked too.
"""

import struct
import zipfile
from collections.abc import Iterator
from io import SEEK_END
from itertools import pairwise
from typing import BinaryIO

from . import BundleError, archive
from .copying import crc32_of
from .findings import Finding, finding
from .known_faults import ARCHIVE
from .parts import METADATA, MODEL, TOKENIZER, Extent
from .task import ENTRIES

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_MAX_ENTRIES = 1024


def check_archive(file: BinaryIO, where: str) -> tuple[list[Finding], dict[str, Extent]]:
    """The faults of the archive, and where each entry lies that the directory places in the file.

    where: begins the messages of our own reader.
    """
    findings: list[Finding] = []
    infos = _infos(file, where, findings)
    end = file.seek(0, SEEK_END)
    extents: dict[str, Extent] = {}
    for info in infos:
        extent = _extent(file, info, end, findings)
        if extent is None:
            continue
        if info.filename in extents:
            findings.append(_found("duplicate", info.filename, "is there twice"))
        extents.setdefault(info.filename, extent)
    findings += _overlaps(extents)
    if infos:
        findings += _names(extents, [info.filename for info in infos])
        findings += _web(file, infos)
    if not findings:
        findings += _refused(file, where)
    if not findings:
        for name, extent in extents.items():
            findings += _checksum(file, name, extent)
    return findings, extents


def _found(code: str, where: str, what: str) -> Finding:
    return finding(ARCHIVE, f"archive.{code}", where, what)


def _infos(file: BinaryIO, where: str, findings: list[Finding]) -> list[zipfile.ZipInfo]:
    """The directory's entries; none, and a finding, where there is no directory."""
    try:
        end = file.seek(0, SEEK_END)
        count, size, start = archive.find_directory(file, end, where)
        if start + size > end:
            raise zipfile.BadZipFile(f"it would end at byte {start + size}, the file at {end}")
        if count > _MAX_ENTRIES or size > _MAX_ENTRIES * archive.MAX_NAME * 4:
            raise zipfile.BadZipFile(f"it claims {count} entries in {size} bytes")
        with zipfile.ZipFile(file) as opened:
            infos = opened.infolist()
    except (BundleError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        what = str(error).removeprefix(f"{where}: ")
        findings.append(_found("directory", "the archive", what))
        return []
    if not infos:
        findings.append(_found("missing", "the archive", "is an empty archive"))
    return infos


def _extent(
    file: BinaryIO, info: zipfile.ZipInfo, end: int, findings: list[Finding]
) -> Extent | None:
    """Where the entry's data lies, by its local header; None where that cannot be believed."""
    name = info.filename
    if info.flag_bits & 1:
        findings.append(_found("encrypted", name, "is marked as encrypted"))
    elif info.compress_type:
        findings.append(_found("compressed", name, f"is compressed (method {info.compress_type})"))
    file.seek(max(0, info.header_offset))
    fixed = file.read(_LOCAL.size)
    if info.header_offset < 0 or len(fixed) < _LOCAL.size or not fixed.startswith(b"PK\3\4"):
        what = f"byte {info.header_offset} is no local header"
        findings.append(_found("local_header", name, what))
        return None
    *_, name_bytes, extra_bytes = _LOCAL.unpack(fixed)
    local_name = file.read(name_bytes)
    if local_name != info.orig_filename.encode("utf-8"):
        what = f"its local header names {local_name[: archive.MAX_NAME]!r}"
        findings.append(_found("local_header", name, what))
    offset = info.header_offset + _LOCAL.size + name_bytes + extra_bytes
    if offset + info.compress_size > end:
        what = f"{info.compress_size} bytes from byte {offset}; the file ends at byte {end}"
        findings.append(_found("bounds", name, what))
        return None
    if offset % archive.ALIGNMENT:
        what = f"its data starts at byte {offset}, which is no multiple of {archive.ALIGNMENT}"
        findings.append(_found("alignment", name, what))
    if info.flag_bits & 1 or info.compress_type:
        return None
    return Extent(offset, info.compress_size, info.CRC)


def _overlaps(extents: dict[str, Extent]) -> Iterator[Finding]:
    in_order = sorted(extents.items(), key=lambda item: item[1].offset)
    for (name, extent), (after, following) in pairwise(in_order):
        if extent.offset + extent.size > following.offset:
            yield _found("overlap", name, f"its end lies in {after}")


def _names(extents: dict[str, Extent], names: list[str]) -> Iterator[Finding]:
    for name in dict.fromkeys(names):
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            yield _found("traversal", name[: archive.MAX_NAME], "leads out of the bundle's folder")
        elif name not in ENTRIES:
            yield _found("name", name[: archive.MAX_NAME], "is no entry that an engine looks for")
    for name in (MODEL, TOKENIZER, METADATA):
        if name not in names:
            has = ", ".join(dict.fromkeys(names))
            yield _found("missing", name, f"is not there, only {has[:200]}")
        elif name in extents and not extents[name].size:
            yield _found("missing", name, "has no bytes")


def _web(file: BinaryIO, infos: list[zipfile.ZipInfo]) -> Iterator[Finding]:
    file.seek(0)
    start = file.read(6)
    if b"PK" not in (start[:2], start[4:6]):
        first = min(info.header_offset for info in infos)
        yield _found("web", "the archive", f"its first record is at byte {first}, not 0 or 4")


def _refused(file: BinaryIO, where: str) -> Iterator[Finding]:
    """What our own reader has against the archive, where nothing was found before."""
    try:
        archive.read_directory(file, where)
    except BundleError as error:
        yield _found("refused", "the archive", str(error).removeprefix(f"{where}: "))


def _checksum(file: BinaryIO, name: str, extent: Extent) -> Iterator[Finding]:
    file.seek(extent.offset)
    if (crc32 := crc32_of(file, extent.size)) != extent.crc32:
        what = f"its CRC-32 is {crc32:08x}; {extent.crc32:08x} was written beside it"
        yield _found("checksum", name, what)
