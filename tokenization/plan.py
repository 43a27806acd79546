"""The content of a SentencePiece model, without any bytes of a format."""

from dataclasses import dataclass
from enum import Enum, IntEnum


class Stage(IntEnum):
    """When a merge happens: all of one stage come before any of the next, over the whole text."""

    FIRST = 0  # the first bytes of marks of several tokens; bytes of lone numbers
    MARK = 1  # runs of punctuation and symbols, with the space in front and what they take behind
    JOIN = 2  # glue: marks of several tokens as one symbol
    LINE = 3  # glue: a mark that still belongs to the run before a newline, as "/" in ")\n/."
    HOLD = 4  # glue: a mark and the run in front of it, so that it does not begin a word
    WORD = 5  # all that is not mentioned here
    REJOIN = 6  # glue: numbers and spaces that are several tokens become one symbol; what is late
    CUT = 7  # glue: the last of a run of spaces and the token that follows
    SPACE = 8  # runs of spaces


class Role(Enum):
    """What SentencePiece does with a piece."""

    TOKEN = "merged from its parts"
    GLUE = "merged from its parts, and taken apart again at the end"
    ADDED = "found in the text before anything else"
    NEVER = "never found in a text"
    UNKNOWN = "given to what has no piece"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the model; of TOKEN and GLUE the lowest (stage, rank) is merged first."""

    text: str
    role: Role
    stage: Stage = Stage.WORD
    rank: int = 0


@dataclass(frozen=True)
class Plan:
    """The content of a SentencePiece model.

    pieces: the original's ids in order, then glue; normalizer, denormalizer: what is rewritten
    before encoding and after decoding, the longest key at each position.
    """

    pieces: list[Piece]
    normalizer: dict[bytes, bytes]
    denormalizer: dict[bytes, bytes]
