"""Checks the header of a `.litertlm`, and goes on where a reader would stop."""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from . import BundleError
from .findings import Finding, finding
from .flatbuffer import Flatbuffer, Table
from .known_faults import SECTIONS
from .litertlm import ALIGNMENT, HF_TOKENIZER
from .parts import METADATA, MODEL, TOKENIZER, Extent

_PREAMBLE = struct.Struct("<8sIII4xQ")
_MAJOR = 1
_MAX_HEADER_BYTES = 1 << 20
_MAX_SECTIONS = 1024

# Numbers of fields. Source: the schema that litert-lm-builder 0.18.1 carries
_ROOT_SECTIONS = 1
_ITEMS, _BEGIN, _END, _KIND = 0, 1, 2, 3
_KEY, _TYPE, _VALUE = 0, 1, 2
_TEXT = 9  # of VData

_TFLITE, _WEIGHTS = 3, 7
_NAMES = {
    1: "GenericBinaryData",
    _TFLITE: "TFLiteModel",
    4: TOKENIZER,
    5: METADATA,
    6: HF_TOKENIZER,
    _WEIGHTS: "TFLiteWeights",
    8: "EmbeddingMetadataProto",
    9: "ExecutorMetadataProto",
    10: "TtsMetadataProto",
    11: "AsrMetadataProto",
}
_MAY_REPEAT = ("GenericBinaryData",)
_TYPE_PREFIX = "tf_lite_"


@dataclass(frozen=True)
class _Section:
    number: int
    kind: int
    begin: int
    end: int
    model_type: str

    @property
    def name(self) -> str:
        """Of a model its type, as in a `.task`; of tokenizers and metadata of the main model, too,
        the kind alone."""
        name = _NAMES.get(self.kind, f"kind {self.kind}")
        if self.kind in (_TFLITE, _WEIGHTS):
            typed = (self.model_type or MODEL).upper()
            return typed if self.kind == _TFLITE else f"{typed}_WEIGHTS"
        if self.model_type and self.model_type.upper() != MODEL:
            return f"{name} of {self.model_type}"
        return name

    @property
    def where(self) -> str:
        return f"section {self.number}, {self.name}"


def check_sections(data: mmap.mmap, where: str) -> tuple[list[Finding], dict[str, Extent]]:
    """The faults of the header, and where each section lies that is all inside of the file."""
    try:
        sections = _sections(data, where)
    except BundleError as error:
        code = "version" if "version" in str(error) else "header"
        return [_found(code, "the header", str(error).removeprefix(f"{where}: "))], {}
    findings = [fault for section in sections for fault in _faults(section, len(data))]
    inside = [each for each in sections if 0 < each.begin < each.end <= len(data)]
    findings += _overlaps(inside)
    extents: dict[str, Extent] = {}
    for section in inside:
        if section.name in extents and section.name not in _MAY_REPEAT:
            findings.append(_found("duplicate", section.where, "is there twice"))
        extents.setdefault(section.name, Extent(section.begin, section.end - section.begin))
    findings += _missing(sections)
    return findings, extents


def _found(code: str, where: str, what: str) -> Finding:
    return finding(SECTIONS, f"sections.{code}", where, what)


def _sections(data: mmap.mmap, where: str) -> list[_Section]:
    """As the header has them. Raises BundleError where it cannot be read."""
    if len(data) < _PREAMBLE.size:
        raise BundleError(f"{where}: has {len(data)} bytes; the header takes more")
    _, major, minor, patch, end = _PREAMBLE.unpack_from(data)
    if major != _MAJOR:
        raise BundleError(f"{where}: is version {major}.{minor}.{patch} of the format")
    size = end - _PREAMBLE.size
    if not 8 <= size <= min(_MAX_HEADER_BYTES, len(data) - _PREAMBLE.size):
        raise BundleError(f"{where}: is said to end at byte {end}; the file has {len(data)}")
    buffer = Flatbuffer(data, _PREAMBLE.size, size, where)
    table = buffer.root().table(_ROOT_SECTIONS)
    if table is None:
        raise BundleError(f"{where}: names no sections")
    found = []
    for number, entry in enumerate(table.tables(0)):
        if number == _MAX_SECTIONS:
            raise BundleError(f"{where}: names more than {_MAX_SECTIONS} sections")
        begin, end = entry.number(_BEGIN, "Q"), entry.number(_END, "Q")
        found.append(_Section(number, entry.number(_KIND, "B"), begin, end, _model_type(entry)))
    return found


def _model_type(entry: Table) -> str:
    for pair in entry.tables(_ITEMS):
        value = pair.table(_VALUE)
        is_text = pair.number(_TYPE, "B") == _TEXT and value is not None
        if is_text and pair.text(_KEY).lower() == "model_type":
            return value.text(0) if value is not None else ""
    return ""


def _faults(section: _Section, file_bytes: int) -> Iterator[Finding]:
    if not 0 < section.begin < section.end <= file_bytes:
        what = f"lies at bytes {section.begin} to {section.end}; the file has {file_bytes}"
        yield _found("bounds", section.where, what)
    elif section.begin % ALIGNMENT:
        yield _found("alignment", section.where, f"starts at byte {section.begin}")
    if section.kind not in _NAMES:
        yield _found("kind", section.where, f"is of the kind {section.kind}")
    typed = section.model_type.lower()
    if section.kind in (_TFLITE, _WEIGHTS) and typed and not typed.startswith(_TYPE_PREFIX):
        yield _found("model_type", section.where, f"is of the type {section.model_type!r}")


def _overlaps(sections: list[_Section]) -> Iterator[Finding]:
    for section, after in pairwise(sorted(sections, key=lambda each: each.begin)):
        if section.end > after.begin:
            yield _found("overlap", section.where, f"its end lies in {after.where}")


def _missing(sections: list[_Section]) -> Iterator[Finding]:
    """Sections that are there but outside of the file are told by that."""
    names = [section.name for section in sections]
    has = ", ".join(names) or "nothing"
    # a model whose type is no type was told already
    untyped = any(
        each.kind == _TFLITE and not each.name.lower().startswith(_TYPE_PREFIX) for each in sections
    )
    for name in (METADATA, MODEL):
        if name not in names and not (name == MODEL and untyped):
            yield _found("missing", name, f"is not there, only {has[:200]}")
    if TOKENIZER not in names and HF_TOKENIZER not in names:
        yield _found("missing", TOKENIZER, f"is not there, nor {HF_TOKENIZER}, only {has[:200]}")
