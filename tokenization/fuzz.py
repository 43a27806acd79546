"""Random texts by class, each made to try one thing that a rebuilt tokenizer may get wrong.

A class is data: pools of parts, each with a weight. A text is a few parts, each drawn from a pool
that is drawn by weight. The same seed gives the same texts where Python has the same Unicode.
"""

import random
import string
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

SHORTEST = 2  # parts of a text
WORDS = (
    "a",
    "I",
    "foo",
    "the",
    "Bar",
    "x",
    "isn",
    "\u00e9t\u00e9",
    "\u043f\u0440\u0438\u0432\u0435\u0442",
    "\u65e5\u672c",
    "\ud55c\uad6d",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947",
)
BLANKS = (" ", "  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", "\v", "\f", " \n")
APOSTROPHES = ("'", "\u2019", "\u02bc", "\uff07", "''", "`")
ENDINGS = ("s", "t", "re", "ve", "m", "ll", "d", "S", "T", "RE", "Ve", "M", "LL", "D", "\u017f")
CASED_WORDS = ("getHTTPResponse", "iPhone", "XMLHttp", "camelCase", "SHOUT", "McDonald", "eBay")
SKIN_TONES = tuple(map(chr, range(0x1F3FB, 0x1F400)))
FLAG_LETTERS = tuple(map(chr, range(0x1F1E6, 0x1F200)))
TAGS = tuple(map(chr, range(0xE0061, 0xE0080)))
KEYCAPS = tuple(f"{c}\ufe0f\u20e3" for c in "0123456789#*")
JOINED = (
    "\U0001f469\u200d\U0001f4bb",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\u2764\ufe0f\u200d\U0001f525",
)
OPERATORS = (
    *"+-*/%=<>!&|^~?:;,.@#$\\",
    *("==", "!=", "<=", ">=", "->", "=>", "::", "&&", "||", "++", "+=", "<<", ">>", "//", "/*"),
    *("*/", "..", "...", "?.", "??", "/**", "<!--", "-->", "</", "/>", "#!", "${", "{{", "}}"),
)
NAMES = (
    *("i", "self", "x1", "my_name", "__init__", "fooBar", "MAX_SIZE", "std", "int", "return"),
    *("if", "def", "0x1F", "1e-5", "3.14", "1_000", "true", "None", "utf8", "$id", "@app"),
)
BRACKETS = (*"()[]{}\"'`", "()", "[]", "{}", '""', "''", "();", "})", "):", '"""', "\\n", "\\\\")
INDENTS = ("\n", "\n    ", "\n        ", "\n\t", "\n\t\t", " ", "  ", ";\n", "{\n\t", "\r\n  ")

Parts = Callable[[], tuple[str, ...]]


@dataclass(frozen=True)
class Pool:
    """Parts that are equally likely, and how likely it is that they are drawn from at all."""

    weight: int
    parts: Parts


def _fixed(weight: int, *groups: tuple[str, ...] | str) -> Pool:
    parts = tuple(part for group in groups for part in group)
    return Pool(weight, lambda: parts)


@cache
def _assigned() -> dict[str, tuple[str, ...]]:
    """All characters by their general category, without surrogates and private planes."""
    found: dict[str, list[str]] = {}
    for point in range(0xF0000):
        category = unicodedata.category(chr(point))
        if category not in ("Cn", "Cs"):
            found.setdefault(category, []).append(chr(point))
    return {category: tuple(characters) for category, characters in found.items()}


def _of(weight: int, *categories: str) -> Pool:
    """The characters of general categories; a single letter stands for all that begin with it."""

    def parts() -> tuple[str, ...]:
        groups = _assigned()
        return tuple(c for name in groups if name.startswith(categories) for c in groups[name])

    return Pool(weight, cache(parts))


def _combining() -> tuple[str, ...]:
    return tuple(c for c in _of(1, "M").parts() if unicodedata.combining(c))


def _composed() -> tuple[str, ...]:
    """Characters that NFC makes of several, or that it writes otherwise."""
    letters = _of(1, "L").parts()
    return tuple(c for c in letters if unicodedata.normalize("NFD", c) != c)


JAMO = tuple(map(chr, (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3))))
ASCII_WORDS = _fixed(1, ("a", "foo", "The", "(", "1", "."))

CLASSES: dict[str, tuple[Pool, ...]] = {
    "white-space": (_fixed(3, BLANKS), ASCII_WORDS),
    "unicode-spaces": (
        Pool(3, lambda: (*_of(1, "Z").parts(), "\x85", "\x1c", "\x1d", "\x1e", "\x1f", "\u200b")),
        _fixed(1, BLANKS),
        _fixed(1, WORDS),
    ),
    "digits": (
        _fixed(4, string.digits),
        _of(3, "Nd"),
        _of(1, "No", "Nl"),
        _fixed(1, ".,-+ \n", ("a", "  ")),
    ),
    "punctuation": (
        _fixed(4, string.punctuation),
        _of(2, "P"),
        _of(1, "S"),
        _fixed(1, " \n", ("a", "foo", "1")),
    ),
    "contractions": (
        Pool(3, lambda: tuple(a + e for a in APOSTROPHES for e in ENDINGS)),
        _fixed(1, APOSTROPHES),
        _fixed(2, WORDS, " ", " ", ".(1\n"),
    ),
    "mixed-case": (
        _fixed(3, string.ascii_letters),
        _fixed(1, CASED_WORDS),
        _of(1, "Lu", "Ll", "Lt"),
        _fixed(1, " -_'"),
    ),
    "letters-and-marks": (_of(4, "Lo", "Lu", "Ll", "Lt", "Lm"), _of(2, "M"), _fixed(1, " -")),
    "emoji": (
        _of(2, "So"),
        Pool(3, lambda: tuple(map(chr, (*range(0x1F300, 0x1F650), *range(0x1F900, 0x1FA00))))),
        _fixed(2, ("\u200d", "\ufe0f", "\ufe0e"), SKIN_TONES),
        _fixed(1, FLAG_LETTERS, KEYCAPS, JOINED, TAGS),
        _fixed(1, " !\n", ("a", "foo", " ", "1")),
    ),
    "combining-marks": (
        _fixed(3, string.ascii_letters),
        Pool(3, cache(_combining)),
        Pool(1, cache(_composed)),
        _fixed(1, JAMO),
        _fixed(1, " "),
    ),
    "code": (_fixed(3, NAMES), _fixed(3, OPERATORS), _fixed(2, BRACKETS), _fixed(2, INDENTS)),
    "mixed": (
        _fixed(2, BLANKS),
        _fixed(2, WORDS),
        _fixed(2, string.punctuation),
        _fixed(2, string.digits),
        Pool(1, lambda: tuple(a + e for a in APOSTROPHES for e in ENDINGS)),
        _fixed(1, NAMES, OPERATORS),
        _of(1, "Z", "Nd"),
        _of(1, "P", "S"),
        _of(1, "M"),
        _fixed(1, SKIN_TONES, JOINED, KEYCAPS),
    ),
    "code-points": (
        Pool(1, lambda: tuple(c for group in _assigned().values() for c in group if c < "\u3000")),
        Pool(1, lambda: tuple(c for group in _assigned().values() for c in group)),
    ),
}
LONGEST = 12  # parts of a text


def texts(name: str, count: int, seed: int) -> Iterator[str]:
    """`count` texts of a class, of SHORTEST to LONGEST parts each."""
    pools = CLASSES[name]
    parts = [pool.parts() for pool in pools]
    weights = [pool.weight for pool in pools]
    draw = random.Random(f"{seed}/{name}")
    for _ in range(count):
        chosen = draw.choices(parts, weights, k=draw.randint(SHORTEST, LONGEST))
        yield "".join(draw.choice(part) for part in chosen)
