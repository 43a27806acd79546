"""Where the texts of a parity check come from: the sample that ships, and the user's files."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from . import TokenizerError

SAMPLE = Path(__file__).with_name("sample")  # its README.md says what is in it, and from where
CATEGORIES = ("prose", "multilingual", "code", "markup", "json", "numbers", "emoji")
BLOCK_CHARACTERS = 4096


def sample(category: str) -> list[Path]:
    """The files of one of the CATEGORIES of the sample corpus, in order of their names."""
    return sorted((SAMPLE / category).glob("*.txt"))


def size_bytes(path: Path) -> int:
    """The size of a file; TokenizerError where there is none."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def blocks(path: Path) -> Iterator[str]:
    """The text of a file in blocks, see `split`; bytes that are no UTF-8 count as U+FFFD.

    Raises TokenizerError where it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            yield from split(iter(lambda: file.read(BLOCK_CHARACTERS), ""))
    except OSError as error:
        raise _unreadable(path, error) from error


def split(parts: Iterable[str]) -> Iterator[str]:
    """A text in blocks of about BLOCK_CHARACTERS, cut behind a line if there is one.

    parts: all of the text, in order; parts of BLOCK_CHARACTERS give the same blocks in any case.
    """
    rest = ""
    for part in parts:
        rest += part
        end = rest.rfind("\n") + 1 or len(rest)
        yield rest[:end]
        rest = rest[end:]
    if rest:
        yield rest


def split_text(text: str) -> Iterator[str]:
    """A whole text in the blocks that `blocks` gives for a file of it."""
    places = range(0, len(text), BLOCK_CHARACTERS)
    return split(text[place : place + BLOCK_CHARACTERS] for place in places)


def _unreadable(path: Path, error: OSError) -> TokenizerError:
    return TokenizerError(f"{path}: {error.strerror or error}; a readable text file is needed")
