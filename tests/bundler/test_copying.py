"""Copying in the kernel and without it: the same bytes, the same sum, the same errors."""

import errno
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from taskpress.bundler import BundleError, copying

SKIPPED, SIZE = 1000, 20_000_001  # more than one piece, of no round length


def _refusing(error: int) -> Any:
    def copy_file_range(*_: int) -> int:
        raise OSError(error, os.strerror(error))

    return copy_file_range


def _refusing_the_rest(*arguments: int) -> int:
    """A part of the second piece is copied, then the system has enough."""
    *_, source, to = arguments
    if to > 17_000_000:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return _REAL(arguments[0], arguments[1], min(arguments[2], 5_000_000), source, to)


_REAL = getattr(os, "copy_file_range", None)
_WAYS = {
    "as the system likes": None,
    "not in the kernel": _refusing(errno.EXDEV),
    "in the kernel for a while": _refusing_the_rest,
}


@pytest.fixture(params=_WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if _WAYS[request.param] is not None:
        if _REAL is None:
            pytest.skip("this system does not copy in the kernel")
        monkeypatch.setattr(os, "copy_file_range", _WAYS[request.param])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copying") / "source"
    path.write_bytes(os.urandom(SKIPPED + SIZE + 5))
    return path


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("checked", [True, False])
def test_copies_a_part_behind_what_was_written(source: Path, tmp_path: Path, checked: bool) -> None:
    expected = source.read_bytes()[SKIPPED : SKIPPED + SIZE]
    with source.open("rb") as file, (tmp_path / "copy").open("xb+") as out:
        file.seek(SKIPPED)
        out.write(b"before")
        crc32 = copying.copy(file, SIZE, out, checked=checked)
        out.write(b"after")
        assert (file.tell(), file.read()) == (SKIPPED + SIZE, source.read_bytes()[-5:])
    assert (tmp_path / "copy").read_bytes() == b"before" + expected + b"after"
    assert crc32 == (zlib.crc32(expected) if checked else 0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("checked", [True, False])
def test_a_source_that_ends_too_early_is_named(source: Path, tmp_path: Path, checked: bool) -> None:
    with (
        source.open("rb") as file,
        (tmp_path / "copy").open("xb+") as out,
        pytest.raises(BundleError, match="ended 7 bytes too early"),
    ):
        copying.copy(file, SKIPPED + SIZE + 12, out, checked=checked)


def test_sums_up_without_copying(source: Path) -> None:
    with source.open("rb") as file:
        assert copying.crc32_of(file, SIZE) == zlib.crc32(source.read_bytes()[:SIZE])
