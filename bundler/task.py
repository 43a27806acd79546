"""The `.task` bundle: a stored zip of a model, its tokenizer and METADATA, read in place.

    bytes 0-3        zeros
    byte  4          local header of TF_LITE_PREFILL_DECODE, then its data (a TFLite model)
    1-4 zeros        local header of TOKENIZER_MODEL, then its data (a SentencePiece ModelProto)
    1-4 zeros        local header of METADATA, then its data (LlmParameters)
    ...              embedder, per-layer embedder, vision encoder and adapter, where there are any
    the directory    central headers, zip64 records when the archive is larger than 4 GiB

Each entry's data starts on a multiple of 4 bytes, or of more on request. No time, user or machine
is written, so the same entries give the same bytes.
"""

import io
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from . import BundleError, archive, metadata
from .archive import Extent
from .files import open_file, unreadable
from .output import whole_file

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MODEL = "TF_LITE_PREFILL_DECODE"
TOKENIZER = "TOKENIZER_MODEL"
METADATA = "METADATA"
OTHER_MODELS = {  # what mediapipe's bundler takes besides, as files: its option -> the entry
    "embedder": "TF_LITE_EMBEDDER",
    "per_layer_embedder": "TF_LITE_PER_LAYER_EMBEDDER",
    "vision_encoder": "TF_LITE_VISION_ENCODER",
    "vision_adapter": "TF_LITE_VISION_ADAPTER",
}
ENTRIES = (  # in the order in which mediapipe's bundler writes them
    MODEL,
    TOKENIZER,
    METADATA,
    *OTHER_MODELS.values(),
)
_REQUIRED = ENTRIES[:3]
_MAX_METADATA_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Written:
    """An entry that `write` puts into the bundle itself, which saves a copy of the model.

    `write` gets a file that starts at 0 and has room for exactly `size` bytes; it may seek, and
    patch what it wrote. What it skips reads as zeros, but the last byte must be written.
    """

    size: int
    write: Callable[[BinaryIO], None]


Source = bytes | Path | Written


@dataclass(frozen=True)
class Task:
    """A bundle that was read: where its entries lie, and what METADATA says."""

    path: Path
    entries: Mapping[str, Extent]
    parameters: metadata.BundleParameters

    def read(self, name: str) -> bytes:
        """The data of one entry, its CRC-32 checked. Raises BundleError."""
        with _opened(self.path) as file:
            return _entry_bytes(file, self.entries[name], f"{self.path}: {name}")


def write_task(
    output: Path,
    entries: Mapping[str, Source],
    *,
    alignment: int = archive.ALIGNMENT,
    force: bool = False,
) -> None:
    """Writes the bundle `output`, whole or not at all; its entries are put into the format's order.

    entries: name -> bytes, a file to copy, or Written; MODEL, TOKENIZER and METADATA are required.
    alignment: the data of each starts on a multiple of so many bytes. One chunk is in memory at a
    time; files of more than 4 GiB get zip64 records.
    Raises BundleError for a missing, unknown or unreadable entry, and as `whole_file` does.
    """
    if missing := [name for name in _REQUIRED if name not in entries]:
        raise BundleError(f"{output}: {', '.join(missing)} not given; a bundle needs each of them")
    if unknown := [name for name in entries if name not in ENTRIES]:
        raise BundleError(
            f"{output}: {', '.join(unknown)}: no such entry; known are {', '.join(ENTRIES)}"
        )
    in_order = [(name, entries[name]) for name in ENTRIES if name in entries]
    sizes = [(name, _size(source)) for name, source in in_order]
    if empty := [name for name, size in sizes if size == 0]:
        raise BundleError(f"{output}: {', '.join(empty)}: no bytes; nothing would load that")
    placed = archive.plan(sizes, alignment=alignment)
    with whole_file(output, force=force) as file:
        checked = []
        for place, (_, source) in zip(placed, in_order, strict=True):
            file.seek(place.offset)
            checked.append((place, _write_entry(file, place, source)))
        for place, crc32 in checked:
            file.seek(place.header)
            file.write(archive.local_header(place, crc32))
        file.seek(0, os.SEEK_END)
        file.write(archive.directory(checked, file.tell()))


def read_task(path: Path) -> Task:
    """Reads the directory and METADATA of a bundle; the model is not touched.

    Raises BundleError for a file that is not there, an archive that is damaged or not stored, a
    missing or misaligned entry, and METADATA that is no LlmParameters.
    """
    with _opened(path) as file:
        entries = archive.read_directory(file, str(path))
        for name in _REQUIRED:
            if name not in entries:
                raise BundleError(
                    f"{path}: there is no {name}, only {', '.join(entries) or 'nothing'}; "
                    "build the bundle anew"
                )
        for name, extent in entries.items():
            if extent.offset % archive.ALIGNMENT:
                raise BundleError(
                    f"{path}: {name}: its data starts at byte {extent.offset}; a multiple of "
                    f"{archive.ALIGNMENT} is needed to map it, build the bundle anew"
                )
        where = f"{path}: {METADATA}"
        if entries[METADATA].size > _MAX_METADATA_BYTES:
            raise BundleError(
                f"{where}: {entries[METADATA].size} bytes; at most {_MAX_METADATA_BYTES} are read"
            )
        parameters = metadata.decode(_entry_bytes(file, entries[METADATA], where), where)
    return Task(path, entries, parameters)


class _Room(io.RawIOBase):
    """The part of a file that one entry has: positions count from its start, its end is firm."""

    def __init__(self, file: BinaryIO, place: archive.Placed) -> None:
        super().__init__()
        self._file = file
        self._place = place
        self._at = 0
        self.end = 0  # after the last byte that was written

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._place.size}[whence]
        if start + offset < 0:
            raise ValueError(f"{self._place.name}: seek to {start + offset}, before the start")
        self._at = start + offset
        return self._at

    def write(self, data: "ReadableBuffer", /) -> int:
        size = memoryview(data).nbytes
        if self._at + size > self._place.size:
            raise BundleError(
                f"{self._place.name}: {size} bytes from byte {self._at} do not fit into the "
                f"{self._place.size} bytes that were planned for it"
            )
        self._file.seek(self._place.offset + self._at)
        self._file.write(data)
        self._at += size
        self.end = max(self.end, self._at)
        return size


def _size(source: Source) -> int:
    """In bytes. Raises BundleError for a file that cannot be read."""
    match source:
        case bytes():
            return len(source)
        case Written():
            return source.size
        case Path():
            with _opened(source) as file:
                return file.seek(0, os.SEEK_END)


def _write_entry(file: BinaryIO, place: archive.Placed, source: Source) -> int:
    """Writes the entry's data where it was planned, and returns its CRC-32."""
    match source:
        case bytes():
            file.write(source)
            return zlib.crc32(source)
        case Written():
            room = _Room(file, place)
            source.write(cast(BinaryIO, room))
            _refuse_other_size(place, room.end)
            # read back rather than counted on the way: a header may be patched at the very end
            file.seek(place.offset)
            return _crc32(file, place.size)
        case Path():
            with open_file(source) as original:
                _refuse_other_size(place, original.seek(0, os.SEEK_END))
                original.seek(0)
                return _crc32(original, place.size, copy_to=file)


def _refuse_other_size(place: archive.Placed, size: int) -> None:
    if size != place.size:
        raise BundleError(
            f"{place.name}: {size} bytes where {place.size} were planned; "
            "its source changed while the bundle was written"
        )


def _crc32(file: BinaryIO, size: int, copy_to: BinaryIO | None = None) -> int:
    """CRC-32 of the next `size` bytes of `file`, which may be copied on the way."""
    crc32, left = 0, size
    while left:
        try:
            chunk = file.read(min(left, _CHUNK_BYTES))
        except OSError as error:
            raise unreadable(file.name, error) from error
        if not chunk:
            raise BundleError(f"{file.name}: ended {left} bytes too early; it changed meanwhile")
        if copy_to is not None:
            copy_to.write(chunk)
        crc32 = zlib.crc32(chunk, crc32)
        left -= len(chunk)
    return crc32


def _entry_bytes(file: BinaryIO, extent: Extent, where: str) -> bytes:
    file.seek(extent.offset)
    data = file.read(extent.size)
    if len(data) != extent.size or zlib.crc32(data) != extent.crc32:
        raise BundleError(f"{where}: its CRC-32 is not the one written beside it; it is damaged")
    return data


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """For a block that only reads this file: its every OSError is about the file."""
    with open_file(path) as file:
        try:
            yield file
        except OSError as error:
            raise unreadable(path, error) from error
