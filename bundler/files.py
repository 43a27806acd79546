"""Opening the files that a user names."""

import stat
from pathlib import Path
from typing import BinaryIO

from . import BundleError


def open_file(path: Path) -> BinaryIO:
    """Opens a regular file for reading. Raises BundleError for what is none, or cannot be read."""
    try:
        mode = path.stat().st_mode
        # opening a pipe would wait for its writer; a folder says so itself
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise BundleError(f"{path}: is not a regular file; a file is needed")
        return path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error


def read_file(path: Path) -> bytes:
    """All of a file. Raises BundleError as `open_file` does."""
    try:
        with open_file(path) as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path | str, error: OSError) -> BundleError:
    """What to raise for a file that cannot be read."""
    return BundleError(f"{path}: cannot be read: {error.strerror or error}; a file is needed")
