"""The character classes that a pre-tokenizer's expressions tell apart.

An expression can only treat two characters differently when one of its classes holds one of them
and not the other. So the classes of all expressions cut Unicode into few *cells*, and one character
stands for all of its cell. What is in a class is asked from the `tokenizers` library, whose Unicode
tables are not those of Python.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
from tokenizers import Regex
from tokenizers.pre_tokenizers import Digits, PreTokenizer, Punctuation, Split

from . import TokenizerError

POINTS = 0x40000  # planes 0 to 3: the others hold no letters, numbers, marks or spaces
ASKED_AT_ONCE = 0x4000  # code points a call, so that the answers stay small in memory
SURROGATES = range(0xD800, 0xE000)
PROPERTY = re.compile(r"\\[pP]\{\^?\w+\}|\\[sSdDwW]")

GPT2_EXPRESSION = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def classes(expression: str) -> set[str]:
    """The character classes of an expression, each written so that it can stand alone."""
    found: set[str] = set()
    position = 0
    while position < len(expression):
        end = position + 1
        if match := PROPERTY.match(expression, position):
            end = match.end()
            found.add(match.group())
        elif expression[position] == "\\":
            end += 1
        elif expression[position] == "[":
            end = _end_of_class(expression, position)
            found.add(expression[position:end])
        position = end
    return found


def _end_of_class(expression: str, start: int) -> int:
    """Where the class ends that begins with the bracket at `start`.

    Classes hold others, as "[\\p{L}&&[^\\p{Han}]]" and "[[:alpha:]]" do. Source: Oniguruma,
    doc/RE, "character class".
    """
    depth, position = 0, start
    while position < len(expression):
        match expression[position]:
            case "\\":
                position += 1
            case "[":
                depth += 1
                opened = position + 1 + expression.startswith("^", position + 1)
                if expression.startswith("]", opened):  # a bracket that is first is a character
                    position = opened
            case "]":
                depth -= 1
                if not depth:
                    return position + 1
        position += 1
    return len(expression)  # not closed: Oniguruma will say so


@cache
def members(expression: str) -> np.ndarray:
    """Which code points a class has: bool [POINTS]; TokenizerError where it is no class."""
    try:
        keeper = Split(Regex(f"(?:{expression})+"), "removed", invert=True)
    except Exception as error:  # the library raises bare Exception for a bad expression
        if type(error) is not Exception:
            raise
        raise TokenizerError(
            f"pre_tokenizer: {expression!r} is no class of characters: {error}; "
            "an expression in Oniguruma's syntax is needed"
        ) from error
    return _asked(keeper)


@cache
def digits() -> np.ndarray:
    """What the step Digits calls a number: bool [POINTS]. It knows more of them than \\p{N}."""
    return _found_between(Digits(individual_digits=True))


@cache
def punctuation() -> np.ndarray:
    """What the step Punctuation cuts out: bool [POINTS]."""
    return _found_between(Punctuation("isolated"))


def _asked(keeper: PreTokenizer) -> np.ndarray:
    found = np.zeros(POINTS, dtype=bool)
    for points in _ranges():
        for _, (begin, end) in keeper.pre_tokenize_str("".join(map(chr, points))):
            found[points[begin:end]] = True
    return found


def _found_between(step: PreTokenizer) -> np.ndarray:
    """The characters that the step cuts out of a text of letters."""
    found = np.zeros(POINTS, dtype=bool)
    for points in _ranges():
        between = "x" + "x".join(map(chr, points)) + "x"
        for _, (begin, end) in step.pre_tokenize_str(between):
            if end - begin == 1 and begin % 2 == 1:
                found[points[begin // 2]] = True
    return found


def _ranges() -> Iterator[list[int]]:
    for start in range(0, POINTS, ASKED_AT_ONCE):
        yield [p for p in range(start, start + ASKED_AT_ONCE) if p not in SURROGATES]


def cells(masks: Iterable[np.ndarray]) -> tuple[np.ndarray, int]:
    """The cell of each code point, uint8 [POINTS], and how many cells there are."""
    cell = np.zeros(POINTS, dtype=np.int64)
    for mask in masks:
        _, cell = np.unique(cell * 2 + mask, return_inverse=True)
    count = int(cell.max()) + 1
    if count > 200:
        raise TokenizerError(f"pre_tokenizer: {count} kinds of characters; 200 can be told apart")
    return cell.astype(np.uint8), count
