"""Marks of two bytes that are two tokens: one symbol, before a letter can take their first byte.

"\u05f3" begins with the same byte as all letters of Hebrew, and merges of "\u05d5\\xd7" exist since
words have it; but an expression cuts the mark off. Where the original cuts such a mark between its
bytes whatever stands beside it, the two are glued before words are merged; or, where a space in
front takes the first byte (" \\xd7"), just behind that merge.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from itertools import product

from .cuts import FIRST_OF_THREE_BYTES, ends_of
from .plan import Piece, Role, Stage
from .pre_tokenizer import Kind
from .runs import last_spaces
from .source import Source
from .spelling import spell
from .tokenizer_json import MAX_ID

BETWEEN = ("", "a", '"')
BESIDE = (*BETWEEN, "1", "(", ".", '",', "\n")
NEAR_LETTERS = 5  # of those with the same first byte, the most frequent
BEHIND_WORDS = ("Mn", "Mc", "Me", "Pe", "Pf", "Po")  # categories of Unicode


def marks(source: Source) -> dict[str, tuple[Stage, int]]:
    """Such marks -> when the two are glued: with the merge of a space and the first byte, if any.

    In a tie what is on the left is merged, which is the space. Where a letter in front takes the
    byte before a space would, marks that stand behind words, as commas do and all that combines,
    are glued first of all: left over are those behind a space, and others behind such a letter.
    So are marks that are cut in another way beside something.
    """
    tokens, ranks = source.vocabulary.tokens, source.vocabulary.ranks
    first: dict[bytes, int] = {}  # a byte -> the first merge that ends in it, but for the space's
    for raw, rank in ranks.items():
        if raw[:1] != b" " or len(raw) > 2:
            first[raw[-1:]] = min(rank, first.get(raw[-1:], rank))
    candidates = [c for c in _of_two_tokens(source) if c.encode()[:1] in first]
    elsewhere = _cut_elsewhere(candidates, source)
    candidates = [c for c in candidates if c not in elsewhere]
    found: dict[str, tuple[Stage, int]] = {}
    for c, ids in zip(candidates, source.encode([f" {c}" for c in candidates]), strict=True):
        head = tokens.get(ids[0], b"")
        is_first = ranks.get(head, MAX_ID) < first[c.encode()[:1]]
        if head != b" " and is_first:
            found[c] = Stage.WORD, ranks[head]
        elif head == b" " or unicodedata.category(c) in BEHIND_WORDS:
            found[c] = Stage.JOIN, 0
    return found


def _of_two_tokens(source: Source) -> list[str]:
    marks = [c for c in _of_two_bytes(Kind.MARK, source) if c not in source.kept]
    results = zip(marks, source.encode(marks), strict=True)
    return [c for c, ids in results if len(ids) == 2 and source.knows(ids)]


def _of_two_bytes(kind: Kind, source: Source) -> list[str]:
    return [c for c in source.rules.characters(kind) if c < chr(FIRST_OF_THREE_BYTES)]


def _cut_elsewhere(candidates: list[str], source: Source) -> set[str]:
    """Those that are cut in another way beside something; a space may take the first byte."""
    near = _near_letters(source)
    texts = [
        (c, front, behind)
        for c in candidates
        for others in [(*BESIDE, c, *near[c.encode()[:1]])]
        for front, behind in (*product(others, BETWEEN), *product(BETWEEN, others))
        if source.is_normal(front + c + behind)
    ]
    found: set[str] = set()
    results = source.encode(["".join((front, c, behind)) for c, front, behind in texts])
    for (c, front, _), ids in zip(texts, results, strict=True):
        start = len(front.encode())
        ends = ends_of(source.vocabulary.tokens.get(token_id, b"") for token_id in ids)
        if not {start, start + 1, start + 2} <= ends:
            found.add(c)
    return found


def _near_letters(source: Source) -> dict[bytes, list[str]]:
    """The first bytes of characters of two bytes -> the most frequent letters that begin so."""
    ranks = source.vocabulary.ranks
    found: dict[bytes, list[str]] = defaultdict(list)
    letters = _of_two_bytes(Kind.LETTER, source)
    for c in sorted(letters, key=lambda c: ranks.get(c.encode(), MAX_ID)):
        if len(found[c.encode()[:1]]) < NEAR_LETTERS:
            found[c.encode()[:1]].append(c)
    return found


def glue(source: Source) -> Iterator[Piece]:
    """The glue of the two bytes, and of spaces that are cut off in front of these.

    None where marks are cut from marks: `glue` has some for such as are cut inside.
    """
    if source.cuts_marks:
        return
    spaces = [source.joined(last) for last in last_spaces(source)]
    for c, (stage, rank) in marks(source).items():
        text = spell(c.encode())
        yield Piece(text, Role.GLUE, stage, rank)
        for space in spaces:
            yield Piece(space + text, Role.GLUE, Stage.CUT)
