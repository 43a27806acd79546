"""The `.litertlm` file of LiteRT-LM: a header that names sections, and the sections.

    bytes 0-7        LITERTLM
    bytes 8-19       version of the format: major, minor, patch, 32 bits each
    bytes 24-31      where the header ends
    byte  32         the header: a flatbuffer of key/value pairs, and for each section its first
                     and last byte, its kind, and key/value pairs of its own
    byte  16384 n    the sections, each on a multiple of 16 KiB, zeros between them

Numbers are little-endian. Google's packer also writes a random id and the time of day; no reader
asks for them, and without them the same parts give the same bytes.
Source: litert-lm-builder 0.18.1 and the schema inside it.
"""

import os
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import flatbuffers
from flatbuffers import number_types

from . import BundleError
from .flatbuffer import Flatbuffer, Table
from .output import whole_file
from .parts import METADATA, MODEL, TOKENIZER, Extent, Source, opened, size_of, write_part

MAGIC = b"LITERTLM"
ALIGNMENT = 16 * 1024  # of a section, in bytes from the start of the file
HF_TOKENIZER = "HF_TOKENIZER"  # a tokenizer.json, behind its size, deflated (zlib)
MODEL_TYPE = "model_type"  # what a section of a model says of it
MAX_SECTIONS = 64

_VERSION = (1, 7, 0)
_PREAMBLE = struct.Struct("<8sIII4xQ")
_MAX_HEADER_BYTES = 1 << 20

# AnySectionDataType -> the name of the part; None: by its model type, or by its place
_KINDS: dict[int, tuple[str, str | None]] = {
    1: ("GenericBinaryData", None),
    3: ("TFLiteModel", None),
    4: ("SP_Tokenizer", TOKENIZER),
    5: ("LlmMetadataProto", METADATA),
    6: ("HF_Tokenizer_Zlib", HF_TOKENIZER),
    7: ("TFLiteWeights", None),
    8: ("EmbeddingMetadataProto", "EMBEDDING_METADATA"),
    9: ("ExecutorMetadataProto", "EXECUTOR_METADATA"),
    10: ("TtsMetadataProto", "TTS_METADATA"),
    11: ("AsrMetadataProto", "ASR_METADATA"),
}
_MODEL, _WEIGHTS, _GENERIC = 3, 7, 1
_NUMBERS = {name: number for number, (_, name) in _KINDS.items() if name}
_MAIN_TYPE = MODEL.lower()
_KIND_NUMBERS = {kind: number for number, (kind, _) in _KINDS.items()}
_WEIGHTS_SUFFIX = "_WEIGHTS"
_GENERIC_NAME = re.compile(r"GENERIC_BINARY_DATA_(\d{1,2})")
_TYPED_NAME = re.compile(r"(?:(\w+)_)?(TF_LITE_[A-Z0-9_]{1,48})")

# VData: number of a value's type -> its letter in `struct`, and how it is stored; a text has none
_FLOAT, _BOOL, _TEXT, _INT64, _DOUBLE = 7, 8, 9, 11, 12
_NUMBER_TYPES = {
    1: ("B", number_types.Uint8Flags),
    2: ("b", number_types.Int8Flags),
    3: ("H", number_types.Uint16Flags),
    4: ("h", number_types.Int16Flags),
    5: ("I", number_types.Uint32Flags),
    6: ("i", number_types.Int32Flags),
    _FLOAT: ("f", number_types.Float32Flags),
    _BOOL: ("?", number_types.BoolFlags),
    10: ("Q", number_types.Uint64Flags),
    _INT64: ("q", number_types.Int64Flags),
    _DOUBLE: ("d", number_types.Float64Flags),
}

Value = str | int | float | bool


class _Int(int):
    """A header's number of another type than Python's own would get; kind: that type in VData."""

    kind = _INT64


class _Float(float):
    kind = _DOUBLE


@dataclass(frozen=True)
class Section:
    """kind: its name in the format's schema. items: what the header says of it, in its order."""

    name: str
    kind: str
    extent: Extent
    items: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Header:
    """What stands before the sections; system: the key/value pairs of the whole file."""

    version: tuple[int, int, int]
    sections: tuple[Section, ...]
    system: Mapping[str, Value]

    def entries(self) -> dict[str, Extent]:
        """By name, as of a `.task`."""
        return {section.name: section.extent for section in self.sections}

    def said(self) -> dict[str, Value]:
        """What it says of sections besides, by "NAME: key": nothing that a `.task` has too."""
        return {
            f"{section.name}: {key}": value
            for section in self.sections
            for key, value in section.items.items()
            if key != MODEL_TYPE  # the name tells it
        }


def write_litertlm(
    output: Path,
    parts: Mapping[str, Source],
    *,
    items: Mapping[str, Mapping[str, Value]] | None = None,
    system: Mapping[str, Value] | None = None,
    force: bool = False,
) -> None:
    """Writes the file `output`, whole or not at all, its sections in the order of `parts`.

    parts: name, as `Section.name`, -> bytes, a file to copy, or Written. items: of a section by its
    name, what its header says besides the model type, which its name tells. system: what the
    header says of the whole file; "Authors" alone if it is not given.
    A chunk is in memory at a time. Raises BundleError for a part that is unknown, empty or
    unreadable, where METADATA or a tokenizer is missing, and as `whole_file` does.
    """
    _refuse_incomplete(output, parts)
    planned = [
        _planned(name, Extent(0, size_of(source)), (items or {}).get(name, {}))
        for name, source in parts.items()
    ]
    if empty := [section.name for section in planned if section.extent.size == 0]:
        raise BundleError(f"{output}: {', '.join(empty)}: no bytes; nothing would load that")
    # the header's length does not depend on the numbers in it
    system = {"Authors": "taskpress"} if system is None else system
    header_end = _PREAMBLE.size + len(_packed(planned, system))
    end, placed = header_end, []
    for section in planned:
        start = -(-end // ALIGNMENT) * ALIGNMENT
        end = start + section.extent.size
        placed.append(_planned(section.name, Extent(start, section.extent.size), section.items))
    header = _packed(placed, system)
    assert _PREAMBLE.size + len(header) == header_end
    with whole_file(output, force=force) as file:
        file.write(_PREAMBLE.pack(MAGIC, *_VERSION, header_end) + header)
        for section, source in zip(placed, parts.values(), strict=True):
            write_part(file, section.name, section.extent, source, checked=False)


def read_header(path: Path) -> Header:
    """Reads what the header says; every number in it is checked, the sections are not touched.

    Raises BundleError for a file that is none, is cut off or damaged, or whose sections overlap,
    are misaligned or leave the file.
    """
    with opened(path) as file:
        file_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        start = file.read(_PREAMBLE.size)
        if not start.startswith(MAGIC):
            raise BundleError(f"{path}: begins with {start[:8]!r}; a .litertlm needs {MAGIC!r}")
        if len(start) < _PREAMBLE.size:
            raise BundleError(
                f"{path}: ends within the first {_PREAMBLE.size} bytes of a .litertlm; it was "
                "cut off"
            )
        _, major, minor, patch, header_end = _PREAMBLE.unpack(start)
        if major != _VERSION[0]:
            raise BundleError(
                f"{path}: is of version {major}.{minor}.{patch} of the format; "
                f"version {_VERSION[0]} is known"
            )
        size = header_end - _PREAMBLE.size
        if not 8 <= size <= min(_MAX_HEADER_BYTES, file_bytes - _PREAMBLE.size):
            raise BundleError(
                f"{path}: claims a header that ends at byte {header_end}; the file has "
                f"{file_bytes}, and a header at most {_MAX_HEADER_BYTES}"
            )
        data = file.read(size)
    buffer = Flatbuffer(data, 0, size, f"{path}: header")
    root = buffer.root()
    system, described = root.table(_ROOT_SYSTEM), root.table(_ROOT_SECTIONS)
    sections = _sections(described, str(path), header_end, file_bytes) if described else ()
    return Header(
        (major, minor, patch), sections, _pairs(system, 0, f"{path}: header") if system else {}
    )


def _refuse_incomplete(output: Path, parts: Mapping[str, Source]) -> None:
    if METADATA not in parts or MODEL not in parts:
        missing = [name for name in (MODEL, METADATA) if name not in parts]
        raise BundleError(f"{output}: {', '.join(missing)} not given; a bundle needs each of them")
    if (TOKENIZER in parts) == (HF_TOKENIZER in parts):
        raise BundleError(f"{output}: needs one tokenizer, {TOKENIZER} or {HF_TOKENIZER}")


def _planned(name: str, extent: Extent, items: Mapping[str, Value]) -> Section:
    """A section by the name of a part; its items with the model type, where its name tells one."""
    if number := _NUMBERS.get(name):
        return Section(name, _KINDS[number][0], extent, items)
    if _GENERIC_NAME.fullmatch(name):
        return Section(name, _KINDS[_GENERIC][0], extent, items)
    typed = _TYPED_NAME.fullmatch(name)
    number = _NUMBERS.get(typed[1]) if typed and typed[1] else _MODEL
    if typed is None or number is None:
        known = ", ".join([*_NUMBERS, "TF_LITE_... by the model's type"])
        raise BundleError(f"{name}: no such part of a .litertlm; known are {known}")
    model_type = typed[2]
    if number == _MODEL and model_type.endswith(_WEIGHTS_SUFFIX):
        number, model_type = _WEIGHTS, model_type.removesuffix(_WEIGHTS_SUFFIX)
    return Section(name, _KINDS[number][0], extent, {MODEL_TYPE: model_type.lower(), **items})


# Numbers of fields. Source: the schema that litert-lm-builder carries
_ROOT_SYSTEM, _ROOT_SECTIONS = 0, 1
_SECTION_ITEMS, _SECTION_BEGIN, _SECTION_END, _SECTION_KIND = 0, 1, 2, 3
_PAIR_KEY, _PAIR_TYPE, _PAIR_VALUE = 0, 1, 2


def _packed(sections: Sequence[Section], system: Mapping[str, Value]) -> bytes:
    """The header's flatbuffer."""
    builder = flatbuffers.Builder(1024)
    objects = _packed_vector(builder, [_packed_section(builder, each) for each in sections])
    pairs = _packed_vector(builder, [_packed_pair(builder, *pair) for pair in system.items()])
    tables = {}
    for slot, vector in ((_ROOT_SYSTEM, pairs), (_ROOT_SECTIONS, objects)):
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, vector, 0)
        tables[slot] = builder.EndObject()
    builder.StartObject(2)
    for slot, table in tables.items():
        builder.PrependUOffsetTRelativeSlot(slot, table, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def _packed_section(builder: flatbuffers.Builder, section: Section) -> int:
    pairs = [_packed_pair(builder, key, value) for key, value in section.items.items()]
    items = _packed_vector(builder, pairs)
    extent = section.extent
    builder.StartObject(4)
    builder.PrependUOffsetTRelativeSlot(_SECTION_ITEMS, items, 0)
    for slot, number in (
        (_SECTION_BEGIN, extent.offset),
        (_SECTION_END, extent.offset + extent.size),
    ):
        # written even where it is the default, which would be left out: the length must not change
        builder.PrependUint64(number)
        builder.Slot(slot)
    builder.PrependUint8Slot(_SECTION_KIND, _KIND_NUMBERS[section.kind], 0)
    return builder.EndObject()


def _packed_vector(builder: flatbuffers.Builder, tables: Sequence[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return builder.EndVector()


def _packed_pair(builder: flatbuffers.Builder, key: str, value: Value) -> int:
    key_at = builder.CreateString(key)
    text_at = builder.CreateString(value) if isinstance(value, str) else 0
    kind = _kind(value)
    builder.StartObject(1)
    if isinstance(value, str):
        builder.PrependUOffsetTRelativeSlot(0, text_at, 0)
    else:
        builder.PrependSlot(_NUMBER_TYPES[kind][1], 0, value, 0)
    value_at = builder.EndObject()
    builder.StartObject(3)
    builder.PrependUOffsetTRelativeSlot(_PAIR_KEY, key_at, 0)
    builder.PrependUint8Slot(_PAIR_TYPE, kind, 0)
    builder.PrependUOffsetTRelativeSlot(_PAIR_VALUE, value_at, 0)
    return builder.EndObject()


def _kind(value: Value) -> int:
    """In VData. A number that was read keeps its type, which a reader may ask for."""
    match value:
        case str():
            return _TEXT
        case bool():
            return _BOOL
        case float():
            return getattr(value, "kind", _DOUBLE)
        case int():
            return getattr(value, "kind", _INT64)


def _sections(table: Table, where: str, header_end: int, file_bytes: int) -> tuple[Section, ...]:
    """Checked against the file's size and against each other."""
    found: list[Section] = []
    for number, entry in enumerate(table.tables(0)):
        if number == MAX_SECTIONS:
            raise BundleError(f"{where}: claims more than {MAX_SECTIONS} sections; it is damaged")
        begin, end = entry.number(_SECTION_BEGIN, "Q"), entry.number(_SECTION_END, "Q")
        section = _named(entry, Extent(begin, end - begin), found, f"{where}: section {number}")
        what = f"{where}: {section.name}"
        if not header_end <= begin < end <= file_bytes:
            raise BundleError(
                f"{what}: would lie at bytes {begin} to {end}; the header ends at byte "
                f"{header_end}, the file at {file_bytes}: it is damaged or was cut off"
            )
        if begin % ALIGNMENT:
            raise BundleError(
                f"{what}: starts at byte {begin}; a multiple of {ALIGNMENT} is needed to map it"
            )
        found.append(section)
    in_order = sorted(found, key=lambda section: section.extent.offset)
    for section, after in pairwise(in_order):
        if section.extent.offset + section.extent.size > after.extent.offset:
            raise BundleError(f"{where}: {section.name} and {after.name} overlap; it is damaged")
    return tuple(found)


def _named(entry: Table, extent: Extent, found: Sequence[Section], where: str) -> Section:
    """A section under the name of its part, which no other one may have."""
    number, items = entry.number(_SECTION_KIND, "B"), _pairs(entry, _SECTION_ITEMS, where)
    if number not in _KINDS:
        known = ", ".join(f"{number} {kind}" for number, (kind, _) in _KINDS.items())
        raise BundleError(f"{where}: is of kind {number}; known are {known}")
    kind, name = _KINDS[number]
    model_type = str(items.get(MODEL_TYPE, ""))
    # it becomes the name of a file when the bundle is unpacked
    typed = model_type.upper() if _TYPED_NAME.fullmatch(model_type.upper()) else None
    if number == _GENERIC:
        name = f"GENERIC_BINARY_DATA_{sum(each.kind == kind for each in found)}"
    elif name is None:
        if typed is None:
            raise BundleError(f"{where}: is a {kind} of the type {model_type!r}; needs tf_lite_...")
        name = typed + (_WEIGHTS_SUFFIX if number == _WEIGHTS else "")
    elif typed is not None and model_type != _MAIN_TYPE:
        name = f"{name}_{typed}"  # of another model than the LLM
    if any(each.name == name for each in found):
        raise BundleError(f"{where}: {name} is there twice; each part may be there once")
    return Section(name, kind, extent, items)


def _pairs(table: Table, field_number: int, where: str) -> dict[str, Value]:
    """What cannot be written again as it stands is refused: repack would lose it."""
    found: dict[str, Value] = {}
    for pair in table.tables(field_number):
        key = pair.exact_text(_PAIR_KEY)
        if key in found:
            raise BundleError(f"{where}: {key!r:.80} is there twice; it is damaged")
        found[key] = _value(pair, f"{where}: {key!r:.80}")
    return found


def _value(pair: Table, where: str) -> Value:
    kind, value = pair.number(_PAIR_TYPE, "B"), pair.table(_PAIR_VALUE)
    if value is None or (kind != _TEXT and kind not in _NUMBER_TYPES):
        raise BundleError(
            f"{where}: has {'no value' if value is None else f'a value of type {kind}'}; types 1 "
            f"to {_DOUBLE} are known"
        )
    if kind == _TEXT:
        return value.exact_text(0)
    number = value.number(0, _NUMBER_TYPES[kind][0])
    if kind in (_BOOL, _INT64, _DOUBLE):
        return number
    typed = (_Float if kind == _FLOAT else _Int)(number)
    typed.kind = kind
    return typed
