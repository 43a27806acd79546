"""The "/" that an expression gives to a line of marks, or to the comment behind it.

o200k's expression has [\\r\\n/]* behind a run of marks: of ");\\n/**" the slash belongs to the line
before, and to the comment where letters stand in front of the newline. Merges do not know which.
"""

import string
from collections.abc import Iterable
from itertools import product

from .pre_tokenizer import Kind
from .source import Source
from .spelling import rewritten

STAR, MOST_STARS = "*", 4
MOST_SLASHES = 4
LINES_KEYED = {"\n": 6, "\r\n": 3}  # newlines between a run of marks and a comment
QUOTES_KEPT = 8  # apostrophes in a row that one key takes
FEW = 4  # characters of newlines and slashes behind a mark beyond ASCII


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

    And those of a line of marks with the slashes behind it, which are then written as they are.
    """
    keys: dict[bytes, bytes] = {}
    if not source.comments:
        return keys
    marks = [c for c in map(chr, range(0x21, 0x7F)) if source.rules.kind(c) is Kind.MARK]
    pairs = [run for run in map("".join, product(marks, repeat=2)) if run.encode() in source.ids]
    rare = [c for c in sorted(source.kept) if source.rules.kind(c) is Kind.MARK]
    ends = [end * n for end, most in LINES_KEYED.items() for n in range(1, most + 1)]
    slashes = [
        c * n for c in sorted(source.rules.after_endings) for n in range(1, MOST_SLASHES + 1)
    ]
    lines = [end + slash for end in ends for slash in slashes]
    few = [line for line in lines if len(line) <= FEW]
    texts = [raw.decode() for raw in source.comments]

    def add(parts: Iterable[tuple[str, ...]], always: bool = False) -> None:
        runs = sorted(map("".join, parts), key=len)
        for run, ids in zip(runs, source.encode(runs), strict=True):
            raw = run.encode()
            wanted = "".join([source.texts.get(token_id, "") for token_id in ids]).encode()
            if always or wanted != rewritten(raw, keys, len(raw)):
                keys[raw] = wanted

    # a slash at the end may not begin a comment with what follows
    quotes = ["'" * count for count in range(2, QUOTES_KEPT + 1)]  # other keys take several
    starts = [*marks, *quotes, *(" " + text for text in ("'", *quotes))]
    add([*product(starts, lines), *product(rare, few)], always=True)
    for raw in source.comments:
        keys[raw] = source.private[source.ids[raw]].encode()
    add(product(["", " "], texts, lines), always=True)
    near = [*product(["", *marks], texts, ["", *marks, *ends, *lines]), *product(pairs, lines)]
    near += [*product(texts, marks, [*marks, *ends, *lines]), *product(pairs, texts, marks)]
    add(near)
    add((" ", *parts) for parts in near)
    return keys
