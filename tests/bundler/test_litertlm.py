import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from taskpress.bundler import BundleError, hf_tokenizer
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.litertlm import ALIGNMENT, HF_TOKENIZER, read_header, write_litertlm
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER, Piece, Source

PARTS: Mapping[str, bytes] = {METADATA: b"metadata", TOKENIZER: b"tokenizer", MODEL: b"the model"}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_litertlm(tmp_path / "x.litertlm", PARTS)
    return tmp_path / "x.litertlm"


def test_google_s_schema_reads_it(written: Path) -> None:
    from litert_lm_builder import litertlm_header_schema_py_generated as schema

    data = written.read_bytes()
    assert data[:8] == b"LITERTLM"
    assert struct.unpack_from("<III", data, 8) == (1, 7, 0)
    (header_end,) = struct.unpack_from("<Q", data, 24)
    header = schema.LiteRTLMMetaData.GetRootAs(data[32:header_end], 0)
    described: Any = header.SectionMetadata()
    sections = [described.Objects(number) for number in range(described.ObjectsLength())]
    assert [s.DataType() for s in sections] == [5, 4, 3]  # LlmMetadata, SP_Tokenizer, TFLiteModel
    assert [data[s.BeginOffset() : s.EndOffset()] for s in sections] == list(PARTS.values())
    assert all(s.BeginOffset() % ALIGNMENT == 0 for s in sections)
    assert [s.ItemsLength() for s in sections] == [0, 0, 1]
    pair = sections[2].Items(0)
    text = schema.StringValue()
    text.Init(pair.Value().Bytes, pair.Value().Pos)
    assert (pair.Key(), text.Value()) == (b"model_type", b"tf_lite_prefill_decode")
    assert len(data) == sections[2].EndOffset()


def test_a_file_of_google_s_packer_is_read(tmp_path: Path) -> None:
    from litert_lm_builder import Backend, DType, LitertLmFileBuilder, Metadata, TfLiteModelType

    (tmp_path / "m.pb").write_bytes(b"\x28\x05")
    (tmp_path / "m.tflite").write_bytes(b"model")
    (tmp_path / "t.json").write_bytes(b"{}")
    (tmp_path / "b.bin").write_bytes(b"anything")
    builder = LitertLmFileBuilder()
    builder.add_system_metadata(Metadata("count", 7, DType.UINT16))
    builder.add_llm_metadata(str(tmp_path / "m.pb"))
    builder.add_tflite_model(
        str(tmp_path / "m.tflite"), TfLiteModelType.PREFILL_DECODE, backend_constraint=Backend.CPU
    )
    builder.add_tflite_weights(str(tmp_path / "b.bin"), TfLiteModelType.PREFILL_DECODE)
    builder.add_tflite_model(str(tmp_path / "m.tflite"), TfLiteModelType.EMBEDDER)
    builder.add_hf_tokenizer(str(tmp_path / "t.json"))
    builder.add_generic_binary_data(str(tmp_path / "b.bin"))
    with (tmp_path / "x.litertlm").open("wb") as out:
        builder.build(out)
    header = read_header(tmp_path / "x.litertlm")
    assert header.system["count"] == 7
    assert isinstance(header.system["creation_timestamp"], str)
    assert [(section.name, section.kind) for section in header.sections] == [
        (METADATA, "LlmMetadataProto"),
        (MODEL, "TFLiteModel"),
        (f"{MODEL}_WEIGHTS", "TFLiteWeights"),
        ("TF_LITE_EMBEDDER", "TFLiteModel"),
        (HF_TOKENIZER, "HF_Tokenizer_Zlib"),
        ("GENERIC_BINARY_DATA_0", "GenericBinaryData"),
    ]
    assert header.sections[1].items["backend_constraint"] == "cpu"
    data = (tmp_path / "x.litertlm").read_bytes()
    extent = header.entries()[HF_TOKENIZER]
    packed = data[extent.offset : extent.offset + extent.size]
    assert hf_tokenizer.unpack(packed, "x") == b"{}"
    # and written again, with all that it said
    pieces: dict[str, Source] = {
        section.name: Piece(tmp_path / "x.litertlm", section.extent.offset, section.extent.size)
        for section in header.sections
    }
    items = {section.name: section.items for section in header.sections}
    write_litertlm(tmp_path / "y.litertlm", pieces, items=items, system=header.system)
    again = read_header(tmp_path / "y.litertlm")
    assert [(s.name, s.kind, s.items) for s in again.sections] == [
        (s.name, s.kind, s.items) for s in header.sections
    ]
    assert again.system == header.system


def test_values_keep_their_types_and_bytes(tmp_path: Path) -> None:
    """Written by Google's packer, written again by us, read by its schema."""
    from litert_lm_builder import DType, LitertLmFileBuilder, Metadata
    from litert_lm_builder import litertlm_header_schema_py_generated as schema

    values: dict[DType, Any] = {
        DType.BOOL: True,
        DType.STRING: "two\nlines, é and \x01",
        DType.FLOAT32: 0.5,
        DType.DOUBLE: 0.1,
    }
    for bits in (8, 16, 32, 64):
        values[DType(f"int{bits}")] = -(1 << (bits - 1))
        values[DType(f"uint{bits}")] = (1 << bits) - 1
    (tmp_path / "m").write_bytes(b"\x28\x05")
    builder = LitertLmFileBuilder()
    for dtype, value in values.items():
        builder.add_system_metadata(Metadata(dtype.value, value, dtype))
    builder.add_llm_metadata(str(tmp_path / "m"))
    with (tmp_path / "x.litertlm").open("wb") as out:
        builder.build(out)
    header = read_header(tmp_path / "x.litertlm")
    items = {MODEL: header.system}
    write_litertlm(tmp_path / "y.litertlm", PARTS, items=items, system=header.system)
    data = (tmp_path / "y.litertlm").read_bytes()
    read: Any = schema.LiteRTLMMetaData.GetRootAs(data[32:ALIGNMENT], 0)
    system, model = read.SystemMetadata(), read.SectionMetadata().Objects(2)
    kinds = {number: kind for kind, number in vars(schema.VData).items() if kind[0] != "_"}
    for pairs in (
        [system.Entries(number) for number in range(system.EntriesLength())],
        [model.Items(number) for number in range(model.ItemsLength())],
    ):
        found: dict[str, tuple[str, Any]] = {}
        for pair in pairs:
            kind = kinds[pair.ValueType()]
            value = getattr(schema, kind)()
            value.Init(pair.Value().Bytes, pair.Value().Pos)
            found[pair.Key().decode()] = (kind.lower().removesuffix("value"), value.Value())
        for dtype, value in values.items():
            expected = value.encode() if isinstance(value, str) else value
            assert found[dtype.value] == (dtype.value, expected)
    assert set(values) == set(DType)
    assert read_header(tmp_path / "y.litertlm").system == header.system


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"twin", b"once", "header: 'once' is there twice"),
        (b"name", b"na\xffe", "header: has a text that is no UTF-8"),
    ],
)
def test_what_could_not_be_written_again_is_refused(
    tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    system = {"once": "a name", "twin": "b"}
    write_litertlm(tmp_path / "x.litertlm", PARTS, system=system)
    data = (tmp_path / "x.litertlm").read_bytes()
    assert data.count(old) == 1
    (tmp_path / "x.litertlm").write_bytes(data.replace(old, new))
    with pytest.raises(BundleError, match=f"x.litertlm: {message}"):
        read_header(tmp_path / "x.litertlm")


@pytest.mark.parametrize("kind", [13, 0])
def test_a_value_of_an_unknown_type_is_refused(tmp_path: Path, kind: int) -> None:
    from litert_lm_builder import litertlm_header_schema_py_generated as schema

    write_litertlm(tmp_path / "x.litertlm", PARTS, system={"key": 1.5})
    data = bytearray((tmp_path / "x.litertlm").read_bytes())
    header = schema.LiteRTLMMetaData.GetRootAs(data[32:ALIGNMENT], 0)
    described: Any = header.SystemMetadata()
    table = described.Entries(0)._tab
    data[32 + table.Pos + table.Offset(6)] = kind
    (tmp_path / "x.litertlm").write_bytes(data)
    says = f"x.litertlm: header: 'key': has a value of type {kind}; types 1 to 12 are known"
    with pytest.raises(BundleError, match=says):
        read_header(tmp_path / "x.litertlm")


def test_the_same_parts_give_the_same_bytes(tmp_path: Path, written: Path) -> None:
    write_litertlm(tmp_path / "y.litertlm", PARTS)
    assert (tmp_path / "y.litertlm").read_bytes() == written.read_bytes()


def number_at(data: bytes, number: int, other: int) -> bytes:
    """With another number in the place of a section's offset, which is there once."""
    assert data[:ALIGNMENT].count(struct.pack("<Q", number)) == 1
    return data.replace(struct.pack("<Q", number), struct.pack("<Q", other), 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:20], "ends within the first 32 bytes of a .litertlm"),
        (lambda data: data[:8] + b"\2" + data[9:], "is of version 2.7.0 of the format"),
        (
            lambda data: data[:24] + b"\xff" * 8 + data[32:],
            "claims a header that ends at byte 184",
        ),
        (lambda data: data[:24] + b"\x21" + bytes(7) + data[32:], "claims a header that ends at"),
        (
            lambda data: data[:-1],
            "TF_LITE_PREFILL_DECODE: would lie at bytes 49152 to 49161",
        ),
        (lambda data: number_at(data, 16384, 0), "METADATA: would lie at bytes 0 to"),
        (lambda data: number_at(data, 16384, 16388), "METADATA: starts at byte 16388; a multiple"),
        (lambda data: number_at(data, 16392, 33000), "METADATA and TOKENIZER_MODEL overlap"),
        (
            lambda data: number_at(data, 16392, 1 << 63),
            "METADATA: would lie at bytes 16384 to 92",
        ),
        (lambda data: data.replace(b"tf_lite_pre", b"../lite_pre"), "a TFLiteModel of the type"),
        (lambda data: data[:32] + b"\xff" * 64 + data[96:], "header: .* damaged or cut off"),
    ],
)
def test_damage_is_named(written: Path, change: Any, message: str) -> None:
    written.write_bytes(change(written.read_bytes()))
    with pytest.raises(BundleError, match=message) as caught:
        read_header(written)
    assert str(caught.value).startswith(f"{written}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({MODEL: b"m", TOKENIZER: b"t"}, "METADATA not given"),
        ({MODEL: b"m", METADATA: b"t"}, "needs one tokenizer, TOKENIZER_MODEL or HF_TOKENIZER"),
        ({**PARTS, HF_TOKENIZER: b"t"}, "needs one tokenizer"),
        ({**PARTS, "OTHER": b"t"}, "OTHER: no such part of a .litertlm; known are"),
        ({**PARTS, MODEL: b""}, "TF_LITE_PREFILL_DECODE: no bytes"),
    ],
)
def test_parts_are_checked(tmp_path: Path, parts: Mapping[str, bytes], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        write_litertlm(tmp_path / "x.litertlm", parts)
    assert list(tmp_path.iterdir()) == []


def test_not_more_is_inflated_than_the_size_says() -> None:
    bomb = hf_tokenizer.pack(bytes(1 << 24))
    for size in (0, 5, (1 << 24) - 1, (1 << 24) + 1):
        with pytest.raises(BundleError, match="inflates to another size"):
            hf_tokenizer.unpack(size.to_bytes(8, "little") + bomb[8:], "x")
    with pytest.raises(BundleError, match="claims 1152921504606846976 bytes; at most"):
        hf_tokenizer.unpack((1 << 60).to_bytes(8, "little") + bomb[8:], "x")
    with pytest.raises(BundleError, match=r"is no deflated tokenizer\.json"):
        hf_tokenizer.unpack(bytes(8) + b"garbage", "x")


def test_a_bundle_without_a_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.litertlm"
    write_litertlm(path, PARTS)
    path.write_bytes(
        path.read_bytes().replace(b"tf_lite_prefill_decode", b"tf_lite_prefill_encode")
    )
    with pytest.raises(BundleError, match="there is no TF_LITE_PREFILL_DECODE, only METADATA, TOK"):
        read_bundle(path)
