"""What the original does to a text before it merges bytes, as data that the compiler works from.

A byte-level BPE tokenizer cuts the text with regular expressions into pre-tokens, and merges only
inside of one. `expression` finds the cells of characters that these expressions tell apart. What
they do with each cell is then asked from the original's own pre-tokenizer, with short texts of one
character a cell: does a space join it, does it cut the last space off a run, how many of it make a
pre-token. So no expression is known by name, and any is analysed in the same way.
"""

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from . import TokenizerError, expression

MAX_GROUP = 8  # the longest pre-token of numbers that counts as a group, and not as any run
CONTRACTION_LETTERS = 2  # behind the apostrophe
NEW_EMOJI = r"\x{1FA70}-\x{1FAFF}"  # the block that gets those of new versions of Unicode
ASSIGNED_MARKS = rf"[\p{{P}}\p{{S}}\p{{M}}\p{{Cc}}\p{{Cf}}{NEW_EMOJI}]"


class Kind(IntEnum):
    """What a character does in a pre-token."""

    MARK = 0  # makes runs with marks: punctuation, symbols, what is not assigned
    LETTER = 1  # makes runs with letters
    NUMBER = 2  # \p{N}, and what Digits takes for one
    SPACE = 3  # \s
    APART = 4  # none of these: in no run, or only in runs of its own cell


Cut = Callable[[str], list[str]]


@dataclass(frozen=True)
class PreTokenizer:
    """How a text is cut.

    kinds: the Kind of each code point, uint8 [POINTS]; hidden: bool [POINTS], the characters that
    are cut out before spaces are looked at, so that they take no space and cut none off a run;
    among_spaces: bool [POINTS], those that are in one pre-token with the spaces on both sides of
    them, since no expression takes them: "=" in DeepSeek Coder, "." in BLOOM;
    in_marks: bool [POINTS], letters that a run of marks in front takes, in o200k combining marks;
    contractions: "'s" and the like, where they are pre-tokens whatever follows;
    suffixes: those that end a word, and are cut from what follows;
    group: the most numbers in a pre-token, 0 for any number of them;
    marks_begin_words: whether just one mark may begin a pre-token of letters, as in "(foo";
    mark_endings: the spaces that belong to a run of marks in front of them, and not to more spaces;
    after_endings: ASCII marks that such a run takes behind those too, while others begin a new one;
    shortened: the spaces that a run loses at its end when something else follows;
    cut: the pre-tokens of a text.
    """

    kinds: np.ndarray
    hidden: np.ndarray
    among_spaces: np.ndarray
    in_marks: np.ndarray
    contractions: tuple[str, ...]
    suffixes: tuple[str, ...]
    group: int
    marks_begin_words: bool
    mark_endings: frozenset[str]
    after_endings: frozenset[str]
    shortened: frozenset[str]
    cut: Cut

    def kind(self, character: str) -> Kind:
        """The kind of one character."""
        point = ord(character)
        return self._kinds[point] if point < len(self._kinds) else Kind.MARK

    @cached_property
    def _kinds(self) -> list[Kind]:
        """The same, which is asked for millions of times: an array would make a Kind each time."""
        every = list(Kind)
        return [every[kind] for kind in self.kinds.tolist()]

    def is_mark(self, character: str) -> bool:
        """Whether one character is a mark, in runs of marks or apart from them."""
        kind = self.kind(character)
        return kind is Kind.MARK or (
            kind is Kind.APART and bool(expression.members(ASSIGNED_MARKS)[ord(character)])
        )

    def is_hidden(self, character: str) -> bool:
        """Whether one character is cut out before spaces are looked at."""
        point = ord(character)
        return point < len(self.hidden) and bool(self.hidden[point])

    def is_among_spaces(self, character: str) -> bool:
        """Whether one character is a space, or merged with spaces on both sides of it."""
        point = ord(character)
        return self.kind(character) is Kind.SPACE or (
            point < len(self.among_spaces) and bool(self.among_spaces[point])
        )

    def characters(self, kind: Kind, start: int = 0x80) -> Iterator[str]:
        """The assigned characters of a kind, from code point `start`."""
        chosen = self.kinds == kind
        if kind is Kind.MARK:
            chosen &= expression.members(ASSIGNED_MARKS)
        chosen[expression.SURROGATES.start : expression.SURROGATES.stop] = False
        return (chr(point) for point in np.flatnonzero(chosen).tolist() if point >= start)


def recognise(document: dict[str, Any], original: Tokenizer, where: str) -> PreTokenizer:
    """Analyses the pre-tokenizer of a byte-level tokenizer.json document.

    Raises TokenizerError for steps that do not cut by expressions or classes of characters, or
    that change the text.
    """
    steps = list(_steps(document.get("pre_tokenizer"), where))
    if not any(step["type"] == "ByteLevel" for step in steps):
        shown = " + ".join(str(step["type"]) for step in steps) or "missing"
        raise TokenizerError(
            f"{where}: pre_tokenizer is {shown}; ByteLevel must be among the steps"
        )
    spaces = expression.members(r"\s")
    numbers = expression.members(r"\p{N}")
    if any(step["type"] == "Digits" for step in steps):
        numbers = numbers | expression.digits()
    masks = [spaces, numbers, *(mask for step in steps for mask in _masks(step, where))]
    cell, count = expression.cells(masks)

    def cut(text: str) -> list[str]:
        pieces = original.pre_tokenizer.pre_tokenize_str(text)
        return [text[begin:end] for _, (begin, end) in pieces]

    cell[expression.SURROGATES.start : expression.SURROGATES.stop] = count  # they are in no text
    cells = [np.flatnonzero(cell == number) for number in range(count)]
    cells = [points for points in cells if len(points)]
    if any(step.get("behavior") == "Removed" for step in steps):
        literals = sorted({c for step in steps for c in str(step.get("pattern"))})
        _refuse_removal([*map(_shown, cells), *literals], original, where)
    kinds = np.zeros(expression.POINTS, dtype=np.uint8)
    hidden, among_spaces, in_marks = np.zeros((3, expression.POINTS), dtype=bool)
    for points in cells:
        shown = _shown(points)
        if spaces[points[0]]:
            kind = Kind.SPACE
        else:
            kind = Kind.NUMBER if numbers[points[0]] else _kind(shown, cut)
            hidden[points] = cut("  " + shown)[0] == "  "
            among_spaces[points] = len(cut(f"  {shown}{shown}  ")) == 1
            in_marks[points] = kind is Kind.LETTER and len(cut(f"!!{shown}")) == 1
        kinds[points] = kind
    space_texts = [chr(point) for point in np.flatnonzero(spaces)]
    endings = frozenset(s for s in space_texts if cut(f"({s}\t\t")[0] == f"({s}")
    after_newline = string.punctuation if "\n" in endings else ""
    return PreTokenizer(
        kinds,
        hidden,
        among_spaces,
        in_marks,
        _contractions(cut, ""),
        _contractions(cut, "a"),
        _group(cut),
        len(cut("(a")) == 1 < len(cut("((a")),
        endings,
        frozenset(c for c in after_newline if cut(f"(\n{c}")[0] == f"(\n{c}"),
        frozenset(s for s in space_texts if cut(f"{s}{s}{s}a")[0] == s + s),
        cut,
    )


def _shown(points: np.ndarray) -> str:
    """The character that stands for its cell: one from the middle."""
    return chr(points[len(points) // 2])


def _refuse_removal(shown: list[str], original: Tokenizer, where: str) -> None:
    """Refuses steps that take characters out of a text, as Split does with behavior Removed.

    That behavior is published with `invert` too, where it removes what no expression takes: then
    nothing is lost. shown: one character a cell, and those that an expression may name.
    """
    for text in (first + second for first in shown for second in shown):
        pieces = original.pre_tokenizer.pre_tokenize_str(text)
        if {i for _, (begin, end) in pieces for i in range(begin, end)} != {0, 1}:
            raise TokenizerError(
                f"{where}: pre_tokenizer makes {[piece for piece, _ in pieces]} of {text!r}; the "
                "text that it removes cannot be given back"
            )


def _kind(character: str, cut: Cut) -> Kind:
    if len(cut(f"{character}{character}a")) == 1:
        return Kind.LETTER
    return Kind.MARK if len(cut(f"!!{character}")) == 1 else Kind.APART


def _group(cut: Cut) -> int:
    longest = len(cut("1" * (MAX_GROUP + 1))[0])
    return 0 if longest > MAX_GROUP else longest


def _contractions(cut: Cut, word: str) -> tuple[str, ...]:
    """All apostrophes with letters that are cut out of the middle of a word, alone or with a word.

    word: "" for those that are pre-tokens, a letter for those that end one.
    """
    endings = (
        "".join(letters)
        for length in range(1, CONTRACTION_LETTERS + 1)
        for letters in product(string.ascii_letters, repeat=length)
    )
    front = [] if word else ["a"]
    return tuple(f"'{e}" for e in endings if cut(f"a'{e}a") == [*front, f"{word}'{e}", "a"])


def _steps(step: Any, where: str) -> Iterator[dict[str, Any]]:
    """The steps in order, a Sequence in a Sequence taken apart."""
    if not isinstance(step, dict):
        return
    if step.get("type") == "Sequence":
        for part in step.get("pretokenizers") or []:
            yield from _steps(part, where)
        return
    if step.get("type") == "ByteLevel" and step.get("add_prefix_space"):
        raise TokenizerError(
            f"{where}: pre_tokenizer ByteLevel has add_prefix_space; only false can be rebuilt"
        )
    yield step


def _masks(step: dict[str, Any], where: str) -> list[np.ndarray]:
    """The classes of characters that a step tells apart."""
    match step.get("type"):
        case "ByteLevel" if step.get("use_regex", True):
            found = expression.classes(expression.GPT2_EXPRESSION)
        case "ByteLevel":
            found = set[str]()
        case "Split" if isinstance(step.get("pattern"), dict):
            pattern = step["pattern"]
            text = pattern.get("String")
            found = (
                expression.classes(str(pattern.get("Regex")))
                if text is None
                else {rf"[\x{{{ord(character):x}}}]" for character in text}
            )
        case "Digits":
            return [expression.digits()]
        case "Punctuation":
            return [expression.punctuation()]
        case other:
            raise TokenizerError(
                f"{where}: pre_tokenizer has the step {other}; known are ByteLevel, Split, Digits "
                "and Punctuation"
            )
    return [expression.members(text) for text in sorted(found)]
