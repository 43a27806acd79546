"""The "/" that an expression gives to a line of marks, or to the comment behind it.

o200k's expression has [\\r\\n/]* behind a run of marks: of ");\\n/**" the slash belongs to the line
before, and to the comment where letters stand in front of the newline. Merges do not know which.
"""

import string
from collections.abc import Collection, Iterable
from itertools import product

from .pre_tokenizer import Kind
from .source import Source, decoded

STAR = "*"
LINES_KEYED = {"\n": 6, "\r\n": 3}  # newlines between a run of marks and the slashes behind them
MOST_SLASHES = 4  # of one line
MOST_LINES = 3  # of slashes, of which one key takes so many
FIRST_LINES, MORE_LINES = 3, 2  # newlines in front of the first of several, and of the others
FEW, SHORT, LONGER = 4, 6, 8  # characters of such lines, behind what is rarer and less rare
BANNER = 120  # marks in a row in front of such a line
PERIOD = 16  # marks of one kind in a row that one key takes, where a token is that long
MOST_KEYED = 4  # characters of a comment that is looked at next to all marks
QUOTES_KEPT = 8  # apostrophes in a row that one key takes


def comments(source: Source) -> list[str]:
    """The tokens that begin a comment, "/*", "/**" and "//!", where "/" may end the line before.

    These are private letters, and behind a run of marks with newlines there is a longer key.
    """
    slashes = "".join(source.rules.after_endings)
    found: list[str] = []
    for text in filter(None, map(decoded, source.ids)):
        behind = text.lstrip(slashes)
        if behind and all(c in string.punctuation for c in behind):
            count = len(text) - len(behind)
            if count > 1 or (count and not behind.strip(STAR)):
                found.append(text)
    return sorted(found, key=lambda text: (-len(text), text))


def comment_keys(source: Source) -> dict[bytes, bytes]:
    """Their keys: alone, and next to marks and newlines with which the original merges otherwise.

    And those of a run of marks with the newlines and slashes behind it, which are then written as
    they are: lines of slashes too, of which "\\n//" is a token that only such a run can hold.
    """
    if not source.rules.after_endings or source.readable:
        return {}
    keys = _Keys(source)
    marks = [c for c in map(chr, range(0x21, 0x7F)) if source.rules.kind(c) is Kind.MARK]
    _keep_lines(keys, marks)
    for raw in source.comments:
        keys.written[raw] = source.private[source.ids[raw]].encode()
    runs = _runs(marks, source)
    _add_comments(keys, marks, [run for run in runs if len(run) == 2 and run[0] != " "])
    _add_lines(keys, marks, runs)
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


def _keep_lines(keys: _Keys, marks: list[str]) -> None:
    """Adds marks with lines of slashes, which may not begin a comment with what follows."""
    source = keys.source
    lines = _lines(source, 1)
    few = [line for line in lines if len(line) <= FEW]
    rare = [c for c in sorted(source.kept) if source.rules.kind(c) is Kind.MARK]
    quotes = ["'" * count for count in range(1, QUOTES_KEPT + 1)]  # other keys take several
    parts = [*product(marks, _lines(source, MOST_LINES)), *product(["", " "], quotes, lines)]
    parts += product([*rare, *(mark + "'" for mark in marks)], few)
    parts += product(_rows(source, PERIOD), ["", *quotes, *lines])
    keys.add(parts, always=True)


def _add_comments(keys: _Keys, marks: list[str], pairs: list[str]) -> None:
    """Adds comments next to marks and lines, and those that are a row of marks or begin one."""
    source = keys.source
    comments = [raw.decode() for raw in source.comments]
    texts = [text for text in comments if len(text) <= MOST_KEYED]
    lines = _lines(source, 1)
    ends = [end * n for end, most in LINES_KEYED.items() for n in range(1, most + 1)]
    keys.add(product(["", " "], texts, lines), always=True)
    near = [*product(["", *marks], texts, ["", *marks, *ends, *lines])]
    near += product(texts, marks, [*marks, *ends, *lines])
    keys.add(near)
    keys.add((" ", *parts) for parts in near)
    begun = [
        text + mark for text in texts for mark in marks if (text + mark).encode() in source.ids
    ]
    keys.add(product(["", " "], [*pairs, *_rows(source, PERIOD)], [*texts, *begun]))
    longer = [t + t[-1] * more for t in comments for more in range(BANNER - len(t))]
    few = [line for line in [*ends, *lines] if len(line) <= FEW]
    keys.add(product(["", " "], [*longer, *map("".join, product(marks, comments))], ["", *few]))


def _add_lines(keys: _Keys, marks: list[str], runs: list[str]) -> None:
    """Adds lines of slashes behind marks, and one behind several marks or many slashes."""
    source = keys.source
    lines = _with_ends(_lines(source, MOST_LINES))
    keys.add(product(["", " "], [*marks, *_slashes(source, MOST_SLASHES)], lines))
    short = [line for line in lines if len(line) <= SHORT]
    keys.add(product(_slashes(source, BANNER), short))
    rows = [row for count in range(2, 2 * PERIOD + 1) for row in _rows(source, count)]
    others = [run for run in runs if run.removeprefix(" ") not in rows]
    others += [" " + run for run in runs if len(run) == 2]
    few = [line for line in short if len(line) <= FEW]
    longer: list[tuple[str, ...]] = []
    for text in keys.add([*product(others, short), *product(["", " "], rows, few)]):
        # a longer key of one mark does not begin where this one does
        start = min(text.index(newline) for newline in LINES_KEYED if newline in text)
        going_on = (line for line in lines if line.startswith(text[start:]))
        longer += [(text[:start], line) for line in going_on if len(line) <= LONGER]
    keys.add(longer)


def _slashes(source: Source, most: int) -> list[str]:
    return [c * n for c in sorted(source.rules.after_endings) for n in range(1, most + 1)]


def _rows(source: Source, count: int) -> list[str]:
    """So many marks of each kind that lines are drawn with, alone and behind two slashes.

    Their tokens are of PERIOD marks and multiples: what is left of a line decides about its end.
    """
    slashes = sorted(source.rules.after_endings)
    drawn = [
        mark
        for mark in string.punctuation
        if (mark * PERIOD).encode() in source.ids and mark not in slashes
    ]
    return [start + mark * count for start in ("", *(2 * c for c in slashes)) for mark in drawn]


def _lines(source: Source, most: int) -> list[str]:
    """Newlines and slashes behind them, and again, up to `most` times."""
    found: list[str] = []
    for (newline, count), mark in product(LINES_KEYED.items(), sorted(source.rules.after_endings)):
        ends = [newline * n for n in range(1, count + 1)]
        one, two, three, four = (mark * n for n in range(1, MOST_SLASHES + 1))
        found += map("".join, product(ends, (one, two, three, four)))
        for lines in range(2, most + 1):
            spaces = [*product(ends[:FIRST_LINES], *[ends[:MORE_LINES]] * (lines - 1))]
            # of two lines any slashes, of more the same, and those of another comment at the end
            same = [
                [slash] * (lines - 1) + [last] for slash in (two, three) for last in (one, slash)
            ]
            texts = product((one, two, three, four), (one, two, three)) if lines == 2 else same
            pairs = (zip(*parts, strict=True) for parts in product(spaces, texts))
            found += ("".join(map("".join, pair)) for pair in pairs)
    return found


def _with_ends(lines: Iterable[str]) -> list[str]:
    """Lines, and these with a newline behind them."""
    return [line + end for line in lines for end in ("", *LINES_KEYED) if line.startswith(end)]


def _runs(marks: Collection[str], source: Source) -> list[str]:
    """The tokens that are several of these marks, or some behind a space."""
    texts = [text for text in map(decoded, source.ids) if text is not None and len(text) > 1]
    return [text for text in texts if all(c in marks for c in text.removeprefix(" "))]
