import io
import re
import resource
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from taskpress.bundler import BundleError, archive
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.metadata import BundleParameters, encode
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER, Source, Written
from taskpress.bundler.task import ENTRIES, OTHER_MODELS, write_task

FAR = 1 << 32  # no number of the small bundle is that large
FIXTURES = Path(__file__).parent / "fixtures"
PARAMETERS = BundleParameters("<s>", ("</s>",), user_prefix="U", user_suffix="V", model_prefix="M")
DATA = {
    MODEL: b"\x1c\0\0\0TFL3 m",
    TOKENIZER: b"tokenizer",
    METADATA: encode(PARAMETERS),
}


SMALL: dict[str, Source] = {**DATA}


def local(name: bytes, data: bytes) -> bytes:
    """A local header by the book: version 2.0, stored, 1980-01-01 00:00."""
    sizes = struct.pack("<III", zlib.crc32(data), len(data), len(data))
    return b"PK\3\4\x14\0\0\0\0\0\0\0\x21\0" + sizes + struct.pack("<HH", len(name), 0) + name


def central(name: bytes, data: bytes, header: int) -> bytes:
    sizes = struct.pack("<III", zlib.crc32(data), len(data), len(data))
    made = b"PK\1\2\x14\x03\x14\0\0\0\0\0\0\0\x21\0"
    rest = struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0o100644 << 16, header)
    return made + sizes + rest + name


def test_exact_bytes_of_the_smallest_bundle(tmp_path: Path) -> None:
    write_task(tmp_path / "x.task", SMALL)
    model, tokenizer, parameters = DATA.values()
    entries = (
        bytes(4)
        + (local(b"TF_LITE_PREFILL_DECODE", model) + model)  # header 4, data 56 to 66
        + bytes(1)
        + (local(b"TOKENIZER_MODEL", tokenizer) + tokenizer)  # header 67, data 112 to 121
        + bytes(1)
        + (local(b"METADATA", parameters) + parameters)  # header 122, data 160
    )
    directory = (
        central(b"TF_LITE_PREFILL_DECODE", model, 4)
        + central(b"TOKENIZER_MODEL", tokenizer, 67)
        + central(b"METADATA", parameters, 122)
    )
    end = b"PK\5\6\0\0\0\0\3\0\3\0" + struct.pack("<IIH", len(directory), len(entries), 0)
    assert (tmp_path / "x.task").read_bytes() == entries + directory + end


def test_zipfile_and_unzip_read_it(tmp_path: Path) -> None:
    output = tmp_path / "x.task"
    write_task(output, SMALL)
    with zipfile.ZipFile(output) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == SMALL
    if unzip := shutil.which("unzip"):
        subprocess.run([unzip, "-tq", output], check=True)


def write_some(room: BinaryIO) -> None:
    room.write(b"....TFL3")
    room.seek(0)
    room.write(b"\x1c\0\0\0")
    room.seek(0, io.SEEK_END)
    assert room.tell() == 10
    room.seek(-2, io.SEEK_CUR)
    room.write(b" m")


def test_bytes_a_file_and_a_writer_give_the_same_bundle(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"tokenizer")
    write_task(tmp_path / "a.task", SMALL)
    # in another order too: the format has one
    mixed: dict[str, Source] = {
        METADATA: SMALL[METADATA],
        TOKENIZER: tmp_path / "tokenizer.model",
        MODEL: Written(10, write_some),
    }
    write_task(tmp_path / "b.task", mixed)
    assert (tmp_path / "a.task").read_bytes() == (tmp_path / "b.task").read_bytes()


def test_reading_gives_extents_and_parameters(tmp_path: Path) -> None:
    output = tmp_path / "x.task"
    write_task(output, SMALL)
    task = read_bundle(output)
    assert task.parameters == PARAMETERS
    whole = output.read_bytes()
    for name, data in DATA.items():
        extent = task.entries[name]
        assert extent.offset % 4 == 0
        assert whole[extent.offset : extent.offset + extent.size] == data
        assert task.read(name) == data


def test_a_bundle_of_mediapipe_opens() -> None:
    path = FIXTURES / "mediapipe.task"
    task = read_bundle(path)
    assert list(task.entries) == [MODEL, TOKENIZER, METADATA]
    assert task.parameters.user_role_token == "<user>"
    with zipfile.ZipFile(path) as opened:
        for name in task.entries:
            assert task.read(name) == opened.read(name)


@pytest.mark.parametrize("name", ["mediapipe.task", "mediapipe_models.task"])
def test_the_layout_is_that_of_mediapipe(tmp_path: Path, name: str) -> None:
    theirs = read_bundle(FIXTURES / name)
    write_task(tmp_path / "x.task", {name: theirs.read(name) for name in theirs.entries})
    assert read_bundle(tmp_path / "x.task").entries == theirs.entries


def test_a_bundle_of_mediapipe_with_every_kind_of_entry_opens() -> None:
    task = read_bundle(FIXTURES / "mediapipe_models.task")
    assert tuple(task.entries) == ENTRIES
    model = task.read(MODEL)
    for size, name in enumerate(OTHER_MODELS.values()):
        assert task.read(name) == model + bytes(size)


EVERY: dict[str, Source] = {**SMALL, **{name: name.encode() for name in OTHER_MODELS.values()}}


@pytest.mark.parametrize("alignment", [8, 16, 32, 64, 4096, 16384, 32768])
def test_a_larger_alignment_on_request(tmp_path: Path, alignment: int) -> None:
    output = tmp_path / "x.task"
    write_task(output, EVERY, alignment=alignment)
    assert output.read_bytes()[:6] == b"\0\0\0\0PK"  # where the web engine looks for it
    task = read_bundle(output)
    assert tuple(task.entries) == ENTRIES
    assert {name: task.read(name) for name in task.entries} == EVERY
    for name, extent in task.entries.items():
        assert extent.offset % alignment == 0, name
    with zipfile.ZipFile(output) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == EVERY
    if unzip := shutil.which("unzip"):
        subprocess.run([unzip, "-tq", output], check=True)


def test_the_padding_is_an_extra_field_of_the_local_header(tmp_path: Path) -> None:
    output = tmp_path / "x.task"
    write_task(output, SMALL, alignment=16)
    model = DATA[MODEL]
    # header 4, name up to 56: 8 bytes are missing; the field has 4 of its own, 2 say "16"
    extra = b"\x35\xd9\x04\0\x10\0\0\0"
    header = local(MODEL.encode(), model)
    header = header.replace(b"\x16\0\0\0TF_", b"\x16\0\x08\0TF_") + extra
    assert output.read_bytes()[: 64 + len(model)] == bytes(4) + header + model


@pytest.mark.parametrize("alignment", [-4, 0, 1, 2, 6, 1 << 16])
def test_alignments_that_are_refused(tmp_path: Path, alignment: int) -> None:
    message = rf"^alignment: {alignment}; a power of two from 4 to 32768 is needed$"
    with pytest.raises(BundleError, match=message):
        write_task(tmp_path / "x.task", SMALL, alignment=alignment)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("alignment", [4, 8, 16, 16384])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 1 << 32, 5 << 30])
def test_every_entry_is_aligned_and_the_first_header_is_at_byte_4(
    size: int, alignment: int
) -> None:
    entries = [(MODEL, size), (TOKENIZER, size), (METADATA, size)]
    placed = archive.plan(entries, alignment=alignment)
    assert placed[0].header == 4
    end = 0
    for entry in placed:
        assert entry.offset % alignment == 0
        assert entry.header + len(archive.local_header(entry, 0)) == entry.offset
        assert 1 <= entry.header - end <= 4
        assert entry.zip64 == (size > 1 << 30)
        end = entry.offset + entry.size


def zip64_archive(limit: int, alignment: int = 4) -> bytes:
    """SMALL with 64-bit records wherever a number reaches `limit`, as in a file of many GiB."""
    sizes = [(name, len(data)) for name, data in DATA.items()]
    placed = archive.plan(sizes, limit, alignment)
    out = io.BytesIO()
    checked = [(entry, zlib.crc32(DATA[entry.name])) for entry in placed]
    for entry, crc32 in checked:
        out.seek(entry.header)
        out.write(archive.local_header(entry, crc32) + DATA[entry.name])
        assert out.tell() == entry.offset + entry.size
    out.write(archive.directory(checked, out.tell(), zip64_from=limit))
    return out.getvalue()


@pytest.mark.parametrize("alignment", [4, 16, 64])
@pytest.mark.parametrize("limit", [0, 10, 50, 100, 130])
def test_zip64_records_are_read_by_all(tmp_path: Path, limit: int, alignment: int) -> None:
    path = tmp_path / "x.task"
    path.write_bytes(zip64_archive(limit, alignment))
    assert b"\xff\xff\xff\xff" in path.read_bytes()
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == SMALL
    task = read_bundle(path)
    assert {name: task.read(name) for name in task.entries} == SMALL
    if unzip := shutil.which("unzip"):
        subprocess.run([unzip, "-tq", path], check=True)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_system_that_takes_no_more_is_one_line(tmp_path: Path) -> None:
    entries = SMALL | {MODEL: bytes(100_000)}
    message = r"^/.*x\.task: cannot be written: File too large$"
    with files_of_at_most(50_000), pytest.raises(BundleError, match=message):
        write_task(tmp_path / "x.task", entries)
    assert list(tmp_path.iterdir()) == []


def fail_to_write(room: BinaryIO) -> None:
    raise BundleError("model: could not be made")


def shrink(path: Path) -> Written:
    """An entry whose writing shortens the file of another entry."""

    def write(room: BinaryIO) -> None:
        path.write_bytes(b"tok")
        room.write(b"0123456789")

    return Written(10, write)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"MODEL": b""}, "MODEL: no such entry; known are TF_LITE_PREFILL_DECODE, "),
        ({MODEL: b""}, "TF_LITE_PREFILL_DECODE: no bytes"),
        ({MODEL: Path("/nowhere/m.tflite")}, "^/nowhere/m.tflite: cannot be read: No such file"),
        ({MODEL: Path("/")}, "^/: cannot be read: Is a directory"),
        ({MODEL: Written(10, lambda room: None)}, "DECODE: 0 bytes where 10 were planned"),
        ({MODEL: Written(3, lambda room: room.write(b"1234"))}, "4 bytes from byte 0 do not fit"),
        ({MODEL: Written(3, fail_to_write)}, "model: could not be made"),
    ],
)
def test_entries_that_cannot_be_written(
    tmp_path: Path, change: dict[str, Source], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        write_task(tmp_path / "x.task", SMALL | change)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    tokenizer = tmp_path / "tokenizer.model"
    tokenizer.write_bytes(b"tokenizer")
    entries: dict[str, Source] = SMALL | {TOKENIZER: tokenizer, MODEL: shrink(tokenizer)}
    with pytest.raises(BundleError, match="TOKENIZER_MODEL: 3 bytes where 9 were planned"):
        write_task(tmp_path / "x.task", entries)
    assert list(tmp_path.iterdir()) == [tokenizer]


def test_missing_entries_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"x\.task: TOKENIZER_MODEL, METADATA not given"):
        write_task(tmp_path / "x.task", {MODEL: b"m"})


def test_an_existing_bundle_is_kept(tmp_path: Path) -> None:
    write_task(tmp_path / "x.task", SMALL)
    before = (tmp_path / "x.task").read_bytes()
    with pytest.raises(BundleError, match=r"x\.task: exists; .* --force"):
        write_task(tmp_path / "x.task", SMALL | {MODEL: b"another"})
    assert (tmp_path / "x.task").read_bytes() == before


def small_with(*changes: tuple[bytes, bytes]) -> bytes:
    """The small bundle with bytes replaced wherever they are found."""
    data = zip64_archive(limit=FAR)
    for old, new in changes:
        assert old in data
        data = data.replace(old, new)
    return data


def zipped(names: list[str], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name in names:
            file.writestr(name, bytes(64))
    return out.getvalue()


def directory_entry(name: str, header: int) -> bytes:
    return central(name.encode(), DATA[name], header)


ALL = [MODEL, TOKENIZER, METADATA]
COUNTS = b"PK\5\6\0\0\0\0\3\0\3\0"
AT_67 = directory_entry(TOKENIZER, 67)
HOSTILE = {
    "no zip": (b"", "is no .task and no .litertlm; needs one"),
    "cut off": (small_with()[:-1], "has no zip directory at its end"),
    "in parts": (small_with((COUNTS, COUNTS[:4] + b"\1" + COUNTS[5:])), "one of several parts"),
    "too many": (small_with((COUNTS, COUNTS[:8] + b"A\0A\0")), "claims 65 entries in 183 bytes"),
    "a fourth": (small_with((COUNTS, COUNTS[:8] + b"\4\0\4\0")), "directory entry 3 is cut off"),
    "no mark": (small_with((b"PK\1\2", b"PK\1\3")), "directory entry 0 does not start with its PK"),
    "deflated": (zipped(ALL, zipfile.ZIP_DEFLATED), r"DECODE: is compressed \(method 8\); the run"),
    "encrypted": (
        small_with((AT_67, AT_67[:8] + b"\1" + AT_67[9:])),
        "TOKENIZER_MODEL: is encrypted",
    ),
    "upwards": (zipped([MODEL, "../METADATA"]), r"has an entry named '\.\./METADATA'; a bundle's"),
    "absolute": (zipped(["/METADATA"]), "has an entry named '/METADATA'"),
    "a line break": (zipped(["A\nB"]), r"has an entry named 'A\\nB'"),
    "not ASCII": (zipped(["MÉTADATA"]), r"has an entry named 'M.*TADATA'"),
    "nothing": (zipped([]), "there is no TF_LITE_PREFILL_DECODE, only nothing"),
    "no METADATA": (zipped([MODEL, TOKENIZER]), "there is no METADATA, only TF_LITE_PRE"),
    "twice": (
        zipped([MODEL, "METADATA", "METADATE"]).replace(b"METADATE", b"METADATA"),
        "METADATA: is there twice",
    ),
    "unaligned": (zipped([*ALL, "X"]), "TOKENIZER_MODEL: its data starts at byte 161; a multiple"),
    "of another": (
        small_with((AT_67, directory_entry(TOKENIZER, 4))),
        "TOKENIZER_MODEL: the local header says b'TF_LITE_PREFILL_DECODE', method 0",
    ),
    "far header": (
        small_with((AT_67, directory_entry(TOKENIZER, 1 << 31))),
        "TOKENIZER_MODEL: the local header would lie at bytes 2147483648 to",
    ),
    "no header": (
        small_with((AT_67, directory_entry(TOKENIZER, 66))),
        "TOKENIZER_MODEL: byte 66 is no local header",
    ),
    "long data": (
        small_with((struct.pack("<II", 9, 9), struct.pack("<II", 9999, 9999))),
        "TOKENIZER_MODEL: 9999 bytes from byte 112 reach past the directory at byte",
    ),
    "into the next": (
        small_with((struct.pack("<II", 9, 9), struct.pack("<II", 60, 60))),
        "TOKENIZER_MODEL and METADATA overlap",
    ),
    "promised zip64": (
        small_with((AT_67[20:28], b"\xff" * 8)),
        "TOKENIZER_MODEL: has no 64-bit size where it promises one",
    ),
    "no zip64 end": (
        small_with((COUNTS, COUNTS[:8] + b"\xff" * 4)),
        "promises zip64 records and has none",
    ),
    "far zip64 end": (
        re.sub(rb"(PK\x06\x07....).{8}", rb"\1" + b"\xff" * 8, zip64_archive(0), flags=re.DOTALL),
        "the zip64 directory end would lie at bytes",
    ),
    "bad zip64 end": (
        zip64_archive(0).replace(b"PK\6\6", b"PK\6\5"),
        "is no zip64 record",
    ),
    "damaged": (small_with((DATA[METADATA], DATA[METADATA][::-1])), "METADATA: its CRC-32 is not"),
}


@pytest.mark.parametrize(("data", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_archives(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.task"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=message) as caught:
        read_bundle(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_metadata_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    write_task(tmp_path / "x.task", SMALL | {METADATA: bytes(2 << 20)})
    with pytest.raises(BundleError, match="METADATA: 2097152 bytes; at most 1048576 are read"):
        read_bundle(tmp_path / "x.task")


def test_a_missing_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"/x\.task: cannot be read: No such file"):
        read_bundle(tmp_path / "x.task")


# every example overwrites the one file
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.sampled_from([FAR, 0, 100]),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    keep=st.floats(0, 1),
    cut=st.booleans(),
)
def test_mutated_bundles_give_a_result_or_one_error(
    tmp_path: Path, limit: int, changes: list[tuple[int, int]], keep: float, cut: bool
) -> None:
    data = bytearray(zip64_archive(limit))
    for at, value in changes:
        data[at % len(data)] = value
    if cut:
        del data[int(len(data) * keep) :]
    path = tmp_path / "x.task"
    path.write_bytes(data)
    try:
        task = read_bundle(path)
        for name in task.entries:
            task.read(name)
    except BundleError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017 - most of the examples end here
