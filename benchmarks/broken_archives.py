"""Broken `.task` bundles: faults of the archive, of METADATA and of the tokenizer."""

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from faults import Parts, fault
from sentencepiece import sentencepiece_model_pb2
from taskpress.bundler import metadata
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER

# --- the archive


@dataclass(frozen=True)
class Entry:
    """A zip entry that may lie. None: the truth. pad: zero bytes in front of its local header."""

    name: str
    data: bytes
    method: int = 0
    flags: int = 0
    local_name: str | None = None
    crc32: int | None = None
    directory_size: int | None = None
    pad: int | None = None


def archived(entries: Iterable[Entry], directory_at: int = 0) -> bytes:
    """A zip laid out as MediaPipe's bundler does it, each data on 4 bytes.

    directory_at: added to the place at which the end record says that the directory is.
    """
    out, central = bytearray(), bytearray()
    count = 0
    for entry in entries:
        name = entry.name.encode()
        local_name = name if entry.local_name is None else entry.local_name.encode()
        crc32 = zlib.crc32(entry.data) if entry.crc32 is None else entry.crc32
        aligned = 4 - (len(out) + 30 + len(name)) % 4
        out += bytes(aligned if entry.pad is None else entry.pad)
        start, size = len(out), len(entry.data)
        common = struct.pack("<HHHHH", 20, entry.flags, entry.method, 0, 0x21)
        sizes = struct.pack("<III", crc32, size, size)
        out += b"PK\3\4" + common + sizes + struct.pack("<HH", len(local_name), 0) + local_name
        out += entry.data
        told = size if entry.directory_size is None else entry.directory_size
        central += b"PK\1\2" + struct.pack("<H", 20) + common
        central += struct.pack("<III", crc32, told, told)
        central += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, start) + name
        count += 1
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(central), len(out) + directory_at, 0)
    return bytes(out + central + b"PK\5\6" + end)


def good_entries(parts: Parts) -> dict[str, Entry]:
    described = metadata.encode(parts.parameters)
    data = {MODEL: parts.model, TOKENIZER: parts.tokenizer, METADATA: described}
    return {name: Entry(name, each) for name, each in data.items()}


def with_entry(parts: Parts, name: str, /, **changes: Any) -> bytes:
    """The good bundle, with one entry changed."""
    entries = good_entries(parts)
    return archived((entries | {name: replace(entries[name], **changes)}).values())


def without_entry(parts: Parts, name: str) -> bytes:
    return archived(entry for each, entry in good_entries(parts).items() if each != name)


@fault("archive.compressed", "METADATA is deflated")
def _(parts: Parts) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(good_entries(parts)[METADATA].data) + packer.flush()
    return with_entry(parts, METADATA, data=data, method=8)


@fault("archive.encrypted", "the tokenizer is marked as encrypted")
def _(parts: Parts) -> bytes:
    return with_entry(parts, TOKENIZER, flags=1)


for _name in (MODEL, TOKENIZER, METADATA):
    fault("archive.missing", f"there is no {_name}")(partial(without_entry, name=_name))


@fault("archive.missing", "the model's entry is named model.tflite")
def _(parts: Parts) -> bytes:
    return with_entry(parts, MODEL, name="model.tflite")


@fault("archive.traversal", "an entry is named ../../etc/passwd")
def _(parts: Parts) -> bytes:
    return archived([*good_entries(parts).values(), Entry("../../etc/passwd", b"root")])


@fault("archive.duplicate", "METADATA is there twice")
def _(parts: Parts) -> bytes:
    entries = good_entries(parts)
    return archived([*entries.values(), entries[METADATA]])


@fault("archive.alignment", "the tokenizer starts at an odd byte")
def _(parts: Parts) -> bytes:
    return with_entry(parts, TOKENIZER, pad=5)


@fault("archive.web", "8 zeros stand in front of the first record")
def _(parts: Parts) -> bytes:
    return with_entry(parts, MODEL, pad=8)


@fault("archive.local_header", "the model's local header has another name")
def _(parts: Parts) -> bytes:
    return with_entry(parts, MODEL, local_name="TF_LITE_PREFILL_ENCODE")


@fault("archive.bounds", "the directory says that METADATA is 1 GB")
def _(parts: Parts) -> bytes:
    return with_entry(parts, METADATA, directory_size=1_000_000_000)


@fault("archive.overlap", "the directory says that the model is 100 bytes larger")
def _(parts: Parts) -> bytes:
    return with_entry(parts, MODEL, directory_size=len(parts.model) + 100)


@fault("archive.checksum", "a bit of the model's last weight is flipped")
def _(parts: Parts) -> bytes:
    broken = bytearray(parts.model)
    broken[-1] ^= 1
    return with_entry(parts, MODEL, data=bytes(broken), crc32=zlib.crc32(parts.model))


@fault("archive.directory", "the file is cut off in the middle")
def _(parts: Parts) -> bytes:
    whole = archived(good_entries(parts).values())
    return whole[: len(whole) // 2]


@fault("archive.directory", "the end record points 1000 bytes too far")
def _(parts: Parts) -> bytes:
    return archived(good_entries(parts).values(), directory_at=1000)


@fault("file.kind", "the file is an HTML page: a download that needed a login")
def _(parts: Parts) -> bytes:
    return b"<!doctype html><html><body>Access to this model is restricted.</body></html>\n" * 20


@fault("file.kind", "the file is a .tflite that was named .task")
def _(parts: Parts) -> bytes:
    return parts.model


@fault("file.empty", "the file is empty")
def _(parts: Parts) -> bytes:
    return b""


@fault("archive.name", "there is an entry README")
def _(parts: Parts) -> bytes:
    return archived([*good_entries(parts).values(), Entry("README", b"Hello")])


# --- METADATA


def with_parameters(parts: Parts, **changes: Any) -> bytes:
    return archived(
        good_entries(replace(parts, parameters=replace(parts.parameters, **changes))).values()
    )


def with_metadata(parts: Parts, edit: Callable[[Any], None]) -> bytes:
    """The good bundle, METADATA changed in ways that our own writer refuses."""
    message = metadata._message()  # the table of its fields is not repeated here
    message.ParseFromString(metadata.encode(parts.parameters))
    edit(message)
    return with_entry(parts, METADATA, data=message.SerializeToString())


@fault("metadata.unreadable", "METADATA is JSON")
def _(parts: Parts) -> bytes:
    return with_entry(parts, METADATA, data=b'{"start_token": "<|im_start|>"}')


@fault("start.none", "there is no start token")
def _(parts: Parts) -> bytes:
    return with_metadata(parts, lambda message: message.ClearField("start_token"))


@fault("start.unknown", "the start token is not in the tokenizer")
def _(parts: Parts) -> bytes:
    return with_parameters(parts, start_token="<s>")


@fault("stop.none", "there are no stop tokens")
def _(parts: Parts) -> bytes:
    return with_metadata(parts, lambda message: message.ClearField("stop_tokens"))


@fault("stop.several_ids", "a stop token is several ids")
def _(parts: Parts) -> bytes:
    return with_parameters(parts, stop_tokens=("<|im_end|>", "</s>"))


@fault("stop.ordinary", "a stop token is the ordinary piece e")
def _(parts: Parts) -> bytes:
    return with_parameters(parts, stop_tokens=("<|im_end|>", "e"))


@fault("stop.white_space", "a stop token is a newline")
def _(parts: Parts) -> bytes:
    return with_parameters(parts, stop_tokens=("<|im_end|>", "\n"))


@fault("template.start_repeated", "the user's prefix repeats the start token")
def _(parts: Parts) -> bytes:
    return with_parameters(parts, session_prefix="<|im_start|>system\nHi.<|im_end|>\n")


@fault("template.control_token", "a prefix has a token that is a control piece")
def _(parts: Parts) -> bytes:
    tokenizer = edited_tokenizer(parts, _control("<|im_end|>"))
    return archived(good_entries(replace(parts, tokenizer=tokenizer)).values())


@fault("metadata.bytes_to_unicode", "BYTES_TO_UNICODE is set, and the pieces are plain text")
def _(parts: Parts) -> bytes:
    return with_parameters(parts, bytes_to_unicode=True)


# --- the tokenizer


def edited_tokenizer(parts: Parts, edit: Callable[[Any], None]) -> bytes:
    message = sentencepiece_model_pb2.ModelProto()
    message.ParseFromString(parts.tokenizer)
    edit(message)
    return message.SerializeToString()


def _control(text: str) -> Callable[[Any], None]:
    def edit(message: Any) -> None:
        for piece in message.pieces:
            if piece.piece == text:
                piece.type = sentencepiece_model_pb2.ModelProto.SentencePiece.CONTROL

    return edit


def with_tokenizer(parts: Parts, edit: Callable[[Any], None]) -> bytes:
    return with_entry(parts, TOKENIZER, data=edited_tokenizer(parts, edit))


@fault("tokenizer.json", "the tokenizer is a tokenizer.json")
def _(parts: Parts) -> bytes:
    return with_entry(parts, TOKENIZER, data=b'{"version": "1.0", "model": {"type": "BPE"}}')


@fault("tokenizer.unreadable", "the tokenizer is cut off in the middle")
def _(parts: Parts) -> bytes:
    return with_entry(parts, TOKENIZER, data=parts.tokenizer[: len(parts.tokenizer) // 2])


@fault("tokenizer.unreadable", "a piece holds a null character")
def _(parts: Parts) -> bytes:
    def edit(message: Any) -> None:
        message.pieces[100].piece = "a\0b"

    return with_tokenizer(parts, edit)


@fault("tokenizer.unreadable", "a piece is there twice")
def _(parts: Parts) -> bytes:
    def edit(message: Any) -> None:
        message.pieces[100].piece = message.pieces[101].piece

    return with_tokenizer(parts, edit)


@fault("tokenizer.unreadable", "a piece is no UTF-8")
def _(parts: Parts) -> bytes:
    return with_entry(
        parts, TOKENIZER, data=parts.tokenizer.replace(b"<|endoftext|>", b"<|endoftext\xff>", 1)
    )


@fault("tokenizer.vocabulary", "the tokenizer has a piece hello that the model has no logit for")
def _(parts: Parts) -> bytes:
    def edit(message: Any) -> None:
        kind = sentencepiece_model_pb2.ModelProto.SentencePiece.USER_DEFINED
        message.pieces.add(piece="hello", score=0, type=kind)

    return with_tokenizer(parts, edit)
