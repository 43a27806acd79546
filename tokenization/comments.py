"""The "/" that an expression gives to a line of marks, or to the comment behind it.

o200k's expression has [\\r\\n/]* behind a run of marks: of ");\\n/**" the slash belongs to the line
before, and to the comment where letters stand in front of the newline. Merges do not know which.
"""

import string
from collections.abc import Collection, Iterable, Iterator
from itertools import product

from .pre_tokenizer import Kind
from .source import Source, decoded

STAR, MOST_STARS = "*", 100
MOST_KEYED = 4  # characters of a comment that is looked at next to all marks
STARS_BEHIND = 8
MOST_SLASHES = 4
LINES_KEYED = {"\n": 6, "\r\n": 3}  # newlines between a run of marks and a comment
QUOTES_KEPT = 8  # apostrophes in a row that one key takes
FEW = 4  # characters of newlines and slashes behind a mark beyond ASCII
PARTS_OF_ENDS = 5  # newlines and slashes in any order, of which one key takes so many
BANNER = 120  # slashes in a row in front of a line that begins with some
SHORT = 9  # characters of lines behind several marks
SAME_LINES = 4  # lines with as many slashes that one key takes, as "\n//\n//\n//"


def comments(source: Source) -> list[str]:
    """The tokens that begin a comment, "/*", "/**" and "//!", where "/" may end the line before.

    These are private letters, and behind a run of marks with newlines there is a longer key.
    """
    tokens = source.ids
    found = [
        mark + STAR * count
        for mark in sorted(source.rules.after_endings)
        for count in range(MOST_STARS, 0, -1)
    ]
    found += [
        2 * mark + other
        for mark in sorted(source.rules.after_endings)
        for other in string.punctuation
        if other != mark and sum(raw.startswith((2 * mark + other).encode()) for raw in tokens) == 1
    ]
    return [text for text in found if text.encode() in tokens]


def comment_keys(source: Source) -> dict[bytes, bytes]:
    """Their keys: alone, and next to marks and newlines with which the original merges otherwise.

    And those of a run of marks with the newlines and slashes behind it, which are then written as
    they are: lines of slashes too, of which "\\n//" is a token that only such a run can hold.
    """
    if not source.rules.after_endings or source.readable:
        return {}
    keys = _Keys(source)
    marks = [c for c in map(chr, range(0x21, 0x7F)) if source.rules.kind(c) is Kind.MARK]
    ends = [end * n for end, most in LINES_KEYED.items() for n in range(1, most + 1)]
    lines = [end + slash for end in ends for slash in _slashes(source, MOST_SLASHES)]
    _keep_lines(keys, marks, lines)
    for raw in source.comments:
        keys.written[raw] = source.private[source.ids[raw]].encode()
    runs = _runs(marks, source)
    pairs = [run for run in runs if len(run) == 2 and run[0] != " "]
    _add_comments(keys, marks, pairs, ends, lines)
    _add_lines(keys, marks, runs, pairs, lines)
    return keys.written


class _Keys:
    """Keys that are added from the shortest to the longest, as the original has their texts."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.written: dict[bytes, bytes] = {}

    def add(self, parts: Iterable[tuple[str, ...]], always: bool = False) -> list[str]:
        """Adds the texts that shorter keys would write otherwise, or all; returns those."""
        texts = sorted(map("".join, parts), key=len)
        added: list[str] = []
        known: dict[bytes, bytes] = {b"": b""}
        for text, ids in zip(texts, self.source.encode(texts), strict=True):
            raw = text.encode()
            wanted = "".join([self.source.texts.get(token_id, "") for token_id in ids]).encode()
            if always or wanted != self._write(raw, known):
                known[raw] = self.written[raw] = wanted
                added.append(text)
        return added

    def _write(self, raw: bytes, known: dict[bytes, bytes]) -> bytes:
        """What the keys make of it; known: the same of shorter texts, which no key changes now."""
        if raw not in known:
            keys = self.written
            end = next((end for end in range(len(raw), 0, -1) if raw[:end] in keys), 1)
            known[raw] = keys.get(raw[:end], raw[:end]) + self._write(raw[end:], known)
        return known[raw]


def _keep_lines(keys: _Keys, marks: list[str], lines: list[str]) -> None:
    """Adds marks with a line of slashes, which may not begin a comment with what follows."""
    source = keys.source
    rare = [c for c in sorted(source.kept) if source.rules.kind(c) is Kind.MARK]
    few = [line for line in lines if len(line) <= FEW]
    quotes = ["'" * count for count in range(2, QUOTES_KEPT + 1)]  # other keys take several
    starts = [*marks, *quotes, *(" " + text for text in ("'", *quotes))]
    slashed = [line for line in _mixed_lines(source) if line[-1] in source.rules.after_endings]
    parts = [*product(starts, lines), *product([*rare, *(mark + "'" for mark in marks)], few)]
    keys.add([*parts, *product(marks, slashed)], always=True)


def _add_comments(
    keys: _Keys, marks: list[str], pairs: list[str], ends: list[str], lines: list[str]
) -> None:
    comments = keys.source.comments
    texts = [raw.decode() for raw in comments if len(raw) <= MOST_KEYED]
    stars = [raw.decode() for raw in comments if raw.endswith(STAR.encode())]
    keys.add(product(["", " "], texts, lines), always=True)
    near = [*product(["", *marks], texts, ["", *marks, *ends, *lines])]
    near += [*product(texts, marks, [*marks, *ends, *lines]), *product(pairs, texts, marks)]
    keys.add(near)
    keys.add((" ", *parts) for parts in near)
    keys.add(product(["", " ", *marks], stars, [STAR * count for count in range(STARS_BEHIND)]))


def _add_lines(
    keys: _Keys, marks: list[str], runs: list[str], pairs: list[str], lines: list[str]
) -> None:
    """Adds lines of slashes behind marks, and one behind several marks or many slashes."""
    source = keys.source
    several = sorted({*lines, *_mixed_lines(source), *_same_lines(source)})
    slashes = _slashes(source, MOST_SLASHES)
    keys.add(product([*marks, *slashes, *(f" {slash}" for slash in slashes)], several))
    few = [line for line in lines if len(line) <= FEW]
    keys.add(product(_slashes(source, BANNER), few))
    one = sorted({*lines, *(line for line in several if len(line) <= FEW)})
    short = [line for line in several if len(line) <= SHORT]
    longer: list[tuple[str, ...]] = []
    for text in keys.add([*product(runs, one), *product([" "], pairs, one)]):
        # a longer key of one mark does not begin where this one does
        start = min(text.index(newline) for newline in LINES_KEYED if newline in text)
        longer += [(text[:start], line) for line in short if line.startswith(text[start:])]
    keys.add(longer)


def _slashes(source: Source, most: int) -> list[str]:
    return [c * n for c in sorted(source.rules.after_endings) for n in range(1, most + 1)]


def _runs(marks: Collection[str], source: Source) -> list[str]:
    """The tokens that are several of these marks, or some behind a space."""
    texts = [text for text in map(decoded, source.ids) if text is not None and len(text) > 1]
    return [text for text in texts if all(c in marks for c in text.removeprefix(" "))]


def _mixed_lines(source: Source) -> Iterator[str]:
    """A newline and what newlines and slashes may stand behind it, but for newlines alone."""
    newlines = [*LINES_KEYED]
    for count in range(1, PARTS_OF_ENDS):
        for behind in product([*newlines, *sorted(source.rules.after_endings)], repeat=count):
            if not set(behind) <= set(newlines):
                yield from (newline + "".join(behind) for newline in newlines)


def _same_lines(source: Source) -> Iterator[str]:
    """Lines of the same slashes, some of them empty, and the last with an end or not."""
    slashes = _slashes(source, MOST_SLASHES)
    for newline, slash, count in product(LINES_KEYED, slashes, range(1, SAME_LINES)):
        for first, others, end in product((1, 2, 3), (1, 2), ("", newline)):
            yield newline * first + slash + count * (newline * others + slash) + end
