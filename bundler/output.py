"""A file that appears whole or not at all."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from . import BundleError


@contextmanager
def whole_file(output: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """Gives a new file beside `output`, which takes that name when the block ends well.

    The file is open for reading and writing, empty, and may be sought in; its path is its `.name`
    (for a writer that wants a path: it must not replace the file). At the end it is flushed to
    the disk and renamed, in one step of the file system. On any failure, Ctrl-C included, it is
    removed; a killed process leaves `NAME.xxxxxxxx.partial` at most, never anything under `output`.
    Raises BundleError when `output` exists and not `force`, is not a regular file, or when the
    file system refuses (read-only folder, full disk), also for an OSError of the block itself.
    """
    refuse_existing(output, force=force)
    partial = output.with_name(f"{output.name}.{secrets.token_hex(4)}.partial")
    try:
        # "x" follows no link that someone else laid under this name
        with partial.open("xb+") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        refuse_existing(output, force=force)
        partial.replace(output)
    except OSError as error:
        raise BundleError(_reason(error, output, partial)) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def refuse_existing(output: Path, *, force: bool) -> None:
    """Raises BundleError where `whole_file` would: what is there already, or lacks its folder."""
    try:
        mode = output.lstat().st_mode
    except FileNotFoundError as error:
        if not output.parent.is_dir():
            raise BundleError(_reason(error, output, output)) from error
        return
    except OSError as error:
        raise BundleError(_reason(error, output, output)) from error
    if stat.S_ISLNK(mode) or stat.S_ISREG(mode):
        if not force:
            raise BundleError(f"{output}: exists; give another name, or --force to replace it")
        return
    kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
    raise BundleError(f"{output}: is {kind}; name a file to write")


def _reason(error: OSError, output: Path, partial: Path) -> str:
    """One line, of the output; or of the file that the block failed to read, where it was that."""
    reason = error.strerror or str(error)
    # an OSError of a write has no file name: then it is the output's
    about = output if error.filename is None else Path(os.fsdecode(error.filename))
    if about not in (output, partial):
        return f"{about}: {reason}; {output} was not written"
    if not output.parent.is_dir():
        return f"{output}: {output.parent} is not a folder that exists; make it first"
    return f"{output}: cannot be written: {reason}"
