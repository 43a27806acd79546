"""Broken `.litertlm` files: faults of the header, of the sections and of LlmMetadata."""

import json
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import flatbuffers
from broken_archives import archived, good_entries
from faults import Parts, fault
from litert_lm_builder import litertlm_header_schema_py_generated as schema
from litert_lm_builder.runtime.proto import llm_metadata_pb2
from taskpress.bundler.parts import METADATA

ALIGNMENT = 16 * 1024
KIND = schema.AnySectionDataType
SUFFIX = ".litertlm"
VERSION = (1, 7, 0)
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message.role }}{% endfor %}"


@dataclass(frozen=True)
class Section:
    """A section that may lie: `begin` and `end` are added to what the header says of it."""

    kind: int
    data: bytes
    model_type: str = ""
    begin: int = 0
    end: int = 0
    shift: int = 0  # where it is put, from a multiple of ALIGNMENT


def sectioned(
    sections: Iterable[Section],
    *,
    magic: bytes = b"LITERTLM",
    version: tuple[int, int, int] = VERSION,
    header_end: int | None = None,
) -> bytes:
    """A file laid out as Google's packer does it. header_end: what it says; None: the truth."""
    sections = list(sections)
    at, places = ALIGNMENT, []
    for section in sections:
        places.append(at + section.shift)
        at = -(-(places[-1] + len(section.data)) // ALIGNMENT) * ALIGNMENT
    header = _header(sections, places)
    end = 32 + len(header) if header_end is None else header_end
    out = bytearray(magic + struct.pack("<III4xQ", *version, end) + header)
    for section, place in zip(sections, places, strict=True):
        out += bytes(place - len(out)) + section.data
    return bytes(out)


def _header(sections: list[Section], places: list[int]) -> bytes:
    objects = []
    for section, place in zip(sections, places, strict=True):
        items = []
        if section.model_type:
            value = schema.StringValueT(section.model_type)
            items.append(schema.KeyValuePairT("model_type", schema.VData.StringValue, value))
        end = place + len(section.data) + section.end
        objects.append(schema.SectionObjectT(items, place + section.begin, end, section.kind))
    root = schema.LiteRTLMMetaDataT(schema.SystemMetadataT([]), schema.SectionMetadataT(objects))
    builder = flatbuffers.Builder(1024)
    builder.Finish(root.Pack(builder))
    return bytes(builder.Output())


def llm_metadata(parts: Parts, edit: Callable[[Any], None] = lambda message: None) -> bytes:
    message = llm_metadata_pb2.LlmMetadata(max_num_tokens=48)
    message.start_token.token_str = parts.parameters.start_token
    for token in parts.parameters.stop_tokens:
        message.stop_tokens.add().token_str = token
    message.llm_model_type.generic_model.SetInParent()
    edit(message)
    return message.SerializeToString(deterministic=True)


def good_sections(parts: Parts) -> dict[str, Section]:
    return {
        "metadata": Section(KIND.LlmMetadataProto, llm_metadata(parts)),
        "model": Section(KIND.TFLiteModel, parts.model, "tf_lite_prefill_decode"),
        "tokenizer": Section(KIND.SP_Tokenizer, parts.tokenizer),
    }


def with_section(parts: Parts, name: str, /, **changes: Any) -> bytes:
    """The good file, with one section changed."""
    sections = good_sections(parts)
    return sectioned((sections | {name: replace(sections[name], **changes)}).values())


def with_llm_metadata(parts: Parts, edit: Callable[[Any], None]) -> bytes:
    return with_section(parts, "metadata", data=llm_metadata(parts, edit))


@fault("file.kind", "the magic bytes are LITERTLX", SUFFIX)
def _(parts: Parts) -> bytes:
    return sectioned(good_sections(parts).values(), magic=b"LITERTLX")


@fault("file.kind", "the file is a .task that was named .litertlm", SUFFIX)
def _(parts: Parts) -> bytes:
    return archived(good_entries(parts).values())


@fault("sections.version", "the format's version is 9.0.0", SUFFIX)
def _(parts: Parts) -> bytes:
    return sectioned(good_sections(parts).values(), version=(9, 0, 0))


@fault("sections.header", "the header ends beyond the file", SUFFIX)
def _(parts: Parts) -> bytes:
    return sectioned(good_sections(parts).values(), header_end=1 << 40)


@fault("sections.header", "the header ends before it begins", SUFFIX)
def _(parts: Parts) -> bytes:
    return sectioned(good_sections(parts).values(), header_end=8)


@fault("sections.header", "the header's flatbuffer is zeros", SUFFIX)
def _(parts: Parts) -> bytes:
    whole = bytearray(sectioned(good_sections(parts).values()))
    (end,) = struct.unpack_from("<Q", whole, 24)
    whole[32:end] = bytes(end - 32)
    return bytes(whole)


@fault("sections.bounds", "the file is cut off in the middle of its last section", SUFFIX)
def _(parts: Parts) -> bytes:
    return sectioned(good_sections(parts).values())[: -len(parts.tokenizer) // 2]


@fault("sections.bounds", "the model ends before it begins", SUFFIX)
def _(parts: Parts) -> bytes:
    return with_section(parts, "model", end=-len(parts.model) - 1000)


@fault("sections.bounds", "LlmMetadata would lie at 4 TB", SUFFIX)
def _(parts: Parts) -> bytes:
    return with_section(parts, "metadata", begin=1 << 42, end=1 << 42)


@fault("sections.overlap", "the model ends in the tokenizer", SUFFIX)
def _(parts: Parts) -> bytes:
    return with_section(parts, "model", end=ALIGNMENT)


@fault("sections.alignment", "the model is at 4 bytes from a multiple of 16 KiB", SUFFIX)
def _(parts: Parts) -> bytes:
    return with_section(parts, "model", shift=4)


for _name, _what in (
    ("metadata", "LlmMetadata"),
    ("model", "model"),
    ("tokenizer", "tokenizer"),
):

    @fault("sections.missing", f"there is no {_what}", SUFFIX)
    def _(parts: Parts, name: str = _name) -> bytes:
        return sectioned(each for key, each in good_sections(parts).items() if key != name)


@fault("sections.model_type", "the model's type is prefill_decode", SUFFIX)
def _(parts: Parts) -> bytes:
    return with_section(parts, "model", model_type="prefill_decode")


@fault("sections.missing", "the model's type is tf_lite_embedder", SUFFIX)
def _(parts: Parts) -> bytes:
    return with_section(parts, "model", model_type="tf_lite_embedder")


@fault("sections.duplicate", "there are two models of the same type", SUFFIX)
def _(parts: Parts) -> bytes:
    sections = good_sections(parts)
    return sectioned([*sections.values(), sections["model"]])


@fault("sections.kind", "there is a section of the kind 77", SUFFIX)
def _(parts: Parts) -> bytes:
    return sectioned([*good_sections(parts).values(), Section(77, b"future")])


@fault("metadata.unreadable", "LlmMetadata is JSON", SUFFIX)
def _(parts: Parts) -> bytes:
    return with_section(parts, "metadata", data=b'{"start_token": "<|im_start|>"}')


@fault("start.unknown", "LlmMetadata's start token is not in the tokenizer", SUFFIX)
def _(parts: Parts) -> bytes:
    def edit(message: Any) -> None:
        message.start_token.token_str = "<s>"

    return with_llm_metadata(parts, edit)


@fault("start.empty", "LlmMetadata's start token is empty", SUFFIX)
def _(parts: Parts) -> bytes:
    def edit(message: Any) -> None:
        message.ClearField("start_token")
        message.start_token.SetInParent()

    return with_llm_metadata(parts, edit)


@fault("stop.none", "LlmMetadata has no stop tokens", SUFFIX)
def _(parts: Parts) -> bytes:
    return with_llm_metadata(parts, lambda message: message.ClearField("stop_tokens"))


@fault("metadata.token", "a stop token is the id 100,000", SUFFIX)
def _(parts: Parts) -> bytes:
    return with_llm_metadata(
        parts, lambda message: message.stop_tokens.add().token_ids.ids.append(100_000)
    )


@fault("template.syntax", "the chat template has no endfor", SUFFIX)
def _(parts: Parts) -> bytes:
    def edit(message: Any) -> None:
        message.jinja_prompt_template = TEMPLATE.removesuffix("{% endfor %}")

    return with_llm_metadata(parts, edit)


@fault("template.python", "the chat template calls message.get", SUFFIX)
def _(parts: Parts) -> bytes:
    def edit(message: Any) -> None:
        message.jinja_prompt_template = TEMPLATE.replace("message.role", "message.get('role')")

    return with_llm_metadata(parts, edit)


@fault("tokenizer.unreadable", "the tokenizer.json says that it is 1 TB", SUFFIX)
def _(parts: Parts) -> bytes:
    document = json.dumps({"model": {"type": "BPE"}}).encode()
    data = struct.pack("<Q", 1 << 40) + zlib.compress(document)
    return with_section(parts, "tokenizer", kind=KIND.HF_Tokenizer_Zlib, data=data)


@fault("metadata.runtime", "METADATA is LlmMetadata, and the bundle is for MediaPipe")
def _(parts: Parts) -> bytes:
    entries = good_entries(parts)
    changed = replace(entries[METADATA], data=llm_metadata(parts))
    return archived((entries | {METADATA: changed}).values())
