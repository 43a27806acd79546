"""Copying by the system and without it: the same bytes, the same sum, the same errors."""

import errno
import io
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from taskpress.bundler import BundleError, copying

SKIPPED, SIZE = 1000, 2_000_001  # several chunks, of no round length


@pytest.fixture(autouse=True)
def _several_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_PIECE_BYTES", 1 << 20)


def _refusing(*_: int) -> int:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def _refusing_the_rest(*arguments: int) -> int:
    """A part of the second piece is copied, then the system has enough."""
    if arguments[-1] > 1_500_000:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return _REAL(arguments[0], arguments[1], min(arguments[2], 400_000), *arguments[3:])


_REAL = getattr(os, "copy_file_range", None)
_WAYS = {"as it likes": None, "never": _refusing, "for a while": _refusing_the_rest}


@pytest.fixture(params=_WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if _WAYS[request.param] is not None:
        if _REAL is None:
            pytest.skip("this system does not copy by itself")
        monkeypatch.setattr(os, "copy_file_range", _WAYS[request.param])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copying") / "source"
    path.write_bytes(os.urandom(SKIPPED + SIZE + 5))
    return path


@pytest.mark.usefixtures("way")
def test_copies_a_part_behind_what_was_written(source: Path, tmp_path: Path) -> None:
    expected = source.read_bytes()[SKIPPED : SKIPPED + SIZE]
    with source.open("rb") as file, (tmp_path / "copy").open("xb+") as out:
        file.seek(SKIPPED)
        out.write(b"before")
        crc32 = copying.copy(file, SIZE, out)
        out.write(b"after")
        assert (file.tell(), file.read()) == (SKIPPED + SIZE, source.read_bytes()[-5:])
    assert (tmp_path / "copy").read_bytes() == b"before" + expected + b"after"
    assert crc32 == zlib.crc32(expected)


def test_sums_up_without_copying(source: Path) -> None:
    with source.open("rb") as file:
        assert copying.crc32_of(file, SIZE) == zlib.crc32(source.read_bytes()[:SIZE])
        assert file.tell() == SIZE


@pytest.mark.usefixtures("way")
def test_a_source_that_ends_too_early_is_named(source: Path, tmp_path: Path) -> None:
    with (
        source.open("rb") as file,
        (tmp_path / "copy").open("xb+") as out,
        pytest.raises(BundleError, match="source: ended 7 bytes too early"),
    ):
        copying.copy(file, SKIPPED + SIZE + 12, out)


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        name = "disk/model"

        def readinto(self, *_: Any) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(BundleError, match=r"disk/model: cannot be read: Input/output error"):
        copying.copy(Failing(), 1, io.BytesIO())


def test_long_work_is_shown_with_its_bytes(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown: list[Any] = []

    class Bar:
        def __enter__(self) -> Any:
            return lambda done, total: shown.append((done, total))

        def __exit__(self, *_: object) -> None:
            pass

    def progress(what: str) -> Bar:
        shown.append(what)
        return Bar()

    monkeypatch.setattr(copying, "progress", progress)
    monkeypatch.setattr(copying, "_SHOWN_BYTES", SIZE)
    with source.open("rb") as file, (tmp_path / "copy").open("xb") as out:
        copying.copy(file, SIZE - 1, out)
        assert not shown
        file.seek(0)
        copying.copy(file, SIZE, out)
    assert (shown[0], shown[-1]) == ("copying source", (SIZE, SIZE))
